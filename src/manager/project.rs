//! [`Project`]: where a project lives on this host, and the lock that keeps a second orchestrator out.
//!
//! ```text
//!   <runtime>/control.sock        the control API
//!   <runtime>/s<N>/               one start: its port.sock and its root folder
//!   <state>/lock                  held by the orchestrator and its keeper
//!   <state>/log/                  what the services wrote
//! ```
//!
//! The runtime folder goes when the project ends, however it ends: the keeper removes it when the orchestrator was
//! killed. The keeper holds the lock as well, so whoever gets it finds that clean-up done.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orchestrator_core::ServiceName;
use rustix::fs::{FlockOperation, flock};

/// How long to wait for the keeper of a killed orchestrator to have cleaned up.
const CLEAN_UP_LIMIT: Duration = Duration::from_secs(10);

/// How often to look whether it has.
const CLEAN_UP_POLL: Duration = Duration::from_millis(20);

/// Where a project lives on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    name: ServiceName,
    runtime: PathBuf,
    state: PathBuf,
}

/// Held while a project runs: nobody else can run it.
#[derive(Debug)]
pub struct ProjectLock {
    /// The locked file. The lock belongs to the open file, so it lasts until every process that inherited it has gone.
    pub(crate) file: File,
}

/// What can be wrong with a project's folders.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// It runs already.
    #[error("project '{project}' is already running")]
    Running {
        /// Its name.
        project: ServiceName,
    },
    /// A folder cannot be made or read.
    #[error("cannot use the folder {}", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder could be written by somebody else.
    #[error("the folder {} is not this user's own: remove it, or set XDG_RUNTIME_DIR", .folder.display())]
    NotOwn {
        /// The folder.
        folder: PathBuf,
    },
}

impl Project {
    /// The project of this name, in the user's own runtime and state folders (the XDG base directories, where they
    /// are set). Nothing is made yet.
    #[must_use]
    pub fn of_user(name: ServiceName) -> Self {
        let (runtime, state) = apart(runtime_root(), state_root());
        let (runtime, state) = (runtime.join(name.as_str()), state.join(name.as_str()));
        Self { name, runtime, state }
    }

    /// The project of this name, in folders of the caller's choice, which it must not share with another: for
    /// programs that embed a manager, and for tests.
    #[must_use]
    pub fn at(name: ServiceName, runtime: PathBuf, state: PathBuf) -> Self {
        Self { name, runtime, state }
    }

    /// The user's projects that run now, by name.
    #[must_use]
    pub fn running_of_user() -> Vec<Self> {
        let folders = fs::read_dir(runtime_root()).into_iter().flatten().flatten();
        let names = folders.filter_map(|folder| ServiceName::parse(folder.file_name().to_str()?).ok());
        let mut running: Vec<_> = names.map(Self::of_user).filter(Self::answers).collect();
        running.sort_by(|a, b| a.name.cmp(&b.name));
        running
    }

    /// The folders that hold those of all the user's projects.
    #[must_use]
    pub fn roots() -> [PathBuf; 2] {
        [runtime_root(), state_root()]
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ServiceName {
        &self.name
    }

    /// Its folder while it runs: sockets, and a folder a start. Gone when it has ended, however it ended.
    #[must_use]
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// Its folder that stays: the lock and the log.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Where its control API listens while it runs.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.runtime.join("control.sock")
    }

    /// Where its log is kept.
    #[must_use]
    pub fn log_folder(&self) -> PathBuf {
        self.state.join("log")
    }

    /// The file that whoever runs the project holds a lock on.
    pub(crate) fn lock_file(&self) -> PathBuf {
        self.state.join("lock")
    }

    /// Whether an orchestrator answers for it now.
    #[must_use]
    pub fn answers(&self) -> bool {
        UnixStream::connect(self.control_socket()).is_ok()
    }

    /// Makes the folders, empty the runtime one, and takes the lock. Waits for the keeper of a killed orchestrator to
    /// have cleaned up.
    ///
    /// # Errors
    /// Where it runs already, or the folders cannot be made or are not the user's own.
    pub async fn lock(&self) -> Result<ProjectLock, ProjectError> {
        own_folder(&self.state)?;
        let path = self.lock_file();
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| ProjectError::Folder { folder: path, source })?;
        self.wait_for(&file).await?;
        if let Some(root) = self.runtime.parent() {
            own_folder(root)?;
        }
        let emptied = match fs::remove_dir_all(&self.runtime) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        emptied.map_err(|source| ProjectError::Folder { folder: self.runtime.clone(), source })?;
        own_folder(&self.runtime)?;
        Ok(ProjectLock { file })
    }

    async fn wait_for(&self, file: &File) -> Result<(), ProjectError> {
        let polls = CLEAN_UP_LIMIT.as_millis() / CLEAN_UP_POLL.as_millis();
        for _ in 0..polls {
            if flock(file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                return Ok(());
            }
            if self.answers() {
                break;
            }
            tokio::time::sleep(CLEAN_UP_POLL).await;
        }
        Err(ProjectError::Running { project: self.name.clone() })
    }
}

/// Makes the folder if it is not there, for this user alone, and checks that it is.
fn own_folder(folder: &Path) -> Result<(), ProjectError> {
    let failed = |source| ProjectError::Folder { folder: folder.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let found = fs::symlink_metadata(folder).map_err(failed)?;
    let own =
        found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0;
    if own { Ok(()) } else { Err(ProjectError::NotOwn { folder: folder.to_owned() }) }
}

fn runtime_root() -> PathBuf {
    let uid = rustix::process::getuid().as_raw();
    let of_session = env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let of_login = || Some(PathBuf::from(format!("/run/user/{uid}"))).filter(|dir| dir.is_dir());
    let of_root = || (uid == 0).then(|| PathBuf::from("/run"));
    match of_session.or_else(of_login).or_else(of_root) {
        Some(dir) => dir.join("orchestrator"),
        None => env::temp_dir().join(format!("orchestrator-{uid}")),
    }
}

fn state_root() -> PathBuf {
    let set = |name| env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    set("XDG_STATE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(|| PathBuf::from("/var/lib"))
        .join("orchestrator")
}

/// What is kept must not lie in what is removed, so where both variables name one folder they get one each in it. No
/// project has a name like this one.
fn apart(runtime: PathBuf, state: PathBuf) -> (PathBuf, PathBuf) {
    if runtime == state { (runtime, state.join("_state")) } else { (runtime, state) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn project(below: &Path) -> Project {
        let name = ServiceName::parse("shop").unwrap();
        Project::at(name, below.join("run/shop"), below.join("state/shop"))
    }

    #[tokio::test]
    async fn a_second_orchestrator_is_kept_out_until_the_first_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let project = project(folder.path());
        let lock = project.lock().await.unwrap();
        let socket = std::os::unix::net::UnixListener::bind(project.control_socket()).unwrap();
        let refused = project.lock().await.unwrap_err();
        assert_eq!(refused.to_string(), "project 'shop' is already running");
        drop((lock, socket));
        project.lock().await.unwrap();
        assert!(!project.control_socket().exists(), "what the first left is gone");
    }

    #[test]
    fn what_is_kept_never_lies_in_what_is_removed() {
        let (run, state) = (PathBuf::from("/run/o"), PathBuf::from("/var/o"));
        assert_eq!(apart(run.clone(), state.clone()), (run.clone(), state));
        assert_eq!(apart(run.clone(), run.clone()), (run.clone(), run.join("_state")));
        assert!(ServiceName::parse("_state").is_err());
    }

    #[tokio::test]
    async fn a_folder_that_others_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let project = project(folder.path());
        fs::create_dir_all(project.runtime().parent().unwrap()).unwrap();
        fs::set_permissions(project.runtime().parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
        let refused = project.lock().await.unwrap_err();
        assert!(matches!(refused, ProjectError::NotOwn { .. }), "{refused}");
    }
}
