//! [`Interrupts`]: the signals that ask a running project for something.

use std::io;
use std::time::Duration;

use orchestrator_core::report::Snapshot;
use orchestrator_core::supervisor::Request;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

/// Ctrl-C, SIGTERM and SIGHUP, which ask for the end, and SIGUSR1, which asks for a reload. While it is there, none of them
/// ends the process by itself.
#[derive(Debug)]
pub(crate) struct Interrupts {
    ends: [Signal; 3],
    reload: Signal,
    /// An end was asked for.
    again: bool,
    /// What asks for the end if no signal has done so before.
    deadline: Option<Instant>,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// An end in order.
    End,
    /// The end now.
    EndNow,
    /// What is there now in the place of everything that runs.
    Reload,
}

impl Interrupts {
    /// From now on.
    ///
    /// # Errors
    /// Where signals cannot be listened to.
    pub(crate) fn new() -> io::Result<Self> {
        let ends = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = ends.map(signal);
        let reload = signal(SignalKind::user_defined1())?;
        Ok(Self { ends: [interrupt?, terminate?, hangup?], reload, again: false, deadline: None })
    }

    /// The same, and the end after this time as well.
    pub(crate) fn or_after(self, time: Option<Duration>) -> Self {
        Self { deadline: time.map(|time| Instant::now() + time), ..self }
    }

    /// What the next signal asks for: the first of those that end for an end in order, each further one for the end now.
    /// Time asks once.
    pub(crate) async fn next(&mut self) -> Wish {
        let [interrupt, terminate, hangup] = &mut self.ends;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
            _ = self.reload.recv() => return Wish::Reload,
            () = at(self.deadline) => {
                self.deadline = None;
                self.again = true;
                return Wish::End;
            }
        }
        self.deadline = None;
        if std::mem::replace(&mut self.again, true) { Wish::EndNow } else { Wish::End }
    }
}

impl Wish {
    /// The request for it, of a project that is like this.
    pub(crate) fn request(self, project: &Snapshot) -> Request {
        match self {
            Self::End => Request::Shutdown,
            Self::EndNow => Request::Kill,
            Self::Reload => Request::Reload(project.reloadable()),
        }
    }
}

/// Waits for this moment; for ever where there is none.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
