//! [`Engine`]: the container engine of this machine: where it is, that it is new enough, and what it can limit.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{SystemInfo, SystemVersion};
use orchestrator_core::permissions::Controllers;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::address::find;
use super::engine_error::{EngineError, first_cause, said, system_error};

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
    /// Where it is.
    socket: PathBuf,
    /// What its containers can be limited in.
    pub(crate) controllers: Controllers,
    /// Room for those who bring a container up. Others wait.
    pub(super) creations: Arc<Semaphore>,
}

impl Engine {
    /// Finds the engine that the user's `docker` would use, and asks it what it can do.
    ///
    /// # Errors
    /// Where there is none, or not one that can be used.
    pub(crate) async fn reach() -> Result<Self, EngineError> {
        let socket = find().await?;
        let unreachable = |error| unreachable(&socket, &error);
        let path = socket.to_string_lossy();
        let api = Docker::connect_with_unix(&path, ANSWER_LIMIT, bollard::API_DEFAULT_VERSION)
            .map_err(unreachable)?;
        let (version, info) = tokio::try_join!(api.version(), api.info()).map_err(unreachable)?;
        let controllers = fit(&version, &info)?;
        Ok(Self { api, socket, controllers, creations: Arc::new(Semaphore::new(CREATIONS)) })
    }
}

/// Why the engine at this socket has not answered.
fn unreachable(socket: &Path, error: &Error) -> EngineError {
    let socket = socket.to_owned();
    match system_error(error) {
        Some(io::ErrorKind::ConnectionRefused) => EngineError::Stopped(socket),
        Some(io::ErrorKind::PermissionDenied) => EngineError::NotAllowed(socket),
        Some(io::ErrorKind::NotFound) => EngineError::NotThere(vec![socket]),
        _ => {
            let why = said(error).map_or_else(|| first_cause(error), ToOwned::to_owned);
            EngineError::Unreachable { socket, why }
        }
    }
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

/// The engine that was found, for people.
#[derive(Clone, Debug, Serialize)]
pub struct FoundEngine {
    /// Where it is.
    pub socket: PathBuf,
    /// What its containers can be limited in.
    #[serde(flatten)]
    pub controllers: Controllers,
}

/// Finds the engine of this machine, where there is one that can be used.
///
/// # Errors
/// With why there is none.
pub async fn probe_engine() -> Result<FoundEngine, EngineError> {
    let Engine { socket, controllers, .. } = Engine::reach().await?;
    Ok(FoundEngine { socket, controllers })
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
}
