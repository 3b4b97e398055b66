//! [`Listener`]: the recorder's end of a filter: what the kernel asks, and what it is answered.

use std::os::fd::{AsRawFd, OwnedFd};

use libc::{seccomp_notif, seccomp_notif_resp};
use rustix::event::{PollFd, PollFlags, poll};

use super::calls::Verdict;

/// Where the calls of the processes under one filter are told.
#[derive(Debug)]
pub(super) struct Listener(OwnedFd);

impl Listener {
    pub(super) fn new(filter: OwnedFd) -> Self {
        Self(filter)
    }

    /// The next call; none when no process is left under the filter.
    pub(super) fn next(&self) -> Option<seccomp_notif> {
        loop {
            let mut waited_for = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut waited_for, None) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return None,
                Ok(_) => {}
            }
            // Asked first: an older kernel waits for ever for the call of a process that is gone.
            if !waited_for[0].revents().contains(PollFlags::IN) {
                return None;
            }
            // SAFETY: plain numbers, for all of which zero is fine; the kernel wants zeros, and fills it.
            let received = unsafe {
                let mut notification: seccomp_notif = std::mem::zeroed();
                let asked = libc::ioctl(
                    self.0.as_raw_fd(),
                    libc::SECCOMP_IOCTL_NOTIF_RECV as _,
                    &raw mut notification,
                );
                (asked == 0).then_some(notification)
            };
            // Who asked may have been killed in between.
            if received.is_some() {
                return received;
            }
        }
    }

    /// Whether the process of a call still waits for its answer.
    pub(super) fn is_valid(&self, notification: &seccomp_notif) -> bool {
        // SAFETY: a number that outlives the call.
        unsafe {
            let asked = libc::SECCOMP_IOCTL_NOTIF_ID_VALID;
            libc::ioctl(self.0.as_raw_fd(), asked as _, &raw const notification.id) == 0
        }
    }

    /// Lets the process go on. One that has ended needs no answer.
    pub(super) fn answer(&self, notification: &seccomp_notif, verdict: Verdict) {
        let (error, flags) = match verdict {
            Verdict::GoOn => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
            Verdict::Absent => (-libc::ENOSYS, 0),
        };
        let mut answer = seccomp_notif_resp { id: notification.id, val: 0, error, flags };
        // SAFETY: a structure that outlives the call.
        unsafe {
            libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw mut answer);
        }
    }
}
