//! [`find`]: where the container engine is that the user's `docker` would use.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use orchestrator_port::bundle;
use tokio::net::UnixStream;

use super::engine_error::EngineError;

/// The engine's socket: where `DOCKER_HOST` or the Docker context says, else among the places where engines usually are.
///
/// # Errors
/// Where there is none.
pub(super) async fn find() -> Result<PathBuf, EngineError> {
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
    first(&places).await.cloned().ok_or(EngineError::NotThere(places))
}

/// The first at which somebody listens to this user; else the first that is there, and it will be said what is wrong with
/// it.
async fn first(places: &[PathBuf]) -> Option<&PathBuf> {
    for place in places {
        if UnixStream::connect(place).await.is_ok() {
            return Some(place);
        }
    }
    places.iter().find(|place| place.exists())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_engine_that_listens_comes_before_one_that_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let places = ["docker.sock", "own/docker.sock"].map(|place| folder.path().join(place));
        assert_eq!(first(&places).await, None);
        drop(std::os::unix::net::UnixListener::bind(&places[0]).unwrap());
        assert_eq!(first(&places).await, Some(&places[0]));
        fs::create_dir(folder.path().join("own")).unwrap();
        let listens = std::os::unix::net::UnixListener::bind(&places[1]).unwrap();
        assert_eq!(first(&places).await, Some(&places[1]));
        drop(listens);
    }

    #[test]
    fn engines_of_the_machine_come_before_the_users_own() {
        let machine = ["/var/run/docker.sock", "/run/podman/podman.sock"].map(PathBuf::from);
        assert_eq!(usual(None), machine);
        let [docker, podman] = machine;
        let own = ["/run/user/7/docker.sock", "/run/user/7/podman/podman.sock"].map(PathBuf::from);
        let [own_docker, own_podman] = own;
        assert_eq!(usual(Some("/run/user/7")), [docker, own_docker, own_podman, podman]);
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
