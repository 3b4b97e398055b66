//! [`ServicesManager`]: todo
use crate::{Embedded, ManagerHandle, Plugins, Project, ProjectLock};
use orchestrator_core::manifest::Manifest;
/// The async shell round the Supervisor.
#[derive(Debug)]
pub struct ServicesManager {}

/// What a project is launched from.
#[derive(Debug)]
pub struct Launch {
    /// Its services.
    pub manifest: Manifest,
    /// The plugins that run them.
    pub plugins: Plugins,
    /// What the binary carries.
    pub embedded: Embedded,
    /// Where it lives.
    pub project: Project,
    /// That nobody else runs it.
    pub lock: ProjectLock,
}
/// Why a project could not be launched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {}

impl ServicesManager {
    /// Brings up the manager of a project. Nothing is started yet: that is asked for with `Request::Start`.
    ///
    /// # Errors
    /// Where what it needs of the host cannot be had.
    pub async fn launch(_launch: Launch) -> Result<ManagerHandle, LaunchError> {
        todo!()
    }
}
