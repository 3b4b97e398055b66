//! [`Engine`]: the container engine of this machine: where it is, that it is new enough, and what it can limit.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard::Docker;
use bollard::models::{SystemInfo, SystemVersion};
use orchestrator_core::permissions::Controllers;
use orchestrator_port::bundle;
use tokio::sync::Semaphore;

/// The oldest interface that is enough: that of Docker 20.10.
const OLDEST: (u32, u32) = (1, 41);

/// How many containers are brought up at a time: starting one is the engine's work, and more at once take longer each.
const CREATIONS: usize = 4;

/// How long the engine may take for one answer, in seconds.
const ANSWER_LIMIT: u64 = 120;

/// The engine, once it has answered. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    pub(super) api: Docker,
    /// What its containers can be limited in.
    pub(crate) controllers: Controllers,
    /// Room for those who bring a container up. Others wait.
    pub(super) creations: Arc<Semaphore>,
}

/// Why there is no engine to use, or why it did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// None is there.
    #[error(
        "no container engine is there: not at {}; install and start Docker, or say where it is with DOCKER_HOST",
        shown(.0)
    )]
    NotThere(
        /// Where it was looked for.
        Vec<PathBuf>,
    ),
    /// It is on another machine.
    #[error(
        "the container engine at {0} may be on another machine: one with a Unix socket is needed, on this one"
    )]
    Remote(
        /// Its address.
        String,
    ),
    /// The Docker context that was asked for cannot be read.
    #[error("cannot read the Docker context '{name}'")]
    Context {
        /// Its name.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// It does not answer.
    #[error("the container engine at {} does not answer", .socket.display())]
    Unreachable {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        source: bollard::errors::Error,
    },
    /// It is too old.
    #[error(
        "the container engine speaks version {0} of its interface; 1.41 (Docker 20.10) or later is needed"
    )]
    TooOld(
        /// What it speaks.
        String,
    ),
    /// It does not run Linux containers, or leaves them unfiltered.
    #[error("the container engine cannot be used: {0}")]
    Unfit(
        /// Why.
        &'static str,
    ),
    /// It did not do something.
    #[error("the container engine cannot {what}")]
    Refused {
        /// What.
        what: &'static str,
        /// Why.
        source: bollard::errors::Error,
    },
    /// An image is not there.
    #[error("the image '{name}' is not there and cannot be pulled")]
    ImageMissing {
        /// Its name.
        name: String,
        /// What the engine, or a registry, said.
        source: Option<bollard::errors::Error>,
    },
    /// An image's name means something else than before.
    #[error(
        "the image '{name}' is not what it was: {found} instead of {locked}; where that is meant, run 'orchestrator \
         lock --update'"
    )]
    Drift {
        /// Its name.
        name: String,
        /// What it meant.
        locked: String,
        /// What it means now.
        found: String,
    },
    /// The file that keeps what images' names mean cannot be used.
    #[error("cannot use {}", .file.display())]
    ImageLock {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The runner cannot be put where containers find it.
    #[error("cannot write the runner's program for containers")]
    Program(#[source] io::Error),
    /// It would have made another container than it was asked for.
    #[error("the container engine would make another container than it was asked for: {0}")]
    Different(
        /// What is different.
        String,
    ),
    /// The start's sockets cannot be made ready for its container.
    #[error("cannot make a start's sockets ready for its container")]
    Sockets(#[source] io::Error),
    /// The runner could not be given its ticket.
    #[error("cannot give the container's runner its ticket")]
    Ticket(#[source] io::Error),
    /// The container ended before its runner had done anything.
    #[error("the container ended at once")]
    Ended,
}

impl Engine {
    /// Finds the engine that the user's `docker` would use, and asks it what it can do.
    ///
    /// # Errors
    /// Where there is none, or not one that can be used.
    pub(crate) async fn reach() -> Result<Self, EngineError> {
        let socket = find()?;
        let unreachable = |source| EngineError::Unreachable { socket: socket.clone(), source };
        let path = socket.to_string_lossy();
        let api = Docker::connect_with_unix(&path, ANSWER_LIMIT, bollard::API_DEFAULT_VERSION)
            .map_err(unreachable)?;
        let (version, info) = tokio::try_join!(api.version(), api.info()).map_err(unreachable)?;
        let controllers = fit(&version, &info)?;
        Ok(Self { api, controllers, creations: Arc::new(Semaphore::new(CREATIONS)) })
    }
}

/// Says that the engine did not do something.
pub(super) fn refused(what: &'static str) -> impl FnOnce(bollard::errors::Error) -> EngineError {
    move |source| EngineError::Refused { what, source }
}

/// What an engine can limit, if it can be used at all.
fn fit(version: &SystemVersion, info: &SystemInfo) -> Result<Controllers, EngineError> {
    let spoken = version.api_version.clone().unwrap_or_default();
    let number =
        spoken.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    if number.is_none_or(|number: (u32, u32)| number < OLDEST) {
        return Err(EngineError::TooOld(spoken));
    }
    if info.os_type.as_deref() != Some("linux") {
        return Err(EngineError::Unfit("its containers are not Linux's"));
    }
    let options = info.security_options.iter().flatten();
    let filters: Vec<_> = options.filter(|option| option.contains("name=seccomp")).collect();
    if filters.is_empty() || filters.iter().any(|option| option.contains("profile=unconfined")) {
        return Err(EngineError::Unfit("its containers have no system call filter"));
    }
    let can = |limit: Option<bool>| limit.unwrap_or_default();
    Ok(Controllers {
        memory: can(info.memory_limit) && can(info.swap_limit),
        cpu: can(info.cpu_cfs_quota),
        pids: can(info.pids_limit),
    })
}

/// The engine's socket: where `DOCKER_HOST` or the Docker context says, else the first that is there.
fn find() -> Result<PathBuf, EngineError> {
    let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let written = match (set("DOCKER_HOST"), set("DOCKER_CONTEXT")) {
        (Some(host), _) => Some(host),
        (None, context) => of_context(context, docker_folder().as_deref())?,
    };
    let places = match written {
        Some(host) => match host.strip_prefix("unix://") {
            Some(path) => vec![PathBuf::from(path)],
            None => return Err(EngineError::Remote(host)),
        },
        None => usual(set("XDG_RUNTIME_DIR").as_deref()),
    };
    places.iter().find(|place| place.exists()).cloned().ok_or(EngineError::NotThere(places))
}

/// Where engines usually are: Docker's, that of a user without root, podman's.
fn usual(runtime: Option<&str>) -> Vec<PathBuf> {
    let own = runtime.map(Path::new);
    let mut places = vec![PathBuf::from("/var/run/docker.sock")];
    places.extend(own.map(|folder| folder.join("docker.sock")));
    places.extend(own.map(|folder| folder.join("podman/podman.sock")));
    places.push("/run/podman/podman.sock".into());
    places
}

/// Where Docker keeps the user's configuration.
pub(super) fn docker_folder() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("DOCKER_CONFIG").or_else(|| set("HOME").map(|home| home.join(".docker")))
}

/// The address that the user's Docker context has; none for the default one.
fn of_context(named: Option<String>, folder: Option<&Path>) -> Result<Option<String>, EngineError> {
    let read =
        |path: PathBuf| -> io::Result<serde_json::Value> { Ok(serde_json::from_slice(&fs::read(path)?)?) };
    let Some(folder) = folder else { return Ok(None) };
    let current = || read(folder.join("config.json")).ok()?.get("currentContext")?.as_str().map(Into::into);
    let Some(name) = named.or_else(current).filter(|name: &String| name != "default") else {
        return Ok(None);
    };
    // Docker calls a context's folder by the hash of its name.
    let meta = folder.join("contexts/meta").join(bundle::sha256(name.as_bytes())).join("meta.json");
    let host = read(meta).and_then(|meta| {
        let host = meta["Endpoints"]["docker"]["Host"].as_str().map(Into::into);
        host.ok_or_else(|| io::Error::other("it has no address"))
    });
    host.map(Some).map_err(|source| EngineError::Context { name, source })
}

fn shown(places: &[PathBuf]) -> String {
    places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// What the containers of this machine's engine can be limited in, where there is one that can be used.
///
/// # Errors
/// With why there is none.
pub async fn probe_engine() -> Result<Controllers, EngineError> {
    Ok(Engine::reach().await?.controllers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(api: &str) -> SystemVersion {
        SystemVersion { api_version: Some(api.into()), ..SystemVersion::default() }
    }

    fn good() -> SystemInfo {
        SystemInfo {
            os_type: Some("linux".into()),
            security_options: Some(vec!["name=seccomp,profile=default".into()]),
            memory_limit: Some(true),
            swap_limit: Some(true),
            pids_limit: Some(true),
            ..SystemInfo::default()
        }
    }

    #[test]
    fn an_engine_that_is_too_old_or_holds_nothing_is_refused() {
        let refused =
            |version: &SystemVersion, info: &SystemInfo| fit(version, info).unwrap_err().to_string();
        let controllers = Controllers { memory: true, cpu: false, pids: true };
        assert_eq!(fit(&version("1.41"), &good()).unwrap(), controllers);
        let old = "the container engine speaks version 1.40 of its interface; 1.41 (Docker 20.10) or later is needed";
        assert_eq!(refused(&version("1.40"), &good()), old);
        assert!(fit(&version("1.100"), &good()).is_ok());
        let unfiltered = SystemInfo { security_options: None, ..good() };
        assert!(refused(&version("1.41"), &unfiltered).ends_with("no system call filter"));
        let off =
            SystemInfo { security_options: Some(vec!["name=seccomp,profile=unconfined".into()]), ..good() };
        assert!(refused(&version("1.41"), &off).ends_with("no system call filter"));
        let windows = SystemInfo { os_type: Some("windows".into()), ..good() };
        assert!(refused(&version("1.41"), &windows).ends_with("not Linux's"));
    }

    #[test]
    fn a_docker_context_says_where_the_engine_is() {
        let folder = tempfile::tempdir().unwrap();
        let of = |named: Option<&str>| of_context(named.map(Into::into), Some(folder.path()));
        assert_eq!(of(None).unwrap(), None);
        assert_eq!(of(Some("default")).unwrap(), None);
        assert_eq!(of(Some("far")).unwrap_err().to_string(), "cannot read the Docker context 'far'");
        let meta = folder.path().join("contexts/meta").join(bundle::sha256(b"far"));
        fs::create_dir_all(&meta).unwrap();
        fs::write(meta.join("meta.json"), r#"{"Endpoints":{"docker":{"Host":"ssh://far"}}}"#).unwrap();
        fs::write(folder.path().join("config.json"), r#"{"currentContext":"far"}"#).unwrap();
        assert_eq!(of(None).unwrap().as_deref(), Some("ssh://far"));
    }
}
