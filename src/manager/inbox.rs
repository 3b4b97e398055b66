//! Everything that reaches the ServicesManager from its ServiceContainers, as one queue.

use orchestrator_core::manifest::Service;
use orchestrator_core::report::{CrashReason, Exception, Phase, Resources};
use orchestrator_core::{ServiceName, StartId};
use tokio::sync::mpsc;

use crate::router::Responder;

/// How many happenings may wait. When it is full, containers wait: none is lost.
const QUEUE: usize = 1024;

/// Something that happened to a start.
#[derive(Debug)]
pub(crate) struct Input {
    /// Which start.
    pub(crate) start: StartId,
    /// What happened.
    pub(crate) happening: Happening,
}

/// What can happen to a start.
#[derive(Debug)]
pub(crate) enum Happening {
    /// It has come this far.
    Phase(Phase),
    /// Its sandbox has been checked from inside.
    Checked {
        /// For what.
        checks: Vec<String>,
    },
    /// Its code has been shipped.
    Shipped {
        /// Its SHA-256, in hexadecimal.
        sha256: String,
    },
    /// Its process is there.
    Running {
        /// The process's id.
        pid: u32,
    },
    /// A readiness check failed: it is not ready yet.
    NotReady {
        /// What the check said.
        detail: String,
    },
    /// It is ready.
    Ready,
    /// Its code has ended by itself, with exit code 0.
    Completed,
    /// It crashed.
    Crashed(CrashReason),
    /// It wants to be closed.
    CloseRequested,
    /// An exception that nobody caught.
    Exception(Exception),
    /// Something that it tried was refused, or could not be done.
    Refused {
        /// What, as the end of a sentence that begins with the replica.
        what: String,
    },
    /// It wants this child.
    OpenChild {
        /// Within what it may hand on.
        child: Box<Service>,
        /// Where the answer goes.
        responder: Responder,
    },
    /// A child is wanted no more.
    CloseChild {
        /// Which.
        name: ServiceName,
        /// Where the answer goes, if anybody waits for it.
        responder: Option<Responder>,
    },
    /// What it uses.
    Usage(Resources),
    /// Nothing is left of it. The last happening of a start.
    Ended,
}

/// Where one start's happenings go.
#[derive(Clone, Debug)]
pub(crate) struct Inbox {
    start: StartId,
    sender: mpsc::Sender<Input>,
}

/// The queue, and what hands out ways into it.
pub(crate) fn queue() -> (mpsc::Sender<Input>, mpsc::Receiver<Input>) {
    mpsc::channel(QUEUE)
}

impl Inbox {
    pub(crate) fn new(start: StartId, sender: mpsc::Sender<Input>) -> Self {
        Self { start, sender }
    }

    /// The start that speaks.
    pub(crate) fn start(&self) -> &StartId {
        &self.start
    }

    /// Tells the ServicesManager something that may be lost when it has too much to do.
    pub(crate) fn mention(&self, happening: Happening) {
        let _ = self.sender.try_send(Input { start: self.start.clone(), happening });
    }

    /// Tells the ServicesManager. It outlives its containers, so nothing is lost; were it gone, nobody would care.
    pub(crate) async fn tell(&self, happening: Happening) {
        let _ = self.sender.send(Input { start: self.start.clone(), happening }).await;
    }
}
