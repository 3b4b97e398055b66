//! Every rule of the filters, by what the kernel would answer: the programs are run here, as the kernel runs them.

use super::*;

/// What a stack of filters answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Pass,
    Errno(i32),
    Kill,
}

use Answer::{Errno, Kill, Pass};

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;

/// Runs one program over the kernel's description of a call: number, architecture, instruction, six arguments.
fn run(filter: &Filter, architecture: u32, call: i64, arguments: [u64; 6]) -> Answer {
    let mut data = Vec::new();
    data.extend(i32::try_from(call).unwrap().to_ne_bytes());
    data.extend(architecture.to_ne_bytes());
    data.extend(0u64.to_ne_bytes());
    arguments.iter().for_each(|argument| data.extend(argument.to_ne_bytes()));
    let word = |at: u32| {
        let at = at as usize;
        u32::from_ne_bytes(data[at..at + 4].try_into().unwrap())
    };
    let (mut accumulator, mut counter) = (0u32, 0usize);
    loop {
        let step = &filter.0[counter];
        counter += 1;
        let (value, jump) = (step.k, |taken: bool| usize::from(if taken { step.jt } else { step.jf }));
        match step.code {
            0x20 => accumulator = word(value),
            0x54 => accumulator &= value,
            0x05 => counter += value as usize,
            0x15 => counter += jump(accumulator == value),
            0x25 => counter += jump(accumulator > value),
            0x35 => counter += jump(accumulator >= value),
            0x45 => counter += jump(accumulator & value != 0),
            0x06 => return answer(value),
            other => panic!("instruction {other:#x} is not known here"),
        }
    }
}

fn answer(value: u32) -> Answer {
    match value & 0xffff_0000 {
        0x7fff_0000 => Pass,
        0x0005_0000 => Errno((value & 0xffff).cast_signed()),
        0x8000_0000 | 0 => Kill,
        other => panic!("action {other:#x} is not known here"),
    }
}

/// The strictest action wins, and among errors that of the filter that was installed last.
fn ask(stack: &[Filter], call: i64, arguments: [u64; 6]) -> Answer {
    let answers = stack.iter().map(|filter| run(filter, X86_64, call, arguments));
    answers.fold(Pass, |so_far, next| match (so_far, next) {
        (Kill, _) | (_, Kill) => Kill,
        (_, Errno(error)) => Errno(error),
        (so_far, Pass) => so_far,
    })
}

const NOTHING: Granted =
    Granted { subprocess: false, network: false, among_host: false, below_handles: false };
const EVERYTHING: Granted = Granted { subprocess: true, network: true, ..NOTHING };

fn stack(granted: Granted) -> Vec<Filter> {
    filters(granted).unwrap()
}

fn args<const N: usize>(first: [u64; N]) -> [u64; 6] {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&first);
    all
}

#[test]
fn what_is_on_the_list_passes_and_what_is_not_does_not_exist() {
    let stack = stack(EVERYTHING);
    for &call in lists::ALLOWED {
        let plain = if call == libc::SYS_memfd_create { args([0, 8]) } else { [0; 6] };
        assert_eq!(ask(&stack, call, plain), Pass, "call {call}");
    }
    for call in [libc::SYS_io_uring_setup, libc::SYS_clone3, libc::SYS_openat2, libc::SYS_vmsplice, 4000] {
        assert_eq!(ask(&stack, call, [0; 6]), Errno(libc::ENOSYS), "call {call}");
    }
    // The numbers of x32.
    assert_eq!(ask(&stack, 0x4000_0000 + libc::SYS_open, [0; 6]), Errno(libc::ENOSYS));
}

#[test]
fn only_the_runners_own_programs_open_below_handles() {
    let own = stack(Granted { below_handles: true, ..NOTHING });
    assert_eq!(ask(&own, libc::SYS_openat2, [0; 6]), Pass);
    assert_eq!(ask(&own, libc::SYS_name_to_handle_at, [0; 6]), Errno(libc::EPERM));
}

#[test]
fn calls_of_another_architecture_end_the_process() {
    assert_eq!(run(&stack(EVERYTHING)[0], I386, libc::SYS_read, [0; 6]), Kill);
    assert_eq!(run(&computing_only().unwrap(), I386, libc::SYS_read, [0; 6]), Kill);
}

#[test]
fn what_changes_the_system_or_looks_into_others_is_forbidden() {
    for granted in [NOTHING, EVERYTHING] {
        let stack = stack(granted);
        for &call in lists::FORBIDDEN {
            assert_eq!(ask(&stack, call, [0; 6]), Errno(libc::EPERM), "call {call}");
        }
    }
}

#[test]
fn threads_pass_and_processes_only_if_granted() {
    let thread = args([libc::CLONE_THREAD as u64 | libc::CLONE_VM as u64]);
    let process = args([libc::SIGCHLD as u64]);
    for (granted, expected) in [(NOTHING, Errno(libc::EACCES)), (EVERYTHING, Pass)] {
        let stack = stack(granted);
        assert_eq!(ask(&stack, libc::SYS_clone, thread), Pass);
        assert_eq!(ask(&stack, libc::SYS_clone, process), expected);
        for &call in lists::NEW_PROCESS {
            assert_eq!(ask(&stack, call, [0; 6]), expected, "call {call}");
        }
    }
}

#[test]
fn no_namespace_is_made() {
    for flag in NAMESPACES {
        let flags = args([u64::from(flag.unsigned_abs()) | libc::CLONE_THREAD as u64]);
        assert_eq!(ask(&stack(EVERYTHING), libc::SYS_clone, flags), Errno(libc::EPERM), "flag {flag:#x}");
    }
}

#[test]
fn sockets_are_of_the_plain_kinds_and_only_if_granted() {
    let socket = |family: i32, kind: i32, protocol: i32| {
        args([family as u64, (kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) as u64, protocol as u64])
    };
    let plain = [
        socket(libc::AF_INET, libc::SOCK_STREAM, 0),
        socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_TCP),
        socket(libc::AF_INET6, libc::SOCK_STREAM, 0),
        socket(libc::AF_INET6, libc::SOCK_DGRAM, libc::IPPROTO_UDP),
        socket(libc::AF_UNIX, libc::SOCK_STREAM, 0),
        socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE),
    ];
    let other = [
        socket(libc::AF_INET, libc::SOCK_STREAM, 262),
        socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
        socket(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_ICMP),
        socket(libc::AF_PACKET, libc::SOCK_RAW, 0),
        socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0),
        socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
        socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER),
    ];
    for arguments in plain {
        assert_eq!(ask(&stack(EVERYTHING), libc::SYS_socket, arguments), Pass, "{arguments:?}");
    }
    for arguments in other {
        assert_eq!(
            ask(&stack(EVERYTHING), libc::SYS_socket, arguments),
            Errno(libc::ENOSYS),
            "{arguments:?}"
        );
    }
    for arguments in plain.into_iter().chain(other) {
        assert_eq!(ask(&stack(NOTHING), libc::SYS_socket, arguments), Errno(libc::EACCES), "{arguments:?}");
    }
    let pair = |family: i32| args([family as u64, libc::SOCK_STREAM as u64]);
    assert_eq!(ask(&stack(NOTHING), libc::SYS_socketpair, pair(libc::AF_UNIX)), Pass);
    assert_eq!(ask(&stack(NOTHING), libc::SYS_socketpair, pair(libc::AF_INET)), Errno(libc::ENOSYS));
}

#[test]
fn what_is_allowed_in_part_is_refused_in_the_other() {
    let cases = [
        (libc::SYS_ioctl, args([0, 0x5401]), Pass),
        (libc::SYS_ioctl, args([0, 0x5412]), Errno(libc::EPERM)),
        // The kernel looks at 32 bits of it, so the others must not hide it.
        (libc::SYS_ioctl, args([0, 0x1_0000_5412]), Errno(libc::EPERM)),
        (libc::SYS_ioctl, args([0, 0x541c]), Errno(libc::EPERM)),
        (libc::SYS_ioctl, args([0, 0x5423]), Errno(libc::EPERM)),
        (libc::SYS_prlimit64, args([0]), Pass),
        (libc::SYS_prlimit64, args([1]), Errno(libc::EPERM)),
        (libc::SYS_setpriority, args([libc::PRIO_PROCESS.into(), 0]), Pass),
        (libc::SYS_setpriority, args([libc::PRIO_PROCESS.into(), 1]), Errno(libc::EPERM)),
        (libc::SYS_setpriority, args([libc::PRIO_USER.into(), 0]), Errno(libc::EPERM)),
        (libc::SYS_setpriority, args([libc::PRIO_PGRP.into(), 0]), Errno(libc::EPERM)),
        (libc::SYS_sched_setaffinity, args([7]), Pass),
        (libc::SYS_sched_setaffinity, args([1]), Errno(libc::EPERM)),
        (libc::SYS_sched_setscheduler, args([1]), Errno(libc::EPERM)),
        (libc::SYS_chmod, args([0, 0o777]), Pass),
        (libc::SYS_chmod, args([0, 0o4755]), Errno(libc::EPERM)),
        (libc::SYS_fchmod, args([0, 0o2755]), Errno(libc::EPERM)),
        (libc::SYS_fchmodat, args([0, 0, 0o6755]), Errno(libc::EPERM)),
        (libc::SYS_openat, args([0, 0, libc::O_CREAT as u64, 0o644]), Pass),
        (libc::SYS_openat, args([0, 0, libc::O_CREAT as u64, 0o4755]), Errno(libc::EPERM)),
        (libc::SYS_memfd_create, args([0, 1]), Errno(libc::EPERM)),
        (libc::SYS_memfd_create, args([0, 0x10]), Errno(libc::EPERM)),
        (libc::SYS_memfd_create, args([0, 9]), Pass),
        (libc::SYS_personality, args([0xffff_ffff]), Pass),
        (libc::SYS_personality, args([0x0004_0000]), Errno(libc::EPERM)),
    ];
    for (call, arguments, expected) in cases {
        assert_eq!(ask(&stack(EVERYTHING), call, arguments), expected, "call {call} {arguments:?}");
    }
}

#[test]
fn among_the_hosts_files_their_attributes_and_others_priorities_stay() {
    let among = stack(Granted { among_host: true, ..EVERYTHING });
    for &call in lists::FILE_ATTRIBUTES {
        assert_eq!(ask(&among, call, [0; 6]), Errno(libc::EPERM), "call {call}");
    }
    assert_eq!(ask(&among, libc::SYS_sched_setaffinity, args([0])), Pass);
    assert_eq!(ask(&among, libc::SYS_sched_setaffinity, args([7])), Errno(libc::EPERM));
    assert_eq!(ask(&among, libc::SYS_setpriority, args([0, 7])), Errno(libc::EPERM));
    assert_eq!(ask(&stack(EVERYTHING), libc::SYS_setpriority, args([0, 7])), Pass);
}

#[test]
fn who_only_computes_opens_nothing_and_runs_no_new_code() {
    let filter = [computing_only().unwrap()];
    for &call in lists::COMPUTING {
        assert_eq!(ask(&filter, call, [0; 6]), Pass, "call {call}");
    }
    assert_eq!(ask(&filter, libc::SYS_mmap, args([0, 4096, 3])), Pass);
    assert_eq!(ask(&filter, libc::SYS_mmap, args([0, 4096, 7])), Kill);
    assert_eq!(ask(&filter, libc::SYS_mprotect, args([0, 4096, 5])), Kill);
    for call in [
        libc::SYS_openat,
        libc::SYS_open,
        libc::SYS_socket,
        libc::SYS_clone,
        libc::SYS_execve,
        libc::SYS_kill,
    ] {
        assert_eq!(ask(&filter, call, [0; 6]), Kill, "call {call}");
    }
}
