//! [`Outbox`]: what a connection is still to be told. Handing something in never waits.
//!
//! As long as the connection takes it, a frame goes straight to its queue; what it does not take waits here, in order, up
//! to a limit in bytes. How many frames there can be follows from what `core::routing` lets a line have under way.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orchestrator_port::{Frame, PortSender};

/// The most bytes that wait. Small ones always fit: they are few.
const MOST_BYTES: usize = 64 << 20;

/// What is always taken.
const SMALL: usize = 64 << 10;

/// The frames on their way to one connection.
#[derive(Debug)]
pub(super) struct Outbox {
    sender: PortSender,
    waiting: Mutex<Waiting>,
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
    pub(super) fn new(sender: PortSender) -> Self {
        Self { sender, waiting: Mutex::default() }
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
            tokio::spawn(carry(Arc::clone(outbox)));
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
