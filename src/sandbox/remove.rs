//! Removing folders that a stranger has filled: whatever is in them, nothing outside is touched.
//!
//! Everything happens relative to open descriptors, no symbolic link is followed, and no other file system is
//! entered. Folders are flattened instead of descended into: what a subfolder holds is first moved up to the top, so
//! that neither the stack nor the number of descriptors depends on how deep it goes.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, chmod, fstat, openat, renameat, unlinkat};
use rustix::io::Errno;

/// Removes a folder with all that is in it. That it is not there is no error.
///
/// # Errors
/// The first thing that could not be removed; the rest is removed all the same.
pub fn remove_tree(folder: &Path) -> io::Result<()> {
    match empty_folder(folder).and_then(|()| Ok(unlinkat(CWD, folder, AtFlags::REMOVEDIR)?)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes all that is in a folder.
///
/// # Errors
/// As [`remove_tree`]; also where there is no such folder.
pub fn empty_folder(folder: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = openat(CWD, folder, flags, Mode::empty())?;
    let mut emptying = Emptying { device: fstat(&top)?.st_dev, top, moved: 0, failure: None };
    while emptying.pass()? > 0 {}
    emptying.failure.map_or(Ok(()), |error| Err(error.into()))
}

/// How many entries are read before they are removed: a folder may hold more than memory should.
const BATCH: usize = 1024;

struct Emptying {
    top: OwnedFd,
    /// The file system that it is on.
    device: u64,
    /// How many entries have been moved to the top, which makes their names.
    moved: u64,
    /// What went wrong first.
    failure: Option<Errno>,
}

impl Emptying {
    /// Removes some of what is at the top. Answers with how many entries it got rid of: none when there are none, or
    /// when all that are left cannot be removed.
    fn pass(&mut self) -> io::Result<usize> {
        let mut gone = 0;
        for name in names(&self.top)? {
            match self.remove(&name) {
                Ok(()) => gone += 1,
                Err(Errno::NOENT) => {}
                Err(error) => drop(self.failure.get_or_insert(error)),
            }
        }
        Ok(gone)
    }

    fn remove(&mut self, name: &CStr) -> Result<(), Errno> {
        match unlinkat(&self.top, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => self.remove_folder(name),
            other => other,
        }
    }

    /// Moves what is in a folder to the top, until it is empty and can be removed.
    fn remove_folder(&mut self, name: &CStr) -> Result<(), Errno> {
        let folder = self.open(name)?;
        if fstat(&folder)?.st_dev != self.device {
            return Err(Errno::XDEV);
        }
        loop {
            let names = names(&folder)?;
            if names.is_empty() {
                return unlinkat(&self.top, name, AtFlags::REMOVEDIR);
            }
            for inner in names {
                self.take_out(&folder, &inner)?;
            }
        }
    }

    fn take_out(&mut self, folder: &OwnedFd, name: &CStr) -> Result<(), Errno> {
        match unlinkat(folder, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            other => return other,
        }
        // A folder can be moved only by who may write to it.
        drop(open_folder(folder, name)?);
        self.moved += 1;
        let place = format!(".removed-{}-{}", std::process::id(), self.moved);
        renameat(folder, name, &self.top, place)
    }

    fn open(&self, name: &CStr) -> Result<OwnedFd, Errno> {
        open_folder(&self.top, name)
    }
}

/// Opens a folder, and makes it readable and writable for its owner if it is not.
fn open_folder(parent: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = openat(parent, name, flags | OFlags::PATH, Mode::empty())?;
    if fstat(&handle)?.st_mode & 0o700 != 0o700 {
        // Through the handle, because a path could be made to lead elsewhere, and chmod follows symbolic links.
        chmod(format!("/proc/self/fd/{}", handle.as_raw_fd()), Mode::RWXU)?;
    }
    openat(parent, name, flags | OFlags::RDONLY, Mode::empty())
}

/// The names of some entries.
fn names(folder: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
        if names.len() == BATCH {
            break;
        }
    }
    Ok(names)
}
