//! [`Output`]: standard output and standard error of a js service, a line at a time, nothing kept back.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, write};

use super::watchdog::Watchdog;

/// Where a line goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Writes lines. A slow reader makes the service wait, which is not counted as the service's own time.
#[derive(Clone, Debug)]
pub(super) struct Output {
    watchdog: Arc<Watchdog>,
}

impl Output {
    /// Writes to the process's own streams.
    pub(super) fn new(watchdog: Arc<Watchdog>) -> Self {
        Self { watchdog }
    }

    /// Writes a text and a newline.
    pub(super) fn write_line(&self, stream: Stream, text: &str) {
        let line = [text, "\n"].concat();
        self.watchdog.uncounted(|| match stream {
            Stream::Stdout => write_all(rustix::stdio::stdout(), line.as_bytes()),
            Stream::Stderr => write_all(rustix::stdio::stderr(), line.as_bytes()),
        });
    }
}

/// A failure means that the reader is gone, and so will the service be, soon.
fn write_all(stream: BorrowedFd<'_>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match write(stream, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(&stream, PollFlags::OUT)], None);
            }
            Err(_) => return,
        }
    }
}
