//! The hostile corpus: what code that wants out tries, and what the kernel answers it, in each sandbox and for each kind of
//! user. Prints a matrix; fails where anything is open, a bystander is hurt, or a victim's file is changed.
//!
//! The attacker is this same program, started again inside of the sandbox. It does nothing where it finds itself outside
//! of one.

#![expect(unsafe_code, reason = "an attacker makes system calls as it likes")]
#![expect(clippy::unwrap_used, reason = "the helpers of tests, too, may fail by panicking")]
#![expect(clippy::print_stdout, reason = "the matrix is what this is for")]

mod attacks;
mod container;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use orchestrator_port::launch::{Confinement, Sandbox};
use orchestrator_port::message::control::{FromRemote, Order};
use orchestrator_sandbox::descriptors::packet_pair;
use rustix::process::geteuid;
use support::{Booth, Controller, RunnerProcess, runner, runner_as, shell};
use tempfile::TempDir;

use attacks::*;
use container::Container;

/// A user without any rights.
const NOBODY: u32 = 65534;

/// What the attacker is started with; the rest of its arguments is the attempt.
const ROLE: &str = "attack";

/// Where an attempt is made: the columns of the matrix.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    StrictAsRoot,
    StrictAsUser,
    Landlock,
    Docker,
}

use Column::{Docker, Landlock, StrictAsRoot, StrictAsUser};

const ALL: &[Column] = &[StrictAsRoot, StrictAsUser, Landlock, Docker];
const STRICT: &[Column] = &[StrictAsRoot, StrictAsUser, Docker];
const NAMESPACES: &[Column] = &[StrictAsRoot, StrictAsUser];

/// What it is granted beyond a folder to read and one to write.
#[derive(Clone, Copy)]
enum Grant {
    Nothing,
    Network,
    Subprocess,
}

use Grant::{Network, Nothing, Subprocess};

/// What is to come of it.
#[derive(Clone, Copy)]
enum Expected {
    /// One of the kernel's ways to say no.
    Denied,
    /// It goes on working.
    Works,
}

use Expected::{Denied, Works};

/// An attempt.
struct Case {
    name: &'static str,
    attempt: fn() -> io::Result<()>,
    grant: Grant,
    columns: &'static [Column],
    expected: Expected,
}

macro_rules! cases {
    ($($name:ident $grant:ident $columns:ident $expected:ident,)*) => {
        &[$(Case { name: stringify!($name), attempt: $name, grant: $grant, columns: $columns, expected: $expected },)*]
    };
}

#[rustfmt::skip]
const CASES: &[Case] = cases![
    // Files.
    read_a_secret                           Nothing    ALL    Denied,
    read_the_hosts_passwords                Nothing    ALL    Denied,
    read_through_a_link                     Nothing    ALL    Denied,
    link_a_secret_into_its_own_folder       Nothing    ALL    Denied,
    write_what_it_may_only_read             Nothing    ALL    Denied,
    make_a_file_where_it_may_only_read      Nothing    ALL    Denied,
    reopen_by_descriptor_for_writing        Nothing    ALL    Denied,
    write_its_own_memory_file               Nothing    ALL    Denied,
    leave_by_the_runners_root               Nothing    ALL    Denied,
    read_the_runners_environment            Nothing    ALL    Denied,
    read_a_bystanders_environment           Nothing    ALL    Denied,
    change_the_mode_of_a_secret             Nothing    ALL    Denied,
    change_the_times_of_a_secret            Nothing    ALL    Denied,
    change_the_owner_of_a_secret            Nothing    ALL    Denied,
    give_a_secret_an_attribute              Nothing    ALL    Denied,
    make_a_set_user_id_file                 Nothing    ALL    Denied,
    make_a_block_device                     Nothing    ALL    Denied,
    execute_what_it_wrote                   Nothing    ALL    Denied,
    map_what_it_wrote_as_a_program          Nothing    NAMESPACES Denied,
    execute_from_memory                     Nothing    ALL    Denied,
    reach_the_container_engine              Network    STRICT Denied,
    reach_the_container_engine              Nothing    ALL    Denied,
    reach_the_controllers_socket            Network    STRICT Denied,
    reach_the_controllers_socket            Nothing    ALL    Denied,
    open_the_terminal                       Nothing    ALL    Denied,
    type_into_the_terminal                  Nothing    ALL    Denied,
    // The network, without a grant and with another one.
    connect_to_the_host                     Nothing    ALL    Denied,
    connect_to_the_host                     Network    STRICT Denied,
    connect_by_sending                      Nothing    ALL    Denied,
    connect_by_sending                      Network    STRICT Denied,
    send_a_datagram                         Nothing    ALL    Denied,
    send_a_datagram                         Network    STRICT Denied,
    open_a_raw_socket                       Nothing    ALL    Denied,
    open_a_raw_socket                       Network    STRICT Denied,
    open_a_packet_socket                    Network    STRICT Denied,
    open_a_multipath_socket                 Nothing    ALL    Denied,
    open_a_multipath_socket                 Network    STRICT Denied,
    open_a_hypervisor_socket                Network    STRICT Denied,
    open_a_crypto_socket                    Network    STRICT Denied,
    reach_an_abstract_socket_of_the_host    Nothing    ALL    Denied,
    reach_an_abstract_socket_of_the_host    Network    STRICT Denied,
    // Other processes.
    kill_the_runner                         Nothing    ALL    Denied,
    kill_a_bystander                        Nothing    ALL    Denied,
    reach_everybody_by_a_signal             Nothing    STRICT Denied,
    signal_a_bystander_by_descriptor        Nothing    STRICT Denied,
    trace_the_runner                        Nothing    ALL    Denied,
    read_the_runners_memory                 Nothing    ALL    Denied,
    take_a_descriptor_of_the_runner         Nothing    ALL    Denied,
    lower_the_runners_limits                Nothing    ALL    Denied,
    slow_the_runner_down                    Nothing    ALL    Denied,
    slow_its_whole_user_down                Nothing    STRICT Denied,
    move_the_runner_to_another_core         Nothing    ALL    Denied,
    // The kernel.
    make_a_user_namespace                   Nothing    ALL    Denied,
    make_a_user_namespace                   Subprocess ALL    Denied,
    clone_into_a_user_namespace             Subprocess ALL    Denied,
    clone_by_structure                      Subprocess ALL    Denied,
    mount_something                         Nothing    ALL    Denied,
    open_a_file_system                      Nothing    ALL    Denied,
    change_the_root                         Nothing    ALL    Denied,
    change_places_with_the_root             Nothing    ALL    Denied,
    take_a_mount_away                       Nothing    ALL    Denied,
    enter_a_namespace                       Nothing    ALL    Denied,
    load_a_program_into_the_kernel          Nothing    ALL    Denied,
    count_events                            Nothing    ALL    Denied,
    handle_page_faults                      Nothing    ALL    Denied,
    make_a_ring                             Nothing    ALL    Denied,
    use_the_key_ring                        Nothing    ALL    Denied,
    load_a_module                           Nothing    ALL    Denied,
    start_another_kernel                    Nothing    ALL    Denied,
    restart_the_machine                     Nothing    ALL    Denied,
    set_the_clock                           Nothing    ALL    Denied,
    become_root                             Nothing    ALL    Denied,
    share_memory_by_number                  Nothing    ALL    Denied,
    open_a_message_queue                    Nothing    ALL    Denied,
    change_its_segments                     Nothing    ALL    Denied,
    call_by_the_numbers_of_x32              Nothing    ALL    Denied,
    call_by_the_old_gate                    Nothing    ALL    Denied,
    // What it may use up.
    fork_a_process                          Nothing    ALL    Denied,
    fork_without_end                        Subprocess STRICT Denied,
    fill_its_scratch_folder                 Nothing    STRICT Denied,
    fill_its_scratch_folder_with_files      Nothing    STRICT Denied,
    open_descriptors_without_end            Nothing    ALL    Denied,
    // What has to go on working.
    run_a_thread                            Nothing    ALL    Works,
    fork_a_process                          Subprocess ALL    Works,
    write_into_its_own_folders              Nothing    ALL    Works,
    look_at_what_it_was_born_with           Nothing    ALL    Works,
];

/// Where a container answers otherwise than a process in namespaces, and why. `docs/security.md` has the same list.
const OTHERWISE: [(&str, &str); 4] = [
    ("read_the_hosts_passwords", "an image has a file of that name, its own"),
    ("map_what_it_wrote_as_a_program", "no engine's bind forbids it, and memory of its own would do as well"),
    ("leave_by_the_runners_root", "the engine's /proc shows the runner, and nothing of it"),
    ("read_the_runners_environment", "the engine's /proc shows the runner, and nothing of it"),
];

/// The kernel's ways to say no.
const NO: [i32; 16] = [
    libc::EACCES,
    libc::EPERM,
    libc::ENOENT,
    libc::EROFS,
    libc::EXDEV,
    libc::ENOSYS,
    libc::ESRCH,
    libc::ECONNREFUSED,
    libc::ENETUNREACH,
    libc::EAGAIN,
    libc::ENOSPC,
    libc::EMFILE,
    libc::ENXIO,
    libc::EINVAL,
    libc::EAFNOSUPPORT,
    libc::ELOOP,
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(ROLE) {
        return attack(&arguments.next().unwrap_or_default());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(defend())
}

/// The attacker's part: one attempt, and what came of it as a line.
fn attack(name: &str) -> ExitCode {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    // Without namespaces there is no /proc for it; the harness's own mark has to do.
    let confined = status.contains("Seccomp:\t2") || std::env::var_os("ORCHESTRATOR_SERVICE").is_some();
    let Some(case) = CASES.iter().find(|case| case.name == name).filter(|_| confined) else {
        return ExitCode::FAILURE;
    };
    match (case.attempt)() {
        Ok(()) => println!("done"),
        Err(error) => match error.raw_os_error() {
            Some(number) => println!("errno {number}"),
            None => println!("failed {error}"),
        },
    }
    ExitCode::SUCCESS
}

/// What the attempts aim at, and who must not be hurt.
struct Victims {
    folder: TempDir,
    attacker: PathBuf,
    bystander: Child,
    listener: std::net::TcpListener,
    _abstract: UnixListener,
    name: String,
}

impl Victims {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        open_to_all(folder.path(), 0o755);
        let attacker = folder.path().join("attacker");
        fs::copy(std::env::current_exe().unwrap(), &attacker).unwrap();
        open_to_all(&attacker, 0o755);
        for name in ["secret", "read"] {
            let place = folder.path().join(name);
            fs::create_dir(&place).unwrap();
            fs::write(place.join("file"), name).unwrap();
            open_to_all(&place, 0o777);
            // Whoever gets there could read and write it: so it is the sandbox that says no.
            open_to_all(&place.join("file"), 0o666);
        }
        let name = format!("orchestrator-corpus-{}", std::process::id());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self {
            attacker,
            bystander: Command::new("sleep").arg("3600").stdin(Stdio::null()).spawn().unwrap(),
            listener,
            _abstract: UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap(),
            name,
            folder,
        }
    }

    /// A fresh folder for one attempt to write into.
    fn writable(&self, user: Option<u32>) -> PathBuf {
        let place = self.folder.path().join("write");
        let _ = fs::remove_dir_all(&place);
        fs::create_dir(&place).unwrap();
        open_to_all(&place, 0o777);
        chown(&place, user, user).unwrap();
        place
    }

    fn environment(&self, port: String) -> BTreeMap<String, String> {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let told = [
            ("SECRET", path("secret/file")),
            ("READABLE", path("read")),
            ("WRITABLE", path("write")),
            ("BYSTANDER", self.bystander.id().to_string()),
            ("LISTENER", self.listener.local_addr().unwrap().port().to_string()),
            ("ABSTRACT", self.name.clone()),
            ("PORT_SOCKET", port),
        ];
        told.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// What has happened to them, if anything.
    fn hurt(&mut self) -> Option<String> {
        for name in ["secret", "read"] {
            let file = self.folder.path().join(name).join("file");
            if fs::read_to_string(&file).unwrap_or_default() != name {
                return Some(format!("{} was changed", file.display()));
            }
        }
        if !matches!(self.bystander.try_wait(), Ok(None)) {
            return Some("the bystander was killed".into());
        }
        self.listener.accept().ok().map(|_| "the host's listener was reached".into())
    }
}

impl Drop for Victims {
    fn drop(&mut self) {
        let _ = self.bystander.kill();
        let _ = self.bystander.wait();
    }
}

fn open_to_all(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

async fn defend() -> ExitCode {
    let mut victims = Victims::new();
    let mut columns = vec![(StrictAsUser, "strict, user"), (Landlock, "landlock")];
    if geteuid().is_root() {
        columns.insert(0, (StrictAsRoot, "strict, root"));
    } else {
        println!("skipped: the column 'strict, root' needs root");
    }
    match container::missing() {
        None => columns.push((Docker, "docker")),
        Some(what) => println!("skipped: the column 'docker' needs {what}"),
    }
    let titles: Vec<_> = columns.iter().map(|(_, title)| format!("{title:<14}")).collect();
    println!("{:<40} {:<11} {}", "attempt", "granted", titles.join(" "));
    let (mut open, mut tried) = (0, 0);
    for case in CASES {
        let mut cells = Vec::new();
        for (column, _) in &columns {
            if !case.columns.contains(column) {
                cells.push(format!("{:<14}", "-"));
                continue;
            }
            tried += 1;
            let (verdict, holds) = try_it(case, *column, &mut victims).await;
            let explained = OTHERWISE.iter().any(|(name, _)| *name == case.name);
            let strange = *column == Docker && !explained && !cells.contains(&format!("{verdict:<14}"));
            open += usize::from(!holds || strange);
            cells.push(if strange { format!("{verdict} ?") } else { format!("{verdict:<14}") });
        }
        let granted = match case.grant {
            Nothing => "",
            Network => "network",
            Subprocess => "subprocess",
        };
        println!("{:<40} {granted:<11} {}", case.name.replace('_', " "), cells.join(" ").trim_end());
    }
    if columns.iter().any(|(column, _)| *column == Docker) {
        for (name, why) in OTHERWISE {
            println!("otherwise in a container: {}: {why}", name.replace('_', " "));
        }
    }
    let page = include_str!("../../../../docs/security.md");
    for (name, why) in OTHERWISE {
        let row = page.lines().find(|line| line.starts_with('|') && line.contains(&name.replace('_', " ")));
        if !row.is_some_and(|row| row.contains(why)) {
            println!("docs/security.md does not say why '{}' is otherwise: {why}", name.replace('_', " "));
            open += 1;
        }
    }
    println!("{tried} attempts, {open} open");
    if open == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What came of an attempt, and whether that is as it should be.
async fn try_it(case: &Case, column: Column, victims: &mut Victims) -> (String, bool) {
    let user = (column == StrictAsUser && geteuid().is_root()).then_some(NOBODY);
    let writable = victims.writable(user);
    let said = run(case, column, user, writable, victims).await;
    let (verdict, holds) = match (said.as_str(), case.expected) {
        ("done", Works) => ("works".to_owned(), true),
        ("done", Denied) => ("OPEN".to_owned(), false),
        (signal, Denied) if signal == format!("signal {}", libc::SIGSYS) => ("SIGSYS".to_owned(), true),
        (said, Denied) => match said.strip_prefix("errno ").and_then(|number| number.parse().ok()) {
            Some(number) if NO.contains(&number) => (name_of(number), true),
            _ => (format!("? {said}"), false),
        },
        (said, Works) => (format!("BROKEN {said}"), false),
    };
    match victims.hurt() {
        None => (verdict, holds),
        Some(how) => (format!("HURT: {how}"), false),
    }
}

/// Who has to be there until the attempt is over.
enum Runner {
    Process(RunnerProcess),
    Container(Container),
}

async fn run(case: &Case, column: Column, user: Option<u32>, writable: PathBuf, victims: &Victims) -> String {
    let booth = Booth::new();
    let confinement = confinement(case, column, writable, victims);
    let (_gateway, line) = packet_pair().unwrap();
    let (attacker, port) = match column {
        Docker => (container::ATTACKER.to_owned(), container::PORT.to_owned()),
        _ => (path_of(&victims.attacker), path_of(&booth.folder.path().join("port"))),
    };
    let runner = match column {
        Docker => Runner::Container(Container::start(&booth, &victims.attacker, confinement).await),
        _ => Runner::Process(start(&booth, user, confinement, line.as_fd())),
    };
    let (sender, receiver) = booth.accept().await;
    // As the manager does: nobody connects twice.
    fs::remove_file(booth.folder.path().join("port")).unwrap();
    let mut controller = Controller { sender, receiver };
    match controller.hear().await {
        FromRemote::Ready { .. } => {}
        other => return format!("{other:?}"),
    }
    let order = Order {
        command: vec![attacker, ROLE.into(), case.name.into()],
        env: victims.environment(port),
        ..shell("")
    };
    controller.run(order).await;
    let rest = controller.rest().await;
    match runner {
        Runner::Process(process) => drop(process.wait().await),
        Runner::Container(container) => drop(container),
    }
    match rest.messages.last() {
        Some(FromRemote::Exited { signal: Some(signal), .. }) => format!("signal {signal}"),
        _ => String::from_utf8_lossy(&rest.stdout).trim().to_owned(),
    }
}

fn start(booth: &Booth, user: Option<u32>, confinement: Confinement, line: BorrowedFd<'_>) -> RunnerProcess {
    if let Some(user) = user {
        open_to_all(booth.folder.path(), 0o755);
        open_to_all(&booth.folder.path().join("port"), 0o777);
        chown(&booth.root, Some(user), Some(user)).unwrap();
    }
    let ticket = booth.ticket_to(&booth.token, Some(confinement));
    let descriptors = [ticket.as_fd(), booth.host_end.as_ref().expect("it is there").as_fd(), line];
    match user {
        Some(user) => runner_as(user, &["remote"], &descriptors),
        None => runner(&["remote"], &descriptors),
    }
}

fn path_of(path: &Path) -> String {
    path.display().to_string()
}

fn confinement(case: &Case, column: Column, writable: PathBuf, victims: &Victims) -> Confinement {
    let runtime = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache"].map(PathBuf::from);
    let runtime = runtime.into_iter().chain([victims.attacker.clone()]);
    Confinement {
        sandbox: match column {
            StrictAsRoot | StrictAsUser => Sandbox::Strict,
            Landlock => Sandbox::Landlock,
            Docker => Sandbox::Container,
        },
        hostname: "attacker".into(),
        read: vec![victims.folder.path().join("read")],
        write: vec![writable],
        // An image has its own.
        runtime: runtime.filter(|_| column != Docker).collect(),
        user: None,
        devices: Vec::new(),
        scratch_bytes: 1 << 20,
        scratch_entries: 64,
        subprocess: matches!(case.grant, Subprocess),
        network: matches!(case.grant, Network),
        relays: Vec::new(),
        hosts: BTreeMap::new(),
        descriptors: Some(64),
        processes: (column != Landlock).then_some(32),
        cpu_seconds: Some(60),
    }
}

/// An error's name, as the manual has it.
fn name_of(number: i32) -> String {
    let names = [
        (libc::EACCES, "EACCES"),
        (libc::EPERM, "EPERM"),
        (libc::ENOENT, "ENOENT"),
        (libc::EROFS, "EROFS"),
        (libc::EXDEV, "EXDEV"),
        (libc::ENOSYS, "ENOSYS"),
        (libc::ESRCH, "ESRCH"),
        (libc::ECONNREFUSED, "ECONNREFUSED"),
        (libc::ENETUNREACH, "ENETUNREACH"),
        (libc::EAGAIN, "EAGAIN"),
        (libc::ENOSPC, "ENOSPC"),
        (libc::EMFILE, "EMFILE"),
        (libc::ENXIO, "ENXIO"),
        (libc::EINVAL, "EINVAL"),
        (libc::EAFNOSUPPORT, "EAFNOSUPPORT"),
        (libc::ELOOP, "ELOOP"),
    ];
    names
        .iter()
        .find(|(known, _)| *known == number)
        .map_or(number.to_string(), |(_, name)| (*name).to_owned())
}
