//! [`read`]: from a system call that waits for its answer to what it is a use of.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use libc::{AT_FDCWD, c_long, seccomp_data};
use rustix::net::sockopt::socket_type;
use rustix::net::{SocketAddrAny, SocketType, getpeername, getsockname};

use super::Use;
use super::dns::queried;
use super::task::{Address, Task};

/// Where name servers listen.
const NAME_SERVER: u16 = 53;

/// The most of a packet that is looked at, to see whether it asks for a name.
const PACKET: usize = 512;

/// How many packets of one call are looked at.
const PACKETS: u64 = 8;

/// The size of the kernel's `mmsghdr`.
const MESSAGE: u64 = 64;

/// What is below these is a process's own, or leads to what it has open.
const OWN: [&str; 5] = ["/proc", "/dev/fd", "/dev/stdin", "/dev/stdout", "/dev/stderr"];

/// What a call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is done.
    GoOn,
    /// This kernel has no such call.
    Absent,
}

/// Tells what the call uses.
///
/// # Errors
/// Where the process cannot be looked into.
pub(super) fn read(
    call: &seccomp_data,
    task: &Task,
    tell: &mut dyn FnMut(Use),
) -> Result<Verdict, io::Error> {
    let [first, second, third, _, fifth, sixth] = call.args;
    let task = *task;
    match c_long::from(call.nr) {
        libc::SYS_clone3 | libc::SYS_io_uring_setup => return Ok(Verdict::Absent),
        libc::SYS_fork | libc::SYS_vfork | libc::SYS_clone => tell(Use::Process),
        libc::SYS_connect => connected(task, first, task.address(second, third)?, tell)?,
        libc::SYS_bind => {
            if let Address::Path(path) = task.address(second, third)? {
                made(&path, tell);
            }
        }
        libc::SYS_listen => {
            if let Some(own) = internet(getsockname(task.descriptor(first)?)?) {
                tell(Use::Listen(own.port()));
            }
        }
        libc::SYS_sendto => {
            sent(task, first, &Packet { to: (fifth, sixth), bytes: (second, third) }, tell)?;
        }
        libc::SYS_sendmsg => sent(task, first, &packet(task, second)?, tell)?,
        libc::SYS_sendmmsg => {
            for index in 0..third.min(PACKETS) {
                sent(task, first, &packet(task, second + index * MESSAGE)?, tell)?;
            }
        }
        _ => return file(call, task, tell),
    }
    Ok(Verdict::GoOn)
}

/// The calls that name files.
fn file(call: &seccomp_data, task: Task, tell: &mut dyn FnMut(Use)) -> Result<Verdict, io::Error> {
    let [first, second, third, fourth, ..] = call.args;
    // Descriptors are numbers of 32 bits.
    let here = |path: u64| task.path(AT_FDCWD, path);
    let at = |folder: u64, path: u64| task.path(folder as i32, path);
    match c_long::from(call.nr) {
        libc::SYS_open => opened(&here(first)?, second, tell),
        libc::SYS_openat => opened(&at(first, second)?, third, tell),
        libc::SYS_openat2 => opened(&at(first, second)?, task.number(third)?, tell),
        libc::SYS_creat => {
            let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
            opened(&here(first)?, u64::from(flags.unsigned_abs()), tell);
        }
        libc::SYS_mkdir | libc::SYS_mknod => made(&here(first)?, tell),
        libc::SYS_mkdirat | libc::SYS_mknodat => made(&at(first, second)?, tell),
        libc::SYS_link | libc::SYS_symlink => made(&here(second)?, tell),
        libc::SYS_symlinkat => made(&at(second, third)?, tell),
        libc::SYS_linkat => made(&at(third, fourth)?, tell),
        libc::SYS_unlink | libc::SYS_rmdir => removed(&here(first)?, tell),
        libc::SYS_unlinkat => removed(&at(first, second)?, tell),
        libc::SYS_rename => renamed(&here(first)?, &here(second)?, tell),
        libc::SYS_renameat | libc::SYS_renameat2 => renamed(&at(first, second)?, &at(third, fourth)?, tell),
        libc::SYS_truncate
        | libc::SYS_chmod
        | libc::SYS_chown
        | libc::SYS_lchown
        | libc::SYS_utime
        | libc::SYS_utimes
        | libc::SYS_setxattr
        | libc::SYS_lsetxattr
        | libc::SYS_removexattr
        | libc::SYS_lremovexattr => changed(&here(first)?, tell),
        libc::SYS_fchmodat | libc::SYS_fchmodat2 | libc::SYS_fchownat => changed(&at(first, second)?, tell),
        // Without a path it is about an open file.
        libc::SYS_utimensat | libc::SYS_futimesat if second != 0 => changed(&at(first, second)?, tell),
        libc::SYS_execve => executed(&here(first)?, tell),
        libc::SYS_execveat => executed(&at(first, second)?, tell),
        _ => {}
    }
    Ok(Verdict::GoOn)
}

fn opened(path: &Path, flags: u64, tell: &mut dyn FnMut(Use)) {
    let has = |flag: i32| flags & u64::from(flag.unsigned_abs()) == u64::from(flag.unsigned_abs());
    let writes = has(libc::O_WRONLY) || has(libc::O_RDWR) || has(libc::O_TRUNC);
    // It can be named then, and nothing else.
    if has(libc::O_PATH) {
        return;
    }
    match found(path, tell) {
        Some(real) if has(libc::O_TMPFILE) => tell(Use::Make(real.join("a file without a name"))),
        Some(real) if writes => tell(Use::Write(real)),
        Some(real) if real.is_dir() => tell(Use::List(real)),
        Some(real) => tell(Use::Read(real)),
        None if has(libc::O_CREAT) => made(path, tell),
        None => {}
    }
}

/// Where something is already, none is made.
fn made(path: &Path, tell: &mut dyn FnMut(Use)) {
    if path.symlink_metadata().is_err()
        && let Some(path) = entry(path, tell)
    {
        tell(Use::Make(path));
    }
}

fn removed(path: &Path, tell: &mut dyn FnMut(Use)) {
    if path.symlink_metadata().is_ok()
        && let Some(path) = entry(path, tell)
    {
        tell(Use::Make(path));
    }
}

fn renamed(from: &Path, to: &Path, tell: &mut dyn FnMut(Use)) {
    if from.symlink_metadata().is_ok() {
        for path in [from, to] {
            entry(path, tell).into_iter().for_each(|path| tell(Use::Make(path)));
        }
    }
}

fn changed(path: &Path, tell: &mut dyn FnMut(Use)) {
    if let Some(real) = found(path, tell) {
        tell(Use::Write(real));
    }
}

fn executed(path: &Path, tell: &mut dyn FnMut(Use)) {
    if let Some(real) = found(path, tell) {
        tell(Use::Run(real));
    }
}

/// Where a path leads; none where that is nowhere, or among what is the process's own.
fn real(path: &Path) -> Option<PathBuf> {
    let own = |path: &Path| OWN.iter().any(|own| path.starts_with(own));
    if own(path) {
        return None;
    }
    fs::canonicalize(path).ok().filter(|real| !own(real))
}

/// The same, and tells of the links on the way.
fn found(path: &Path, tell: &mut dyn FnMut(Use)) -> Option<PathBuf> {
    let (from, to) = (plain(path), real(path)?);
    if from != to {
        tell(Use::Link { from, to: to.clone() });
    }
    Some(to)
}

/// The place of an entry: the folder that it is in, without links, and its name.
fn entry(path: &Path, tell: &mut dyn FnMut(Use)) -> Option<PathBuf> {
    Some(found(path.parent()?, tell)?.join(path.file_name()?))
}

/// The path without `.` and `..`, as somebody reads it who knows of no links.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            other => plain.push(other),
        }
    }
    plain
}

/// One message, where it goes and what it says: places in the process's memory, with their lengths.
struct Packet {
    to: (u64, u64),
    bytes: (u64, u64),
}

/// The kernel's `msghdr`, as far as its first part.
fn packet(task: Task, at: u64) -> io::Result<Packet> {
    let parts = task.number(at + 16)?;
    let bytes = if task.number(at + 24)? == 0 || parts == 0 {
        (0, 0)
    } else {
        (task.number(parts)?, task.number(parts + 8)?)
    };
    // The length of the name has four bytes; those after it are of no meaning.
    Ok(Packet { to: (task.number(at)?, task.number(at + 8)? & 0xffff_ffff), bytes })
}

/// A packet that asks for a name is a use of that name; any other that says where it goes, of that place.
fn sent(task: Task, socket: u64, packet: &Packet, tell: &mut dyn FnMut(Use)) -> io::Result<()> {
    let (at, length) = packet.bytes;
    let start = if at == 0 {
        Vec::new()
    } else {
        task.bytes(at, usize::try_from(length).map_or(PACKET, |length| length.min(PACKET)))?
    };
    let to = match packet.to {
        (0, _) => None,
        (at, length) => Some(task.address(at, length)?),
    };
    if let Some(name) = queried(&start) {
        let port = match &to {
            Some(Address::Internet(to)) => Some(to.port()),
            _ => getpeername(task.descriptor(socket)?).ok().flatten().and_then(internet).map(|to| to.port()),
        };
        if port == Some(NAME_SERVER) {
            tell(Use::Lookup(name));
            return Ok(());
        }
    }
    match to {
        None | Some(Address::Other) => Ok(()),
        Some(Address::Internet(to)) if !is_stream(task, socket)? => {
            tell(Use::Datagram(to));
            Ok(())
        }
        Some(to) => connected(task, socket, to, tell),
    }
}

/// A socket for datagrams that is connected uses nothing yet: libraries do that to find out their own address.
fn connected(task: Task, socket: u64, to: Address, tell: &mut dyn FnMut(Use)) -> io::Result<()> {
    match to {
        Address::Path(path) => {
            if let Some(real) = real(&path) {
                tell(Use::Socket(real));
            }
        }
        Address::Internet(to) if to.port() == NAME_SERVER || to.port() == 0 => {}
        Address::Internet(to) if is_stream(task, socket)? => tell(Use::Connect(to)),
        Address::Internet(_) | Address::Other => {}
    }
    Ok(())
}

fn is_stream(task: Task, socket: u64) -> io::Result<bool> {
    Ok(socket_type(task.descriptor(socket)?)? == SocketType::STREAM)
}

fn internet(address: SocketAddrAny) -> Option<SocketAddr> {
    SocketAddr::try_from(address).ok()
}
