//! [`Outbox`]: what a service's process is still to be told. Handing something in never waits.
//!
//! Its task writes what there is, many messages at once, as fast as the process reads; what it does not read waits here, in
//! order, up to a limit in bytes. How many messages there can be follows from what `core::routing` lets a line have under way.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use orchestrator_port::ToHost;
use orchestrator_port::message::service::{Payload, ToService};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

/// The most bytes that wait. Small ones always fit: they are few.
const MOST_BYTES: usize = 64 << 20;

/// The most bytes that wait where what is handed in is nobody's answer, and may be lost.
const MOST_EVENT_BYTES: usize = 16 << 20;

/// What is always taken.
const SMALL: usize = 64 << 10;

/// How many bytes are written at once, about.
const WRITTEN: usize = 64 << 10;

/// A payload that is longer is written from where it is.
const COPIED: usize = 16 << 10;

/// How much room a writer that has nothing to do keeps.
const KEPT: usize = 4 << 10;

/// The messages on their way to one process.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    /// Told when something waits that was not there before.
    filled: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Message>,
    bytes: usize,
    /// Whether nobody reads any more.
    gone: bool,
}

#[derive(Debug)]
struct Message {
    line: Vec<u8>,
    payload: Bytes,
    /// The invocation that begins with it.
    begins: Option<u64>,
}

impl Message {
    fn size(&self) -> usize {
        self.line.len() + self.payload.len()
    }
}

/// What goes in one packet.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Whole messages.
    pub(crate) bytes: Vec<u8>,
    /// The invocations that begin in it.
    pub(crate) begins: Vec<u64>,
}

/// There is no room for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Outbox {
    /// One that tells this when something waits that was not there before.
    pub(crate) fn telling(filled: Arc<Notify>) -> Self {
        Self { waiting: Mutex::default(), filled }
    }

    /// Hands in what another service says, after all that was handed in before.
    pub(super) fn queue(&self, message: &ToService, payload: Payload) -> Result<(), Full> {
        self.push(Message { line: message.line(&payload), payload: payload.bytes, begins: None })
    }

    /// Hands in a message that is written already. `begins` is the invocation that begins with it.
    pub(crate) fn queue_line(
        &self,
        line: Vec<u8>,
        payload: Payload,
        begins: Option<u64>,
    ) -> Result<(), Full> {
        self.push(Message { line, payload: payload.bytes, begins })
    }

    /// As many messages as go in one packet: so many bytes, and one message at least.
    pub(crate) fn take_batch(&self, most: usize) -> Batch {
        let mut batch = Batch::default();
        let mut waiting = self.waiting();
        while batch.bytes.len() < most
            && let Some(message) = waiting.messages.pop_front()
        {
            waiting.bytes -= message.size();
            let Message { line, payload, begins } = message;
            batch.bytes.extend_from_slice(&line);
            batch.bytes.extend_from_slice(&payload);
            batch.begins.extend(begins);
        }
        batch
    }

    /// Waits until all has been taken, or nobody reads.
    pub(crate) async fn drained(&self) {
        while !self.is_empty() {
            tokio::task::yield_now().await;
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting().messages.is_empty()
    }

    /// Nobody will read it any more: the invocations that would have begun.
    pub(crate) fn close(&self) -> Vec<u64> {
        let mut waiting = self.waiting();
        let closed = std::mem::replace(&mut *waiting, Waiting { gone: true, ..Waiting::default() });
        closed.messages.into_iter().filter_map(|message| message.begins).collect()
    }

    /// Hands in what the orchestrator itself has to say.
    pub(crate) fn tell(&self, message: ToHost) {
        // What has no payload always fits.
        let _ = self.push(Message { line: message.line(), payload: Bytes::new(), begins: None });
    }

    /// Hands in why something that the process has said was not taken.
    pub(crate) fn refuse(&self, message: &ToService) {
        let _ = self.queue(message, Payload::default());
    }

    /// Hands in an event for another member, of which there can be any number: only as long as there is room.
    pub(crate) fn queue_event(&self, line: Vec<u8>, payload: Payload) -> Result<(), Full> {
        let message = Message { line, payload: payload.bytes, begins: None };
        if self.waiting().bytes + message.size() > MOST_EVENT_BYTES {
            return Err(Full);
        }
        self.push(message)
    }

    fn push(&self, message: Message) -> Result<(), Full> {
        let mut waiting = self.waiting();
        if waiting.gone {
            // It is about to end, and so is everything that waits for it. What has not begun can still begin elsewhere.
            return if message.begins.is_some() { Err(Full) } else { Ok(()) };
        }
        let size = message.size();
        if size > SMALL && waiting.bytes + size > MOST_BYTES {
            return Err(Full);
        }
        waiting.bytes += size;
        waiting.messages.push_back(message);
        if waiting.messages.len() == 1 {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Puts what waits into a batch, up to a payload that is to be written behind it.
    fn take(&self, batch: &mut Vec<u8>) -> Option<Bytes> {
        let mut waiting = self.waiting();
        while batch.len() < WRITTEN
            && let Some(message) = waiting.messages.pop_front()
        {
            waiting.bytes -= message.size();
            let Message { line, payload, .. } = message;
            batch.extend_from_slice(&line);
            if payload.len() > COPIED {
                return Some(payload);
            }
            batch.extend_from_slice(&payload);
        }
        None
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what is handed in, until nobody reads it.
pub(crate) async fn carry(outbox: Arc<Outbox>, mut writer: impl AsyncWrite + Unpin) {
    // That nobody reads is seen where its process is watched.
    let _ = write_all(&outbox, &mut writer).await;
    *outbox.waiting() = Waiting { gone: true, ..Waiting::default() };
}

async fn write_all(outbox: &Outbox, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let mut batch = Vec::new();
    loop {
        let behind = outbox.take(&mut batch);
        if batch.is_empty() {
            batch.shrink_to(KEPT);
            outbox.filled.notified().await;
        }
        writer.write_all(&batch).await?;
        batch.clear();
        if let Some(payload) = behind {
            writer.write_all(&payload).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
    use tokio::net::UnixStream;

    use super::*;

    fn payload(size: usize) -> Payload {
        Payload { bytes: vec![b'x'; size].into(), json: None }
    }

    #[tokio::test]
    async fn what_is_handed_in_arrives_in_order_whoever_hands_it_in() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let outbox = Arc::new(Outbox::default());
        tokio::spawn(carry(Arc::clone(&outbox), ours.into_split().1));
        let sizes = [0, 100, COPIED, COPIED + 1, 1_000_000, 3];
        let handing = Arc::clone(&outbox);
        // A thread without a runtime, as the configuration's is.
        let hand_in = move || {
            for id in 0..200 {
                let size = sizes[id as usize % sizes.len()];
                handing.queue(&ToService::Reply { id }, payload(size)).unwrap();
            }
        };
        std::thread::spawn(hand_in).join().unwrap();
        let mut reader = BufReader::new(theirs);
        for id in 0..200u64 {
            let size = sizes[id as usize % sizes.len()];
            let (mut line, mut body) = (String::new(), vec![0; size]);
            reader.read_line(&mut line).await.unwrap();
            reader.read_exact(&mut body).await.unwrap();
            let extent = if size == 0 { String::new() } else { format!(",\"payload\":{size}") };
            assert_eq!(line, format!("{{\"type\":\"reply\",\"id\":{id}{extent}}}\n"));
            assert!(body.iter().all(|byte| *byte == b'x'));
        }
    }

    #[tokio::test]
    async fn there_is_no_room_for_ever_more_but_always_for_a_word() {
        let outbox = Outbox::default();
        let large = || outbox.queue(&ToService::Reply { id: 1 }, payload(4 << 20));
        assert_eq!((0..100).take_while(|_| large().is_ok()).count(), 15);
        assert_eq!(outbox.queue(&ToService::End { id: 1 }, Payload::default()), Ok(()));
    }

    #[tokio::test]
    async fn an_event_needs_room_and_what_begins_needs_somebody() {
        let outbox = Outbox::default();
        let event = || outbox.queue_event(vec![b'x'; 1 << 20], payload(0));
        assert_eq!((0..100).take_while(|_| event().is_ok()).count(), 16, "lines count too");
        assert_eq!(outbox.queue_line(vec![b'x'], payload(0), Some(7)), Ok(()));
        assert_eq!(outbox.close(), [7]);
        assert_eq!(outbox.queue_line(vec![b'x'], payload(0), Some(8)), Err(Full));
        assert_eq!(outbox.queue_line(vec![b'x'], payload(0), None), Ok(()));
    }

    #[tokio::test]
    async fn nothing_is_kept_for_who_is_gone() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let outbox = Arc::new(Outbox::default());
        drop(theirs);
        outbox.tell(ToHost::Close);
        carry(Arc::clone(&outbox), ours.into_split().1).await;
        for _ in 0..100 {
            assert_eq!(outbox.queue(&ToService::Reply { id: 1 }, payload(4 << 20)), Ok(()));
        }
        assert!(outbox.waiting().messages.is_empty());
    }
}
