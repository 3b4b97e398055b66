//! `runner keeper`: a project's runners, and their end.

#![expect(clippy::unwrap_used, reason = "the helpers of tests, too, may fail by panicking")]

mod support;

use std::os::fd::{AsFd, OwnedFd};

use orchestrator_port::keeper::{FromKeeper, LONGEST_PACKET, Limits, ToKeeper};
use orchestrator_port::message::control::FromRemote;
use orchestrator_sandbox::{Pid, descriptors, tree};
use rustix::process::{Signal, kill_process};
use support::{Booth, Controller, DEADLINE, RunnerProcess, exited, runner, runs, shell};
use tempfile::TempDir;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::timeout;

struct Keeper {
    /// Dropped first: then the keeper ends.
    socket: UnixStream,
    process: RunnerProcess,
    folder: TempDir,
}

impl Keeper {
    fn start() -> Self {
        let (ours, theirs) = descriptors::packet_pair().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let process = runner(&["keeper", folder.path().to_str().unwrap()], &[theirs.as_fd()]);
        Self { process, socket: UnixStream::from_std(ours.into()).unwrap(), folder }
    }

    fn tell(&self, message: ToKeeper, descriptors: &[OwnedFd]) {
        let bytes = serde_json::to_vec(&message).unwrap();
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        descriptors::send_packet(&self.socket, &bytes, &descriptors).unwrap();
    }

    async fn hear(&self) -> FromKeeper {
        let receive = self
            .socket
            .async_io(Interest::READABLE, || descriptors::receive_packet(&self.socket, LONGEST_PACKET));
        let packet = timeout(DEADLINE, receive).await.unwrap().unwrap().unwrap();
        serde_json::from_slice(&packet.bytes).unwrap()
    }

    /// Starts a runner that runs a script; answers with its id, and the controller's end.
    async fn run(&self, id: u64, script: &str) -> (Pid, Controller, Booth) {
        let mut booth = Booth::new();
        let given = [booth.ticket(&booth.token), booth.host_end.take().unwrap()];
        self.tell(ToKeeper::Start { id, limits: Limits::default() }, &given);
        let FromKeeper::Started { id: started, pid } = self.hear().await else { panic!("not started") };
        assert_eq!(started, id);
        let (sender, receiver) = booth.accept().await;
        let mut controller = Controller { sender, receiver };
        assert!(matches!(controller.hear().await, FromRemote::Ready { .. }));
        controller.run(shell(script)).await;
        (Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), controller, booth)
    }
}

/// Writes its own id and that of a process that has left its family, neither of which hears SIGTERM.
const STUBBORN: &str = "trap '' TERM; (setsid sh -c 'trap \"\" TERM HUP; echo $$; exec sleep 1000' & exit); \
                        echo $$; sleep 1000";

async fn stubborn(keeper: &Keeper, id: u64) -> (Pid, Controller, Booth, [String; 2]) {
    let (pid, mut controller, booth) = keeper.run(id, STUBBORN).await;
    let mut text = String::new();
    while text.lines().count() < 2 || !text.ends_with('\n') {
        text += &String::from_utf8(controller.hear_output().await).unwrap();
    }
    let mut pids = text.lines().map(String::from);
    let pids = [pids.next().unwrap(), pids.next().unwrap()];
    assert!(pids.iter().all(|pid| runs(pid)));
    (pid, controller, booth, pids)
}

#[tokio::test]
async fn a_runner_that_ends_by_itself_is_gone() {
    let keeper = Keeper::start();
    let (_, mut controller, _booth) = keeper.run(1, "echo done").await;
    let rest = controller.rest().await;
    assert_eq!(
        (rest.stdout.as_slice(), rest.messages.as_slice()),
        (b"done\n".as_slice(), [exited(0)].as_slice())
    );
    assert_eq!(
        keeper.hear().await,
        FromKeeper::Gone { id: 1, code: Some(0), signal: None, out_of_memory: false }
    );
}

#[tokio::test]
async fn a_kill_leaves_nothing_of_its_own_start_and_everything_of_the_others() {
    let keeper = Keeper::start();
    let (_, _controller, _booth, first) = stubborn(&keeper, 1).await;
    let (_, _other_controller, _other_booth, second) = stubborn(&keeper, 2).await;
    keeper.tell(ToKeeper::Kill { id: 1 }, &[]);
    assert_eq!(
        keeper.hear().await,
        FromKeeper::Gone { id: 1, code: None, signal: Some(9), out_of_memory: false }
    );
    assert!(!first.iter().any(|pid| runs(pid)));
    assert!(second.iter().all(|pid| runs(pid)));
    // A second time nothing happens; nor for one that never was.
    keeper.tell(ToKeeper::Kill { id: 1 }, &[]);
    keeper.tell(ToKeeper::Kill { id: 7 }, &[]);
    keeper.tell(ToKeeper::Kill { id: 2 }, &[]);
    assert_eq!(
        keeper.hear().await,
        FromKeeper::Gone { id: 2, code: None, signal: Some(9), out_of_memory: false }
    );
}

#[tokio::test]
async fn a_runner_that_is_killed_by_somebody_takes_its_service_along() {
    let keeper = Keeper::start();
    let (pid, _controller, _booth, pids) = stubborn(&keeper, 1).await;
    kill_process(pid, Signal::KILL).unwrap();
    assert_eq!(
        keeper.hear().await,
        FromKeeper::Gone { id: 1, code: None, signal: Some(9), out_of_memory: false }
    );
    assert!(!pids.iter().any(|pid| runs(pid)));
    assert!(tree::children(keeper.process.pid()).is_empty());
}

#[tokio::test]
async fn when_the_orchestrator_is_gone_nothing_is_left() {
    let keeper = Keeper::start();
    let (_, _controller, _booth, first) = stubborn(&keeper, 1).await;
    let (_, _other_controller, _other_booth, second) = stubborn(&keeper, 2).await;
    let Keeper { process, socket, folder } = keeper;
    std::fs::create_dir(folder.path().join("start")).unwrap();
    std::fs::write(folder.path().join("start/file"), "").unwrap();
    drop(socket);
    assert_eq!(process.wait().await, Some(0));
    assert!(!first.iter().chain(&second).any(|pid| runs(pid)));
    assert!(!folder.path().exists());
}

#[tokio::test]
async fn the_signals_of_a_terminal_do_nothing() {
    let keeper = Keeper::start();
    let (_, mut controller, _booth) = keeper.run(1, "echo up; sleep 1000").await;
    assert_eq!(controller.line().await, "up");
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        keeper.process.signal(signal);
    }
    keeper.tell(ToKeeper::Kill { id: 1 }, &[]);
    assert_eq!(
        keeper.hear().await,
        FromKeeper::Gone { id: 1, code: None, signal: Some(9), out_of_memory: false }
    );
}

#[tokio::test]
async fn a_start_without_a_ticket_fails() {
    let keeper = Keeper::start();
    keeper.tell(ToKeeper::Start { id: 3, limits: Limits::default() }, &[]);
    let error = "a start comes with a ticket and a descriptor for its service".into();
    assert_eq!(keeper.hear().await, FromKeeper::Failed { id: 3, error });
}
