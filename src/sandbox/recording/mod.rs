//! [`Recorder`]: notes what a process and everything that it starts ask of the system, while nothing is denied to them.
//!
//! ```text
//!   service --call--> filter --notification--> recorder's thread: reads what is asked for, notes it --"go on"--> the kernel does it
//! ```
//!
//! It records and does not judge: between reading a path and "go on" another thread of the service can change it. What may
//! happen to a service is a [`Confinement`](crate::confinement::Confinement)'s to say. Two answers differ from "go on": what
//! no confined process has at all (`clone3`, `io_uring`) is not there for a recorded one either, so that its libraries fall back
//! to what a filter can follow.

mod calls;
mod dns;
mod listener;
mod task;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use self::calls::Verdict;
use self::listener::Listener;
use self::task::Task;

/// How many different things are noted. A service that uses more has the rest counted.
const MOST: usize = 1 << 16;

/// Something that a process asked the kernel for. Paths are absolute, without links, and were there at that time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// To read a file.
    Read(PathBuf),
    /// To list a folder.
    List(PathBuf),
    /// To change a file that is there.
    Write(PathBuf),
    /// To make or to remove what this path names. Only its folder was there for certain.
    Make(PathBuf),
    /// To execute a file.
    Run(PathBuf),
    /// One of these, by a path that leads through a link.
    Link {
        /// As it was named, absolute.
        from: PathBuf,
        /// Where it led.
        to: PathBuf,
    },
    /// To make a new process.
    Process,
    /// To connect to a socket in the file system.
    Socket(PathBuf),
    /// To connect to a TCP port.
    Connect(SocketAddr),
    /// To send a datagram there, other than to look up a name.
    Datagram(SocketAddr),
    /// To wait for connections at this TCP port.
    Listen(u16),
    /// The address of a name.
    Lookup(String),
}

/// What was noted since the last time that somebody asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// Each thing once.
    pub uses: Vec<Use>,
    /// How many calls could not be read, or found no room.
    pub lost: u64,
}

/// Notes for any number of processes. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
struct Notes {
    known: BTreeSet<Use>,
    fresh: Noted,
}

impl Recorder {
    /// What was noted since this was asked for the last time.
    #[must_use]
    pub fn take(&self) -> Noted {
        std::mem::take(&mut self.notes().fresh)
    }

    /// Answers the notifications of this filter in a thread of its own, for as long as any process is under it.
    ///
    /// # Errors
    /// Where no thread can be made: then the processes' calls fail.
    pub(crate) fn attend(&self, filter: OwnedFd) -> io::Result<()> {
        let (recorder, listener) = (self.clone(), Listener::new(filter));
        thread::Builder::new().name("recorder".into()).spawn(move || recorder.answer_all(&listener))?;
        Ok(())
    }

    /// Notes first, answers then: what a process has done is noted when it goes on.
    fn answer_all(&self, listener: &Listener) {
        while let Some(notification) = listener.next() {
            let mut uses = Vec::new();
            let task = Task::new(notification.pid);
            let verdict = calls::read(&notification.data, &task, &mut |used| uses.push(used));
            // What was read is of another process where this one has ended meanwhile.
            if !listener.is_valid(&notification) {
                continue;
            }
            self.notes().add(uses, verdict.is_err());
            listener.answer(&notification, verdict.unwrap_or(Verdict::GoOn));
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    fn add(&mut self, uses: Vec<Use>, unread: bool) {
        self.fresh.lost += u64::from(unread);
        for used in uses {
            if self.known.contains(&used) {
                continue;
            }
            if self.known.len() >= MOST {
                self.fresh.lost += 1;
                continue;
            }
            self.known.insert(used.clone());
            self.fresh.uses.push(used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_told_once_and_what_finds_no_room_is_counted() {
        let recorder = Recorder::default();
        recorder.notes().add(vec![Use::Listen(1), Use::Process, Use::Listen(1)], false);
        assert_eq!(recorder.take(), Noted { uses: vec![Use::Listen(1), Use::Process], lost: 0 });
        recorder.notes().add(vec![Use::Process], true);
        assert_eq!(recorder.take(), Noted { uses: Vec::new(), lost: 1 });
        let many = (0..MOST).map(|number| Use::Lookup(number.to_string())).collect();
        recorder.notes().add(many, false);
        assert_eq!(recorder.take().lost, 2, "two were known before");
    }
}
