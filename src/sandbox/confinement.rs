//! [`Confinement`]: what a process is held to from its first instruction on, and everything that it starts.
//!
//! It is made while there is time, and applied between fork and exec by [`Launch`](crate::spawn::Launch): from then on
//! only system calls are made here. Each of the steps can only take away, and none can be undone:
//!
//! ```text
//!   umask 077, limits -> user and group -> bounding, ambient and own capabilities -> no new privileges -> Landlock -> filters
//! ```

use std::os::fd::{AsRawFd, OwnedFd};

use libc::c_ulong;

use crate::landlock::{LandlockError, Reach, domain};
use crate::privileges;
use crate::seccomp::{Filter, FilterError, Granted, filters};

/// What is granted to a process; everything else is refused.
#[derive(Clone, Debug)]
pub struct Grants {
    /// The files and folders that it can open.
    pub reaches: Vec<Reach>,
    /// What of the kernel's interface it can use.
    pub calls: Granted,
    /// The most that it can use of what the kernel counts.
    pub limits: Vec<Limit>,
    /// The user and the group that it becomes, alone, where it is not to stay the caller.
    pub identity: Option<Identity>,
}

/// A user and a group, as they are numbered in the caller's user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// The most of something. It can be lowered by who has it, and never raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Of what.
    pub what: Counted,
    /// How much.
    pub most: u64,
}

/// What the kernel counts for a process by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Open descriptors of one process.
    Descriptors,
    /// Processes and threads of the user, in this user namespace.
    Processes,
    /// Seconds of processor time of one process.
    CpuSeconds,
    /// Bytes of address space of one process.
    AddressSpace,
}

/// What a process is held to, ready to be applied.
#[derive(Debug)]
pub struct Confinement {
    limits: Vec<Limit>,
    identity: Option<Identity>,
    domain: OwnedFd,
    filters: Vec<Filter>,
}

/// Why a process cannot be confined.
#[derive(Debug, thiserror::Error)]
pub enum ConfinementError {
    /// By what it may open.
    #[error(transparent)]
    Landlock(#[from] LandlockError),
    /// By what it may call.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

impl Confinement {
    /// Prepares what these grants leave.
    ///
    /// # Errors
    /// Where the kernel cannot hold a process to all of it, or a granted path is not there.
    pub fn new(grants: &Grants) -> Result<Self, ConfinementError> {
        Ok(Self {
            limits: grants.limits.clone(),
            identity: grants.identity,
            domain: domain(&grants.reaches, grants.calls.among_host)?,
            filters: filters(grants.calls)?,
        })
    }

    /// Confines the calling process. False where a step was refused; errno says why. What was done stays.
    ///
    /// # Safety
    /// To be called in a newly forked process only. It makes nothing but system calls.
    pub(crate) unsafe fn apply(&self) -> bool {
        // SAFETY: system calls with numbers, and with pointers into `self`.
        unsafe {
            libc::umask(0o077);
            self.limits.iter().all(|limit| limit.set())
                && self.identity.is_none_or(|identity| identity.assume())
                && privileges::give_up_all()
                && privileges::never_gain()
                && libc::syscall(libc::SYS_landlock_restrict_self, self.domain.as_raw_fd(), 0) == 0
                && self.filters.iter().all(|filter| filter.install(0))
        }
    }
}

impl Filter {
    /// Puts the filter over those that the calling thread has. It needs to have given up gaining privileges.
    ///
    /// # Safety
    /// Threads and processes that cannot go on under it end with SIGSYS.
    unsafe fn install(&self, flags: c_ulong) -> bool {
        // SAFETY: as this function.
        unsafe { self.put(flags) == 0 }
    }

    /// # Safety
    /// As [`Filter::install`].
    unsafe fn put(&self, flags: c_ulong) -> i64 {
        let program =
            libc::sock_fprog { len: self.0.len() as u16, filter: self.0.as_ptr().cast_mut().cast() };
        // SAFETY: the kernel copies the program, whose two types have the same layout.
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) }
    }

    /// Puts the filter over the calling process and all that it starts, with a listener that is told of calls. Answers with
    /// the listener's descriptor, which is less than 0 where the kernel refuses; errno says why.
    ///
    /// # Safety
    /// As [`Confinement::apply`].
    pub(crate) unsafe fn listen(&self) -> i64 {
        // SAFETY: as this function.
        unsafe {
            if !privileges::never_gain() {
                return -1;
            }
            self.put(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)
        }
    }

    /// Puts the filter over all threads of the calling process, for ever, after it has given up gaining privileges.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn hold_this_process(&self) -> std::io::Result<()> {
        // SAFETY: a step without a way back, but without harm to memory; the filter's maker answers for what it leaves.
        let held = unsafe { privileges::never_gain() && self.install(libc::SECCOMP_FILTER_FLAG_TSYNC) };
        if held { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    }
}

impl Limit {
    /// # Safety
    /// As [`Confinement::apply`].
    unsafe fn set(&self) -> bool {
        let resource = match self.what {
            Counted::Descriptors => libc::RLIMIT_NOFILE,
            Counted::Processes => libc::RLIMIT_NPROC,
            Counted::CpuSeconds => libc::RLIMIT_CPU,
            Counted::AddressSpace => libc::RLIMIT_AS,
        };
        let limit = libc::rlimit { rlim_cur: self.most, rlim_max: self.most };
        // SAFETY: the limit outlives the call.
        unsafe { libc::setrlimit(resource, &raw const limit) == 0 }
    }
}

impl Identity {
    /// # Safety
    /// As [`Confinement::apply`].
    unsafe fn assume(self) -> bool {
        // Not by the library's functions, which would do it in all threads.
        // SAFETY: numbers, and an empty list.
        unsafe {
            let none = std::ptr::null::<u32>();
            libc::syscall(libc::SYS_setgroups, 0, none) == 0
                && libc::syscall(libc::SYS_setresgid, self.gid, self.gid, self.gid) == 0
                && libc::syscall(libc::SYS_setresuid, self.uid, self.uid, self.uid) == 0
        }
    }
}
