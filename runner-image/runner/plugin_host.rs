//! [`PluginHost`]: the runner's end of the host protocol, over descriptor 3 of the service's process.
//!
//! ```text
//!   host --bytes--> listen ----> port        started, failed, exception, close; what is for other services
//!                         \----> who asked   health
//!   host <--bytes-- speak <---- queues       health, close; what other services say
//! ```

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use orchestrator_port::message::control::{FromRemote, Order, Protocol, Thrown};
use orchestrator_port::{Frame, PortClosed, PortSender};
use rustix::io::write;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::host_messages::{FromHost, HostError, HostMessages, ToHost};
use crate::source::Source;

/// How many messages wait for a host that does not read. Who has more to say waits too.
const QUEUE: usize = 16;

/// How much is read at once.
const CHUNK: usize = 32 * 1024;

/// How many messages of other services wait for a host that does not read: more than the Router lets a service have under
/// way, in calls, answers, events and items.
const TOLD: usize = 16 * 1024;

/// How many bytes of them are written at once.
const WRITTEN: usize = 64 * 1024;

/// Asks and tells the host. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct PluginHost {
    queue: mpsc::Sender<ToHost>,
    told: mpsc::Sender<Frame>,
    asked: Asked,
}

/// Other services have told this one more than there can be under way.
#[derive(Debug)]
pub(crate) struct Flooded;

/// Hears the host.
pub(crate) struct Listener {
    source: Source,
    port: PortSender,
    told: mpsc::Sender<Frame>,
    asked: Asked,
    messages: HostMessages,
    /// Whether `Started` has been sent: by this one, or at once for what speaks no host protocol.
    started: bool,
}

/// Why a host is not heard any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("failed to read from the host")]
    Io(#[from] io::Error),
    #[error("failed to pass on what the host said")]
    Port(#[from] PortClosed),
}

/// Who waits for which answer.
#[derive(Clone, Debug)]
struct Asked {
    next: Arc<AtomicU64>,
    /// None when no answer can come any more.
    answers: Arc<Mutex<Option<HashMap<u64, Answer>>>>,
}

/// Where an answer goes.
type Answer = oneshot::Sender<Option<String>>;

impl PluginHost {
    /// Both ends of the conversation over `source`. The speaking one runs by itself.
    pub(crate) fn new(source: Source, order: &Order, port: PortSender) -> (Self, Listener) {
        let (queue, messages) = mpsc::channel(QUEUE);
        let (told, frames) = mpsc::channel(TOLD);
        tokio::spawn(speak(source.fd(), messages, frames));
        let asked = Asked::new();
        let host = Self { queue, told: told.clone(), asked: asked.clone() };
        let messages = HostMessages::new(order.longest_message);
        let started = order.protocol == Protocol::None;
        (host, Listener { source, port, told, asked, messages, started })
    }

    /// Tells it what another service says.
    ///
    /// # Errors
    /// Where it has not read what it was told before.
    pub(crate) fn tell(&self, frame: Frame) -> Result<(), Flooded> {
        match self.told.try_send(frame) {
            Err(TrySendError::Full(_)) => Err(Flooded),
            // Who cannot be told any more is about to end.
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
        }
    }

    /// Asks for the service's health. Answers with what it says is wrong, or when it is gone.
    pub(crate) async fn health(&self) -> Option<String> {
        let closed = || Some("the host has closed its descriptor".into());
        let (answer, answered) = oneshot::channel();
        let question = self.asked.question(answer);
        match self.queue.send(ToHost::Health { id: question.id }).await {
            Ok(()) => answered.await.unwrap_or_else(|_| closed()),
            Err(_) => closed(),
        }
    }

    /// Tells it to close.
    pub(crate) async fn close(&self) {
        // Who cannot be told is ended by force when its time is over.
        let _ = self.queue.send(ToHost::Close).await;
    }
}

impl Listener {
    /// Hears the host until it has nothing more to say.
    pub(crate) async fn listen(mut self) -> Result<(), ListenError> {
        let heard = self.hear_all().await;
        *self.asked.answers() = None;
        heard
    }

    async fn hear_all(&mut self) -> Result<(), ListenError> {
        while let Some(bytes) = self.source.read::<CHUNK, _>(Bytes::copy_from_slice).await? {
            for message in self.messages.take(&bytes)? {
                self.hear(message).await?;
            }
        }
        Ok(())
    }

    async fn hear(&mut self, message: FromHost) -> Result<(), PortClosed> {
        let said = match message {
            FromHost::Started { methods, health } if !self.started => {
                self.started = true;
                FromRemote::Started { methods, health }
            }
            FromHost::Started { methods, .. } => FromRemote::Notified { methods },
            FromHost::Failed { error } => return self.send_thrown(FromRemote::StartFailed, error).await,
            FromHost::Exception { error } => return self.send_thrown(FromRemote::Exception, error).await,
            FromHost::Close => FromRemote::CloseRequested,
            FromHost::Health { id, failure } => {
                self.asked.answer(id, failure);
                return Ok(());
            }
            FromHost::Service(frame) => return self.port.send(frame).await,
            FromHost::TooLong(told) => {
                // A host that does not read its answers misses this one as well.
                let _ = self.told.try_send(told);
                return Ok(());
            }
            FromHost::Unknown => return Ok(()),
        };
        self.port.send(Frame::control(&said, Bytes::new())).await
    }

    /// Sends an exception, cut until it fits into a message.
    async fn send_thrown(
        &self,
        kind: fn(Thrown) -> FromRemote,
        mut thrown: Thrown,
    ) -> Result<(), PortClosed> {
        loop {
            let frame = Frame::control(&kind(thrown.clone()), Bytes::new());
            if frame.check().is_ok() {
                return self.port.send(frame).await;
            }
            for text in [&mut thrown.name, &mut thrown.message, &mut thrown.stack] {
                text.truncate(text.floor_char_boundary(text.len() / 2));
            }
        }
    }
}

/// A question that is forgotten when who asked does not wait for the answer any more.
struct Question {
    id: u64,
    asked: Asked,
}

impl Asked {
    fn new() -> Self {
        Self { next: Arc::default(), answers: Arc::new(Mutex::new(Some(HashMap::new()))) }
    }

    /// Where no answer can come any more, `answer` is dropped at once.
    fn question(&self, answer: Answer) -> Question {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        if let Some(answers) = self.answers().as_mut() {
            answers.insert(id, answer);
        }
        Question { id, asked: self.clone() }
    }

    fn answer(&self, id: u64, failure: Option<String>) {
        if let Some(answer) = self.forget(id) {
            // Nobody may wait any more.
            let _ = answer.send(failure);
        }
    }

    fn forget(&self, id: u64) -> Option<Answer> {
        self.answers().as_mut()?.remove(&id)
    }

    fn answers(&self) -> MutexGuard<'_, Option<HashMap<u64, Answer>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.asked.forget(self.id);
    }
}

/// Writes what the host is told, until nobody has anything to say or it is gone.
async fn speak(
    socket: Arc<AsyncFd<OwnedFd>>,
    mut messages: mpsc::Receiver<ToHost>,
    mut frames: mpsc::Receiver<Frame>,
) {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        tokio::select! {
            biased;
            message = messages.recv() => match message {
                Some(message) => bytes.extend_from_slice(&message.line()),
                None => return,
            },
            Some(frame) = frames.recv() => {
                append(&mut bytes, &frame);
                while bytes.len() < WRITTEN && let Ok(frame) = frames.try_recv() {
                    append(&mut bytes, &frame);
                }
            }
        }
        if write_all(&socket, &bytes).await.is_err() {
            return;
        }
    }
}

/// A message of another service: its header is the line.
fn append(bytes: &mut Vec<u8>, frame: &Frame) {
    bytes.extend_from_slice(&frame.header);
    bytes.push(b'\n');
    bytes.extend_from_slice(&frame.payload);
}

async fn write_all(socket: &AsyncFd<OwnedFd>, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        let mut ready = socket.writable().await?;
        match ready.try_io(|socket| Ok(write(socket, rest)?)) {
            Ok(Ok(count)) => rest = &rest[count..],
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => {}
        }
    }
    Ok(())
}
