//! Giving up what a process could do beyond its user: capabilities, and the ways to gain any.

use std::io;

/// More than any kernel has capabilities.
const MOST_CAPABILITIES: i32 = 63;

/// The version of the structures below: two times 32 capabilities.
const VERSION: u32 = 0x2008_0522;

/// `CAP_KILL`, `CAP_SETGID` and `CAP_SETUID`: what it takes to start processes as another user, and to end them.
const OTHER_USERS: u32 = 1 << 5 | 1 << 6 | 1 << 7;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Gives up every capability, now and after any exec. False where the kernel refuses.
///
/// # Safety
/// Makes nothing but system calls, so it may be called in a newly forked process.
pub(crate) unsafe fn give_up_all() -> bool {
    // SAFETY: as this function.
    unsafe { keep(0) }
}

/// Makes sure that no exec gives what this process does not have. False where the kernel refuses.
///
/// # Safety
/// As [`give_up_all`].
pub(crate) unsafe fn never_gain() -> bool {
    // SAFETY: a flag of the calling thread.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 }
}

/// Gives up everything that a runner in namespaces or a container does not need any more: all capabilities, or all but those
/// to start and end processes of another user. Nobody may read its memory or trace it from now on.
///
/// # Errors
/// Where the kernel refuses.
pub fn settle(serves_another_user: bool) -> io::Result<()> {
    let kept = if serves_another_user { OTHER_USERS } else { 0 };
    // SAFETY: system calls about the calling thread, which is the only one.
    let settled =
        unsafe { keep(kept) && never_gain() && libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 };
    if settled { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The capabilities that the calling process has now, or could take.
pub(crate) fn held() -> u64 {
    let mut header = Header { version: VERSION, pid: 0 };
    let mut sets = [Sets { effective: u32::MAX, permitted: u32::MAX, inheritable: u32::MAX }; 2];
    // SAFETY: structures that outlive the call. Where it fails, everything counts as held.
    unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    let [low, high] = sets.map(|set| u64::from(set.effective | set.permitted | set.inheritable));
    low | high << 32
}

/// # Safety
/// As [`give_up_all`].
unsafe fn keep(kept: u32) -> bool {
    let header = Header { version: VERSION, pid: 0 };
    let kept_sets = Sets { effective: kept, permitted: kept, inheritable: 0 };
    let sets = [kept_sets, Sets { effective: 0, permitted: 0, inheritable: 0 }];
    // SAFETY: numbers, and structures that outlive the calls.
    unsafe {
        for capability in 0..=MOST_CAPABILITIES {
            // Who may not drop one cannot use it either: nothing can be gained by an exec any more.
            libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
        }
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0
            && libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) == 0
    }
}
