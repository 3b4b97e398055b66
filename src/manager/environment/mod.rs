//! [`Environment`]: what an isolation back end makes, for one start: a place with a RemoteService in it.

mod docker;
mod process;

use std::io;
use std::os::fd::OwnedFd;

use futures_util::future::BoxFuture;
use orchestrator_port::launch::{LONGEST_TICKET, Ticket};

pub(crate) use docker::{Containers, DockerEnvironment, Engine, ImageProgram, Wanted};
pub use docker::{
    EngineError, FoundEngine, OnPull, PullProgress, RunnerImages, lock_images, probe_engine,
    remove_orphaned_containers,
};
pub(crate) use process::{Keeper, ProcessEnvironment};

use crate::service_container::chain;

/// One place for one start. Made by its back end, started once, gone in the end.
pub(crate) trait Environment: Send + Sync {
    /// Whether one of its processes was killed because it had used up its memory. To be asked when it is gone.
    fn was_out_of_memory(&mut self) -> BoxFuture<'_, bool>;

    /// Brings it up with a runner in it that has been handed the ticket and what goes with it, and will connect.
    fn start(&mut self, ticket: Ticket, given: Given) -> BoxFuture<'_, Result<(), EnvironmentError>>;

    /// The host's number for the process of the runner, once it is known: nobody else is who connects.
    fn runner(&self) -> Option<u32>;

    /// The host's number for a process that has this one inside. The same where there is no difference.
    fn pid_on_host(&self, inside: u32) -> u32;

    /// Destroys it at once, with all that runs in it. May be called at any time, more than once.
    fn kill(&mut self) -> BoxFuture<'_, ()>;

    /// Waits until nothing of it runs any more. Cancel-safe.
    fn gone(&mut self) -> BoxFuture<'_, ()>;
}

/// What a runner is handed besides its ticket.
#[derive(Debug)]
pub(crate) struct Given {
    /// The descriptor of the host protocol, for the service's process.
    pub(crate) host: OwnedFd,
    /// Where its service has a network, the runner's end of its line to the gateway.
    pub(crate) gateway: Option<OwnedFd>,
    /// The sockets that its service serves.
    pub(crate) listeners: Vec<OwnedFd>,
}

impl Given {
    /// All of it, in the order in which a runner expects it.
    pub(crate) fn descriptors(self) -> impl Iterator<Item = OwnedFd> {
        [self.host].into_iter().chain(self.gateway).chain(self.listeners)
    }
}

/// Why an environment could not be brought up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvironmentError {
    /// The keeper is not there.
    #[error("the keeper process has ended")]
    NoKeeper,
    /// The keeper could not be brought up.
    #[error("cannot start the keeper process")]
    Keeper(#[source] io::Error),
    /// The ticket could not be prepared for the runner.
    #[error("cannot prepare the runner's ticket")]
    Ticket(#[source] io::Error),
    /// The runner could not be brought up.
    #[error("cannot start the runner: {0}")]
    Runner(String),
    /// A container without a sandbox in it: no manifest says that.
    #[error("a container's service is always held to what it is granted")]
    NoConfinement,
    /// The container engine did not do its part.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl EnvironmentError {
    /// What happened, with its causes, and what to do about it where something can be done: in one line.
    pub(crate) fn told(&self) -> String {
        let fix = match self {
            Self::Engine(error) => format!("; {}", error.fix()),
            _ => String::new(),
        };
        format!("{}{fix}", chain(self))
    }
}

/// A ticket as a runner reads it.
fn ticket_text(ticket: &Ticket) -> io::Result<Vec<u8>> {
    let text = serde_json::to_vec(ticket)?;
    if text.len() > LONGEST_TICKET {
        let why = format!("a service's grants are longer than {} KiB together", LONGEST_TICKET / 1024);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(text)
}
