//! [`Project`]: todo
use std::path::{Path, PathBuf};
use orchestrator_core::ServiceName;

/// Where a project lives on this host.
#[derive(Clone, Debug)]
pub struct Project {
    name: ServiceName,
    runtime: PathBuf,
    state: PathBuf,
}

/// Held while a project runs: nobody else can run it.
#[derive(Debug)]
pub struct ProjectLock {}

/// What can be wrong with a project's folders.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// It runs already.
    #[error("project '{project}' is already running")]
    Running {
        /// Its name.
        project: ServiceName,
    },
}

impl Project {
    /// The project of this name, in the user's own runtime and state folders. Nothing is made yet.
    #[must_use]
    pub fn of_user(_name: ServiceName) -> Self { todo!() }
    /// The project of this name, below folders of the caller's choice: for programs that embed a manager, and tests.
    #[must_use]
    pub fn below(name: ServiceName, runtime: PathBuf, state: PathBuf) -> Self { Self { name, runtime, state } }
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ServiceName { &self.name }
    /// Its folder while it runs: sockets, and a folder a start. Gone when it has ended, however it ended.
    #[must_use]
    pub fn runtime(&self) -> &Path { &self.runtime }
    /// Its folder that stays: the log.
    #[must_use]
    pub fn state(&self) -> &Path { &self.state }
    /// Where its control API listens while it runs.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf { self.runtime.join("control.sock") }
    /// Where its log is kept.
    #[must_use]
    pub fn log_folder(&self) -> PathBuf { self.state.join("log") }
    /// The user's projects that run now.
    #[must_use]
    pub fn running_of_user() -> Vec<Self> { todo!() }
    /// Makes the folders and takes the lock. Waits for what a killed orchestrator of this project left to be cleaned up.
    ///
    /// # Errors
    /// Where it runs already, or the folders cannot be made or are not the user's own.
    pub async fn lock(&self) -> Result<ProjectLock, ProjectError> { todo!() }
}
