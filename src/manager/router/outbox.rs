//! [`Outbox`]: what a connection is still to be told. Handing something in never waits.
//!
//! As long as the connection takes it, a frame goes straight to its queue; what it does not take waits here, in order, up
//! to a limit in bytes. How many frames there can be follows from what `core::routing` lets a line have under way.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orchestrator_port::{Frame, PortSender};
use tokio::runtime::Handle;

/// The most bytes that wait. Small ones always fit: they are few.
const MOST_BYTES: usize = 64 << 20;

/// What is always taken.
const SMALL: usize = 64 << 10;

/// The frames on their way to one connection.
#[derive(Debug)]
pub(super) struct Outbox {
    sender: PortSender,
    waiting: Mutex<Waiting>,
    /// Where what waits is carried: who hands something in may be a thread of its own.
    runtime: Handle,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// Whether a task hands them on.
    carried: bool,
}

/// There is no room for it.
#[derive(Debug)]
pub(super) struct Full;

impl Outbox {
    /// To be made by a task.
    pub(super) fn new(sender: PortSender) -> Self {
        Self { sender, waiting: Mutex::default(), runtime: Handle::current() }
    }

    /// Hands in a frame, after all that was handed in before.
    pub(super) fn queue(outbox: &Arc<Self>, frame: Frame) -> Result<(), Full> {
        let mut waiting = outbox.waiting();
        let frame = if waiting.carried {
            frame
        } else {
            match outbox.sender.try_send(frame) {
                Ok(()) => return Ok(()),
                Err(frame) => frame,
            }
        };
        let size = frame.payload.len();
        if size > SMALL && waiting.bytes + size > MOST_BYTES {
            return Err(Full);
        }
        waiting.bytes += size;
        waiting.frames.push_back(frame);
        if !std::mem::replace(&mut waiting.carried, true) {
            outbox.runtime.spawn(carry(Arc::clone(outbox)));
        }
        Ok(())
    }

    fn next(&self) -> Option<Frame> {
        let mut waiting = self.waiting();
        let frame = waiting.frames.pop_front();
        waiting.bytes -= frame.as_ref().map_or(0, |frame| frame.payload.len());
        waiting.carried = frame.is_some();
        frame
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands on what waits, until nothing does.
async fn carry(outbox: Arc<Outbox>) {
    while let Some(frame) = outbox.next() {
        // If the connection has ended, so has everything that waits for it.
        let _ = outbox.sender.send(frame).await;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use orchestrator_port::message::service::{Payload, ToService};
    use orchestrator_port::{PortReceiver, channel};

    use super::*;

    fn reply(id: u64, size: usize) -> Frame {
        Frame::service(&ToService::Reply { id }, Payload { bytes: vec![0; size].into(), json: None })
    }

    async fn next(receiver: &mut PortReceiver) -> ToService {
        receiver.receive().await.unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn what_the_connection_does_not_take_waits_in_order_whoever_hands_it_in() {
        let (ours, theirs) = channel::pair();
        let (sender, _receiver) = ours.split();
        let (_sender, mut receiver) = theirs.split();
        let outbox = Arc::new(Outbox::new(sender));
        let handing = Arc::clone(&outbox);
        // A thread without a runtime, as the configuration's is.
        std::thread::spawn(move || (0..200).for_each(|id| Outbox::queue(&handing, reply(id, 100)).unwrap()))
            .join()
            .unwrap();
        for id in 0..200 {
            assert_eq!(next(&mut receiver).await, ToService::Reply { id });
        }
    }

    #[tokio::test]
    async fn there_is_no_room_for_ever_more_but_always_for_a_word() {
        let (ours, _theirs) = channel::pair();
        let (sender, _receiver) = ours.split();
        let outbox = Arc::new(Outbox::new(sender));
        let large = || Outbox::queue(&outbox, reply(1, 4 << 20));
        let taken = (0..100).take_while(|_| large().is_ok()).count();
        assert!((16..=18).contains(&taken), "{taken}");
        let word = Frame::service(&ToService::End { id: 1 }, Payload { bytes: Bytes::new(), json: None });
        assert!(Outbox::queue(&outbox, word).is_ok());
    }
}
