//! [`Files`]: `fs` of a js service, on handles of what was granted (`handles.rs`). Landlock holds the process to the same
//! grants once more.

use std::fs::File;
use std::io::{self, Read, Write};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, ftruncate, mkdirat, unlinkat};
use rustix::io::Errno;

use super::grants::JsGrants;
use super::handles::{Handles, Wish};
use super::messages::{Done, Failure, FileKind, LONGEST_PAYLOAD};

/// The most bytes of names in one folder that are listed.
const LONGEST_LIST: usize = 16 << 20;

/// Everything that a service may reach with `fs`.
#[derive(Debug)]
pub(super) struct Files(Handles);

impl Files {
    /// What these grants open.
    pub(super) fn open(grants: &JsGrants) -> Self {
        Self(Handles::open(grants))
    }

    /// The bytes of a file.
    pub(super) fn read(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let place = self.0.find(path, Wish::Read)?;
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
    pub(super) fn write(&self, path: &str, bytes: &[u8]) -> Result<(), Failure> {
        let place = self.0.find(path, Wish::Write)?;
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
    pub(super) fn list(&self, path: &str) -> Result<Vec<String>, Failure> {
        let place = self.0.find(path, Wish::Read)?;
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
    pub(super) fn remove(&self, path: &str) -> Result<(), Failure> {
        let place = self.0.find(path, Wish::Write)?;
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
    pub(super) fn stat(&self, path: &str) -> Result<Done, Failure> {
        let place = self.0.find(path, Wish::Read)?;
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
    pub(super) fn make_folder(&self, path: &str) -> Result<(), Failure> {
        let place = self.0.find(path, Wish::Write)?;
        let make = || -> Result<(), Trouble> {
            let (folder, name) = place.parent()?;
            Ok(mkdirat(&folder, name, Mode::from_raw_mode(0o777))?)
        };
        make().map_err(|trouble| trouble.failure("make", path))
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
