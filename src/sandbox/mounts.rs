//! [`View`]: the files that a service finds, and no others. It is put together on a file system in memory, in a mount
//! namespace of the runner's own, and becomes the root of everything there.
//!
//! ```text
//!   /            read-only         /tmp       scratch, in memory, of a size        /proc   its own processes only
//!   /etc         made here         /service   the code, in memory                 /dev    six devices, and shm
//!   granted paths and what the plugin's runtime needs, bound from the host where they are there
//! ```
//!
//! What is bound is opened first, without following a symbolic link, and bound from what was opened: nobody can put
//! something else in its place in between. Read-only holds for what is mounted below a granted folder too.

use std::ffi::{CStr, CString};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

/// What a service finds.
#[derive(Clone, Debug)]
pub struct View {
    /// What is bound from the host, each at its own path.
    pub places: Vec<Place>,
    /// The most bytes of `/tmp`.
    pub scratch_bytes: u64,
    /// The most files and folders in `/tmp`.
    pub scratch_entries: u64,
    /// The most bytes of `/service`.
    pub code_bytes: u64,
    /// Names beyond `localhost`, with their loopback addresses.
    pub hosts: Vec<(String, String)>,
    /// Whether the runner is another user than the service: then `/proc` has to be told who may see everybody.
    pub two_users: bool,
}

/// Something that is bound from the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where it is, on the host and for the service.
    pub path: PathBuf,
    /// What it is for.
    pub kind: PlaceKind,
}

/// What a bound path is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceKind {
    /// Granted for reading. It has to be there, and cannot be executed.
    Read,
    /// Granted for writing. It has to be there, and cannot be executed.
    Write,
    /// Part of what a runtime needs: read and executed. A symbolic link is made anew, what is not there is left out.
    Runtime,
    /// A device. It has to be there.
    Device,
}

/// What could not be done for a view.
#[derive(Debug, thiserror::Error)]
#[error("failed to {what} {path}", path = path.display())]
pub struct ViewError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The folder of the code.
pub const CODE: &str = "/service";

/// The folder for what is only needed while the service runs.
pub const SCRATCH: &str = "/tmp";

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

impl View {
    /// Makes this view the root of the calling process, which has a mount namespace of its own and every right in it.
    /// `base` is any folder, on which it is put together.
    ///
    /// # Errors
    /// What failed. The process is not to go on then.
    pub(crate) fn become_root(&self, base: &Path) -> Result<(), ViewError> {
        // What is mounted here is not to be seen outside, nor the other way round.
        mount(None, Path::new("/"), None, libc::MS_REC | libc::MS_PRIVATE, "")?;
        memory(base, "mode=0755,size=1m,nr_inodes=4096", 0)?;
        self.fill(base)?;
        for place in self.in_order() {
            place.bind(base)?;
        }
        pivot(base)?;
        let root = open_folder(Path::new("/"))?;
        change(&root, Path::new("/"), READ_ONLY, false)
    }

    /// The outer before the inner.
    fn in_order(&self) -> Vec<&Place> {
        let mut places: Vec<_> = self.places.iter().collect();
        places.sort_by_key(|place| place.path.components().count());
        places
    }

    fn fill(&self, base: &Path) -> Result<(), ViewError> {
        for folder in ["dev/shm", "etc", "proc", "tmp", "service"] {
            make_folder(&base.join(folder))?;
        }
        let (bytes, entries) = (self.scratch_bytes, self.scratch_entries);
        let closed = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        memory(&base.join("tmp"), &format!("mode=1777,size={bytes},nr_inodes={entries}"), closed)?;
        memory(&base.join("dev/shm"), &format!("mode=1777,size={bytes},nr_inodes={entries}"), closed)?;
        let code = format!("mode=0755,size={},nr_inodes=1048576", self.code_bytes);
        memory(&base.join("service"), &code, libc::MS_NOSUID | libc::MS_NODEV)?;
        self.mount_proc(&base.join("proc"))?;
        self.write_etc(&base.join("etc"))?;
        fill_dev(&base.join("dev"))
    }

    fn mount_proc(&self, target: &Path) -> Result<(), ViewError> {
        // The group of the runner sees everybody; it has another user than the service only where it is another user.
        let options = if self.two_users { "hidepid=2,subset=pid,gid=0" } else { "hidepid=2,subset=pid" };
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        mount(Some(c"proc"), target, Some(c"proc"), flags, options)
    }

    fn write_etc(&self, etc: &Path) -> Result<(), ViewError> {
        let mut hosts = String::from("127.0.0.1 localhost\n::1 localhost\n");
        for (name, address) in &self.hosts {
            hosts.push_str(&format!("{address} {name}\n"));
        }
        let files = [
            ("passwd", "root:x:0:0:runner:/:/sbin/nologin\nservice:x:1000:1000:service:/tmp:/sbin/nologin\n"),
            ("group", "root:x:0:\nservice:x:1000:\n"),
            (
                "nsswitch.conf",
                "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n",
            ),
            ("hosts", &hosts),
        ];
        for (name, text) in files {
            let path = etc.join(name);
            fs::write(&path, text).map_err(failed("write", &path))?;
        }
        Ok(())
    }
}

fn fill_dev(dev: &Path) -> Result<(), ViewError> {
    for name in DEVICES {
        let device = Place { path: Path::new("/dev").join(name), kind: PlaceKind::Device };
        match device.bind(dev.parent().unwrap_or(dev)) {
            Ok(()) => {}
            // A service has no terminal, so this one may be missing.
            Err(_) if name == "tty" => {}
            Err(error) => return Err(error),
        }
    }
    for (name, target) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
    {
        let path = dev.join(name);
        symlink(target, &path).map_err(failed("link", &path))?;
    }
    Ok(())
}

impl Place {
    fn bind(&self, base: &Path) -> Result<(), ViewError> {
        let path = &self.path;
        let target = base.join(path.strip_prefix("/").unwrap_or(path));
        if self.kind == PlaceKind::Runtime {
            match fs::symlink_metadata(path) {
                Err(_) => return Ok(()),
                Ok(file) if file.is_symlink() => return link_anew(path, &target),
                Ok(_) => {}
            }
        }
        let source = open_as_granted(path)?;
        let is_folder = rustix::fs::fstat(&source)
            .map(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
            .map_err(|error| failed("look at", path)(error.into()))?;
        let mounted = detached_copy(&source, path)?;
        change(&mounted, path, self.attributes(), true)?;
        make_target(&target, is_folder)?;
        attach(&mounted, &target)
    }

    fn attributes(&self) -> u64 {
        let closed = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
        match self.kind {
            PlaceKind::Read => READ_ONLY | closed | libc::MOUNT_ATTR_NOEXEC,
            PlaceKind::Write => closed | libc::MOUNT_ATTR_NOEXEC,
            PlaceKind::Runtime => READ_ONLY | closed,
            PlaceKind::Device => libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC,
        }
    }
}

const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;

/// Opened from the root, so that a link on the way is met wherever it is.
fn open_as_granted(path: &Path) -> Result<OwnedFd, ViewError> {
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
        .map_err(|error| failed("open without following a symbolic link", path)(error.into()))
}

fn open_folder(path: &Path) -> Result<OwnedFd, ViewError> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| failed("open", path)(error.into()))
}

fn link_anew(path: &Path, target: &Path) -> Result<(), ViewError> {
    let to = fs::read_link(path).map_err(failed("read the link", path))?;
    if let Some(parent) = target.parent() {
        make_folder(parent)?;
    }
    match symlink(to, target) {
        // It lies in a folder that was bound.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(()),
        other => other.map_err(failed("link", target)),
    }
}

/// What is mounted at and below `source`, once more, attached nowhere yet.
fn detached_copy(source: &OwnedFd, path: &Path) -> Result<OwnedFd, ViewError> {
    let flags = libc::OPEN_TREE_CLONE
        | libc::OPEN_TREE_CLOEXEC
        | (libc::AT_RECURSIVE | libc::AT_EMPTY_PATH).unsigned_abs();
    // SAFETY: an open descriptor and an empty path; the answer is a descriptor that nobody else has.
    unsafe {
        let answer = libc::syscall(libc::SYS_open_tree, source.as_raw_fd(), c"".as_ptr(), flags);
        match i32::try_from(answer) {
            Ok(fd) if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
            _ => Err(failed("bind", path)(io::Error::last_os_error())),
        }
    }
}

fn change(mounted: &OwnedFd, path: &Path, set: u64, recursive: bool) -> Result<(), ViewError> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the structure outlives the call, and its size is told.
    let answer = unsafe {
        let size = size_of::<libc::mount_attr>();
        let (fd, empty) = (mounted.as_raw_fd(), c"".as_ptr());
        libc::syscall(libc::SYS_mount_setattr, fd, empty, flags, &raw const attributes, size)
    };
    if answer == 0 { Ok(()) } else { Err(failed("restrict", path)(io::Error::last_os_error())) }
}

fn attach(mounted: &OwnedFd, target: &Path) -> Result<(), ViewError> {
    let place = c_path(target)?;
    // SAFETY: a descriptor and a path that outlive the call.
    let answer = unsafe {
        let (fd, empty) = (mounted.as_raw_fd(), c"".as_ptr());
        let from_descriptor = libc::MOVE_MOUNT_F_EMPTY_PATH;
        libc::syscall(libc::SYS_move_mount, fd, empty, libc::AT_FDCWD, place.as_ptr(), from_descriptor)
    };
    if answer == 0 { Ok(()) } else { Err(failed("bind to", target)(io::Error::last_os_error())) }
}

/// Something to bind to. Below a folder that was bound it is there already.
fn make_target(target: &Path, is_folder: bool) -> Result<(), ViewError> {
    if target.exists() {
        return Ok(());
    }
    if is_folder {
        return make_folder(target);
    }
    if let Some(parent) = target.parent() {
        make_folder(parent)?;
    }
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(target);
    file.map(drop).map_err(failed("make", target))
}

fn make_folder(path: &Path) -> Result<(), ViewError> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(failed("make", path))
}

fn memory(target: &Path, options: &str, flags: libc::c_ulong) -> Result<(), ViewError> {
    mount(Some(c"tmpfs"), target, Some(c"tmpfs"), flags, options)
}

fn mount(
    source: Option<&CStr>,
    target: &Path,
    kind: Option<&CStr>,
    flags: libc::c_ulong,
    options: &str,
) -> Result<(), ViewError> {
    let place = c_path(target)?;
    let options = CString::new(options).map_err(|error| failed("mount", target)(error.into()))?;
    let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: every string outlives the call.
    let answer = unsafe {
        libc::mount(pointer(source), place.as_ptr(), pointer(kind), flags, options.as_ptr().cast())
    };
    if answer == 0 { Ok(()) } else { Err(failed("mount", target)(io::Error::last_os_error())) }
}

/// Makes `base` the root, and lets the old one go.
fn pivot(base: &Path) -> Result<(), ViewError> {
    let step = |what, answer: libc::c_long| {
        if answer == 0 { Ok(()) } else { Err(failed(what, base)(io::Error::last_os_error())) }
    };
    std::env::set_current_dir(base).map_err(failed("enter", base))?;
    let here = c".".as_ptr();
    // SAFETY: constant paths. The old root lies over the new one after the first step, and is taken away in the second.
    unsafe {
        step("pivot to", libc::syscall(libc::SYS_pivot_root, here, here))?;
        step("leave the old root for", libc::umount2(here, libc::MNT_DETACH).into())?;
    }
    std::env::set_current_dir("/").map_err(failed("enter", Path::new("/")))
}

fn c_path(path: &Path) -> Result<CString, ViewError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|error| failed("name", path)(error.into()))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ViewError {
    move |source| ViewError { what, path: path.into(), source }
}
