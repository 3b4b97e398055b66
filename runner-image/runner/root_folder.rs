//! [`RootFolder`]: the folder of one start. What is shipped is written into it before anything runs, and it is emptied
//! when everything has ended.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use orchestrator_port::bundle::Entry;
use orchestrator_sandbox::{empty_folder, mounts};

/// A folder of the start's own, made for it by the orchestrator.
#[derive(Debug)]
pub(crate) struct RootFolder {
    path: PathBuf,
    temporary: PathBuf,
    secrets: PathBuf,
}

impl RootFolder {
    /// A folder on the host, which nobody but this user can enter, with the temporary one in it.
    pub(crate) fn prepare(path: PathBuf) -> io::Result<Self> {
        let temporary = path.join("tmp");
        make_folder(&temporary)?;
        let secrets = path.join("secrets");
        make_folder(&secrets)?;
        Ok(Self { path, temporary, secrets })
    }

    /// That of a file tree of the service's own, with the temporary one beside it.
    pub(crate) fn in_view() -> Self {
        Self { path: mounts::CODE.into(), temporary: mounts::SCRATCH.into(), secrets: mounts::SECRETS.into() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a service keeps what it needs only while it runs.
    pub(crate) fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Where it finds its secrets.
    pub(crate) fn secrets(&self) -> &Path {
        &self.secrets
    }

    /// Writes a secret, before anything runs.
    pub(crate) fn write_secret(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // The service may be another user; nobody else gets here.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o444).open(self.secrets.join(name));
        file?.write_all(bytes)
    }

    /// Writes a file of a bundle. Nothing is there that it could follow out of the folder or overwrite: nothing has run
    /// yet, and a bundle has no file twice.
    pub(crate) fn write(&self, entry: &Entry) -> io::Result<()> {
        let path = self.path.join(entry.path.as_str());
        if let Some(folder) = path.parent() {
            make_folder(folder)?;
        }
        // The service may be another user.
        let mode = if entry.executable { 0o755 } else { 0o644 };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(&entry.bytes)
    }

    /// Removes what is in it. That something could not be removed is the orchestrator's to find: it removes the rest.
    pub(crate) fn empty(&self) {
        let _ = empty_folder(&self.path);
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)
}
