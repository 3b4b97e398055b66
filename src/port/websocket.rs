//! A [`ConnectionPort`] over a WebSocket on a Unix socket: [`accept`] on the controller's side, [`connect`] on the
//! runner's.
//!
//! Each port has one task, its writer: it writes what is queued, and flushes once when nothing more is. On the
//! accepting side it also pings. Reading needs no task: it happens in [`PortReceiver::receive`], which answers
//! pings and watches for silence.
//!
//! [`PortReceiver::receive`]: crate::PortReceiver::receive

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config, client_async_with_config};

use crate::connection_port::{ConnectionPort, Ending, Outgoing, PortClosed, Source, port};
use crate::frame::{Frame, LONGEST_MESSAGE, Malformed};
use crate::handshake::{Gate, HandshakeError, present};
use crate::message::control::{PING_EVERY, SILENCE_LIMIT};
use crate::token::Token;

/// How long [`connect`] waits for the other end's part of the handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a receiver that has run out of patience looks whether it has only been late itself.
const LAST_CHANCE: Duration = Duration::from_secs(1);

/// Small, because there may be hundreds of connections.
const BUFFER: usize = 16 * 1024;

/// How many queued messages are written before they are flushed.
const BATCH: usize = 16;

/// Makes the accepting end of a connection. It answers within `deadline`, however slow the other end is.
///
/// # Errors
/// Where the other end does not present this token and this version in time.
pub async fn accept(
    stream: UnixStream,
    token: &Token,
    deadline: Duration,
) -> Result<ConnectionPort, HandshakeError> {
    let upgrade = accept_hdr_async_with_config(stream, Gate(token), Some(limits()));
    let socket = timeout(deadline, upgrade).await.map_err(|_| HandshakeError::Late)??;
    Ok(start(socket, Some(PING_EVERY)))
}

/// Makes the connecting end of a connection, over a stream to the controller's socket.
///
/// # Errors
/// Where this token or version is refused, or not answered in time.
pub async fn connect(stream: UnixStream, token: &Token) -> Result<ConnectionPort, HandshakeError> {
    timeout(PATIENCE, upgrade(stream, token)).await.map_err(|_| HandshakeError::Late)?
}

/// The receiving half's source.
pub(crate) struct WebSocketReceiver {
    stream: SplitStream<Socket>,
    patience: Patience,
    /// Dropped with this half: then the writer ends as well.
    _alive: oneshot::Sender<()>,
}

impl WebSocketReceiver {
    pub(crate) async fn receive(&mut self) -> Result<Frame, PortClosed> {
        loop {
            let Ok(next) = timeout_at(self.patience.until, self.stream.next()).await else {
                self.patience.lose()?;
                continue;
            };
            self.patience = Patience::new();
            let message = next.ok_or(PortClosed::Lost)?;
            match message.map_err(|error| closed(&error))? {
                Message::Binary(bytes) => return Ok(Frame::decode(bytes)?),
                Message::Text(_) => return Err(Malformed::NotBinary.into()),
                Message::Close(_) => return Err(PortClosed::ByPeer),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }
}

impl fmt::Debug for WebSocketReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketReceiver").field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// How long silence is still borne. It is lost in two steps: who was stopped itself for so long, or was busy, finds
/// in the second one what has come meanwhile.
#[derive(Debug)]
struct Patience {
    until: Instant,
    last_chance: bool,
}

impl Patience {
    fn new() -> Self {
        Self { until: Instant::now() + SILENCE_LIMIT, last_chance: false }
    }

    fn lose(&mut self) -> Result<(), PortClosed> {
        if self.last_chance {
            return Err(PortClosed::Silent);
        }
        *self = Self { until: Instant::now() + LAST_CHANCE, last_chance: true };
        Ok(())
    }
}

type Socket = WebSocketStream<UnixStream>;

async fn upgrade(stream: UnixStream, token: &Token) -> Result<ConnectionPort, HandshakeError> {
    let mut request = "ws://controller/".into_client_request()?;
    present(request.headers_mut(), token)?;
    let (socket, _) = client_async_with_config(request, stream, Some(limits())).await?;
    Ok(start(socket, None))
}

/// The limits hold from the first byte of the first message.
fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(Some(LONGEST_MESSAGE))
        .max_frame_size(Some(LONGEST_MESSAGE))
}

fn start(socket: Socket, ping_every: Option<Duration>) -> ConnectionPort {
    let (sink, stream) = socket.split();
    let (alive, gone) = oneshot::channel();
    let ending = Ending::default();
    let receiver = WebSocketReceiver { stream, patience: Patience::new(), _alive: alive };
    let (port, outgoing) = port(Source::WebSocket(Box::new(receiver)), ending.clone());
    let mut writer = Writer { sink, outgoing, ping_every };
    tokio::spawn(async move {
        // The receiver's end comes first: what would still be written has no reader then.
        let how = tokio::select! {
            biased;
            _ = gone => PortClosed::Here,
            how = writer.run() => how,
        };
        ending.set(how);
        // Its queue closes only now, so that who finds it closed also finds out how.
        drop(writer);
    });
    port
}

/// Writes what is queued, until the connection ends.
struct Writer {
    sink: SplitSink<Socket, Message>,
    outgoing: mpsc::Receiver<Outgoing>,
    ping_every: Option<Duration>,
}

impl Writer {
    async fn run(&mut self) -> PortClosed {
        match self.write_all().await {
            Ok(()) => PortClosed::Here,
            Err(error) => closed(&error),
        }
    }

    async fn write_all(&mut self) -> Result<(), WebSocketError> {
        let period = self.ping_every.unwrap_or(SILENCE_LIMIT);
        let mut pings = interval_at(Instant::now() + period, period);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                count = self.outgoing.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return self.sink.close().await;
                    }
                }
                _ = pings.tick(), if self.ping_every.is_some() => {
                    self.sink.send(Message::Ping(Bytes::new())).await?;
                }
            }
            for outgoing in batch.drain(..) {
                match outgoing {
                    Outgoing::Frame { frame, _room } => {
                        self.sink.feed(Message::Binary(frame.encode())).await?;
                    }
                    Outgoing::Close { _done } => return self.sink.close().await,
                }
            }
            if self.outgoing.is_empty() {
                self.sink.flush().await?;
            }
        }
    }
}

/// How a connection has ended, as the WebSocket tells it.
fn closed(error: &WebSocketError) -> PortClosed {
    match error {
        WebSocketError::ConnectionClosed | WebSocketError::AlreadyClosed => PortClosed::ByPeer,
        &WebSocketError::Capacity(CapacityError::MessageTooLong { size, .. }) => {
            Malformed::Message(size).into()
        }
        _ => PortClosed::Lost,
    }
}
