//! The keeper of a project: the parent of its runners, and the reason why nothing outlives the orchestrator
//! (lifecycle rule 9).
//!
//! It is a subreaper: whoever loses its parent below it becomes its child. So a child that is no runner is the orphan
//! of a runner that has died, and is killed with everything below it. A start is gone when its runner is reaped and
//! no orphan is left.
//!
//! When its socket reaches the end, the orchestrator is gone, in whatever way: the keeper kills everything below it,
//! removes the project's folder and ends. Signals from a terminal are the orchestrator's to judge; the keeper hears
//! none of them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::{self, stderr, stdout};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use orchestrator_port::keeper::{FromKeeper, LONGEST_PACKET, Limits, ToKeeper};
use orchestrator_port::launch::DESCRIPTOR;
use orchestrator_sandbox::cgroup::{self, Group, GroupLimits};
use orchestrator_sandbox::descriptors::{Packet, inherited, receive_packet, send_packet};
use orchestrator_sandbox::spawn::{Launch, Program};
use orchestrator_sandbox::tree::{self, Ended, Reaped};
use orchestrator_sandbox::{Pid, remove_tree};
use rustix::io::ioctl_fionbio;
use rustix::process::getpid;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::chain;

/// How many messages may wait for a slow orchestrator before no more is asked of the keeper.
const OUTBOX: usize = 64;

/// Keeps the runners of the project whose folder this is, until the orchestrator is gone.
pub(crate) fn run(folder: &Path) -> Result<(), KeeperError> {
    let socket = inherited(DESCRIPTOR).map_err(KeeperError::Socket)?;
    // It leads a session already where it was started as it should be.
    let _ = rustix::process::setsid();
    let _ = rustix::thread::set_name(c"keeper");
    tree::become_subreaper().map_err(KeeperError::SetUp)?;
    let runtime = runtime::Builder::new_current_thread().enable_io().build().map_err(KeeperError::SetUp)?;
    let served = runtime.block_on(serve(socket));
    let removed = remove_tree(folder).map_err(KeeperError::Remove);
    served.and(removed)
}

/// Why a keeper failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeeperError {
    #[error("cannot speak with the orchestrator")]
    Socket(#[source] io::Error),
    #[error("cannot become a keeper")]
    SetUp(#[source] io::Error),
    #[error("cannot remove the project's folder")]
    Remove(#[source] io::Error),
}

/// The runner's processes in a start's group: the one outside of its namespaces, and the one inside.
const RUNNERS_OWN: u64 = 2;

async fn serve(socket: OwnedFd) -> Result<(), KeeperError> {
    ioctl_fionbio(&socket, true).map_err(|error| KeeperError::Socket(error.into()))?;
    let mut keeper = Keeper {
        socket: UnixStream::from_std(socket.into()).map_err(KeeperError::Socket)?,
        children: signal(SignalKind::child()).map_err(KeeperError::SetUp)?,
        runners: HashMap::new(),
        groups: HashMap::new(),
        ended: Vec::new(),
        outbox: VecDeque::new(),
    };
    // Taken and never read: so they do nothing.
    let deaf = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    cgroup::remove_abandoned();
    let served = keeper.serve().await;
    let ended = keeper.end_everything().await;
    keeper.groups.values().for_each(Group::remove);
    drop(deaf);
    served.map_err(KeeperError::Socket).and(ended.map_err(KeeperError::SetUp))
}

struct Keeper {
    /// The orchestrator's end is the other one. It keeps packets apart, which its type here knows nothing of.
    socket: UnixStream,
    /// SIGCHLD.
    children: Signal,
    /// The runners that run, by the number of their start.
    runners: HashMap<u64, Pid>,
    /// The control groups of starts that have limits, by the number of the start.
    groups: HashMap<u64, Group>,
    /// Those that have been reaped, but may have left orphans.
    ended: Vec<(u64, Ended)>,
    /// What the orchestrator has not taken yet.
    outbox: VecDeque<FromKeeper>,
}

impl Keeper {
    /// Does what it is told until the orchestrator is gone.
    async fn serve(&mut self) -> io::Result<()> {
        loop {
            let (readable, writable) = (self.outbox.len() < OUTBOX, !self.outbox.is_empty());
            tokio::select! {
                _ = self.children.recv() => self.collect()?,
                packet = receive(&self.socket), if readable => match packet? {
                    Some(packet) => self.hear(&packet)?,
                    None => return Ok(()),
                },
                sent = flush(&self.socket, &mut self.outbox), if writable => match sent {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                    other => other?,
                },
            }
        }
    }

    fn hear(&mut self, packet: &Packet) -> io::Result<()> {
        match serde_json::from_slice(&packet.bytes)? {
            ToKeeper::Start { id, limits } => {
                let group = make_group(id, limits);
                let started = group.and_then(|group| match start(&packet.descriptors, group.as_ref()) {
                    Ok(pid) => Ok((pid, group)),
                    Err(error) => {
                        group.iter().for_each(Group::remove);
                        Err(error)
                    }
                });
                let said = match started {
                    Ok((pid, group)) => {
                        self.groups.extend(group.map(|group| (id, group)));
                        self.runners.insert(id, pid);
                        FromKeeper::Started { id, pid: pid.as_raw_nonzero().get().unsigned_abs() }
                    }
                    Err(error) => FromKeeper::Failed { id, error },
                };
                self.outbox.push_back(said);
            }
            ToKeeper::Kill { id } => {
                if let Some(&runner) = self.runners.get(&id) {
                    tree::kill_tree(runner);
                }
            }
        }
        Ok(())
    }

    /// Reaps who has ended, kills who was orphaned by that, and says which starts are gone.
    fn collect(&mut self) -> io::Result<()> {
        while let Reaped::Ended(ended) = tree::reap()? {
            let id = self.runners.iter().find_map(|(id, pid)| (*pid == ended.pid).then_some(*id));
            if let Some(id) = id {
                self.runners.remove(&id);
                self.ended.push((id, ended));
            }
        }
        let runners: HashSet<_> = self.runners.values().collect();
        let mut orphans = tree::children(getpid());
        orphans.retain(|child| !runners.contains(child));
        if orphans.is_empty() {
            for (id, Ended { code, signal, .. }) in self.ended.drain(..) {
                let group = self.groups.remove(&id);
                let out_of_memory = group.as_ref().is_some_and(Group::was_out_of_memory);
                group.iter().for_each(Group::remove);
                self.outbox.push_back(FromKeeper::Gone { id, code, signal, out_of_memory });
            }
        }
        // The end of each of them is another SIGCHLD.
        orphans.into_iter().for_each(tree::kill_tree);
        Ok(())
    }

    /// Kills everything below, until nothing is.
    async fn end_everything(&mut self) -> io::Result<()> {
        loop {
            tree::kill_descendants(getpid());
            loop {
                match tree::reap()? {
                    Reaped::Ended(_) => {}
                    Reaped::NoneEnded => break,
                    Reaped::NoneLeft => return Ok(()),
                }
            }
            self.children.recv().await;
        }
    }
}

/// The control group of a start that has limits. The runner and what is round it are not the service's to pay for.
fn make_group(id: u64, limits: Limits) -> Result<Option<Group>, String> {
    let Limits { memory, cpu, pids } = limits;
    let limits = GroupLimits { memory, cpu, pids: pids.map(|pids| pids + RUNNERS_OWN) };
    if limits.is_empty() {
        return Ok(None);
    }
    let group = Group::create(id, &limits);
    group.map(Some).map_err(|error| format!("failed to make the control group: {error}"))
}

/// Starts a runner that is given these descriptors: its ticket, the one for its service, and what the ticket names besides.
fn start(descriptors: &[OwnedFd], group: Option<&Group>) -> Result<Pid, String> {
    let entrances = group.map_or_else(|| Ok(Vec::new()), Group::entrances);
    let entrances = entrances.map_err(|error| format!("failed to open the control group: {error}"))?;
    if descriptors.len() < 2 {
        return Err("a start comes with a ticket and a descriptor for its service".into());
    }
    let null = File::open("/dev/null").map_err(|error| format!("failed to open /dev/null: {error}"))?;
    let (stdout, stderr) = (stdout(), stderr());
    let launch = Launch {
        program: Program::Path(Path::new("/proc/self/exe")),
        arguments: vec!["runner".into(), "remote".into()],
        environment: Vec::new(),
        folder: Some(Path::new("/")),
        descriptors: [null.as_fd(), stdout.as_fd(), stderr.as_fd()]
            .into_iter()
            .chain(descriptors.iter().map(AsFd::as_fd))
            .collect(),
        die_with_parent: true,
        groups: &entrances,
        confinement: None,
    };
    Ok(launch.spawn().map_err(|error| chain(&error))?.pid)
}

async fn receive(socket: &UnixStream) -> io::Result<Option<Packet>> {
    match socket.async_io(Interest::READABLE, || receive_packet(socket, LONGEST_PACKET)).await {
        // It has gone without hearing everything.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
        other => other,
    }
}

/// Sends what waits, as far as the orchestrator takes it.
async fn flush(socket: &UnixStream, outbox: &mut VecDeque<FromKeeper>) -> io::Result<()> {
    while let Some(message) = outbox.front() {
        let bytes = serde_json::to_vec(message)?;
        socket.async_io(Interest::WRITABLE, || send_packet(socket, &bytes, &[])).await?;
        outbox.pop_front();
    }
    Ok(())
}
