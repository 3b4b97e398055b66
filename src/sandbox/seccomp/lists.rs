//! The lists of system calls that the filters are made of, by what they are for. Node with worker threads, Python with
//! threads, ssl and sqlite, and statically linked programs were run with them.

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the lists of system calls are written for x86_64 only");

use libc::*;

/// What a service may call, as far as the other filters do not say no. Not here: `openat2`, whose mode no filter can see.
#[rustfmt::skip]
pub(super) const ALLOWED: &[c_long] = &[
    // Reading and writing what is open.
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_preadv2, SYS_pwritev, SYS_pwritev2,
    SYS_lseek, SYS_close, SYS_close_range, SYS_dup, SYS_dup2, SYS_dup3, SYS_fcntl, SYS_pipe, SYS_pipe2, SYS_splice, SYS_tee,
    SYS_sendfile, SYS_copy_file_range, SYS_fsync, SYS_fdatasync, SYS_sync_file_range, SYS_fallocate, SYS_truncate,
    SYS_ftruncate, SYS_fadvise64, SYS_readahead, SYS_flock, SYS_eventfd2, SYS_memfd_create, SYS_ioctl,
    // Files and folders.
    SYS_open, SYS_openat, SYS_creat, SYS_stat, SYS_fstat, SYS_lstat, SYS_newfstatat, SYS_statx, SYS_statfs,
    SYS_fstatfs, SYS_access, SYS_faccessat, SYS_faccessat2, SYS_readlink, SYS_readlinkat, SYS_getdents64, SYS_getcwd,
    SYS_chdir, SYS_fchdir, SYS_mkdir, SYS_mkdirat, SYS_rmdir, SYS_unlink, SYS_unlinkat, SYS_rename, SYS_renameat,
    SYS_renameat2, SYS_link, SYS_linkat, SYS_symlink, SYS_symlinkat, SYS_chmod, SYS_fchmod, SYS_fchmodat, SYS_fchmodat2,
    SYS_chown, SYS_fchown, SYS_lchown, SYS_fchownat, SYS_utimensat, SYS_umask, SYS_getxattr, SYS_fgetxattr, SYS_lgetxattr,
    SYS_listxattr, SYS_flistxattr, SYS_llistxattr, SYS_setxattr, SYS_fsetxattr, SYS_lsetxattr, SYS_removexattr,
    SYS_fremovexattr, SYS_lremovexattr, SYS_inotify_init, SYS_inotify_init1, SYS_inotify_add_watch, SYS_inotify_rm_watch,
    // Memory.
    SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_brk, SYS_msync, SYS_mincore, SYS_mlock, SYS_munlock,
    SYS_mlock2, SYS_membarrier, SYS_pkey_alloc, SYS_pkey_free, SYS_pkey_mprotect,
    // Threads and processes.
    SYS_clone, SYS_fork, SYS_vfork, SYS_execve, SYS_execveat, SYS_wait4, SYS_waitid, SYS_futex, SYS_set_robust_list,
    SYS_get_robust_list, SYS_set_tid_address, SYS_rseq, SYS_gettid, SYS_sched_yield, SYS_sched_getaffinity,
    SYS_sched_getparam, SYS_sched_getscheduler, SYS_sched_get_priority_max, SYS_sched_get_priority_min,
    SYS_sched_setaffinity, SYS_sched_setscheduler, SYS_getcpu, SYS_arch_prctl, SYS_prctl, SYS_exit, SYS_exit_group,
    SYS_getpid, SYS_getppid, SYS_getpgid, SYS_getpgrp, SYS_getsid, SYS_getuid, SYS_geteuid, SYS_getresuid, SYS_getgid,
    SYS_getegid, SYS_getresgid, SYS_getgroups, SYS_setpgid, SYS_setsid, SYS_getrlimit, SYS_setrlimit, SYS_prlimit64,
    SYS_getrusage, SYS_getpriority, SYS_setpriority, SYS_uname, SYS_sysinfo, SYS_getrandom, SYS_capget, SYS_personality,
    // What tightens further.
    SYS_landlock_create_ruleset, SYS_landlock_add_rule, SYS_landlock_restrict_self, SYS_seccomp,
    // Signals.
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigsuspend, SYS_rt_sigpending, SYS_rt_sigtimedwait,
    SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_sigaltstack, SYS_kill, SYS_tgkill, SYS_tkill, SYS_pidfd_open,
    SYS_pidfd_send_signal, SYS_signalfd, SYS_signalfd4, SYS_restart_syscall, SYS_pause, SYS_alarm,
    // Time.
    SYS_clock_gettime, SYS_clock_getres, SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday, SYS_time, SYS_times,
    SYS_timerfd_create, SYS_timerfd_settime, SYS_timerfd_gettime, SYS_timer_create, SYS_timer_settime, SYS_timer_gettime,
    SYS_timer_getoverrun, SYS_timer_delete, SYS_setitimer, SYS_getitimer,
    // Waiting for descriptors.
    SYS_poll, SYS_ppoll, SYS_select, SYS_pselect6, SYS_epoll_create, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_wait,
    SYS_epoll_pwait, SYS_epoll_pwait2,
    // Sockets, once there is one.
    SYS_connect, SYS_accept, SYS_accept4, SYS_bind, SYS_listen, SYS_getsockname, SYS_getpeername, SYS_getsockopt,
    SYS_setsockopt, SYS_sendto, SYS_sendmsg, SYS_sendmmsg, SYS_recvfrom, SYS_recvmsg, SYS_recvmmsg, SYS_shutdown,
];

/// What is refused with EPERM, whoever asks: it changes the system, looks into others, or opens a way around.
#[rustfmt::skip]
pub(super) const FORBIDDEN: &[c_long] = &[
    // Other processes' insides, and keys.
    SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_pidfd_getfd, SYS_kcmp, SYS_process_madvise, SYS_keyctl,
    SYS_add_key, SYS_request_key, SYS_perf_event_open, SYS_bpf, SYS_userfaultfd, SYS_modify_ldt,
    // Mounts and namespaces.
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_setns, SYS_unshare, SYS_fsopen, SYS_fsmount, SYS_fsconfig,
    SYS_fspick, SYS_move_mount, SYS_open_tree, SYS_mount_setattr, SYS_name_to_handle_at, SYS_open_by_handle_at,
    SYS_fanotify_init,
    // Devices, modules, clocks, the machine.
    SYS_mknod, SYS_mknodat, SYS_kexec_load, SYS_kexec_file_load, SYS_init_module, SYS_finit_module, SYS_delete_module,
    SYS_reboot, SYS_sethostname, SYS_setdomainname, SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex,
    SYS_swapon, SYS_swapoff, SYS_acct, SYS_quotactl, SYS_iopl, SYS_ioperm, SYS_syslog, SYS_vhangup,
    // Who it is.
    SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_setgroups, SYS_setfsuid,
    SYS_setfsgid, SYS_capset,
    // Objects that others may find by number or name.
    SYS_shmget, SYS_semget, SYS_msgget, SYS_mq_open,
    // Asynchronous input and output past these filters.
    SYS_io_setup,
];

/// What makes a new process, besides `clone`.
pub(super) const NEW_PROCESS: &[c_long] = &[SYS_fork, SYS_vfork];

/// What sets a file's mode, and which argument the mode is.
pub(super) const MODES: &[(c_long, u8)] = &[
    (SYS_chmod, 1),
    (SYS_fchmod, 1),
    (SYS_fchmodat, 2),
    (SYS_fchmodat2, 2),
    (SYS_open, 2),
    (SYS_openat, 3),
    (SYS_creat, 1),
];

/// What changes a file without writing into it, which Landlock lets pass.
#[rustfmt::skip]
pub(super) const FILE_ATTRIBUTES: &[c_long] = &[
    SYS_chmod, SYS_fchmod, SYS_fchmodat, SYS_fchmodat2, SYS_chown, SYS_fchown, SYS_lchown, SYS_fchownat, SYS_setxattr,
    SYS_fsetxattr, SYS_lsetxattr, SYS_removexattr, SYS_fremovexattr, SYS_lremovexattr, SYS_utime, SYS_utimes,
    SYS_futimesat, SYS_utimensat, SYS_inotify_add_watch,
];

/// What a process needs that only computes and speaks over descriptors that it has.
#[rustfmt::skip]
pub(super) const COMPUTING: &[c_long] = &[
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_recvfrom, SYS_sendto, SYS_recvmsg, SYS_sendmsg, SYS_close, SYS_munmap,
    SYS_mremap, SYS_brk, SYS_madvise, SYS_futex, SYS_clock_gettime, SYS_clock_nanosleep, SYS_getrandom, SYS_poll, SYS_ppoll,
    SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_sigaltstack, SYS_getpid, SYS_gettid, SYS_tgkill,
    SYS_sched_yield, SYS_exit, SYS_exit_group,
];

/// What a recorder is told of: every call that names a file, a program or a place to connect to. `clone` is told of where it
/// makes no thread.
#[rustfmt::skip]
pub(super) const RECORDED: &[c_long] = &[
    SYS_open, SYS_openat, SYS_openat2, SYS_creat, SYS_mkdir, SYS_mkdirat, SYS_mknod, SYS_mknodat, SYS_link, SYS_linkat,
    SYS_symlink, SYS_symlinkat, SYS_unlink, SYS_unlinkat, SYS_rmdir, SYS_rename, SYS_renameat, SYS_renameat2, SYS_truncate,
    SYS_chmod, SYS_fchmodat, SYS_fchmodat2, SYS_chown, SYS_lchown, SYS_fchownat, SYS_utime, SYS_utimes, SYS_futimesat,
    SYS_utimensat, SYS_setxattr, SYS_lsetxattr, SYS_removexattr, SYS_lremovexattr, SYS_execve, SYS_execveat, SYS_fork,
    SYS_vfork, SYS_clone3, SYS_io_uring_setup, SYS_connect, SYS_bind, SYS_listen, SYS_sendto, SYS_sendmsg, SYS_sendmmsg,
];
