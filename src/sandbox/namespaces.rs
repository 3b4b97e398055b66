//! [`enter`]: the calling process goes on in namespaces of its own, as the first process there, with a [`View`] as its
//! files and a network that has nothing but loopback.
//!
//! ```text
//!   caller ---- unshare: user, mount, pid, net, ipc, uts, cgroup ---- fork ---- waits, and ends as the other one does
//!                                                                      \
//!                                                                       pid 1: returns from `enter`
//! ```
//!
//! The end of pid 1 is the end of everybody in its pid namespace, and the end of the caller is the end of pid 1: the
//! kernel sees to both.
//!
//! A user namespace is made by root too: so the root of the host is not in there at all. As root, the runner and the
//! service are each mapped to a user of the host that nobody else has ([`UserPair`]); as anybody else both are that user.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process;

use libc::c_int;
use rustix::process::{Pid, WaitOptions, WaitStatus, getegid, geteuid, getpid, waitpid};

use crate::confinement::Identity;
use crate::mounts::{View, ViewError};
use crate::privileges;

/// The user and group of the service, as it sees itself.
pub const SERVICE: Identity = Identity { uid: 1000, gid: 1000 };

/// The user and group of the runner, as it sees itself, where it is another one than the service.
const RUNNER: Identity = Identity { uid: 0, gid: 0 };

/// The users that `enter` may give away: those that systemd gives to services for a while.
const USERS: std::ops::Range<u32> = 61184..65520;

/// Where it was not possible to enter.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// The system refused a step.
    #[error("failed to {what}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Every user that could be given away is taken.
    #[error("no free user ID from {first} to {last} is left for a service", first = USERS.start, last = USERS.end - 1)]
    NoUser,
    /// The files could not be put together.
    #[error(transparent)]
    View(#[from] ViewError),
}

/// How the service's process is of another user than the runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Users {
    /// Both are the user who started the orchestrator.
    One,
    /// Each is a user of its own; the service is to become [`SERVICE`].
    Two,
}

impl Users {
    /// What is possible for the calling process: only root can give users away.
    #[must_use]
    pub fn possible() -> Self {
        if geteuid().is_root() { Self::Two } else { Self::One }
    }
}

/// Goes on in namespaces. Only the first process there returns with success. The calling process must have one thread.
///
/// # Errors
/// What was refused. Whoever gets the error is not to run anything of a service.
pub fn enter(view: &View, base: &Path, name: &str) -> Result<(), EnterError> {
    let users = Users::possible();
    match users {
        Users::One => {
            let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
            unshare()?;
            write_own_map(uid, gid)?;
        }
        Users::Two => be_mapped(&UserPair::claim()?)?,
    }
    let (alive, lifeline) = io::pipe().map_err(system("make a pipe"))?;
    // SAFETY: this process has one thread, so the new one can go on with everything that it finds.
    match unsafe { libc::fork() } {
        0 => {
            drop(lifeline);
            die_with(&alive)?;
            be_first(view, base, name, users)
        }
        child if child > 0 => {
            drop(alive);
            outlast(child, lifeline.into())
        }
        _ => Err(last("fork")),
    }
}

fn unshare() -> Result<(), EnterError> {
    let all = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    // SAFETY: flags only.
    if unsafe { libc::unshare(all) } == 0 { Ok(()) } else { Err(last("make namespaces")) }
}

fn write_own_map(uid: u32, gid: u32) -> Result<(), EnterError> {
    let map = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), text).map_err(system("map the user"))
    };
    map("setgroups", "deny".into())?;
    map("uid_map", format!("{} {uid} 1", SERVICE.uid))?;
    map("gid_map", format!("{} {gid} 1", SERVICE.gid))
}

/// Makes the namespaces, and has them mapped by a process that stays outside: only there is the right to do it.
fn be_mapped(pair: &UserPair) -> Result<(), EnterError> {
    let (mut ready, ready_end) = io::pipe().map_err(system("make a pipe"))?;
    let caller = getpid();
    // SAFETY: as in `enter`.
    let mapper = match unsafe { libc::fork() } {
        0 => {
            drop(ready_end);
            let mapped = ready.read_exact(&mut [0]).and_then(|()| pair.write_maps(caller));
            process::exit(mapped.map_or_else(|error| error.raw_os_error().unwrap_or(1), |()| 0));
        }
        child if child > 0 => child,
        _ => return Err(last("fork")),
    };
    drop(ready);
    let unshared = unshare();
    if unshared.is_ok() {
        (&ready_end).write_all(&[1]).map_err(system("wake the mapper"))?;
    }
    drop(ready_end);
    let status = wait(mapper).map_err(system("wait for the mapper"))?;
    unshared?;
    match status.exit_status() {
        Some(0) => Ok(()),
        error => Err(EnterError::System {
            what: "map the users",
            source: io::Error::from_raw_os_error(error.unwrap_or(libc::EIO)),
        }),
    }
}

/// Two users of this host that nobody else has, as long as this lives.
#[derive(Debug)]
pub struct UserPair {
    /// The runner's. The next one is the service's.
    first: u32,
    /// A name that only one process can have, in the host's network namespace; the kernel takes it back.
    _claim: UnixListener,
}

impl UserPair {
    fn claim() -> Result<Self, EnterError> {
        let pairs = (USERS.end - USERS.start) / 2;
        // Beginning somewhere keeps starts at the same time from asking for the same ones.
        let offset = getpid().as_raw_nonzero().get().unsigned_abs() % pairs;
        for number in (0..pairs).map(|number| (number + offset) % pairs) {
            let first = USERS.start + number * 2;
            let address = SocketAddr::from_abstract_name(format!("orchestrator/user/{first}"))
                .map_err(system("name a claim"))?;
            match UnixListener::bind_addr(&address) {
                Ok(claim) => return Ok(Self { first, _claim: claim }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(source) => return Err(EnterError::System { what: "claim a user", source }),
            }
        }
        Err(EnterError::NoUser)
    }

    fn write_maps(&self, process: Pid) -> io::Result<()> {
        let (runner, service) = (self.first, self.first + 1);
        let maps = format!("{} {runner} 1\n{} {service} 1\n", RUNNER.uid, SERVICE.uid);
        for file in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{}/{file}", process.as_raw_nonzero()), &maps)?;
        }
        Ok(())
    }
}

/// The first process of the namespaces makes them what they are to be.
fn be_first(view: &View, base: &Path, name: &str, users: Users) -> Result<(), EnterError> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    set_loopback_up()?;
    rustix::system::sethostname(name.as_bytes())
        .map_err(|error| system("set the host name")(io::Error::from(error)))?;
    if users == Users::Two {
        become_runner()?;
    }
    view.become_root(base)?;
    privileges::settle(users == Users::Two).map_err(system("give up privileges"))
}

fn become_runner() -> Result<(), EnterError> {
    let Identity { uid, gid } = RUNNER;
    // SAFETY: numbers, and an empty list. All capabilities stay: the new user is root in here.
    let became = unsafe {
        libc::setgroups(0, std::ptr::null()) == 0
            && libc::setresgid(gid, gid, gid) == 0
            && libc::setresuid(uid, uid, uid) == 0
            // Another user has no such wish any more.
            && libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0
    };
    if became { Ok(()) } else { Err(last("become the runner's user")) }
}

/// The calling process is killed when its parent ends, whose lifeline this is.
fn die_with(alive: &io::PipeReader) -> Result<(), EnterError> {
    // SAFETY: a flag of the calling process.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
        return Err(last("bind the runner's life to its parent's"));
    }
    // The parent may have ended before: then nobody holds the other end.
    let mut poll = libc::pollfd { fd: alive.as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: one structure, which outlives the call.
    if unsafe { libc::poll(&raw mut poll, 1, 0) } != 0 {
        process::exit(1);
    }
    Ok(())
}

/// Waits for the first process of the namespaces, and ends as it has ended.
fn outlast(child: c_int, _lifeline: OwnedFd) -> ! {
    let status = wait(child).ok();
    // What it has to say about its end, the other one has said itself.
    process::exit(status.and_then(WaitStatus::exit_status).unwrap_or(1))
}

fn wait(child: c_int) -> io::Result<WaitStatus> {
    let child = Pid::from_raw(child).ok_or(io::ErrorKind::InvalidInput)?;
    loop {
        match waitpid(Some(child), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(status),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A new network namespace has a loopback interface, switched off.
fn set_loopback_up() -> Result<(), EnterError> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)
        .map_err(|error| system("open a socket")(error.into()))?;
    // SAFETY: a structure of plain data, all zeros of which is a value; it outlives the call.
    let answer = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (place, byte) in request.ifr_name.iter_mut().zip(b"lo") {
            *place = byte.cast_signed();
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request)
    };
    if answer == 0 { Ok(()) } else { Err(last("switch the loopback interface on")) }
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> EnterError {
    move |source| EnterError::System { what, source }
}

fn last(what: &'static str) -> EnterError {
    EnterError::System { what, source: io::Error::last_os_error() }
}
