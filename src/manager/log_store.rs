//! LogStore: todo
use orchestrator_core::ServiceName;
use orchestrator_core::report::LogRecord;
use std::path::Path;

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
pub struct LogReader;

impl LogReader {
    /// The next line. None at the end: of what there is, or with `follow`, of the project.
    pub async fn next(&mut self) -> Option<std::io::Result<LogItem>> {
        todo!()
    }

    /// Reads the log of a project that does not run, from its folder. `follow` is of no use here.
    ///
    /// # Errors
    /// Where the files cannot be read.
    pub fn open(_folder: &Path, _query: LogQuery) -> std::io::Result<Self> {
        todo!()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct LogStore;
impl LogStore {
    pub(crate) fn read(&self, _query: LogQuery) -> std::io::Result<LogReader> {
        todo!()
    }
}
