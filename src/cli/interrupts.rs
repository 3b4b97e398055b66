//! [`Interrupts`]: the signals that ask for the end.

use std::io;
use std::time::Duration;

use orchestrator_core::supervisor::Request;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

/// Ctrl-C, SIGTERM and SIGHUP. While it is there, none of them ends the process by itself.
#[derive(Debug)]
pub(crate) struct Interrupts {
    signals: [Signal; 3],
    /// One has come.
    again: bool,
    /// What asks for the end if no signal has done so before.
    deadline: Option<Instant>,
}

impl Interrupts {
    /// From now on.
    ///
    /// # Errors
    /// Where signals cannot be listened to.
    pub(crate) fn new() -> io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        Ok(Self { signals: [interrupt?, terminate?, hangup?], again: false, deadline: None })
    }

    /// The same, and the end after this time as well.
    pub(crate) fn or_after(self, time: Option<Duration>) -> Self {
        Self { deadline: time.map(|time| Instant::now() + time), ..self }
    }

    /// What the next signal asks for: the first one for an end in order, each further one for the end now. Time asks once.
    pub(crate) async fn next(&mut self) -> Request {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
            () = at(self.deadline) => {
                self.deadline = None;
                self.again = true;
                return Request::Shutdown;
            }
        }
        self.deadline = None;
        if std::mem::replace(&mut self.again, true) { Request::Kill } else { Request::Shutdown }
    }
}

/// Waits for this moment; for ever where there is none.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
