//! Which files a process may open, and whom it may signal: a Landlock domain of its own.
//!
//! What is not granted is refused by the kernel with EACCES, whatever way it is reached. A domain also keeps its
//! processes from signalling, tracing and reading everyone outside of it, the runner included, and from the host's
//! abstract sockets. Every right here is a hard requirement: a kernel that cannot hold one of them is refused.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
};

/// The oldest version of the interface that has everything used here: Linux 6.12, with scopes.
const VERSION: ABI = ABI::V6;

/// A file or folder, with everything below it, and what may be done there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Where, as the confined process sees it.
    pub path: PathBuf,
    /// What.
    pub access: Access,
}

/// What may be done with a file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Folders are listed.
    List,
    /// Files are read, folders are listed.
    Read,
    /// And files are executed.
    Execute,
    /// Files are read, written, made, renamed and removed; never executed.
    Write,
    /// A device is read, written and asked what only it understands.
    Device,
}

/// Why there is no domain.
#[derive(Debug, thiserror::Error)]
pub enum LandlockError {
    /// The kernel has no Landlock, or one that is too old.
    #[error(
        "this kernel cannot hold a service to its files (Landlock ABI 6, Linux 6.12 or later, is needed)"
    )]
    Kernel(#[source] RulesetError),
    /// A granted path cannot be opened.
    #[error("failed to open {path} for a rule", path = path.display())]
    Path {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The domain in which only `reaches` can be opened, as a descriptor that a process restricts itself with. Paths are
/// looked up now. With `shared_network`, TCP connections and listeners are refused too: in a network namespace of its
/// own a process has nobody to connect to.
///
/// # Errors
/// Where the kernel cannot hold all of it, or a path is not there.
pub fn domain(reaches: &[Reach], shared_network: bool) -> Result<OwnedFd, LandlockError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(VERSION))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(VERSION)))
        .map_err(LandlockError::Kernel)?;
    if shared_network {
        ruleset = ruleset.handle_access(AccessNet::from_all(VERSION)).map_err(LandlockError::Kernel)?;
    }
    let mut created = ruleset.create().map_err(LandlockError::Kernel)?;
    for reach in reaches {
        let (file, is_folder) = open(&reach.path)?;
        let rule = PathBeneath::new(file, reach.access.rights(is_folder));
        created = created.add_rule(rule).map_err(LandlockError::Kernel)?;
    }
    let descriptor: Option<OwnedFd> = created.into();
    descriptor.ok_or_else(|| LandlockError::Path {
        path: PathBuf::new(),
        source: io::ErrorKind::Unsupported.into(),
    })
}

/// The newest version of Landlock that this kernel speaks; 0 where it has none or it is switched off.
#[must_use]
pub fn version() -> u32 {
    const ASK_VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the call reads nothing, makes nothing and answers with a number.
    let answer = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0usize, ASK_VERSION)
    };
    u32::try_from(answer).unwrap_or(0)
}

fn open(path: &Path) -> Result<(PathFd, bool), LandlockError> {
    let failed = |source| LandlockError::Path { path: path.into(), source };
    let is_folder = path.metadata().map_err(failed)?.is_dir();
    let file = PathFd::new(path).map_err(|error| failed(io::Error::other(error)))?;
    Ok((file, is_folder))
}

impl Access {
    fn rights(self, folder: bool) -> BitFlags<AccessFs> {
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let rights = match self {
            Self::List => AccessFs::ReadDir.into(),
            Self::Read => read,
            Self::Execute => read | AccessFs::Execute,
            Self::Write => {
                read | AccessFs::WriteFile
                    | AccessFs::Truncate
                    | AccessFs::RemoveDir
                    | AccessFs::RemoveFile
                    | AccessFs::MakeDir
                    | AccessFs::MakeReg
                    | AccessFs::MakeSym
                    | AccessFs::MakeSock
                    | AccessFs::MakeFifo
                    | AccessFs::Refer
            }
            Self::Device => AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev,
        };
        // The kernel refuses rights over entries where there are none.
        if folder { rights } else { rights & AccessFs::from_file(VERSION) }
    }
}
