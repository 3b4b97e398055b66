//! Who a service and its runner are: users of the host that nobody else has, and how user namespaces show them.
//!
//! Only root can give users away. So as root the runner and the service are each mapped to a user of the host out of a
//! range that is kept for this ([`UserPair`]); as anybody else both are that one user.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process;

use rustix::process::{Pid, WaitOptions, WaitStatus, getegid, geteuid, getpid, waitpid};

use crate::confinement::Identity;

/// The user and group of the service, as it sees itself.
pub const SERVICE: Identity = Identity { uid: 1000, gid: 1000 };

/// The user and group of the runner, as it sees itself, where it is another one than the service.
pub(crate) const RUNNER: Identity = Identity { uid: 0, gid: 0 };

/// The users that can be given away: those that systemd gives to services for a while.
const USERS: std::ops::Range<u32> = 61184..65520;

/// How the service's process is of another user than the runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Users {
    /// Both are the user who started the orchestrator.
    One,
    /// Each is a user of its own; the service is to become [`SERVICE`].
    Two,
}

impl Users {
    /// What is possible for the calling process.
    #[must_use]
    pub fn possible() -> Self {
        if geteuid().is_root() { Self::Two } else { Self::One }
    }
}

/// Two users of this host that nobody else has, as long as this lives.
#[derive(Debug)]
pub struct UserPair {
    /// The runner's. The next one is the service's.
    first: u32,
    /// A name that only one process can have, in the host's network namespace; the kernel takes it back.
    claim: UnixListener,
}

/// Why there is no pair of users.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Every user that could be given away is taken.
    #[error("no free user ID from {first} to {last} is left for a service", first = USERS.start, last = USERS.end - 1)]
    NoneLeft,
    /// The system refused.
    #[error("failed to claim a user ID")]
    Claim(#[source] io::Error),
}

impl UserPair {
    /// Takes two that are free.
    ///
    /// # Errors
    /// Where none are left.
    pub fn claim() -> Result<Self, UserError> {
        let pairs = (USERS.end - USERS.start) / 2;
        // Beginning somewhere keeps starts at the same time from asking for the same ones.
        let offset = getpid().as_raw_nonzero().get().unsigned_abs() % pairs;
        for number in (0..pairs).map(|number| (number + offset) % pairs) {
            let first = USERS.start + number * 2;
            let name = format!("orchestrator/user/{first}");
            let address = SocketAddr::from_abstract_name(name).map_err(UserError::Claim)?;
            match UnixListener::bind_addr(&address) {
                Ok(claim) => return Ok(Self { first, claim }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(UserError::Claim(error)),
            }
        }
        Err(UserError::NoneLeft)
    }

    /// What keeps them from being anybody else's, for as long as it is open.
    pub(crate) fn kept_by(&self) -> &UnixListener {
        &self.claim
    }

    /// The service's user on the host.
    #[must_use]
    pub fn service(&self) -> Identity {
        Identity { uid: self.first + 1, gid: self.first + 1 }
    }

    /// Maps both into the user namespace of a process.
    pub(crate) fn write_maps(&self, process: Pid) -> io::Result<()> {
        let (runner, service) = (self.first, self.first + 1);
        let maps = format!("{} {runner} 1\n{} {service} 1\n", RUNNER.uid, SERVICE.uid);
        write_maps(process, &maps, &maps)
    }
}

/// Maps the service to the user of the calling process, which has just made a user namespace for itself. `outside` is
/// who it was before.
pub(crate) fn write_own_maps(outside: Identity) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{} {} 1", SERVICE.uid, outside.uid))?;
    fs::write("/proc/self/gid_map", format!("{} {} 1", SERVICE.gid, outside.gid))
}

/// Who the calling process is.
pub(crate) fn own() -> Identity {
    Identity { uid: geteuid().as_raw(), gid: getegid().as_raw() }
}

/// Does `unshare`, which makes a user namespace, and has it mapped by a process that stays outside: only there is the
/// right to do it.
pub(crate) fn unshare_mapped<E: From<io::Error>>(
    pair: &UserPair,
    unshare: impl FnOnce() -> Result<(), E>,
) -> Result<(), E> {
    let (mut ready, mut ready_end) = io::pipe()?;
    let caller = getpid();
    // SAFETY: the callers have one thread, so the new process can go on with everything that it finds.
    let mapper = match unsafe { libc::fork() } {
        0 => {
            drop(ready_end);
            let mapped = ready.read_exact(&mut [0]).and_then(|()| pair.write_maps(caller));
            process::exit(mapped.map_or_else(|error| error.raw_os_error().unwrap_or(1), |()| 0));
        }
        child => forked(child)?,
    };
    drop(ready);
    let unshared = unshare();
    if unshared.is_ok() {
        ready_end.write_all(&[1])?;
    }
    drop(ready_end);
    let status = wait(mapper)?;
    unshared?;
    match status.exit_status() {
        Some(0) => Ok(()),
        error => Err(io::Error::from_raw_os_error(error.unwrap_or(libc::EIO)).into()),
    }
}

/// A user namespace in which nobody lives, that shows what `owner` owns as the `shown` user's.
pub(crate) fn mapping_namespace(owner: Identity, shown: Identity) -> io::Result<OwnedFd> {
    let (mut made, mut made_end) = io::pipe()?;
    let (mut done, done_end) = io::pipe()?;
    // SAFETY: as in `unshare_mapped`.
    let holder = match unsafe { libc::fork() } {
        0 => {
            drop(done_end);
            // SAFETY: a flag.
            let error = match unsafe { libc::unshare(libc::CLONE_NEWUSER) } {
                0 => made_end.write_all(&[1]).err(),
                _ => Some(io::Error::last_os_error()),
            };
            drop(made_end);
            // Until the other end is closed.
            let _ = done.read(&mut [0]);
            process::exit(error.and_then(|error| error.raw_os_error()).unwrap_or(0));
        }
        child => forked(child)?,
    };
    drop((made_end, done));
    let namespace = made.read_exact(&mut [0]).and_then(|()| {
        let map = |owner: u32, shown: u32| format!("{owner} {shown} 1");
        write_maps(holder, &map(owner.uid, shown.uid), &map(owner.gid, shown.gid))?;
        Ok(File::open(format!("/proc/{}/ns/user", holder.as_raw_nonzero()))?.into())
    });
    drop(done_end);
    wait(holder)?;
    namespace
}

fn write_maps(process: Pid, users: &str, groups: &str) -> io::Result<()> {
    fs::write(format!("/proc/{}/uid_map", process.as_raw_nonzero()), users)?;
    fs::write(format!("/proc/{}/gid_map", process.as_raw_nonzero()), groups)
}

/// Runs `what` in a process of its own, which then ends; answers with its id. For programs with one thread.
///
/// # Errors
/// Where there can be no process.
pub fn in_child(what: impl FnOnce()) -> io::Result<Pid> {
    // SAFETY: the callers have one thread, so the new process can go on with everything that it finds.
    match unsafe { libc::fork() } {
        0 => {
            what();
            process::exit(0)
        }
        child => forked(child),
    }
}

fn forked(child: i32) -> io::Result<Pid> {
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    Pid::from_raw(child).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// Waits for the end of a child.
pub(crate) fn wait(child: Pid) -> io::Result<WaitStatus> {
    loop {
        match waitpid(Some(child), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(status),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
