//! [`News`]: everything that there is to show of a running project, in one stream.

use std::io;
use std::sync::Arc;

use orchestrator_core::report::Snapshot;
use orchestrator_manager::{EventItem, EventReader, LogItem, LogQuery, LogReader, ManagerHandle};
use tokio::sync::watch;

/// What happens in a project, from a moment on to its end.
#[derive(Debug)]
pub(crate) struct News {
    /// None when all of it has been read.
    logs: Option<LogReader>,
    /// None when all of it has been read.
    events: Option<EventReader>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
}

/// The next thing to show.
#[derive(Debug)]
pub(crate) enum Item {
    /// A service wrote something.
    Log(LogItem),
    /// The log cannot be read, and will not be any more.
    LogLost(io::Error),
    /// Something happened.
    Event(EventItem),
    /// The project is not as it was before.
    Snapshot(Arc<Snapshot>),
}

impl News {
    /// All events, and what the services write from now on.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub(crate) fn of(handle: &ManagerHandle) -> io::Result<Self> {
        let query = LogQuery { after: handle.newest_log(), follow: true, ..LogQuery::default() };
        Ok(Self {
            logs: Some(handle.logs(query)?),
            events: Some(handle.events(0)),
            snapshots: handle.snapshots(),
        })
    }

    /// The next thing to show. None when the project has ended and all of it has been told. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Item> {
        while self.logs.is_some() || self.events.is_some() {
            tokio::select! {
                item = of(&mut self.logs, LogReader::next) => match item {
                    Some(Ok(item)) => return Some(Item::Log(item)),
                    // It would be the same at each further try, and the services run on without it.
                    Some(Err(error)) => {
                        self.logs = None;
                        return Some(Item::LogLost(error));
                    }
                    None => self.logs = None,
                },
                item = of(&mut self.events, EventReader::next) => match item {
                    Some(item) => return Some(Item::Event(item)),
                    None => self.events = None,
                },
                Ok(()) = self.snapshots.changed() => {
                    return Some(Item::Snapshot(self.snapshots.borrow_and_update().clone()));
                }
            }
        }
        None
    }
}

/// The next item of a source that may have ended: then, never.
async fn of<S, T>(source: &mut Option<S>, next: impl AsyncFnOnce(&mut S) -> T) -> T {
    match source {
        Some(source) => next(source).await,
        None => std::future::pending().await,
    }
}
