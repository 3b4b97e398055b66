//! The real runner, driven as its orchestrator drives it.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use orchestrator_port::bundle::{self, Entry, EntryPath};
use orchestrator_port::launch::{Confinement, Listener, Sandbox, Ticket};
use orchestrator_port::message::control::{FromRemote, Order, Probe, Stream, ToRemote};
use orchestrator_port::{Frame, PortClosed, PortReceiver, PortSender, Token, websocket};
use orchestrator_sandbox::Pid;
use orchestrator_sandbox::descriptors::{sealed_program, stream_pair};
use orchestrator_sandbox::spawn::{Child, Launch, Program};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::time::timeout;

/// Far longer than anything here takes: only what hangs meets it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The runner in memory, as the orchestrator carries it: no sandbox has to let it be executed from a file.
fn program() -> BorrowedFd<'static> {
    static PROGRAM: OnceLock<OwnedFd> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let bytes = std::fs::read(env!("CARGO_BIN_EXE_runner")).unwrap();
        sealed_program("orchestrator-runner", &bytes).unwrap()
    });
    program.as_fd()
}

/// Nothing granted but what a runner needs that is not the static one.
pub(crate) fn nothing(sandbox: Sandbox) -> Confinement {
    let runtime = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache"];
    Confinement {
        sandbox,
        hostname: "web".into(),
        read: Vec::new(),
        write: Vec::new(),
        runtime: runtime.map(PathBuf::from).into(),
        user: None,
        devices: Vec::new(),
        scratch_bytes: 1 << 20,
        scratch_entries: 64,
        subprocess: false,
        network: false,
        relays: Vec::new(),
        hosts: BTreeMap::new(),
        descriptors: Some(64),
        processes: None,
        cpu_seconds: None,
    }
}

/// Starts the runner in one of its roles, with these descriptors from 3 on.
pub(crate) fn runner(arguments: &[&str], descriptors: &[BorrowedFd<'_>]) -> RunnerProcess {
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    let launch = Launch {
        program: Program::Descriptor(program()),
        arguments: ["runner"].iter().chain(arguments).map(Into::into).collect(),
        environment: Vec::new(),
        folder: Some(Path::new("/")),
        descriptors: [&[null.as_fd(); 3], descriptors].concat(),
        die_with_parent: false,
        groups: &[],
        confinement: None,
    };
    RunnerProcess(launch.spawn().unwrap())
}

/// The same, as another user; for root only.
pub(crate) fn runner_as(user: u32, arguments: &[&str], descriptors: &[BorrowedFd<'_>]) -> RunnerProcess {
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    let user = user.to_string();
    let program = program();
    let path = format!("/proc/self/fd/{}", 3 + descriptors.len());
    let switch = ["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups", "--", &path];
    let launch = Launch {
        program: Program::Path(Path::new("/usr/bin/setpriv")),
        arguments: switch.iter().chain(arguments).map(Into::into).collect(),
        environment: Vec::new(),
        folder: Some(Path::new("/")),
        descriptors: [&[null.as_fd(); 3], descriptors, &[program]].concat(),
        die_with_parent: false,
        groups: &[],
        confinement: None,
    };
    RunnerProcess(launch.spawn().unwrap())
}

/// A runner, ended when its test has ended.
pub(crate) struct RunnerProcess(Child);

impl RunnerProcess {
    pub(crate) fn pid(&self) -> Pid {
        self.0.pid
    }

    pub(crate) fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.0.pidfd, signal).unwrap();
    }

    /// Waits for its end; answers with its exit code, if it has not been killed.
    pub(crate) async fn wait(&self) -> Option<i32> {
        let fd = self.0.pidfd.try_clone().unwrap();
        let wait = tokio::task::spawn_blocking(move || {
            waitid(WaitId::PidFd(fd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
        });
        timeout(DEADLINE, wait).await.unwrap().unwrap().unwrap().unwrap().exit_status()
    }
}

impl Drop for RunnerProcess {
    /// As a signal, because a runner that is killed outright cannot end what it has started. A keeper hears none, and
    /// ends when its socket does.
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.0.pidfd, Signal::TERM);
        let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
        let _ = poll(&mut [PollFd::new(&self.0.pidfd, PollFlags::IN)], Some(&patience));
        let _ = pidfd_send_signal(&self.0.pidfd, Signal::KILL);
        let _ = waitid(WaitId::PidFd(self.0.pidfd.as_fd()), WaitIdOptions::EXITED);
    }
}

/// A ticket in a pipe, and the socket that it leads to.
pub(crate) struct Booth {
    pub(crate) folder: TempDir,
    pub(crate) root: PathBuf,
    pub(crate) token: Token,
    /// The service's descriptor 3, from the orchestrator's side.
    pub(crate) host: std::os::unix::net::UnixStream,
    /// And from its own, until a runner has it.
    pub(crate) host_end: Option<OwnedFd>,
    /// What its ticket says that the service listens on.
    pub(crate) listen: Vec<Listener>,
    listener: UnixListener,
}

impl Booth {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let listener = UnixListener::bind(folder.path().join("port")).unwrap();
        let (host, host_end) = stream_pair().unwrap();
        let (token, listen) = (Token::generate(), Vec::new());
        Self { folder, root, token, host: host.into(), listen, host_end: Some(host_end), listener }
    }

    pub(crate) fn ticket(&self, token: &Token) -> OwnedFd {
        self.ticket_to(token, None)
    }

    pub(crate) fn ticket_to(&self, token: &Token, confinement: Option<Confinement>) -> OwnedFd {
        let ticket = Ticket {
            socket: self.folder.path().join("port"),
            token: token.to_hex(),
            root: self.root.clone(),
            confinement,
            listen: self.listen.clone(),
        };
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(&serde_json::to_vec(&ticket).unwrap()).unwrap();
        reader.into()
    }

    /// Meets a runner that has another token.
    pub(crate) async fn refuse(&self) {
        let (stream, _) = timeout(DEADLINE, self.listener.accept()).await.unwrap().unwrap();
        assert!(websocket::accept(stream, &self.token, DEADLINE).await.is_err());
    }

    pub(crate) async fn accept(&self) -> (PortSender, PortReceiver) {
        let (stream, _) = timeout(DEADLINE, self.listener.accept()).await.unwrap().unwrap();
        websocket::accept(stream, &self.token, DEADLINE).await.unwrap().split()
    }
}

/// The controller's end of one start, in a test's hands.
pub(crate) struct Controller {
    pub(crate) sender: PortSender,
    pub(crate) receiver: PortReceiver,
}

/// A start without a keeper.
pub(crate) struct Start {
    pub(crate) booth: Booth,
    pub(crate) process: RunnerProcess,
    pub(crate) controller: Controller,
}

impl Start {
    /// A runner that has said that it is ready.
    pub(crate) async fn ready() -> Self {
        let mut booth = Booth::new();
        let host_end = booth.host_end.take().unwrap();
        let process = runner(&["remote"], &[booth.ticket(&booth.token).as_fd(), host_end.as_fd()]);
        let (sender, receiver) = booth.accept().await;
        let mut controller = Controller { sender, receiver };
        assert!(matches!(controller.hear().await, FromRemote::Ready { .. }));
        Self { booth, process, controller }
    }

    /// A runner that runs a shell script.
    pub(crate) async fn shell(script: &str) -> Self {
        let mut start = Self::ready().await;
        start.controller.run(shell(script)).await;
        start
    }
}

impl Controller {
    pub(crate) async fn tell(&self, message: ToRemote, payload: &'static [u8]) {
        self.sender.send(Frame::control(&message, Bytes::from_static(payload))).await.unwrap();
    }

    pub(crate) async fn ship(&self, entries: &[Entry]) {
        bundle::send(&self.sender, entries).await.unwrap();
    }

    /// Runs an order, to where its process runs.
    pub(crate) async fn run(&mut self, order: Order) {
        self.tell(ToRemote::Run(order), b"").await;
        assert!(matches!(self.hear().await, FromRemote::Running { .. }));
    }

    /// What comes next, figures left out.
    pub(crate) async fn next(&mut self) -> Result<(FromRemote, Bytes), PortClosed> {
        loop {
            let frame = timeout(DEADLINE, self.receiver.receive()).await.unwrap()?;
            let message: FromRemote = frame.parse().unwrap();
            if !matches!(message, FromRemote::Usage(_)) {
                return Ok((message, frame.payload));
            }
        }
    }

    pub(crate) async fn hear(&mut self) -> FromRemote {
        self.next().await.unwrap().0
    }

    /// The next piece of output.
    pub(crate) async fn hear_output(&mut self) -> Vec<u8> {
        match self.next().await.unwrap() {
            (FromRemote::Output { .. }, bytes) => bytes.to_vec(),
            other => panic!("{other:?} instead of output"),
        }
    }

    /// The next whole line of standard output.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            line.extend(self.hear_output().await);
        }
        String::from_utf8(line).unwrap().trim().into()
    }

    /// What a probe finds wrong, if anything.
    pub(crate) async fn probe(&mut self, probe: Probe, limit: Duration) -> Option<String> {
        let timeout = u64::try_from(limit.as_millis()).unwrap();
        self.tell(ToRemote::Probe { id: 7, probe, timeout }, b"").await;
        loop {
            match self.hear().await {
                FromRemote::Probed { id: 7, failure } => return failure,
                FromRemote::Output { .. } => {}
                other => panic!("{other:?} instead of a probe's answer"),
            }
        }
    }

    /// Everything to the end of the connection, which is a close.
    pub(crate) async fn rest(&mut self) -> Rest {
        let mut rest = Rest::default();
        loop {
            match self.next().await {
                Ok((FromRemote::Output { stream, lost: 0 }, bytes)) => match stream {
                    Stream::Stdout => rest.stdout.extend_from_slice(&bytes),
                    Stream::Stderr => rest.stderr.extend_from_slice(&bytes),
                },
                Ok((message, _)) => rest.messages.push(message),
                Err(how) => {
                    assert_eq!(how, PortClosed::ByPeer, "after {:?}", rest.messages);
                    return rest;
                }
            }
        }
    }
}

/// What a service wrote, and all that was said about it besides.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) messages: Vec<FromRemote>,
}

pub(crate) fn shell(script: &str) -> Order {
    Order {
        service: "shop/cart".into(),
        replica: 2,
        command: ["/bin/sh", "-c", script].map(Into::into).into(),
        ..Order::default()
    }
}

pub(crate) fn exited(code: i32) -> FromRemote {
    FromRemote::Exited { code: Some(code), signal: None }
}

pub(crate) fn entry(path: &str, executable: bool, bytes: &'static [u8]) -> Entry {
    Entry { path: EntryPath::parse(path).unwrap(), executable, bytes: Bytes::from_static(bytes) }
}

/// Whether this process is there, and has not ended.
pub(crate) fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with('Z'))
}

/// Whether a folder has nothing in it.
pub(crate) fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}
