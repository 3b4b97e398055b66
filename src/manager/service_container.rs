//! [`ServiceContainer`]: one start of one replica: its folder, its environment, its connection. It owns what must be
//! undone, and undoes it in reverse order, whichever way the start ends.
//!
//! ```text
//!   gather code -> folder, port.sock -> environment -> runner connects -> ServiceController
//!   Ended <- remove folder <- environment gone <------------------------------+
//! ```

use std::collections::VecDeque;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Aborted, abortable};
use futures_util::stream::FuturesUnordered;
use orchestrator_core::manifest::Service;
use orchestrator_core::report::{CrashReason, Phase};
use orchestrator_core::routing::LONGEST_MESSAGE;
use orchestrator_port::launch::Ticket;
use orchestrator_port::{ConnectionPort, Token, websocket};
use tokio::net::UnixListener;
use tokio::sync::mpsc;

use crate::ChildReader;
use crate::config::Config;
use crate::environment::{Environment, Given};
use crate::gateway::Gateway;
use crate::host_line::{self, HostLine};
use crate::inbox::{Happening, Inbox};
use crate::listeners::Passed;
use crate::log_store::LogStore;
use crate::provider::Provider;
use crate::recording::Recording;
use crate::router::Router;
use crate::service_controller::{Command, Outcome, ServiceController, Shipment};
use crate::shipment::Shipper;

/// How long whoever connects may take to prove that it is the runner.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// How many connections may be proving it at a time. A further one takes the place of the oldest: the runner needs a moment
/// only, so whoever stalls cannot keep it out.
const HANDSHAKES: usize = 16;

/// One start of one replica.
pub(crate) struct ServiceContainer {
    pub(crate) service: Arc<Service>,
    pub(crate) inbox: Inbox,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) logs: LogStore,
    pub(crate) shipper: Arc<Shipper>,
    pub(crate) environment: Box<dyn Environment>,
    pub(crate) gateway: Gateway,
    pub(crate) router: Router,
    /// Where what it uses goes, where that is recorded.
    pub(crate) recording: Option<Recording>,
    pub(crate) children: ChildReader,
    pub(crate) config: Config,
    /// The sockets that it serves.
    pub(crate) passed: Passed,
    /// The start's own folder, not made yet.
    pub(crate) folder: PathBuf,
}

impl ServiceContainer {
    /// Runs the start from its beginning until nothing of it is left.
    pub(crate) async fn run(mut self) {
        let outcome = self.live().await.unwrap_or_else(Outcome::Crashed);
        match outcome {
            Outcome::Closed => self.destroy().await,
            Outcome::Completed => {
                self.inbox.tell(Happening::Completed).await;
                self.destroy().await;
            }
            Outcome::Crashed(reason) if self.may_be_out_of_memory(&reason) => {
                // That is known when everything is gone.
                self.destroy().await;
                let reason = self.out_of_memory().await.unwrap_or(reason);
                self.inbox.tell(Happening::Crashed(reason)).await;
            }
            Outcome::Crashed(reason) => {
                self.inbox.tell(Happening::Crashed(reason)).await;
                self.destroy().await;
            }
        }
        if let Err(error) = remove(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "a start's folder cannot be removed");
        }
        self.inbox.tell(Happening::Ended).await;
    }

    async fn destroy(&mut self) {
        self.environment.kill().await;
        self.environment.gone().await;
    }

    /// Whether a crash looks as if the kernel had ended somebody: the service, one whom it waited for, or the runner.
    fn may_be_out_of_memory(&self, reason: &CrashReason) -> bool {
        let limited = self.service.permissions.limits.memory.is_some();
        let killed = matches!(
            reason,
            CrashReason::Signal { .. } | CrashReason::ConnectionLost { .. } | CrashReason::Exit { .. }
        );
        limited && killed
    }

    async fn out_of_memory(&mut self) -> Option<CrashReason> {
        let limit = self.service.permissions.limits.memory?;
        self.environment.was_out_of_memory().await.then_some(CrashReason::OutOfMemory { limit })
    }

    async fn live(&mut self) -> Result<Outcome, CrashReason> {
        let shipment = self.gather().await?;
        let token = Token::generate();
        let (listener, ticket) = self.prepare(&token).map_err(broken("cannot make the start's folder"))?;
        // Hung up when the start is over.
        let line = match &ticket.confinement {
            Some(confinement) if confinement.network => Some(
                self.gateway
                    .line(Arc::clone(&self.service), self.inbox.clone())
                    .map_err(broken("cannot make a line to the gateway"))?,
            ),
            _ => None,
        };
        let (_line, gateway) = line.unzip();
        let (end, host) = host_line::ends().map_err(broken("cannot make a line to the service's process"))?;
        let given = Given { host, gateway, listeners: std::mem::take(&mut self.passed.sockets) };
        let port = tokio::select! {
            biased;
            _ = self.commands.recv() => return Ok(Outcome::Closed),
            port = connect(&mut *self.environment, &self.inbox, listener, ticket, given, &token) => port?,
        };
        let longest = self.service.permissions.limits.message.unwrap_or(LONGEST_MESSAGE);
        let connect = |outbox| self.router.connect(&self.inbox, outbox);
        let provide = |wire| Provider {
            wire,
            service: Arc::clone(&self.service),
            children: self.children.clone(),
            config: self.config.clone(),
            inbox: self.inbox.clone(),
            recording: self.recording.clone(),
        };
        let host = HostLine::open(end, longest, connect, provide);
        let controller = ServiceController::new(
            port,
            &*self.environment,
            &self.service,
            &self.inbox,
            &self.logs,
            host,
            &mut self.commands,
        );
        Ok(controller.run(shipment).await)
    }

    /// The code is read anew at each start, so that a restart runs what is there now.
    async fn gather(&self) -> Result<Shipment, CrashReason> {
        let (shipper, service) = (self.shipper.clone(), self.service.clone());
        let (replica, watched) = (self.inbox.start().replica.index, self.recording.is_some());
        let gathered = tokio::task::spawn_blocking(move || shipper.gather(&service, replica, watched)).await;
        gathered
            .map_err(broken("cannot read the code"))?
            .map_err(|error| CrashReason::Environment { error: chain(&error) })
    }

    fn prepare(&self, token: &Token) -> io::Result<(UnixListener, Ticket)> {
        let own = |folder: &Path| DirBuilder::new().mode(0o700).create(folder);
        let (socket, root) = (self.folder.join("port.sock"), self.folder.join("root"));
        own(&self.folder)?;
        own(&root)?;
        let listener = UnixListener::bind(&socket)?;
        Ok((
            listener,
            Ticket {
                socket,
                token: token.to_hex(),
                root,
                confinement: self.shipper.confinement(&self.service),
                listen: self.passed.listen.clone(),
            },
        ))
    }
}

/// Brings the environment up and waits for its runner.
async fn connect(
    environment: &mut dyn Environment,
    inbox: &Inbox,
    listener: UnixListener,
    ticket: Ticket,
    given: Given,
    token: &Token,
) -> Result<ConnectionPort, CrashReason> {
    let socket = ticket.socket.clone();
    let started = environment.start(ticket, given).await;
    started.map_err(|error| CrashReason::Environment { error: error.told() })?;
    inbox.tell(Happening::Phase(Phase::Connecting)).await;
    let port = tokio::select! {
        port = authenticated(&listener, token, environment.runner()) => port.map_err(broken("cannot accept the runner's connection"))?,
        () = environment.gone() => {
            let error = "the runner ended before it had connected".into();
            return Err(CrashReason::Environment { error });
        }
    };
    // The token was good for one connection: from here on there is nothing to connect to.
    drop(listener);
    let _ = fs::remove_file(socket);
    Ok(port)
}

/// Waits for a connection that proves to be the runner's, by its process and by its token. Others are closed, and noted.
async fn authenticated(
    listener: &UnixListener,
    token: &Token,
    runner: Option<u32>,
) -> io::Result<ConnectionPort> {
    let mut handshakes = FuturesUnordered::new();
    let mut oldest_first = VecDeque::new();
    loop {
        tokio::select! {
            // What has begun goes on before more is begun.
            biased;
            Some(shaken) = handshakes.next() => match shaken {
                Ok(Ok(port)) => return Ok(port),
                Ok(Err(error)) => tracing::warn!(%error, "a connection to a start's socket was refused"),
                Err(Aborted) => tracing::warn!("a connection to a start's socket had to make room for others"),
            },
            accepted = listener.accept() => {
                let connection = accepted?.0;
                let peer = connection.peer_cred()?.pid().and_then(|pid| u32::try_from(pid).ok());
                if peer != runner {
                    tracing::warn!(?peer, "a connection to a start's socket was refused: it is not the runner's");
                    continue;
                }
                let (handshake, end) = abortable(websocket::accept(connection, token, HANDSHAKE_LIMIT));
                handshakes.push(handshake);
                oldest_first.push_back(end);
                if oldest_first.len() > HANDSHAKES {
                    // Nothing happens where it has ended already.
                    oldest_first.pop_front().inspect(AbortHandle::abort);
                }
            }
        }
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn broken<E: std::error::Error>(what: &'static str) -> impl Fn(E) -> CrashReason {
    move |error| CrashReason::Environment { error: format!("{what}: {}", chain(&error)) }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
