//! [`Gateway`]: the way out of every sandbox. It holds what is granted, finds out where that is, and carries the bytes.
//!
//! Each start that has a network has a [`Line`] to it, a socket of its own, and one task here that listens to it. A
//! connection that comes over a line is dialled if the service may: by its own answer to what a name means, and at exactly
//! the address that was looked at. A grant that names a service of the project is reached from inside that one's sandbox,
//! over its line.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orchestrator_core::manifest::Service;
use orchestrator_core::permissions::{Endpoint, Host, NetGrants};
use orchestrator_core::{ServiceName, StartId};
use orchestrator_port::gateway::{FromGateway, LONGEST_PACKET, ToGateway};
use orchestrator_sandbox::descriptors::{Packet, packet_pair, receive_packet, send_packet};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::carry::carry;
use crate::inbox::{Happening, Inbox};

/// How long a destination may take to be found and to accept.
const DIAL_LIMIT: Duration = Duration::from_secs(10);

/// How many connections a start may have at a time. Further ones are refused.
const CONNECTIONS: usize = 256;

/// How many wishes to reach a service wait for its runner.
const WISHES: usize = 64;

/// Shared by all starts. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gateway {
    lines: Arc<Mutex<HashMap<ServiceName, Vec<Inside>>>>,
}

/// A way into a sandbox.
#[derive(Clone, Debug)]
struct Inside {
    start: StartId,
    /// Whether it is ready, so that others may reach it.
    ready: bool,
    wishes: mpsc::Sender<Wish>,
}

/// Somebody wants to reach a port of the service.
struct Wish {
    port: u16,
    reached: oneshot::Sender<Result<OwnedFd, String>>,
}

/// A start's own socket to the gateway. Dropping it hangs up.
#[derive(Debug)]
pub(crate) struct Line {
    gateway: Gateway,
    start: StartId,
    listening: tokio::task::JoinHandle<()>,
}

impl Gateway {
    /// A line for a start of this service, and the runner's end of it.
    pub(crate) fn line(&self, service: Arc<Service>, inbox: Inbox) -> io::Result<(Line, OwnedFd)> {
        let (ours, theirs) = packet_pair()?;
        let socket = UnixStream::from_std(ours.into())?;
        let (wishes, wished) = mpsc::channel(WISHES);
        let own = inbox.start().clone();
        let inside = Inside { start: own.clone(), ready: false, wishes };
        self.lines().entry(service.name.clone()).or_default().push(inside);
        let start = Listening {
            gateway: self.clone(),
            service,
            inbox,
            places: Arc::new(Semaphore::new(CONNECTIONS)),
        };
        let listening = tokio::spawn(async move { start.listen(&socket, wished).await });
        Ok((Line { gateway: self.clone(), start: own, listening }, theirs))
    }

    /// From now on a service is reached by this start of it.
    pub(crate) fn open(&self, start: &StartId) {
        let mut lines = self.lines();
        let insides = lines.get_mut(&start.replica.service);
        let inside = insides.and_then(|insides| insides.iter_mut().find(|inside| inside.start == *start));
        if let Some(inside) = inside {
            inside.ready = true;
        }
    }

    /// Reaches a port of a service of the project, by any of its starts; none where it is no service of the project.
    async fn reach(&self, service: &str, port: u16) -> Option<Result<OwnedFd, String>> {
        let inside = {
            let lines = self.lines();
            let (_, insides) = lines.iter().find(|(name, _)| name.as_str() == service)?;
            // The latest one that is ready: an older one may be closing.
            insides.iter().rev().find(|inside| inside.ready).or(insides.last()).cloned()
        };
        let Some(inside) = inside else { return Some(Err("it does not run".into())) };
        let (reached, answer) = oneshot::channel();
        let gone = || Err("it does not run any more".into());
        if inside.wishes.send(Wish { port, reached }).await.is_err() {
            return Some(gone());
        }
        Some(answer.await.unwrap_or_else(|_| gone()))
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<ServiceName, Vec<Inside>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.listening.abort();
        if let Some(insides) = self.gateway.lines().get_mut(&self.start.replica.service) {
            insides.retain(|inside| inside.start != self.start);
        }
    }
}

/// What one line's task knows.
#[derive(Clone)]
struct Listening {
    gateway: Gateway,
    service: Arc<Service>,
    inbox: Inbox,
    places: Arc<Semaphore>,
}

impl Listening {
    async fn listen(self, socket: &UnixStream, mut wished: mpsc::Receiver<Wish>) {
        let mut waiting: HashMap<u64, oneshot::Sender<Result<OwnedFd, String>>> = HashMap::new();
        let mut last = 0;
        loop {
            tokio::select! {
                Some(wish) = wished.recv() => {
                    last += 1;
                    waiting.retain(|_, reached| !reached.is_closed());
                    waiting.insert(last, wish.reached);
                    let asked = serde_json::to_vec(&FromGateway::Reach { id: last, port: wish.port });
                    let Ok(bytes) = asked else { return };
                    let send = || send_packet(socket, &bytes, &[]);
                    if socket.async_io(Interest::WRITABLE, send).await.is_err() {
                        return;
                    }
                }
                packet = socket.async_io(Interest::READABLE, || receive_packet(socket, LONGEST_PACKET)) => {
                    let Ok(Some(packet)) = packet else { return };
                    if !self.hear(packet, &mut waiting).await {
                        // Not the runner's words: whoever speaks here is not heard any more.
                        self.refuse("what came over its line to the gateway is not understood".into()).await;
                        return;
                    }
                }
            }
        }
    }

    /// False where it is not as it should be.
    async fn hear(
        &self,
        packet: Packet,
        waiting: &mut HashMap<u64, oneshot::Sender<Result<OwnedFd, String>>>,
    ) -> bool {
        let Ok(message) = serde_json::from_slice::<ToGateway>(&packet.bytes) else { return false };
        let connection = packet.descriptors.into_iter().next();
        match (message, connection) {
            (ToGateway::Open { to }, Some(connection)) => {
                let Ok(to) = to.parse::<Endpoint>() else { return false };
                match self.places.clone().try_acquire_owned() {
                    Ok(place) => {
                        let this = self.clone();
                        tokio::spawn(async move {
                            this.open(&to, connection).await;
                            drop(place);
                        });
                    }
                    Err(_) => {
                        self.refuse(format!("has {CONNECTIONS} connections already, so not another to {to}"))
                            .await;
                    }
                }
                true
            }
            (ToGateway::Reached { id }, Some(connection)) => {
                if let Some(reached) = waiting.remove(&id) {
                    // Who asked may have gone.
                    let _ = reached.send(Ok(connection));
                }
                true
            }
            (ToGateway::Unreachable { id, error }, None) => {
                if let Some(reached) = waiting.remove(&id) {
                    let _ = reached.send(Err(error));
                }
                true
            }
            _ => false,
        }
    }

    /// Connects what the service has opened to where it leads, and carries bytes until both have ended.
    async fn open(&self, to: &Endpoint, inside: OwnedFd) {
        let Ok(inside) = stream(inside) else { return };
        let refused = match self.service.permissions.may_connect(&self.service.name, to) {
            Err(denial) => format!("may not {}; to allow it: {}", denial.tried, denial.grant),
            Ok(()) => match timeout(DIAL_LIMIT, self.dial(to)).await {
                Ok(Ok(outside)) => {
                    // What is to wait for more is each side's own choice.
                    let _ = (inside.set_nodelay(true), outside.set_nodelay(true));
                    // How it ends is the two ends' own matter.
                    let _ = carry(&inside, &outside).await;
                    return;
                }
                Ok(Err(why)) => format!("cannot reach {to}: {why}"),
                Err(_) => format!("cannot reach {to}: no answer within {} s", DIAL_LIMIT.as_secs()),
            },
        };
        // The service is to see an error, not the orderly end of a conversation.
        let _ = inside.set_zero_linger();
        drop(inside);
        self.refuse(refused).await;
    }

    async fn dial(&self, to: &Endpoint) -> Result<TcpStream, String> {
        if let Host::Name(name) = &to.host
            && let Some(reached) = self.gateway.reach(name, to.port).await
        {
            return stream(reached?).map_err(|error| error.to_string());
        }
        let addresses: Vec<SocketAddr> = match &to.host {
            Host::Address(address) => vec![SocketAddr::new(*address, to.port)],
            Host::Name(name) => {
                let found = lookup_host((name.as_str(), to.port)).await;
                found.map_err(|error| error.to_string())?.collect()
            }
        };
        let mut last = "its name has no address".to_owned();
        for address in addresses {
            if let Err(own) = NetGrants::may_dial(to, address.ip()) {
                last = format!(
                    "its name stands for {}, which is {own}; grant the address itself if that is meant",
                    address.ip()
                );
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(connected) => return Ok(connected),
                Err(error) => last = error.to_string(),
            }
        }
        Err(last)
    }

    async fn refuse(&self, what: String) {
        self.inbox.tell(Happening::Refused { what }).await;
    }
}

fn stream(connection: OwnedFd) -> io::Result<TcpStream> {
    let connection = std::net::TcpStream::from(connection);
    connection.set_nonblocking(true)?;
    TcpStream::from_std(connection)
}
