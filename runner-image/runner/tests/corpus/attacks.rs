//! The hostile attempts, one function each, as a service makes them. Each aims only at what the harness has put there, at
//! the sandbox itself, or at nothing: where a call would do harm if it were let through, its arguments are such that it
//! cannot.

use std::ffi::{CString, c_char, c_int, c_long, c_void};
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};

use libc::*;

/// What the harness has told the attacker, by an environment variable.
fn told(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn secret() -> PathBuf {
    told("SECRET").into()
}

fn writable() -> PathBuf {
    told("WRITABLE").into()
}

fn readable() -> PathBuf {
    told("READABLE").into()
}

fn bystander() -> c_int {
    told("BYSTANDER").parse().unwrap_or(0)
}

type Attempt = io::Result<()>;

/// What a system call has answered.
fn call(answer: c_long) -> Attempt {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_encoded_bytes()).unwrap()
}

macro_rules! attempt {
    ($number:expr $(, $argument:expr)* $(,)?) => {
        // SAFETY: an attacker's call. Its pointers are null, or outlive it.
        call(unsafe { syscall($number $(, $argument)*) })
    };
}

// Files.

pub(crate) fn read_a_secret() -> Attempt {
    fs::read(secret()).map(drop)
}

pub(crate) fn read_the_hosts_passwords() -> Attempt {
    fs::read("/etc/shadow").map(drop)
}

pub(crate) fn read_through_a_link() -> Attempt {
    let link = writable().join("link");
    let _ = fs::remove_file(&link);
    symlink(secret(), &link)?;
    fs::read(link).map(drop)
}

pub(crate) fn link_a_secret_into_its_own_folder() -> Attempt {
    fs::hard_link(secret(), writable().join("hard"))
}

pub(crate) fn write_what_it_may_only_read() -> Attempt {
    fs::write(readable().join("file"), "spoilt")
}

pub(crate) fn make_a_file_where_it_may_only_read() -> Attempt {
    fs::write(readable().join("new"), "spoilt")
}

pub(crate) fn reopen_by_descriptor_for_writing() -> Attempt {
    let file = path(&readable().join("file"));
    // SAFETY: a path that outlives the call.
    let fd = unsafe { open(file.as_ptr(), O_PATH) };
    call(fd.into())?;
    fs::OpenOptions::new().write(true).open(format!("/proc/self/fd/{fd}")).map(drop)
}

pub(crate) fn write_its_own_memory_file() -> Attempt {
    fs::OpenOptions::new().read(true).write(true).open("/proc/self/mem").map(drop)
}

pub(crate) fn leave_by_the_runners_root() -> Attempt {
    fs::read("/proc/1/root/etc/hostname").map(drop)
}

pub(crate) fn read_the_runners_environment() -> Attempt {
    fs::read("/proc/1/environ").map(drop)
}

pub(crate) fn read_a_bystanders_environment() -> Attempt {
    fs::read(format!("/proc/{}/environ", bystander())).map(drop)
}

pub(crate) fn change_the_mode_of_a_secret() -> Attempt {
    fs::set_permissions(secret(), fs::Permissions::from_mode(0o666))
}

pub(crate) fn change_the_times_of_a_secret() -> Attempt {
    let file = path(&secret());
    attempt!(SYS_utimensat, AT_FDCWD, file.as_ptr(), null::<c_void>(), 0)
}

pub(crate) fn change_the_owner_of_a_secret() -> Attempt {
    let file = path(&secret());
    attempt!(SYS_fchownat, AT_FDCWD, file.as_ptr(), 0, 0, 0)
}

pub(crate) fn give_a_secret_an_attribute() -> Attempt {
    let file = path(&secret());
    attempt!(SYS_setxattr, file.as_ptr(), c"user.mark".as_ptr(), c"x".as_ptr(), 1, 0)
}

pub(crate) fn make_a_set_user_id_file() -> Attempt {
    let file = writable().join("suid");
    fs::write(&file, "")?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o4755))
}

pub(crate) fn make_a_block_device() -> Attempt {
    let file = path(&writable().join("disk"));
    attempt!(SYS_mknodat, AT_FDCWD, file.as_ptr(), S_IFBLK | 0o600, makedev(8, 0))
}

pub(crate) fn execute_what_it_wrote() -> Attempt {
    let program = writable().join("program");
    fs::write(&program, "#!/bin/sh\n")?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let (program, end) = (path(&program), null::<c_char>());
    attempt!(SYS_execve, program.as_ptr(), [end].as_ptr(), [end].as_ptr())
}

/// What a loader does with a program that it is given as an argument.
pub(crate) fn map_what_it_wrote_as_a_program() -> Attempt {
    let program = writable().join("program");
    fs::write(&program, "\x7fELF")?;
    let file = fs::File::open(program)?;
    let protection = PROT_READ | PROT_EXEC;
    attempt!(SYS_mmap, null::<c_void>(), 4096, protection, MAP_PRIVATE, file.as_raw_fd(), 0)
}

pub(crate) fn execute_from_memory() -> Attempt {
    attempt!(SYS_memfd_create, c"program".as_ptr(), 0)
}

pub(crate) fn reach_the_container_engine() -> Attempt {
    UnixStream::connect("/var/run/docker.sock").map(drop)
}

pub(crate) fn reach_the_controllers_socket() -> Attempt {
    UnixStream::connect(told("PORT_SOCKET")).map(drop)
}

pub(crate) fn open_the_terminal() -> Attempt {
    fs::File::open("/dev/tty").map(drop)
}

pub(crate) fn type_into_the_terminal() -> Attempt {
    attempt!(SYS_ioctl, 0, TIOCSTI, c"x".as_ptr())
}

// The network.

pub(crate) fn connect_to_the_host() -> Attempt {
    TcpStream::connect(("127.0.0.1", told("LISTENER").parse().unwrap_or(1))).map(drop)
}

fn socket_of(family: c_int, kind: c_int, protocol: c_int) -> Attempt {
    attempt!(SYS_socket, family, kind, protocol)
}

pub(crate) fn open_a_raw_socket() -> Attempt {
    socket_of(AF_INET, SOCK_RAW, IPPROTO_ICMP)
}

pub(crate) fn open_a_packet_socket() -> Attempt {
    socket_of(AF_PACKET, SOCK_RAW, 0)
}

pub(crate) fn open_a_multipath_socket() -> Attempt {
    socket_of(AF_INET, SOCK_STREAM, 262)
}

pub(crate) fn open_a_hypervisor_socket() -> Attempt {
    socket_of(AF_VSOCK, SOCK_STREAM, 0)
}

pub(crate) fn open_a_crypto_socket() -> Attempt {
    socket_of(AF_ALG, SOCK_SEQPACKET, 0)
}

/// Connects and sends in one call, past what only looks at `connect`.
pub(crate) fn connect_by_sending() -> Attempt {
    // SAFETY: a structure of plain data; every pointer outlives the calls.
    unsafe {
        let fd = socket(AF_INET, SOCK_STREAM, 0);
        call(fd.into())?;
        let mut to: sockaddr_in = std::mem::zeroed();
        to.sin_family = AF_INET as sa_family_t;
        to.sin_port = told("LISTENER").parse::<u16>().unwrap_or(1).to_be();
        to.sin_addr.s_addr = u32::from(std::net::Ipv4Addr::LOCALHOST).to_be();
        let (size, flags) = (size_of::<sockaddr_in>() as socklen_t, MSG_FASTOPEN);
        call(sendto(fd, c"x".as_ptr().cast(), 1, flags, (&raw const to).cast(), size) as c_long)
    }
}

pub(crate) fn send_a_datagram() -> Attempt {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    let sent = socket.send_to(b"x", ("192.0.2.1", 9))?;
    if sent == 1 { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
}

pub(crate) fn reach_an_abstract_socket_of_the_host() -> Attempt {
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(told("ABSTRACT"))?).map(drop)
}

// Other processes.

pub(crate) fn kill_the_runner() -> Attempt {
    attempt!(SYS_kill, 1, SIGKILL)
}

pub(crate) fn kill_a_bystander() -> Attempt {
    attempt!(SYS_kill, bystander(), SIGKILL)
}

/// Whether there is anybody whom a signal to everybody would reach. It is none that does anything.
pub(crate) fn reach_everybody_by_a_signal() -> Attempt {
    attempt!(SYS_kill, -1, 0)
}

pub(crate) fn signal_a_bystander_by_descriptor() -> Attempt {
    let fd = attempt!(SYS_pidfd_open, bystander(), 0);
    fd?;
    Ok(())
}

pub(crate) fn trace_the_runner() -> Attempt {
    attempt!(SYS_ptrace, PTRACE_SEIZE, 1, 0, 0)
}

pub(crate) fn read_the_runners_memory() -> Attempt {
    let mut byte = 0u8;
    let local = iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    attempt!(SYS_process_vm_readv, 1, &raw const local, 1, &raw const local, 1, 0)
}

pub(crate) fn take_a_descriptor_of_the_runner() -> Attempt {
    attempt!(SYS_pidfd_getfd, 0, 0, 0)
}

pub(crate) fn lower_the_runners_limits() -> Attempt {
    let none = rlimit { rlim_cur: 0, rlim_max: 0 };
    attempt!(SYS_prlimit64, 1, RLIMIT_FSIZE, &raw const none, null_mut::<c_void>())
}

pub(crate) fn slow_the_runner_down() -> Attempt {
    attempt!(SYS_setpriority, PRIO_PROCESS, 1, 19)
}

pub(crate) fn slow_its_whole_user_down() -> Attempt {
    attempt!(SYS_setpriority, PRIO_USER, 0, 19)
}

pub(crate) fn move_the_runner_to_another_core() -> Attempt {
    let cores = 1u64;
    attempt!(SYS_sched_setaffinity, 1, 8, &raw const cores)
}

// The kernel.

pub(crate) fn make_a_user_namespace() -> Attempt {
    attempt!(SYS_unshare, CLONE_NEWUSER)
}

pub(crate) fn clone_into_a_user_namespace() -> Attempt {
    attempt!(SYS_clone, CLONE_NEWUSER | CLONE_THREAD, 0, 0, 0, 0)
}

pub(crate) fn clone_by_structure() -> Attempt {
    attempt!(SYS_clone3, null::<c_void>(), 0)
}

pub(crate) fn mount_something() -> Attempt {
    attempt!(SYS_mount, c"none".as_ptr(), c"/tmp".as_ptr(), c"tmpfs".as_ptr(), 0, 0)
}

pub(crate) fn open_a_file_system() -> Attempt {
    attempt!(SYS_fsopen, c"tmpfs".as_ptr(), 0)
}

pub(crate) fn take_a_mount_away() -> Attempt {
    attempt!(SYS_umount2, c"/nowhere".as_ptr(), 0)
}

pub(crate) fn change_places_with_the_root() -> Attempt {
    attempt!(SYS_pivot_root, c"/nowhere".as_ptr(), c"/nowhere".as_ptr())
}

pub(crate) fn change_the_root() -> Attempt {
    attempt!(SYS_chroot, c"/".as_ptr())
}

pub(crate) fn enter_a_namespace() -> Attempt {
    attempt!(SYS_setns, 0, 0)
}

pub(crate) fn load_a_program_into_the_kernel() -> Attempt {
    attempt!(SYS_bpf, 0, 0, 0)
}

pub(crate) fn count_events() -> Attempt {
    attempt!(SYS_perf_event_open, 0, 0, 0, 0, 0)
}

pub(crate) fn handle_page_faults() -> Attempt {
    attempt!(SYS_userfaultfd, 0)
}

pub(crate) fn make_a_ring() -> Attempt {
    attempt!(SYS_io_uring_setup, 1, 0)
}

pub(crate) fn use_the_key_ring() -> Attempt {
    attempt!(SYS_keyctl, 0, 0, 0, 0, 0)
}

pub(crate) fn load_a_module() -> Attempt {
    attempt!(SYS_init_module, 0, 0, 0)
}

pub(crate) fn start_another_kernel() -> Attempt {
    attempt!(SYS_kexec_load, 0, 0, 0, 0)
}

pub(crate) fn restart_the_machine() -> Attempt {
    // Without the right numbers the kernel does nothing, whoever asks.
    attempt!(SYS_reboot, 0, 0, 0, 0)
}

pub(crate) fn set_the_clock() -> Attempt {
    attempt!(SYS_settimeofday, 0, 0)
}

pub(crate) fn become_root() -> Attempt {
    attempt!(SYS_setuid, 0)
}

pub(crate) fn share_memory_by_number() -> Attempt {
    attempt!(SYS_shmget, 0x1234, 4096, IPC_CREAT | 0o666)
}

pub(crate) fn open_a_message_queue() -> Attempt {
    attempt!(SYS_mq_open, c"queue".as_ptr(), O_CREAT | O_RDWR, 0o600, 0)
}

pub(crate) fn change_its_segments() -> Attempt {
    attempt!(SYS_modify_ldt, 0, 0, 0)
}

pub(crate) fn call_by_the_numbers_of_x32() -> Attempt {
    attempt!(0x4000_0000 + SYS_getpid)
}

/// By the gate of 32-bit programs, where the numbers mean other calls.
pub(crate) fn call_by_the_old_gate() -> Attempt {
    let answer: i32;
    // SAFETY: 20 is getpid there. It changes nothing but the register that it answers in.
    unsafe { std::arch::asm!("int 0x80", inlateout("eax") 20 => answer) };
    if answer > 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-answer)) }
}

// What it may use up.

pub(crate) fn fork_a_process() -> Attempt {
    // SAFETY: the child ends at once.
    unsafe {
        match fork() {
            0 => _exit(0),
            child => call(child.into()),
        }
    }
}

pub(crate) fn fork_without_end() -> Attempt {
    for _ in 0..10_000 {
        // SAFETY: the child waits to be killed with its parent.
        match unsafe { fork() } {
            0 => loop {
                // SAFETY: it waits.
                unsafe { pause() };
            },
            child if child < 0 => return Err(io::Error::last_os_error()),
            _ => {}
        }
    }
    Ok(())
}

pub(crate) fn fill_its_scratch_folder() -> Attempt {
    let mut file = fs::File::create(Path::new(&told("TMPDIR")).join("much"))?;
    let chunk = vec![0; 1 << 20];
    for _ in 0..256 {
        file.write_all(&chunk)?;
    }
    Ok(())
}

pub(crate) fn fill_its_scratch_folder_with_files() -> Attempt {
    let folder = told("TMPDIR");
    (0..100_000).try_for_each(|number| fs::File::create(format!("{folder}/{number}")).map(drop))
}

pub(crate) fn open_descriptors_without_end() -> Attempt {
    let mut open = Vec::new();
    for _ in 0..100_000 {
        open.push(fs::File::open("/dev/null")?);
    }
    Ok(())
}

// What has to go on working.

pub(crate) fn run_a_thread() -> Attempt {
    std::thread::spawn(|| ()).join().map_err(|_| io::ErrorKind::Other.into())
}

pub(crate) fn write_into_its_own_folders() -> Attempt {
    fs::write(writable().join("own"), "kept")?;
    let mut text = String::new();
    fs::File::open(writable().join("own"))?.read_to_string(&mut text)?;
    fs::write(Path::new(&told("TMPDIR")).join("own"), text)
}

/// Whether it has only what it was given: the names of its variables, and its descriptors.
pub(crate) fn look_at_what_it_was_born_with() -> Attempt {
    const GIVEN: [&str; 14] = [
        "PATH",
        "LANG",
        "HOME",
        "TMPDIR",
        "ORCHESTRATOR_SERVICE",
        "ORCHESTRATOR_REPLICA",
        "ORCHESTRATOR_HOST_FD",
        "SECRET",
        "WRITABLE",
        "READABLE",
        "BYSTANDER",
        "LISTENER",
        "ABSTRACT",
        "PORT_SOCKET",
    ];
    let more: Vec<_> =
        std::env::vars().map(|(name, _)| name).filter(|name| !GIVEN.contains(&name.as_str())).collect();
    // SAFETY: only asks whether they are open.
    let descriptors: Vec<_> = (4..1024).filter(|fd| unsafe { fcntl(*fd, F_GETFD) } >= 0).collect();
    if more.is_empty() && descriptors.is_empty() {
        return Ok(());
    }
    Err(io::Error::other(format!("{more:?} {descriptors:?}")))
}
