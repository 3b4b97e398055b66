//! [`HostLine`]: the orchestrator's end of a service's descriptor 3: what its process says, and what it is told.
//!
//! The runner has only handed the descriptor on, so what one service says to another passes through the orchestrator and
//! nobody else. One task reads it: what is for other services it gives to the [`Provider`] itself, the rest to the
//! controller. Another one writes ([`Outbox`]).

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net;
use std::sync::{Arc, Weak};

use bytes::BytesMut;
use orchestrator_port::{FromHost, HostError, HostMessages, ToHost};
use orchestrator_sandbox::descriptors::stream_pair;
use rustix::net::{RecvFlags, recv};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, yield_now};

use crate::provider::Provider;
use crate::recording::Recording;
use crate::router::{Outbox, Wire, carry};

/// How many words for the controller wait. Who has more to say waits too.
const QUEUE: usize = 16;

/// How much is read at once, at least.
const CHUNK: usize = 8 * 1024;

/// The line of one start. Dropped with it.
#[derive(Debug)]
pub(crate) struct HostLine {
    outbox: Arc<Outbox>,
    /// Serves the process; dropped with the line, so that whoever waits for this service is told at once.
    provider: Arc<Provider>,
    words: mpsc::Receiver<Result<FromHost, ListenError>>,
    /// True when nobody writes any more.
    finished: watch::Sender<bool>,
    tasks: [JoinHandle<()>; 2],
}

/// Why a host is not heard any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("failed to hear the service")]
    Host(#[from] HostError),
    #[error("failed to read from the service's descriptor")]
    Io(#[from] io::Error),
}

/// Both ends: the orchestrator's, and the one that becomes the process's descriptor 3.
pub(crate) fn ends() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = stream_pair()?;
    let ours = net::UnixStream::from(ours);
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs))
}

impl HostLine {
    /// Speaks over this end. `provide` makes what serves the process, from its way to the Router; `longest` is the longest
    /// payload that it may send to other services, in bytes.
    pub(crate) fn open(
        end: UnixStream,
        longest: u64,
        connect: impl FnOnce(Arc<Outbox>) -> Wire,
        provide: impl FnOnce(Wire) -> Provider,
    ) -> Self {
        let (reader, writer) = end.into_split();
        let outbox = Arc::new(Outbox::default());
        let provider = Arc::new(provide(connect(Arc::clone(&outbox))));
        let (words, heard) = mpsc::channel(QUEUE);
        let (finished, finish) = watch::channel(false);
        let listener = Listener {
            reader,
            messages: HostMessages::new(longest),
            provider: Arc::downgrade(&provider),
            outbox: Arc::clone(&outbox),
            words,
            finished: finish,
        };
        let tasks = [tokio::spawn(listener.listen()), tokio::spawn(carry(Arc::clone(&outbox), writer))];
        Self { outbox, provider, words: heard, finished, tasks }
    }

    /// The next thing that it says to the controller; none when it has nothing more to say. Cancel-safe.
    pub(crate) async fn hear(&mut self) -> Option<Result<FromHost, ListenError>> {
        self.words.recv().await
    }

    /// Tells it something, after all that other services have said.
    pub(crate) fn tell(&self, message: ToHost) {
        self.outbox.tell(message);
    }

    /// The process is gone: what it has said is heard, and when there is no more, that was all.
    pub(crate) fn finish(&self) {
        self.finished.send_replace(true);
    }

    /// Where what the process uses goes, where that is recorded.
    pub(crate) fn recording(&self) -> Option<&Recording> {
        self.provider.recording.as_ref()
    }

    /// Its way to the Router.
    pub(crate) fn wire(&self) -> &Wire {
        &self.provider.wire
    }
}

impl Drop for HostLine {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// The task that reads.
struct Listener {
    reader: OwnedReadHalf,
    messages: HostMessages,
    provider: Weak<Provider>,
    outbox: Arc<Outbox>,
    words: mpsc::Sender<Result<FromHost, ListenError>>,
    finished: watch::Receiver<bool>,
}

impl Listener {
    async fn listen(mut self) {
        if let Err(error) = self.listen_to_the_end().await {
            // Nobody may want to know any more.
            let _ = self.words.send(Err(error)).await;
        }
    }

    async fn listen_to_the_end(&mut self) -> Result<(), ListenError> {
        while let Some(count) = self.read().await? {
            while let Some(message) = self.messages.next_message()? {
                let Some(provider) = self.provider.upgrade() else { return Ok(()) };
                match message {
                    FromHost::Service(message, payload) => provider.hear(message, payload).await,
                    FromHost::TooLong(told) => self.outbox.refuse(&told),
                    other => {
                        drop(provider);
                        if self.words.send(Ok(other)).await.is_err() {
                            return Ok(());
                        }
                    }
                }
            }
            if count >= CHUNK {
                // There may be more; those whom this was for come first.
                yield_now().await;
            }
        }
        Ok(())
    }

    /// How much has come; none at the end. That comes when the last writer closes the descriptor. A writer may be out of reach:
    /// it was handed to a process elsewhere. So there is a second end: when the service is gone, and nothing is left.
    async fn read(&mut self) -> io::Result<Option<usize>> {
        loop {
            let finished = *self.finished.borrow_and_update();
            let buffer = self.messages.buffer(CHUNK);
            let read = if finished {
                read_now(self.reader.as_ref(), buffer)
            } else {
                tokio::select! {
                    biased;
                    read = self.reader.read_buf(buffer) => read,
                    changed = self.finished.changed() => match changed {
                        Ok(()) => continue,
                        Err(_) => return Ok(None),
                    },
                }
            };
            match read {
                Ok(0) => return Ok(None),
                Ok(count) => return Ok(Some(count)),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock if finished => return Ok(None),
                    // It was closed without having been read to its end.
                    io::ErrorKind::ConnectionReset => return Ok(None),
                    _ => return Err(error),
                },
            }
        }
    }
}

/// What there is at this moment, asked of the kernel itself: tokio knows only what it was told when it last waited, and the
/// process may have spoken since.
fn read_now(socket: &UnixStream, into: &mut BytesMut) -> io::Result<usize> {
    let mut chunk = [0; CHUNK];
    let (count, _) = recv(socket, &mut chunk[..], RecvFlags::DONTWAIT)?;
    into.extend_from_slice(&chunk[..count]);
    Ok(count)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[tokio::test]
    async fn last_words_are_heard_that_nobody_has_been_woken_for() {
        let (ours, theirs) = ends().unwrap();
        let mut heard = BytesMut::new();
        assert_eq!(read_now(&ours, &mut heard).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        // Nothing is waited for in between.
        let mut process = net::UnixStream::from(theirs);
        process.write_all(b"last words").unwrap();
        drop(process);
        assert_eq!(ours.try_read(&mut [0; 100]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(read_now(&ours, &mut heard).unwrap(), 10);
        assert_eq!(heard, "last words");
        assert_eq!(read_now(&ours, &mut heard).unwrap(), 0);
    }
}
