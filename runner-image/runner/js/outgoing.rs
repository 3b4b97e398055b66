//! [`Outgoing`]: messages on their way out of the js process, in few system calls.
//!
//! The first message of a turn is sent at once; further ones are held until its end, and go together.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

/// How many bytes are held at most, but for the message that is too much.
const HELD: usize = 64 << 10;

/// What goes to one socket. That its reader is gone is not told here: who receives from it sees it.
#[derive(Debug)]
pub(super) struct Outgoing {
    socket: OwnedFd,
    /// Whole messages.
    held: Vec<u8>,
    /// Whether one has been sent in this turn.
    has_sent: bool,
}

impl Outgoing {
    /// Sends to this socket.
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self { socket, held: Vec::new(), has_sent: false }
    }

    /// Sends a whole message: now, or at the end of the turn.
    pub(super) fn push(&mut self, message: &[u8]) {
        if self.has_sent && self.held.len() < HELD {
            self.held.extend_from_slice(message);
        } else {
            self.send(message);
        }
    }

    /// Sends what is held, and then this.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        if !self.held.is_empty() {
            write_all(self.socket.as_fd(), &self.held);
            self.held.clear();
        }
        write_all(self.socket.as_fd(), bytes);
        self.has_sent = true;
    }

    /// The turn is over: sends what is held, and waits until it is on its way.
    pub(super) fn end_turn(&mut self) {
        if !self.held.is_empty() {
            self.send(&[]);
        }
        self.has_sent = false;
    }
}

/// Writes all of it to a socket that may or may not block. A failure means that the reader is gone.
pub(super) fn write_all(socket: BorrowedFd<'_>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(&socket, PollFlags::OUT)], None);
            }
            Err(_) => return,
        }
    }
}
