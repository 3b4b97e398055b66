//! [`Source`]: what a service writes into, read to its last byte.
//!
//! A pipe ends when its last writer closes it. A writer may be out of reach: it was handed to a process elsewhere.
//! So there is a second end: once the service and everything below it are gone, what is in the pipe is read, and when
//! it is empty that was all.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::{Errno, ioctl_fionbio, read};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// A pipe that a service writes into.
#[derive(Debug)]
pub(crate) struct Source {
    fd: AsyncFd<OwnedFd>,
    /// True when nobody writes any more.
    finished: watch::Receiver<bool>,
}

impl Source {
    /// Reads from `fd` to its end, or until it is empty after `finished` has become true.
    pub(crate) fn new(fd: OwnedFd, finished: watch::Receiver<bool>) -> io::Result<Self> {
        ioctl_fionbio(&fd, true)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, and asks for what an OwnedFd keeps by itself"
        )]
        let fd = AsyncFd::new(fd)?;
        Ok(Self { fd, finished })
    }

    /// Gives what there is, at most `N` bytes, to `take`, and answers with what it makes of them; none at the end.
    /// Cancel-safe. The buffer lies on the stack and only while it is used, because there may be hundreds of idle
    /// runners.
    pub(crate) async fn read<const N: usize, T>(
        &mut self,
        take: impl Fn(&[u8]) -> T,
    ) -> io::Result<Option<T>> {
        let fill = |fd: &OwnedFd| -> io::Result<Option<T>> {
            let mut buffer = [0; N];
            let count = read(fd, &mut buffer)?;
            Ok((count > 0).then(|| take(&buffer[..count])))
        };
        loop {
            let finished = *self.finished.borrow_and_update();
            let filled = if finished {
                fill(self.fd.get_ref())
            } else {
                tokio::select! {
                    changed = self.finished.changed() => match changed {
                        Ok(()) => continue,
                        // The runner itself is ending.
                        Err(_) => return Ok(None),
                    },
                    ready = self.fd.readable() => match ready?.try_io(|fd| fill(fd.get_ref())) {
                        Ok(filled) => filled,
                        Err(_) => continue,
                    },
                }
            };
            match filled.as_ref().err().and_then(Errno::from_io_error) {
                Some(Errno::INTR) => {}
                Some(Errno::AGAIN) if finished => return Ok(None),
                _ => return filled,
            }
        }
    }
}
