//! [`ConnectionPort`]: the one message interface between a ServiceController and its RemoteService. A WebSocket
//! carries it in production ([`crate::websocket`]), a channel in memory in tests ([`crate::channel`]).
//!
//! Messages arrive whole, in order, at most once. A slow receiver slows its senders: a port queues at most
//! [`QUEUED_FRAMES`] messages and [`QUEUED_BYTES`] bytes. The connection is the session: when it ends, both
//! halves say how, for ever.

use std::sync::{Arc, OnceLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::channel::ChannelReceiver;
use crate::frame::{Frame, LONGEST_MESSAGE, Malformed};
use crate::websocket::WebSocketReceiver;

/// How many messages a port queues for sending.
pub(crate) const QUEUED_FRAMES: usize = 32;

/// How many bytes of them: at least one message always fits.
pub(crate) const QUEUED_BYTES: usize = LONGEST_MESSAGE;

/// One end of a connection.
#[derive(Debug)]
pub struct ConnectionPort {
    sender: PortSender,
    receiver: PortReceiver,
}

/// The half that sends. Its clones send over the same connection; when the last one is dropped, the connection is
/// closed as if by [`PortSender::close`].
#[derive(Clone, Debug)]
pub struct PortSender {
    queue: mpsc::Sender<Outgoing>,
    /// Bytes that may still be queued.
    budget: Arc<Semaphore>,
    ending: Ending,
}

/// The half that receives. Dropping it ends the connection, unsent messages and all.
#[derive(Debug)]
pub struct PortReceiver {
    source: Source,
    ending: Ending,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortClosed {
    /// The other end closed it, as agreed.
    #[error("connection closed by the other end")]
    ByPeer,
    /// This end closed it.
    #[error("connection closed")]
    Here,
    /// It ended without having been closed: the other end has died.
    #[error("connection lost")]
    Lost,
    /// Nothing was heard for [`SILENCE_LIMIT`](crate::message::control::SILENCE_LIMIT).
    #[error("connection silent for too long")]
    Silent,
    /// The other end sent something that is no message, or, from [`PortSender::send`], the message breaks a limit
    /// (then it is not sent, and the connection stays).
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl ConnectionPort {
    /// A clone of its sending half.
    #[must_use]
    pub fn sender(&self) -> PortSender {
        self.sender.clone()
    }

    /// Its two halves.
    #[must_use]
    pub fn split(self) -> (PortSender, PortReceiver) {
        (self.sender, self.receiver)
    }
}

impl PortSender {
    /// Queues a message, when there is room for it. That it has been queued says nothing about its arrival.
    ///
    /// # Errors
    /// Where the connection has ended, or the message breaks a limit.
    pub async fn send(&self, frame: Frame) -> Result<(), PortClosed> {
        frame.check()?;
        let budget = Arc::clone(&self.budget);
        let size = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let room = budget.acquire_many_owned(size).await.map_err(|_| self.ending.how())?;
        let outgoing = Outgoing::Frame { frame, _room: room };
        self.queue.send(outgoing).await.map_err(|_| self.ending.how())
    }

    /// Closes the connection when all that was queued before is written, and waits for that. Does nothing where it
    /// has ended already.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.queue.send(Outgoing::Close { _done: done }).await.is_ok() {
            // Nothing is ever sent: the writer drops it when it has closed, or has ended in another way.
            let _ = closed.await;
        }
    }
}

impl PortReceiver {
    /// The next message. Nothing is lost when this is dropped before it has answered.
    ///
    /// # Errors
    /// When the connection has ended; from then on always.
    pub async fn receive(&mut self) -> Result<Frame, PortClosed> {
        if let Some(how) = self.ending.known() {
            return Err(how);
        }
        let received = match &mut self.source {
            Source::WebSocket(socket) => socket.receive().await,
            Source::Channel(channel) => channel.receive().await,
        };
        received.map_err(|how| self.ending.set(how))
    }
}

/// Where a receiver's messages come from.
#[derive(Debug)]
pub(crate) enum Source {
    WebSocket(Box<WebSocketReceiver>),
    Channel(ChannelReceiver),
}

/// What a writer is given.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// Write this.
    Frame { frame: Frame, _room: OwnedSemaphorePermit },
    /// Flush and close. Dropped when that is done.
    Close { _done: oneshot::Sender<()> },
}

/// How the connection ended, once it has: the first cause that either half met.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending(Arc<OnceLock<PortClosed>>);

impl Ending {
    /// Notes a cause, and answers with the first one.
    pub(crate) fn set(&self, how: PortClosed) -> PortClosed {
        self.0.get_or_init(|| how).clone()
    }

    fn known(&self) -> Option<PortClosed> {
        self.0.get().cloned()
    }

    /// For who finds the queue closed. A writer notes how it ended before it drops its queue.
    fn how(&self) -> PortClosed {
        self.known().unwrap_or(PortClosed::Lost)
    }
}

/// A port over a source of messages, and the queue from which its writer takes what it has to write.
pub(crate) fn port(source: Source, ending: Ending) -> (ConnectionPort, mpsc::Receiver<Outgoing>) {
    let (queue, outgoing) = mpsc::channel(QUEUED_FRAMES);
    let budget = Arc::new(Semaphore::new(QUEUED_BYTES));
    let sender = PortSender { queue, budget, ending: ending.clone() };
    (ConnectionPort { sender, receiver: PortReceiver { source, ending } }, outgoing)
}
