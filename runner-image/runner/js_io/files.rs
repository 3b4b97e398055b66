//! [`Files`]: `fs` of a js service, on handles of what was granted.
//!
//! A path is only ever text until a grant is found that it lies in; what follows is looked up by the kernel below that
//! grant's handle (`openat2`: beneath it, through no symbolic link), so that nothing a service makes in a folder of its own
//! leads out of it. Landlock holds the process to the same grants once more.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, ftruncate, mkdirat, openat,
    openat2, unlinkat,
};
use rustix::io::Errno;

use super::grants::{JsGrants, SCRATCH, denied};
use super::messages::{Done, Failure, FileKind, LONGEST_PAYLOAD};

/// The most bytes of names in one folder that are listed.
const LONGEST_LIST: usize = 16 << 20;

/// Everything that a service may reach with `fs`.
#[derive(Debug)]
pub(crate) struct Files {
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
    /// The folder; of a single file, the one that it is in.
    folder: OwnedFd,
    /// The file's name, where a single file is granted.
    file: Option<PathBuf>,
    writes: bool,
}

/// A place below a handle.
struct Place<'a> {
    handle: &'a Handle,
    /// Relative, without `..`, and `.` for the handle itself.
    below: PathBuf,
}

/// What somebody wants with a path, in the words of an error and of the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Read,
    Write,
}

impl Files {
    /// Opens a handle of each grant.
    ///
    /// # Errors
    /// Where a grant is not there any more.
    pub(crate) fn open(grants: &JsGrants) -> io::Result<Self> {
        let mut handles = Vec::new();
        if let Some(scratch) = &grants.scratch {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let folder = openat(CWD, scratch, flags, Mode::empty())?;
            handles.push(Handle { at: SCRATCH.into(), folder, file: None, writes: true });
        }
        for (paths, writes) in [(&grants.write, true), (&grants.read, false)] {
            for path in paths {
                handles.push(Handle::open(path, writes)?);
            }
        }
        Ok(Self { service: grants.service.clone(), base: grants.base.clone(), handles })
    }

    /// The bytes of a file.
    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let place = self.find(path, Wish::Read)?;
        let read = || -> Result<Vec<u8>, Trouble> {
            let file = place.open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
            let length = regular(&fstat(&file)?)?;
            let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
            // It may grow meanwhile.
            File::from(file).take(LONGEST_PAYLOAD + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > LONGEST_PAYLOAD { Err(Trouble::TooLong) } else { Ok(bytes) }
        };
        read().map_err(|trouble| trouble.failure("read", path))
    }

    /// Makes a file of these bytes, in the place of the one that is there.
    pub(crate) fn write(&self, path: &str, bytes: &[u8]) -> Result<(), Failure> {
        let place = self.find(path, Wish::Write)?;
        let write = || -> Result<(), Trouble> {
            // Emptied only once it is known to be a file.
            let file = place.open(OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOCTTY)?;
            regular(&fstat(&file)?)?;
            ftruncate(&file, 0)?;
            Ok(File::from(file).write_all(bytes)?)
        };
        write().map_err(|trouble| trouble.failure("write", path))
    }

    /// The names in a folder, in their order. A name that is no text is shown with replacement characters.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<String>, Failure> {
        let place = self.find(path, Wish::Read)?;
        let list = || -> Result<Vec<String>, Trouble> {
            let folder = place.open(OFlags::RDONLY | OFlags::DIRECTORY)?;
            let (mut names, mut length) = (Vec::new(), 0);
            for entry in Dir::read_from(folder)? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                length += name.len();
                if length > LONGEST_LIST {
                    return Err(Trouble::TooLong);
                }
                names.push(name);
            }
            names.retain(|name| name != "." && name != "..");
            names.sort_unstable();
            Ok(names)
        };
        list().map_err(|trouble| trouble.failure("list", path))
    }

    /// Removes a file, a link or an empty folder.
    pub(crate) fn remove(&self, path: &str) -> Result<(), Failure> {
        let place = self.find(path, Wish::Write)?;
        let remove = || -> Result<(), Trouble> {
            let (folder, name) = place.parent()?;
            match unlinkat(&folder, name, AtFlags::empty()) {
                Err(Errno::ISDIR) => Ok(unlinkat(&folder, name, AtFlags::REMOVEDIR)?),
                removed => Ok(removed?),
            }
        };
        remove().map_err(|trouble| trouble.failure("remove", path))
    }

    /// What there is.
    pub(crate) fn stat(&self, path: &str) -> Result<Done, Failure> {
        let place = self.find(path, Wish::Read)?;
        let stat = || -> Result<Done, Trouble> {
            let stat = fstat(place.open(OFlags::PATH | OFlags::NOFOLLOW)?)?;
            let kind = match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => FileKind::File,
                FileType::Directory => FileKind::Folder,
                FileType::Symlink => FileKind::Link,
                _ => FileKind::Other,
            };
            let modified =
                stat.st_mtime.saturating_mul(1000) + (stat.st_mtime_nsec / 1_000_000).cast_signed();
            Ok(Done::Stat { kind, size: u64::try_from(stat.st_size).unwrap_or_default(), modified })
        };
        stat().map_err(|trouble| trouble.failure("look at", path))
    }

    /// Makes a folder in one that is there.
    pub(crate) fn make_folder(&self, path: &str) -> Result<(), Failure> {
        let place = self.find(path, Wish::Write)?;
        let make = || -> Result<(), Trouble> {
            let (folder, name) = place.parent()?;
            Ok(mkdirat(&folder, name, Mode::from_raw_mode(0o777))?)
        };
        make().map_err(|trouble| trouble.failure("make", path))
    }

    /// The grant that is nearest to a path decides. `.` and `..` in it are taken as they are written, which is right because
    /// no link is ever followed.
    fn find(&self, path: &str, wish: Wish) -> Result<Place<'_>, Failure> {
        let whole = plain(&self.base.join(path)).ok_or_else(|| {
            let text = format!("'{path}' is no path");
            Failure::new("EINVAL", text)
        })?;
        let nearest = self.handles.iter().filter(|handle| handle.holds(&whole));
        // Of two grants of one path the one that allows more comes first, and `max_by_key` takes the last.
        let nearest = nearest.rev().max_by_key(|handle| handle.at.components().count());
        let (verb, key) = match wish {
            Wish::Read => ("read", "read"),
            Wish::Write => ("write", "write"),
        };
        match nearest.filter(|handle| wish == Wish::Read || handle.writes) {
            Some(handle) => {
                let below = match (&handle.file, whole.strip_prefix(&handle.at)) {
                    (Some(file), _) => file.clone(),
                    (None, Ok(below)) if !below.as_os_str().is_empty() => below.into(),
                    (None, _) => ".".into(),
                };
                Ok(Place { handle, below })
            }
            None => {
                let whole = whole.display();
                let line = format!("fs.{key}: [\"{whole}\"]");
                Err(denied(&self.service, format_args!("{verb} {whole}"), line))
            }
        }
    }
}

impl Handle {
    fn open(path: &Path, writes: bool) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let straight = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let folder = openat2(CWD, path, flags | OFlags::DIRECTORY, Mode::empty(), straight);
        let (folder, file) = match (folder, path.parent(), path.file_name()) {
            (Err(Errno::NOTDIR), Some(parent), Some(name)) => {
                let parent = openat2(CWD, parent, flags | OFlags::DIRECTORY, Mode::empty(), straight)?;
                (parent, Some(name.into()))
            }
            (folder, ..) => (folder?, None),
        };
        Ok(Self { at: path.into(), folder, file, writes })
    }

    fn holds(&self, path: &Path) -> bool {
        if self.file.is_some() { path == self.at } else { path.starts_with(&self.at) }
    }
}

impl Place<'_> {
    fn open(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        self.open_below(&self.below, flags)
    }

    /// The folder that it is in, and its name there. What was granted itself is neither made nor removed.
    fn parent(&self) -> Result<(OwnedFd, &Path), Errno> {
        let (Some(name), None) = (self.below.file_name(), &self.handle.file) else { return Err(Errno::BUSY) };
        let parent = self.below.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = self.open_below(parent.unwrap_or(Path::new(".")), OFlags::PATH | OFlags::DIRECTORY)?;
        Ok((folder, Path::new(name)))
    }

    fn open_below(&self, below: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o666) } else { Mode::empty() };
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        openat2(self.handle.folder.as_fd(), below, flags | OFlags::CLOEXEC, mode, within)
    }
}

/// Why the system would not do something.
enum Trouble {
    System(io::Error),
    NoFile,
    TooLong,
}

impl<E: Into<io::Error>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::System(error.into())
    }
}

impl Trouble {
    fn failure(self, verb: &str, path: &str) -> Failure {
        match self {
            Self::System(error) => {
                let code = Errno::from_io_error(&error).map_or("EIO", name);
                match code {
                    "ELOOP" => {
                        Failure::new(code, format!("cannot {verb} '{path}': a symbolic link is on the way"))
                    }
                    "EBUSY" => Failure::new(
                        code,
                        format!("cannot {verb} '{path}': it is in use, or what was granted itself"),
                    ),
                    _ => Failure::new(code, format!("cannot {verb} '{path}': {error}")),
                }
            }
            Self::NoFile => Failure::new("EISDIR", format!("cannot {verb} '{path}': it is no file")),
            Self::TooLong => {
                let most = LONGEST_PAYLOAD >> 20;
                Failure::new("limit", format!("cannot {verb} '{path}': it is longer than {most} MiB"))
            }
        }
    }
}

/// The length of a file; an error for what is none, or is too long.
fn regular(stat: &Stat) -> Result<u64, Trouble> {
    let length = u64::try_from(stat.st_size).unwrap_or_default();
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if length > LONGEST_PAYLOAD => Err(Trouble::TooLong),
        FileType::RegularFile => Ok(length),
        _ => Err(Trouble::NoFile),
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

/// An error's name, as the manual has it.
fn name(errno: Errno) -> &'static str {
    match errno {
        Errno::NOENT => "ENOENT",
        Errno::ACCESS => "EACCES",
        Errno::PERM => "EPERM",
        Errno::EXIST => "EEXIST",
        Errno::NOTDIR => "ENOTDIR",
        Errno::ISDIR => "EISDIR",
        Errno::NOTEMPTY => "ENOTEMPTY",
        Errno::NOSPC => "ENOSPC",
        Errno::DQUOT => "EDQUOT",
        Errno::ROFS => "EROFS",
        Errno::LOOP => "ELOOP",
        Errno::BUSY => "EBUSY",
        Errno::XDEV => "EXDEV",
        Errno::NAMETOOLONG => "ENAMETOOLONG",
        Errno::MFILE | Errno::NFILE => "EMFILE",
        Errno::NXIO => "ENXIO",
        Errno::INVAL => "EINVAL",
        _ => "EIO",
    }
}
