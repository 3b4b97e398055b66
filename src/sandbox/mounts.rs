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
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use crate::confinement::Identity;
use crate::users::mapping_namespace;

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
    /// As whom of the host the service uses what is granted; none for the owner of each granted folder.
    pub files_of: Option<Identity>,
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

/// The folder of the secrets.
pub const SECRETS: &str = "/run/secrets";

/// The folder for what is only needed while the service runs.
pub const SCRATCH: &str = "/tmp";

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// A view whose places have been found on the host and are held by descriptors.
#[derive(Debug)]
pub(crate) struct Gathered<'a> {
    view: &'a View,
    places: Vec<(&'a Place, Found)>,
}

/// What was found at a place.
#[derive(Debug)]
enum Found {
    /// Mounted once more, attached nowhere yet.
    Mount { mount: OwnedFd, is_folder: bool },
    /// A symbolic link.
    Link(PathBuf),
    /// Nothing, and that is no matter.
    Nothing,
}

impl View {
    /// Finds the places, as the calling process may. With `identity`, which takes the host's root, what was granted
    /// appears to be owned by that user of the host wherever it is owned by who owns the granted folder.
    ///
    /// # Errors
    /// What was not found.
    pub(crate) fn gather(&self, identity: Option<Identity>) -> Result<Gathered<'_>, ViewError> {
        let mut owners = Owners::new(identity, self.files_of);
        let mut places = Vec::new();
        for place in self.in_order() {
            places.push((place, place.find(&mut owners)?));
        }
        Ok(Gathered { view: self, places })
    }

    /// The outer before the inner.
    fn in_order(&self) -> Vec<&Place> {
        let mut places: Vec<_> = self.places.iter().collect();
        places.sort_by_key(|place| place.path.components().count());
        places
    }
}

impl Gathered<'_> {
    /// Makes this view the root of the calling process, which has a mount namespace of its own and every right in it.
    /// It is put together on `base`, which is any folder there.
    ///
    /// # Errors
    /// What failed. The process is not to go on then.
    pub(crate) fn become_root(self, base: &OwnedFd) -> Result<(), ViewError> {
        // What is mounted here is not to be seen outside, nor the other way round.
        mount(None, Path::new("/"), None, libc::MS_REC | libc::MS_PRIVATE, "")?;
        let here = Path::new(".");
        let root = new_memory().map_err(|error| failed("mount", Path::new("/"))(error.into()))?;
        let onto = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&root, "", base, "", onto)
            .map_err(|error| failed("mount", Path::new("/"))(error.into()))?;
        rustix::process::fchdir(&root).map_err(|error| failed("enter", Path::new("/"))(error.into()))?;
        self.view.fill(here)?;
        for (place, found) in self.places {
            place.attach(here, found)?;
        }
        pivot()?;
        change(&root, Path::new("/"), READ_ONLY, false)
    }
}

/// A file system in memory, attached nowhere yet.
fn new_memory() -> rustix::io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in [("mode", "0755"), ("size", "1m"), ("nr_inodes", "4096")] {
        fsconfig_set_string(context.as_fd(), key, value)?;
    }
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

impl View {
    fn fill(&self, base: &Path) -> Result<(), ViewError> {
        for folder in ["dev/shm", "etc", "proc", "run/secrets", "tmp", "service"] {
            make_folder(&base.join(folder))?;
        }
        let (bytes, entries) = (self.scratch_bytes, self.scratch_entries);
        let closed = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        memory(&base.join("tmp"), &format!("mode=1777,size={bytes},nr_inodes={entries}"), closed)?;
        memory(&base.join("dev/shm"), &format!("mode=1777,size={bytes},nr_inodes={entries}"), closed)?;
        let code = format!("mode=0755,size={},nr_inodes=1048576", self.code_bytes);
        memory(&base.join("service"), &code, libc::MS_NOSUID | libc::MS_NODEV)?;
        memory(&base.join("run/secrets"), "mode=0755,size=1m,nr_inodes=1024", closed)?;
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
        let found = device.find(&mut Owners::new(None, None));
        match found.and_then(|found| device.attach(dev.parent().unwrap_or(dev), found)) {
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
    fn find(&self, owners: &mut Owners) -> Result<Found, ViewError> {
        let path = &self.path;
        if self.kind == PlaceKind::Runtime {
            match fs::symlink_metadata(path) {
                Err(_) => return Ok(Found::Nothing),
                Ok(file) if file.is_symlink() => {
                    return Ok(Found::Link(fs::read_link(path).map_err(failed("read the link", path))?));
                }
                Ok(_) => {}
            }
        }
        let source = open_as_granted(path)?;
        let stat = rustix::fs::fstat(&source).map_err(|error| failed("look at", path)(error.into()))?;
        let is_folder = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir();
        let mount = detached_copy(&source, path)?;
        if matches!(self.kind, PlaceKind::Read | PlaceKind::Write) {
            owners
                .give(&mount, Identity { uid: stat.st_uid, gid: stat.st_gid })
                .map_err(failed("map", path))?;
        }
        change(&mount, path, self.attributes(), true)?;
        Ok(Found::Mount { mount, is_folder })
    }

    fn attach(&self, base: &Path, found: Found) -> Result<(), ViewError> {
        let target = base.join(self.path.strip_prefix("/").unwrap_or(&self.path));
        match found {
            Found::Nothing => Ok(()),
            Found::Link(to) => link_anew(&to, &target),
            Found::Mount { mount, is_folder } => {
                make_target(&target, is_folder)?;
                move_mount(&mount, "", CWD, &target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
                    .map_err(|error| failed("bind to", &target)(error.into()))
            }
        }
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

/// A folder, for nothing but to be named.
pub(crate) fn open_folder(path: &Path) -> Result<OwnedFd, ViewError> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| failed("open", path)(error.into()))
}

fn link_anew(to: &Path, target: &Path) -> Result<(), ViewError> {
    if let Some(parent) = target.parent() {
        make_folder(parent)?;
    }
    match symlink(to, target) {
        // It lies in a folder that was bound.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::ReadOnlyFilesystem) =>
        {
            Ok(())
        }
        other => other.map_err(failed("link", target)),
    }
}

/// What is mounted at and below `source`, once more, attached nowhere yet.
fn detached_copy(source: &OwnedFd, path: &Path) -> Result<OwnedFd, ViewError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(source, "", flags).map_err(|error| failed("bind", path)(error.into()))
}

fn change(mounted: &OwnedFd, path: &Path, set: u64, recursive: bool) -> Result<(), ViewError> {
    set_attributes(mounted, set, 0, recursive).map_err(failed("restrict", path))
}

fn set_attributes(mounted: &OwnedFd, set: u64, userns_fd: u64, recursive: bool) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the structure outlives the call, and its size is told.
    let answer = unsafe {
        let size = size_of::<libc::mount_attr>();
        let (fd, empty) = (mounted.as_raw_fd(), c"".as_ptr());
        libc::syscall(libc::SYS_mount_setattr, fd, empty, flags, &raw const attributes, size)
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Maps the owners of what is granted to the service's user, by a user namespace for each owner.
struct Owners {
    /// The service's user on the host; none where it is the user who grants.
    service: Option<Identity>,
    /// Who it is to be among the owners, where that is said.
    files_of: Option<Identity>,
    namespaces: Vec<(Identity, OwnedFd)>,
}

impl Owners {
    fn new(service: Option<Identity>, files_of: Option<Identity>) -> Self {
        Self { service, files_of, namespaces: Vec::new() }
    }

    /// What `owner` owns in this mount, or who the service is to be, belongs to the service, and what the service makes there
    /// belongs to that one. Where the file system cannot do that, its own rights hold for the service as for any other user;
    /// who it is to be it cannot be then.
    fn give(&mut self, mount: &OwnedFd, owner: Identity) -> io::Result<()> {
        let Some(service) = self.service else { return Ok(()) };
        let owner = self.files_of.unwrap_or(owner);
        let known = self.namespaces.iter().position(|(of, _)| *of == owner);
        let number = match known {
            Some(number) => number,
            None => {
                self.namespaces.push((owner, mapping_namespace(owner, service)?));
                self.namespaces.len() - 1
            }
        };
        let namespace = self.namespaces[number].1.as_raw_fd();
        match set_attributes(mount, libc::MOUNT_ATTR_IDMAP, namespace.unsigned_abs().into(), true) {
            Err(error)
                if self.files_of.is_none()
                    && matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP)) =>
            {
                Ok(())
            }
            other => other,
        }
    }
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

/// Makes the current folder the root, and lets the old one go.
fn pivot() -> Result<(), ViewError> {
    let root = Path::new("/");
    let step = |what, answer: libc::c_long| {
        if answer == 0 { Ok(()) } else { Err(failed(what, root)(io::Error::last_os_error())) }
    };
    let here = c".".as_ptr();
    // SAFETY: constant paths. The old root lies over the new one after the first step, and is taken away in the second.
    unsafe {
        step("pivot to", libc::syscall(libc::SYS_pivot_root, here, here))?;
        step("leave the old", libc::umount2(here, libc::MNT_DETACH).into())?;
    }
    std::env::set_current_dir(root).map_err(failed("enter", root))
}

fn c_path(path: &Path) -> Result<CString, ViewError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|error| failed("name", path)(error.into()))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ViewError {
    move |source| ViewError { what, path: path.into(), source }
}
