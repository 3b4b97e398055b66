//! [`RootFolder`]: the folder of one start. What is shipped is written into it before anything runs, and it is emptied
//! when everything has ended.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use orchestrator_port::bundle::Entry;
use orchestrator_sandbox::empty_folder;

/// A folder of the start's own, made for it by the orchestrator, that only this user can enter.
#[derive(Debug)]
pub(crate) struct RootFolder(PathBuf);

impl RootFolder {
    /// Where a service keeps what it needs only while it runs.
    pub(crate) const TEMPORARY: &'static str = "tmp";

    /// Makes what every start has in its root folder.
    pub(crate) fn prepare(path: PathBuf) -> io::Result<Self> {
        let root = Self(path);
        make_folder(&root.0.join(Self::TEMPORARY))?;
        Ok(root)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file of a bundle. Nothing is there that it could follow out of the folder or overwrite: nothing has run
    /// yet, and a bundle has no file twice.
    pub(crate) fn write(&self, entry: &Entry) -> io::Result<()> {
        let path = self.0.join(entry.path.as_str());
        if let Some(folder) = path.parent() {
            make_folder(folder)?;
        }
        let mode = if entry.executable { 0o700 } else { 0o600 };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(&entry.bytes)
    }

    /// Removes what is in it. That something could not be removed is the orchestrator's to find: it removes the rest.
    pub(crate) fn empty(&self) {
        let _ = empty_folder(&self.0);
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
