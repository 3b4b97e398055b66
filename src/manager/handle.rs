//! [`ManagerHandle`]: how the rest of the program asks for things and watches a project.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use orchestrator_core::planning::Step;
use orchestrator_core::report::{Finish, Snapshot};
use orchestrator_core::routing::Fault;
use orchestrator_core::supervisor::{Refusal, Request, Unmet};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot, watch};

use crate::applying::{Apply, ApplyAsk, ApplyError, ManifestReader};
use crate::attach::{AttachError, Attachment};
use crate::event_stream::{EventReader, EventView};
use crate::fabric::View;
use crate::log_store::{LogQuery, LogReader, LogView};
use crate::router::{Answer, OperatorCall, Router};

/// A running project. Cheap to clone; when the last clone is dropped, the project shuts down in order.
#[derive(Clone, Debug)]
pub struct ManagerHandle {
    /// Into the ServicesManager's inbox. Bounded: who asks too fast waits.
    pub(crate) asks: mpsc::Sender<Ask>,
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(crate) events: EventView,
    pub(crate) logs: LogView,
    pub(crate) finish: watch::Receiver<Option<Finish>>,
    pub(crate) router: Router,
    pub(crate) attachment: Attachment,
    pub(crate) fabric: Option<View>,
    pub(crate) reader: ManifestReader,
}

/// Something that is asked for, on its way to the ServicesManager.
#[derive(Debug)]
pub(crate) enum Ask {
    Request(RequestAsk),
    Apply(Box<ApplyAsk>),
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct RequestAsk {
    /// What is asked for.
    pub(crate) request: Request,
    /// Whether the answer waits until it has come true, or only until it was accepted.
    pub(crate) wait: bool,
    /// Where the answer goes.
    pub(crate) answer: oneshot::Sender<Result<(), RequestError>>,
}

/// Why a request was not fulfilled.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// It could not be honoured; nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It was accepted, but did not come true.
    #[error(transparent)]
    Unmet(#[from] Unmet),
    /// The project has ended.
    #[error("the project has ended")]
    Ended,
}

impl ManagerHandle {
    /// Asks for something and waits until it has come true: started services run, stopped ones are closed, a
    /// shutdown is complete.
    ///
    /// # Errors
    /// Where the request is refused, cannot come true (a service gave up), or the project has ended.
    pub async fn request(&self, request: Request) -> Result<(), RequestError> {
        self.ask(request, true).await
    }

    /// Asks for something and waits only until it is accepted.
    ///
    /// # Errors
    /// Where the request is refused or the project has ended.
    pub async fn submit(&self, request: Request) -> Result<(), RequestError> {
        self.ask(request, false).await
    }

    async fn ask(&self, request: Request, wait: bool) -> Result<(), RequestError> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask::Request(RequestAsk { request, wait, answer });
        self.asks.send(ask).await.map_err(|_| RequestError::Ended)?;
        answered.await.map_err(|_| RequestError::Ended)?
    }

    /// Reads the manifest anew and has the project become what it says now; what does not differ is not touched. Answers with
    /// what was done, or what would be.
    ///
    /// # Errors
    /// Where the manifest is wrong, or something of it cannot be had; and where what was begun does not come true.
    pub async fn apply(&self, apply: Apply) -> Result<Vec<Step>, ApplyError> {
        let Apply { file, variables, dry_run, wait } = apply;
        let prepared = self.reader.prepare(file, variables).await?;
        let (answer, answered) = oneshot::channel();
        let ask = Ask::Apply(Box::new(ApplyAsk { prepared, dry_run, wait, answer }));
        self.asks.send(ask).await.map_err(|_| ApplyError::Ended)?;
        answered.await.map_err(|_| ApplyError::Ended)?
    }

    /// The project as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        let mut snapshot = self.snapshots.borrow().clone();
        // Calls come and go without any news.
        let present = Arc::make_mut(&mut snapshot);
        self.router.fill(present);
        let view = |view: &View| view.lock().unwrap_or_else(PoisonError::into_inner).clone();
        present.fabric = self.fabric.as_ref().map(view);
        snapshot
    }

    /// The project's present, whenever it changes. Several changes may be seen as one.
    #[must_use]
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// What happened after the event of the given number (0: as far back as is kept), then what happens.
    #[must_use]
    pub fn events(&self, after: u64) -> EventReader {
        self.events.read(after)
    }

    /// What the services wrote.
    ///
    /// # Errors
    /// Where the files of the log cannot be read.
    pub fn logs(&self, query: LogQuery) -> std::io::Result<LogReader> {
        self.logs.read(query)
    }

    /// The number of the newest record of the log: what comes after it is of this run.
    #[must_use]
    pub fn newest_log(&self) -> u64 {
        self.logs.newest()
    }

    /// Calls a method of a service, for the person who runs the project. The arguments are a list, as JSON.
    ///
    /// # Errors
    /// With why there is no answer.
    pub async fn call(&self, call: OperatorCall, arguments: Bytes) -> Result<Answer, Fault> {
        self.router.call(call, arguments).await
    }

    /// Tells an event, with this JSON, to every service that listens to it. Answers with how many replicas that are.
    ///
    /// # Errors
    /// With why it was not told.
    pub async fn emit(&self, event: String, data: Bytes) -> Result<u64, Fault> {
        self.router.emit(event, data).await
    }

    /// Serves a program that has attached, until its connection or the project ends.
    ///
    /// # Errors
    /// With what was wrong with it.
    pub async fn attach(
        mut self,
        connection: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<(), AttachError> {
        let attachment = self.attachment.clone();
        tokio::select! {
            served = attachment.serve(connection) => served,
            _ = self.finished() => Ok(()),
        }
    }

    /// Waits for the end of the project.
    pub async fn finished(&mut self) -> Finish {
        match self.finish.wait_for(Option::is_some).await {
            Ok(finish) => finish.clone().unwrap_or_else(Finish::killed),
            Err(_) => Finish::killed(),
        }
    }
}
