//! [`LogReader`]: reads a log at the reader's own pace, and follows it while it grows.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use orchestrator_core::ServiceName;
use orchestrator_core::report::LogRecord;
use tokio::sync::watch;

use super::cursor::Cursor;

/// How many records are read at a time, which bounds what a slow reader holds in memory.
const BATCH: usize = 256;

/// Which lines a reader wants.
#[derive(Clone, Debug, Default)]
pub struct LogQuery {
    /// Only those of these services; all where it is empty.
    pub services: Vec<ServiceName>,
    /// Only those received at this time or later, in milliseconds since 1970-01-01 UTC.
    pub since: Option<u64>,
    /// Of those that are there, only so many of the last.
    pub tail: Option<usize>,
    /// Only those after this number.
    pub after: u64,
    /// Whether to wait for more, until the project has ended.
    pub follow: bool,
}

/// What a reader gets.
#[derive(Clone, Debug)]
pub enum LogItem {
    /// The next line.
    Record(LogRecord),
    /// So many records were removed by rotation before the reader came to them.
    Missed(u64),
}

/// Reads the log in order.
#[derive(Debug)]
pub struct LogReader {
    cursor: Cursor,
    ready: VecDeque<LogItem>,
    /// The number of the newest record; None where nobody writes.
    newest: Option<watch::Receiver<u64>>,
}

impl LogQuery {
    pub(super) fn wants(&self, record: &LogRecord) -> bool {
        let of_service = self.services.is_empty() || self.services.contains(&record.replica.service);
        of_service && record.seq > self.after && self.since.is_none_or(|since| record.time >= since)
    }
}

impl LogReader {
    /// Reads the log of a project that does not run, from its folder. There is nothing to follow then.
    ///
    /// # Errors
    /// Where the files cannot be read.
    pub fn open(folder: &Path, query: LogQuery) -> io::Result<Self> {
        Self::new(folder, query, None)
    }

    pub(super) fn new(
        folder: &Path,
        query: LogQuery,
        newest: Option<watch::Receiver<u64>>,
    ) -> io::Result<Self> {
        let (tail, newest) = (query.tail, newest.filter(|_| query.follow));
        let mut cursor = Cursor::new(folder.to_owned(), query);
        let ready = tail.map_or_else(|| Ok(VecDeque::new()), |n| cursor.tail(n))?;
        Ok(Self { cursor, ready, newest })
    }

    /// The next line. None at the end: of what there is, or with `follow`, of the project. Cancel-safe.
    pub async fn next(&mut self) -> Option<io::Result<LogItem>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(Ok(item));
            }
            let ended = self.newest.as_ref().is_none_or(|newest| newest.has_changed().is_err());
            // A read of a few records that were written a moment ago: shorter than handing it to another thread.
            match self.cursor.read(BATCH) {
                Err(error) => return Some(Err(error)),
                Ok(items) if !items.is_empty() => self.ready = items,
                // Nothing came after the writer had ended, so nothing will.
                Ok(_) if ended => return None,
                Ok(_) => self.wait_beyond(self.cursor.last()).await,
            }
        }
    }

    async fn wait_beyond(&mut self, last: u64) {
        if let Some(newest) = &mut self.newest {
            // An error means that the writer has ended: the next read is the last one.
            let _ = newest.wait_for(|newest| *newest > last).await;
        }
    }
}
