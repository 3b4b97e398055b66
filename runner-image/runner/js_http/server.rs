//! [`Server`]: the listening sockets and their connections, from the first one to the last.
//!
//! ```text
//!   open -- the js process wants no more --> draining -- GRACE, or nobody is left --> leaving -- nobody is left --> drained
//!   draining: nothing is accepted, and answers tell the client to go.      leaving: who asks nothing is hung up on.
//! ```

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::AddressFamily;
use rustix::net::sockopt::socket_domain;
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{sleep, timeout};

use super::exchange::Exchange;
use super::service::Service;
use super::{BODIES, CHUNK, CONNECTIONS, GRACE, JsHttpError, LONGEST_HEAD, PATIENCE};
use crate::js_io::room::Room;

/// How many descriptors are not for connections.
const OWN_DESCRIPTORS: u64 = 16;

/// How long nothing is accepted after the system has refused to.
const PAUSE: Duration = Duration::from_millis(50);

/// See above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    Draining,
    Leaving,
}

/// What all connections share.
pub(super) struct Server {
    exchange: Exchange,
    stage: watch::Sender<Stage>,
    /// A permit for each connection that there may be.
    connections: Arc<Semaphore>,
    most: u32,
}

/// One listening socket.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Server {
    /// Serves these listeners for the js process at the other end of this socket, until that one ends.
    ///
    /// # Errors
    /// Where a listener is none, or what the js process says is no conversation.
    pub(super) async fn serve(
        socket: UnixStream,
        listeners: Vec<OwnedFd>,
        longest_body: usize,
    ) -> Result<(), JsHttpError> {
        let service = Rc::new(Service::new());
        let most = most_connections();
        let server = Rc::new(Self {
            exchange: Exchange {
                service: Rc::clone(&service),
                bodies: Room::new(BODIES.max(longest_body)),
                longest_body,
            },
            stage: watch::Sender::new(Stage::Open),
            connections: Arc::new(Semaphore::new(most as usize)),
            most,
        });
        let mut accepting = JoinSet::new();
        for listener in listeners {
            let listener = Listener::new(listener).map_err(JsHttpError::Listeners)?;
            accepting.spawn_local(Rc::clone(&server).accept(listener));
        }
        let (reader, writer) = socket.into_split();
        let drain = Notify::new();
        let drained = async {
            drain.notified().await;
            server.drain(accepting).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            heard = service.hear(reader, &drain) => heard,
            // The js process reads no more: it has ended.
            () = service.write(writer) => Ok(()),
            () = drained => Ok(()),
        }
    }

    /// Accepts until there are to be no more connections. The socket is closed then, here only: others may go on accepting
    /// from it.
    async fn accept(self: Rc<Self>, listener: Listener) {
        let mut stage = self.stage.subscribe();
        tokio::select! {
            _ = stage.wait_for(|stage| *stage != Stage::Open) => {}
            () = self.accept_all(&listener) => {}
        }
    }

    async fn accept_all(self: &Rc<Self>, listener: &Listener) {
        while let Ok(permit) = Arc::clone(&self.connections).acquire_owned().await {
            let server = Rc::clone(self);
            let accepted = match listener {
                Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                    // Small answers are not held back. Where that fails, the connection has ended.
                    let _ = stream.set_nodelay(true);
                    drop(spawn_local(server.attend(stream, permit)));
                }),
                Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                    drop(spawn_local(server.attend(stream, permit)));
                }),
            };
            if accepted.is_err() {
                sleep(PAUSE).await;
            }
        }
    }

    /// One connection, from its first request to its end.
    async fn attend(
        self: Rc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        _permit: OwnedSemaphorePermit,
    ) {
        let asked = std::cell::Cell::new(false);
        let service = service_fn(async |request| {
            asked.set(true);
            let mut response = self.exchange.answer(request).await;
            if *self.stage.borrow() != Stage::Open {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .max_header_size(LONGEST_HEAD)
            .max_buf_size(CHUNK)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let mut stage = self.stage.subscribe();
        tokio::select! {
            // How it ends is the client's affair: what it did wrong it has been told.
            _ = connection.as_mut() => return,
            _ = stage.wait_for(|stage| *stage == Stage::Leaving) => {}
        }
        // One that has never been asked anything would be waited for.
        if asked.get() {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }

    /// Ends it all, without an answer less.
    async fn drain(&self, mut accepting: JoinSet<()>) {
        self.stage.send_replace(Stage::Draining);
        while accepting.join_next().await.is_some() {}
        // All permits are here when all connections have ended.
        let all = self.connections.acquire_many(self.most);
        tokio::pin!(all);
        if timeout(GRACE, all.as_mut()).await.is_err() {
            self.stage.send_replace(Stage::Leaving);
            let _ = all.await;
        }
        self.exchange.service.say_drained();
    }
}

impl Listener {
    fn new(socket: OwnedFd) -> std::io::Result<Self> {
        if socket_domain(&socket)? == AddressFamily::UNIX {
            let listener = std::os::unix::net::UnixListener::from(socket);
            listener.set_nonblocking(true)?;
            UnixListener::from_std(listener).map(Self::Unix)
        } else {
            let listener = std::net::TcpListener::from(socket);
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener).map(Self::Tcp)
        }
    }
}

/// As many as are useful, or as there may be descriptors.
fn most_connections() -> u32 {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let left = usize::try_from(descriptors.saturating_sub(OWN_DESCRIPTORS)).unwrap_or(usize::MAX);
    u32::try_from(left.clamp(1, CONNECTIONS)).unwrap_or(1)
}
