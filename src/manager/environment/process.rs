//! The `process` back end: a runner as a process on this host, below the project's keeper.
//!
//! The [`Keeper`] is a process too, the same program as the runner. One task speaks with it: it hands on what starts
//! want of it, and tells each start what becomes of its runner.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use orchestrator_port::keeper::{FromKeeper, LONGEST_PACKET, Limits, ToKeeper};
use orchestrator_port::launch::Ticket;
use orchestrator_sandbox::descriptors::{packet_pair, receive_packet, sealed_program, send_packet};
use orchestrator_sandbox::spawn::{Child, Launch, Program};
use orchestrator_sandbox::{Pid, tree};
use rustix::process::{WaitOptions, waitpid};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};

use super::{Environment, EnvironmentError, Given};
use crate::ProjectLock;

/// How many commands may wait for the keeper. When it is full, starts wait.
const QUEUE: usize = 64;

/// The project's keeper. When the last clone is gone, the keeper ends, and everything below it.
#[derive(Clone, Debug)]
pub(crate) struct Keeper {
    commands: mpsc::Sender<Command>,
    /// The number of the last start.
    last: Arc<AtomicU64>,
    /// Closed when the keeper's process has ended and been reaped.
    ended: watch::Receiver<()>,
}

/// What a start wants of the keeper.
#[derive(Debug)]
enum Command {
    /// Start a runner with its ticket in a pipe, and what else it is given; and tell here what becomes of it.
    Start { id: u64, limits: Limits, descriptors: Vec<OwnedFd>, life: watch::Sender<Life> },
    /// Kill a runner and everything below it.
    Kill { id: u64 },
}

/// What has become of a runner.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Life {
    /// The keeper has not answered yet.
    Asked,
    /// It runs, with this process id.
    Runs(u32),
    /// It could not be started.
    Failed(String),
    /// Nothing of it is left.
    Gone { out_of_memory: bool },
}

impl Keeper {
    /// Starts the keeper of a project. From now on the project's runtime folder is removed when the project ends.
    pub(crate) fn launch(runner: &[u8], folder: &Path, lock: &ProjectLock) -> Result<Self, EnvironmentError> {
        let (ours, theirs) = packet_pair().map_err(EnvironmentError::Keeper)?;
        let child = start_keeper(runner, folder, lock, &theirs)?;
        // Its packets are sent and received by `descriptors`; tokio only tells when.
        let socket = UnixStream::from_std(ours.into()).map_err(EnvironmentError::Keeper)?;
        let (commands, commanded) = mpsc::channel(QUEUE);
        let (end, ended) = watch::channel(());
        tokio::spawn(async move {
            speak(&socket, commanded).await;
            drop(socket);
            reap(child).await;
            drop(end);
        });
        Ok(Self { commands, last: Arc::default(), ended })
    }

    /// Lets the keeper end, once all starts are gone, and waits until it has.
    pub(crate) async fn end(self) {
        let mut ended = self.ended;
        drop(self.commands);
        while ended.changed().await.is_ok() {}
    }
}

fn start_keeper(
    runner: &[u8],
    folder: &Path,
    lock: &ProjectLock,
    socket: &OwnedFd,
) -> Result<Child, EnvironmentError> {
    let start = || -> io::Result<Child> {
        let program = sealed_program("orchestrator-runner", runner)?;
        let (nothing, errors) = (File::open("/dev/null")?, io::stderr());
        // Its errors are the orchestrator's own. The lock is held open, nothing more: see `project.rs`.
        let descriptors =
            vec![nothing.as_fd(), errors.as_fd(), errors.as_fd(), socket.as_fd(), lock.file.as_fd()];
        let launch = Launch {
            program: Program::Descriptor(program.as_fd()),
            arguments: vec!["orchestrator-keeper".into(), "keeper".into(), folder.into()],
            environment: Vec::new(),
            folder: Some(Path::new("/")),
            descriptors,
            die_with_parent: false,
            groups: &[],
            confinement: None,
        };
        launch.spawn().map_err(io::Error::other)
    };
    start().map_err(EnvironmentError::Keeper)
}

/// Carries commands to the keeper and its answers to the starts, until nobody is left to command or to answer.
async fn speak(socket: &UnixStream, mut commands: mpsc::Receiver<Command>) {
    let mut lives: HashMap<u64, watch::Sender<Life>> = HashMap::new();
    loop {
        tokio::select! {
            command = commands.recv() => {
                let Some(command) = command else { return };
                if let Err(error) = hand_on(socket, command, &mut lives).await {
                    tracing::error!(%error, "the keeper cannot be reached");
                    return;
                }
            }
            packet = socket.async_io(Interest::READABLE, || receive_packet(socket, LONGEST_PACKET)) => {
                match packet.map(|packet| packet.and_then(|packet| serde_json::from_slice(&packet.bytes).ok())) {
                    Ok(Some(answer)) => tell(answer, &mut lives),
                    // Dropping the lives tells every start that its runner is gone.
                    Ok(None) | Err(_) => {
                        tracing::error!("the keeper has ended: every service is lost");
                        return;
                    }
                }
            }
        }
    }
}

async fn hand_on(
    socket: &UnixStream,
    command: Command,
    lives: &mut HashMap<u64, watch::Sender<Life>>,
) -> io::Result<()> {
    let (message, descriptors) = match command {
        Command::Start { id, limits, descriptors, life } => {
            lives.insert(id, life);
            (ToKeeper::Start { id, limits }, descriptors)
        }
        Command::Kill { id } => (ToKeeper::Kill { id }, Vec::new()),
    };
    let bytes = serde_json::to_vec(&message)?;
    let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    let send = || send_packet(socket, &bytes, &descriptors);
    socket.async_io(Interest::WRITABLE, send).await
}

fn tell(answer: FromKeeper, lives: &mut HashMap<u64, watch::Sender<Life>>) {
    let (id, life) = match answer {
        FromKeeper::Started { id, pid } => (id, Life::Runs(pid)),
        FromKeeper::Failed { id, error } => (id, Life::Failed(error)),
        FromKeeper::Gone { id, out_of_memory, .. } => (id, Life::Gone { out_of_memory }),
    };
    let over = !matches!(life, Life::Runs(_));
    if let Some(teller) = lives.get(&id) {
        teller.send_replace(life);
    }
    if over {
        lives.remove(&id);
    }
}

async fn reap(child: Child) {
    let reaped = tokio::task::spawn_blocking(move || waitpid(Some(child.pid), WaitOptions::empty())).await;
    if !matches!(reaped, Ok(Ok(_))) {
        tracing::warn!(?reaped, "the keeper could not be reaped");
    }
}

/// A runner as a process below the keeper.
#[derive(Debug)]
pub(crate) struct ProcessEnvironment {
    keeper: mpsc::Sender<Command>,
    id: u64,
    limits: Limits,
    /// None until it was asked for.
    life: Option<watch::Receiver<Life>>,
}

impl ProcessEnvironment {
    /// An environment that is not there yet, with these limits.
    pub(crate) fn new(keeper: &Keeper, limits: Limits) -> Self {
        let id = keeper.last.fetch_add(1, Ordering::Relaxed) + 1;
        Self { keeper: keeper.commands.clone(), id, limits, life: None }
    }

    async fn bring_up(&mut self, mut ticket: Ticket, given: Given) -> Result<(), EnvironmentError> {
        if let (Some(confinement), Some(_)) = (&mut ticket.confinement, self.limits.pids) {
            // Its control group counts them, and tells when one was refused. The kernel's count for the user does not.
            confinement.processes = None;
        }
        let ticket = in_pipe(&ticket).map_err(EnvironmentError::Ticket)?;
        let (teller, mut life) = watch::channel(Life::Asked);
        self.life = Some(life.clone());
        let start = Command::Start {
            id: self.id,
            limits: self.limits,
            descriptors: [ticket].into_iter().chain(given.descriptors()).collect(),
            life: teller,
        };
        self.keeper.send(start).await.map_err(|_| EnvironmentError::NoKeeper)?;
        let answered = life.wait_for(|life| *life != Life::Asked).await;
        match &*answered.map_err(|_| EnvironmentError::NoKeeper)? {
            Life::Failed(error) => Err(EnvironmentError::Runner(error.clone())),
            _ => Ok(()),
        }
    }
}

impl Environment for ProcessEnvironment {
    fn start(&mut self, ticket: Ticket, given: Given) -> BoxFuture<'_, Result<(), EnvironmentError>> {
        self.bring_up(ticket, given).boxed()
    }

    fn was_out_of_memory(&mut self) -> BoxFuture<'_, bool> {
        let life = self.life.as_ref().map(|life| life.borrow().clone());
        ready(life == Some(Life::Gone { out_of_memory: true })).boxed()
    }

    fn runner(&self) -> Option<u32> {
        self.life.as_ref().and_then(|life| match *life.borrow() {
            Life::Runs(pid) => Some(pid),
            _ => None,
        })
    }

    fn pid_on_host(&self, inside: u32) -> u32 {
        let runner = self.runner().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let found = runner.and_then(|runner| tree::called(runner, inside));
        found.map_or(inside, |pid| pid.as_raw_nonzero().get().unsigned_abs())
    }

    fn kill(&mut self) -> BoxFuture<'_, ()> {
        async {
            if self.life.is_some() {
                // A keeper that has ended has killed it already.
                let _ = self.keeper.send(Command::Kill { id: self.id }).await;
            }
        }
        .boxed()
    }

    fn gone(&mut self) -> BoxFuture<'_, ()> {
        async {
            if let Some(life) = &mut self.life {
                let over = |life: &Life| matches!(life, Life::Gone { .. } | Life::Failed(_));
                // An error means that the keeper has ended, and so has everything below it.
                let _ = life.wait_for(over).await;
            }
        }
        .boxed()
    }
}

/// The ticket in a pipe whose writing end is closed: nothing of it is in any argument, environment or file.
fn in_pipe(ticket: &Ticket) -> io::Result<OwnedFd> {
    let text = super::ticket_text(ticket)?;
    let (reader, mut writer) = io::pipe()?;
    // It is smaller than a pipe's buffer, so this does not wait for a reader.
    writer.write_all(&text)?;
    Ok(reader.into())
}

#[cfg(test)]
mod tests {
    use orchestrator_port::launch::LONGEST_TICKET;

    use super::*;

    #[test]
    fn a_ticket_that_would_wait_for_its_reader_is_refused() {
        let ticket = |socket: String| Ticket {
            socket: socket.into(),
            token: String::new(),
            root: "/".into(),
            confinement: None,
            listen: Vec::new(),
        };
        assert!(in_pipe(&ticket("/short".into())).is_ok());
        let refused = in_pipe(&ticket("/".repeat(LONGEST_TICKET))).unwrap_err();
        assert_eq!(refused.to_string(), "a service's grants are longer than 60 KiB together");
    }
}
