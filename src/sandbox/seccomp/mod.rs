//! Which system calls a service may make: three filters that the kernel runs one over the other.
//!
//! ```text
//!   allowed      what is on the list passes; all else does not exist for the service (ENOSYS), so that libraries fall
//!                back as they do on an old kernel. A call of another architecture ends the process (SIGSYS).
//!   forbidden    what the list allows only in part, and what should be told to be forbidden (EPERM)
//!   ungranted    what the manifest did not grant: a socket, a new process (EACCES). Not EPERM: Node's `spawn` throws
//!                from the call itself then, instead of emitting the error.
//! ```
//!
//! Among filters that answer with an error the last one wins, so the order above is also the order of installation.
//! `clone3` hides its flags behind a pointer that no filter can follow: it is not on the list, and every libc falls back
//! to `clone`.

mod lists;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp};
use seccompiler::{SeccompCondition, SeccompFilter, SeccompRule, TargetArch};

/// What of the kernel's interface a manifest has granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Whether it may make new processes. Threads it always may.
    pub subprocess: bool,
    /// Whether it may have sockets beyond a pair of its own: there is something it may connect to or listen on.
    pub network: bool,
    /// Whether it lives among the host's own files and processes, without namespaces: then what Landlock does not
    /// restrict (modes, owners, times and attributes of files, others' priorities) is forbidden here.
    pub among_host: bool,
    /// Whether it may open files below a folder's descriptor and nowhere else (`openat2`). For the runner's own programs:
    /// no filter can see the mode of a file that is made so, and a service may choose none that changes users.
    pub below_handles: bool,
}

/// One filter, as the kernel takes it.
#[derive(Clone, Debug)]
pub struct Filter(pub(crate) BpfProgram);

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// There is no list of calls for this processor.
    #[error("no list of system calls for this processor")]
    Architecture,
    /// The rules do not make a program.
    #[error("failed to build a system call filter")]
    Build(#[source] seccompiler::BackendError),
}

/// The filters for a service, in the order of their installation.
///
/// # Errors
/// Only where there is no list for this processor.
pub fn filters(granted: Granted) -> Result<Vec<Filter>, FilterError> {
    let mut forbidden = forbidden();
    if granted.among_host {
        forbid_others_files_and_processes(&mut forbidden);
    }
    let mut allowed = allowed();
    if granted.below_handles {
        allowed.always(libc::SYS_openat2);
    }
    Ok(vec![
        build(allowed, errno(libc::ENOSYS), SeccompAction::Allow)?,
        build(forbidden, SeccompAction::Allow, errno(libc::EPERM))?,
        build(ungranted(granted), SeccompAction::Allow, errno(libc::EACCES))?,
    ])
}

/// The filter for a process that computes and speaks over descriptors that it has, such as the host of embedded
/// JavaScript: it opens nothing, starts nothing and connects to nothing. What it may not do ends it with SIGSYS.
///
/// # Errors
/// Only where there is no list for this processor.
pub fn computing_only() -> Result<Filter, FilterError> {
    let mut rules = Rules::default();
    for &call in lists::COMPUTING {
        rules.always(call);
    }
    // No new code: memory that is written is never executed.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.when(call, &[argument(2, Dword, MaskedEq(PROT_EXEC), 0)]);
    }
    build(rules, SeccompAction::KillProcess, SeccompAction::Allow)
}

/// The filter that tells a recorder of calls, and refuses none. A call of another architecture ends the process, as it does
/// where a service is held.
///
/// # Errors
/// Only where there is no list for this processor.
pub fn recorded() -> Result<Filter, FilterError> {
    let mut rules = Rules::default();
    for &call in lists::RECORDED {
        rules.always(call);
    }
    rules.when(libc::SYS_clone, &[makes_no_thread()]);
    // The compiler has no word for asking a listener: it is put in the place of another action that nothing else here uses.
    let Filter(mut program) = build(rules, SeccompAction::Allow, SeccompAction::Trace(0))?;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    for step in &mut program {
        if step.code == RETURN && step.k == libc::SECCOMP_RET_TRACE {
            step.k = libc::SECCOMP_RET_USER_NOTIF;
        }
    }
    Ok(Filter(program))
}

const PROT_EXEC: u64 = libc::PROT_EXEC as u64;

/// The flags of `clone` that make namespaces.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Rules by the number of the call. A call without conditions matches always.
#[derive(Default)]
struct Rules(BTreeMap<i64, Vec<SeccompRule>>);

impl Rules {
    fn always(&mut self, call: i64) {
        self.0.insert(call, Vec::new());
    }

    /// The call matches where all of these conditions hold, too.
    fn when(&mut self, call: i64, conditions: &[SeccompCondition]) {
        let rule = SeccompRule::new(conditions.to_vec()).expect("a rule has conditions");
        self.0.entry(call).or_default().push(rule);
    }
}

fn argument(index: u8, length: SeccompCmpArgLen, comparison: SeccompCmpOp, value: u64) -> SeccompCondition {
    SeccompCondition::new(index, length, comparison, value).expect("a call has six arguments")
}

fn allowed() -> Rules {
    let mut rules = Rules::default();
    for &call in lists::ALLOWED {
        rules.always(call);
    }
    let type_is = |kind: i32| argument(1, Dword, MaskedEq(0xf), kind.unsigned_abs().into());
    let protocol = |number: i32| argument(2, Dword, Eq, number.unsigned_abs().into());
    let family = |number: i32| argument(0, Dword, Eq, number.unsigned_abs().into());
    for internet in [libc::AF_INET, libc::AF_INET6] {
        for (kind, own) in [(libc::SOCK_STREAM, libc::IPPROTO_TCP), (libc::SOCK_DGRAM, libc::IPPROTO_UDP)] {
            for number in [0, own] {
                rules.when(libc::SYS_socket, &[family(internet), type_is(kind), protocol(number)]);
            }
        }
    }
    rules.when(libc::SYS_socket, &[family(libc::AF_UNIX)]);
    // How programs list their interfaces.
    rules.when(libc::SYS_socket, &[family(libc::AF_NETLINK), protocol(libc::NETLINK_ROUTE)]);
    rules.when(libc::SYS_socketpair, &[family(libc::AF_UNIX)]);
    rules
}

fn forbidden() -> Rules {
    let mut rules = Rules::default();
    for &call in lists::FORBIDDEN {
        rules.always(call);
    }
    for flag in NAMESPACES {
        let flag = u64::from(flag.unsigned_abs());
        rules.when(libc::SYS_clone, &[argument(0, Qword, MaskedEq(flag), flag)]);
    }
    // Typing into a terminal, or taking one over.
    for request in [0x5412, 0x541c, 0x5423] {
        rules.when(libc::SYS_ioctl, &[argument(1, Dword, Eq, request)]);
    }
    rules.when(libc::SYS_prlimit64, &[argument(0, Dword, Ne, 0)]);
    // The runner is process 1 of a service's namespace, and may be of the same user; whole users and groups have it in them.
    let runner = |index| argument(index, Dword, Eq, 1);
    rules.when(libc::SYS_setpriority, &[argument(0, Dword, Ne, libc::PRIO_PROCESS.into())]);
    rules.when(libc::SYS_setpriority, &[runner(1)]);
    for call in [libc::SYS_sched_setaffinity, libc::SYS_sched_setscheduler] {
        rules.when(call, &[runner(0)]);
    }
    // Set-user-id and set-group-id files.
    for &(call, mode) in lists::MODES {
        for bits in [0o2000, 0o4000, 0o6000] {
            rules.when(call, &[argument(mode, Dword, MaskedEq(0o6000), bits)]);
        }
    }
    // A file in memory that could be executed.
    const NOEXEC_SEAL: u64 = 8;
    rules.when(libc::SYS_memfd_create, &[argument(1, Dword, MaskedEq(NOEXEC_SEAL), 0)]);
    // Asking for the personality is fine, and so is the plain one.
    let other = [argument(0, Dword, Ne, 0), argument(0, Dword, Ne, 0xffff_ffff)];
    rules.when(libc::SYS_personality, &other);
    rules
}

fn forbid_others_files_and_processes(rules: &mut Rules) {
    for &call in lists::FILE_ATTRIBUTES {
        rules.always(call);
    }
    for call in [libc::SYS_sched_setaffinity, libc::SYS_sched_setscheduler] {
        rules.when(call, &[argument(0, Dword, Ne, 0)]);
    }
    rules.when(libc::SYS_setpriority, &[argument(1, Dword, Ne, 0)]);
}

fn ungranted(granted: Granted) -> Rules {
    let mut rules = Rules::default();
    if !granted.subprocess {
        for &call in lists::NEW_PROCESS {
            rules.always(call);
        }
        rules.when(libc::SYS_clone, &[makes_no_thread()]);
    }
    if !granted.network {
        rules.always(libc::SYS_socket);
    }
    rules
}

/// What makes a `clone` one that makes a process.
fn makes_no_thread() -> SeccompCondition {
    argument(0, Qword, MaskedEq(libc::CLONE_THREAD.unsigned_abs().into()), 0)
}

fn errno(error: i32) -> SeccompAction {
    SeccompAction::Errno(error.unsigned_abs())
}

fn build(rules: Rules, otherwise: SeccompAction, matching: SeccompAction) -> Result<Filter, FilterError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(|_| FilterError::Architecture)?;
    let filter = SeccompFilter::new(rules.0, otherwise, matching, architecture);
    let program = filter.and_then(BpfProgram::try_from).map_err(FilterError::Build)?;
    Ok(Filter(program))
}
