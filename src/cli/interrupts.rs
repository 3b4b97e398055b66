//! [`Interrupts`]: the signals that ask for the end.

use std::io;

use orchestrator_core::supervisor::Request;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, SIGTERM and SIGHUP. While it is there, none of them ends the process by itself.
#[derive(Debug)]
pub(crate) struct Interrupts {
    signals: [Signal; 3],
    /// One has come.
    again: bool,
}

impl Interrupts {
    /// From now on.
    ///
    /// # Errors
    /// Where signals cannot be listened to.
    pub(crate) fn new() -> io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        Ok(Self { signals: [interrupt?, terminate?, hangup?], again: false })
    }

    /// What the next signal asks for: the first one for an end in order, each further one for the end now.
    pub(crate) async fn next(&mut self) -> Request {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        if std::mem::replace(&mut self.again, true) { Request::Kill } else { Request::Shutdown }
    }
}
