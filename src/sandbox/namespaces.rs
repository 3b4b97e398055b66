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
//! A user namespace is made by root too: so the root of the host is not in there at all (`users.rs`).

use std::fs;
use std::io::{self, PipeReader, PipeWriter};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::process;

use rustix::process::{Pid, WaitStatus};

use crate::mounts::{Gathered, View, ViewError, open_folder};
use crate::privileges;
use crate::users::{RUNNER, UserError, UserPair, Users, own, unshare_mapped, wait, write_own_maps};

/// Why it was not possible to enter.
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
    /// There is nobody whom the service could be.
    #[error(transparent)]
    User(#[from] UserError),
    /// The files could not be put together.
    #[error(transparent)]
    View(#[from] ViewError),
}

impl From<io::Error> for EnterError {
    fn from(source: io::Error) -> Self {
        Self::System { what: "map the users", source }
    }
}

/// Goes on in namespaces, where the loopback interface has these addresses besides its own. Only the first process there
/// returns with success. The calling process must have one thread.
///
/// # Errors
/// What was refused. Whoever gets the error is not to run anything of a service.
pub fn enter(view: &View, base: &Path, hostname: &str, addresses: &[IpAddr]) -> Result<(), EnterError> {
    let users = Users::possible();
    let outside = own();
    let (gathered, claim) = match users {
        Users::One => {
            unshare()?;
            write_own_maps(outside)?;
            (view.gather(None)?, None)
        }
        Users::Two => {
            let pair = UserPair::claim()?;
            // Afterwards this is not the host's root any more.
            let gathered = view.gather(Some(pair.service()))?;
            unshare_mapped(&pair, unshare)?;
            (gathered, Some(pair))
        }
    };
    let (alive, lifeline) = io::pipe().map_err(system("make a pipe"))?;
    // SAFETY: this process has one thread, so the new one can go on with everything that it finds.
    match unsafe { libc::fork() } {
        0 => {
            drop((lifeline, claim));
            die_with(&alive)?;
            set_loopback_up()?;
            for address in addresses {
                add_to_loopback(*address)?;
            }
            be_first(gathered, base, hostname, users)
        }
        child => {
            drop((alive, gathered));
            let child = Pid::from_raw(child.max(0)).ok_or_else(|| last("fork"))?;
            outlast(child, &lifeline, claim.as_ref())
        }
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

/// The first process of the namespaces makes them what they are to be.
fn be_first(gathered: Gathered<'_>, base: &Path, hostname: &str, users: Users) -> Result<(), EnterError> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    // Low ports are as good as others where nobody else is. Where they are not, a service is told so.
    let _ = fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    rustix::system::sethostname(hostname.as_bytes())
        .map_err(|error| system("set the host name")(io::Error::from(error)))?;
    // Its path may lead through folders that the runner's user cannot enter.
    let base = open_folder(base)?;
    if users == Users::Two {
        become_runner()?;
    }
    gathered.become_root(&base)?;
    privileges::settle(users == Users::Two).map_err(system("give up privileges"))
}

fn become_runner() -> Result<(), EnterError> {
    // SAFETY: numbers, and an empty list. All capabilities stay: the new user is root in here.
    let became = unsafe {
        libc::setgroups(0, std::ptr::null()) == 0
            && libc::setresgid(RUNNER.gid, RUNNER.gid, RUNNER.gid) == 0
            && libc::setresuid(RUNNER.uid, RUNNER.uid, RUNNER.uid) == 0
            // Another user has no such wish any more.
            && libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0
    };
    if became { Ok(()) } else { Err(last("become the runner's user")) }
}

/// The calling process is killed when its parent ends, whose lifeline this is.
fn die_with(alive: &PipeReader) -> Result<(), EnterError> {
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

/// Waits for the first process of the namespaces, and ends as it has ended. Its users are its own until then.
fn outlast(child: Pid, lifeline: &PipeWriter, users: Option<&UserPair>) -> ! {
    // Whoever else holds a start's descriptors keeps their other ends from seeing that they were closed.
    let mut kept = vec![lifeline.as_raw_fd()];
    kept.extend(users.map(|users| users.kept_by().as_raw_fd()));
    close_all_but(kept);
    let status = wait(child).ok();
    // What it has to say about its end, the other one has said itself.
    process::exit(status.and_then(WaitStatus::exit_status).unwrap_or(1))
}

/// Closes what is open, but for the three that every process has, and these.
fn close_all_but(mut kept: Vec<RawFd>) {
    kept.sort_unstable();
    let mut first = 3;
    for end in kept.into_iter().chain([RawFd::MAX]) {
        if first < end {
            // SAFETY: numbers. Whoever owns one of these descriptors is not used any more: the caller only waits.
            unsafe { libc::close_range(first.cast_unsigned(), (end - 1).cast_unsigned(), 0) };
        }
        first = end.saturating_add(1);
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

/// The index of the loopback interface, in every network namespace.
const LOOPBACK: libc::c_int = 1;

/// The kernel's request to give an interface an address of IPv6.
#[repr(C)]
struct AddressV6 {
    address: libc::in6_addr,
    prefix: u32,
    interface: libc::c_int,
}

/// Gives the loopback interface one more address, that of a destination outside.
fn add_to_loopback(address: IpAddr) -> Result<(), EnterError> {
    let what = "give the loopback interface an address";
    let family = match address {
        IpAddr::V4(_) => rustix::net::AddressFamily::INET,
        IpAddr::V6(_) => rustix::net::AddressFamily::INET6,
    };
    let socket = rustix::net::socket(family, rustix::net::SocketType::DGRAM, None)
        .map_err(|error| system(what)(error.into()))?;
    // SAFETY: structures of plain data that outlive the calls; a socket's address fits into a request's.
    let answer = unsafe {
        match address {
            IpAddr::V4(address) => {
                let mut request: libc::ifreq = std::mem::zeroed();
                // A name of its own for each address, as the kernel wants it.
                let name = format!("lo:{:x}", u32::from(address));
                for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
                    *place = byte.cast_signed();
                }
                let mut place: libc::sockaddr_in = std::mem::zeroed();
                place.sin_family = libc::AF_INET as libc::sa_family_t;
                place.sin_addr.s_addr = u32::from(address).to_be();
                std::ptr::copy_nonoverlapping(
                    (&raw const place).cast::<libc::sockaddr>(),
                    &raw mut request.ifr_ifru.ifru_addr,
                    1,
                );
                libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR, &raw const request)
            }
            IpAddr::V6(address) => {
                let address = libc::in6_addr { s6_addr: address.octets() };
                let request = AddressV6 { address, prefix: 128, interface: LOOPBACK };
                libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR, &raw const request)
            }
        }
    };
    if answer == 0 { Ok(()) } else { Err(last(what)) }
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> EnterError {
    move |source| EnterError::System { what, source }
}

fn last(what: &'static str) -> EnterError {
    EnterError::System { what, source: io::Error::last_os_error() }
}
