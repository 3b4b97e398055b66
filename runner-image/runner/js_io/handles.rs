//! [`Handles`]: the granted files and folders, opened once, and the way from a path to a place below one of them.
//!
//! A path is only text until a grant is found that it lies in. From there on the kernel looks it up, beneath the grant's
//! handle and through no symbolic link (`openat2`): whatever a service makes in its folders, nothing leads out of them.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::grants::{JsGrants, SCRATCH, denied};
use super::messages::Failure;

/// Everything that is granted to a service.
#[derive(Debug)]
pub(super) struct Handles {
    service: String,
    /// What relative paths start from.
    base: PathBuf,
    handles: Vec<Handle>,
}

/// One grant.
#[derive(Debug)]
struct Handle {
    /// What the service calls it.
    at: PathBuf,
    /// The folder; of a single file, the one that it is in. Or why it could not be opened, for who tries.
    folder: Result<OwnedFd, Errno>,
    /// The file's name, where a single file is granted.
    file: Option<PathBuf>,
    writes: bool,
}

/// A place below a handle.
#[derive(Debug)]
pub(super) struct Place<'a> {
    handle: &'a Handle,
    /// Relative, without `..`, and `.` for the handle itself.
    below: PathBuf,
}

/// What somebody wants with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Read,
    Write,
}

impl Handles {
    /// Opens all of it. What is not there any more is an error of who tries it.
    pub(super) fn open(grants: &JsGrants) -> Self {
        let path = |flags| OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | flags;
        let scratch = grants.scratch.iter().map(|scratch| Handle {
            at: SCRATCH.into(),
            // The way there is the orchestrator's own, links and all.
            folder: openat2(CWD, scratch, path(OFlags::empty()), Mode::empty(), ResolveFlags::empty()),
            file: None,
            writes: true,
        });
        let written = grants.write.iter().map(|path| Handle::open(path, true));
        let read = grants.read.iter().map(|path| Handle::open(path, false));
        let handles = scratch.chain(written).chain(read).collect();
        Self { service: grants.service.clone(), base: grants.base.clone(), handles }
    }

    /// The grant that is nearest to a path decides. `.` and `..` in it are taken as they are written, which is right because
    /// no link is ever followed.
    pub(super) fn find(&self, path: &str, wish: Wish) -> Result<Place<'_>, Failure> {
        let whole = plain(&self.base.join(path))
            .ok_or_else(|| Failure::new("EINVAL", format!("'{path}' is no path")))?;
        let holding = self.handles.iter().filter(|handle| handle.holds(&whole));
        // Of two grants of one path the first allows more, and the last of the nearest is taken.
        let nearest = holding.rev().max_by_key(|handle| handle.at.components().count());
        let Some(handle) = nearest.filter(|handle| wish == Wish::Read || handle.writes) else {
            let verb = if wish == Wish::Read { "read" } else { "write" };
            let whole = whole.display();
            let line = format!("fs.{verb}: [\"{whole}\"]");
            return Err(denied(&self.service, format_args!("{verb} {whole}"), line));
        };
        let below = match (&handle.file, whole.strip_prefix(&handle.at)) {
            (Some(file), _) => file.clone(),
            (None, Ok(below)) if !below.as_os_str().is_empty() => below.into(),
            (None, _) => ".".into(),
        };
        Ok(Place { handle, below })
    }
}

impl Handle {
    fn open(path: &Path, writes: bool) -> Self {
        let straight = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path: &Path| openat2(CWD, path, flags, Mode::empty(), straight);
        let (folder, file) = match (open(path), path.parent(), path.file_name()) {
            (Err(Errno::NOTDIR), Some(parent), Some(name)) => (open(parent), Some(name.into())),
            (folder, ..) => (folder, None),
        };
        Self { at: path.into(), folder, file, writes }
    }

    fn holds(&self, path: &Path) -> bool {
        if self.file.is_some() { path == self.at } else { path.starts_with(&self.at) }
    }
}

impl Place<'_> {
    /// Opens it; a file that is made so is not anybody else's to read, as the process's umask says.
    pub(super) fn open(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        self.open_below(&self.below, flags)
    }

    /// The folder that it is in, and its name there. What was granted itself is neither made nor removed.
    pub(super) fn parent(&self) -> Result<(OwnedFd, &Path), Errno> {
        let (Some(name), None) = (self.below.file_name(), &self.handle.file) else { return Err(Errno::BUSY) };
        let parent = self.below.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = self.open_below(parent.unwrap_or(Path::new(".")), OFlags::PATH | OFlags::DIRECTORY)?;
        Ok((folder, Path::new(name)))
    }

    fn open_below(&self, below: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let folder = self.handle.folder.as_ref().map_err(|error| *error)?;
        let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o666) } else { Mode::empty() };
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        openat2(folder.as_fd(), below, flags | OFlags::CLOEXEC, mode, within)
    }
}

/// A path from `/` on, without `.` and `..`.
fn plain(path: &Path) -> Option<PathBuf> {
    if !path.is_absolute() || path.as_os_str().as_encoded_bytes().contains(&0) {
        return None;
    }
    let mut plain = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => {
                plain.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Some(plain)
}
