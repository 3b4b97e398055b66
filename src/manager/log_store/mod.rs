//! [`LogStore`]: what the services wrote, on disk, numbered, bounded, readable while it grows and after the end.
//!
//! A line is a [`LogRecord`] as JSON. Lines stand in segments, files named after the number of their first record;
//! the last segment grows, the oldest goes when there are more than [`KEPT_SEGMENTS`]. Whoever follows the log reads
//! the same files as whoever reads it a week later, so there is one path to get right.

mod cursor;
mod reader;
mod writer;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orchestrator_core::report::LogRecord;
use tokio::sync::{mpsc, watch};

pub use reader::{LogItem, LogQuery, LogReader};

/// The size at which a segment is followed by a new one, in bytes.
const SEGMENT_SIZE: u64 = 8 * 1024 * 1024;

/// How many segments are kept.
const KEPT_SEGMENTS: usize = 8;

/// How many records may wait to be written. When it is full, services that write wait.
const QUEUE: usize = 1024;

/// The log of one project. Cheap to clone: all clones are the same log.
#[derive(Clone, Debug)]
pub(crate) struct LogStore {
    folder: Arc<Path>,
    /// Into the writer's thread; it ends when the last clone is gone.
    queue: mpsc::Sender<LogRecord>,
    /// The number of the newest record that readers can see. Closed when the writer has ended.
    newest: watch::Receiver<u64>,
}

impl LogStore {
    /// Opens the log in this folder, behind what an earlier run wrote.
    ///
    /// # Errors
    /// Where the folder or its files cannot be used.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let (queue, queued) = mpsc::channel(QUEUE);
        let newest = writer::spawn(folder, queued)?;
        Ok(Self { folder: folder.into(), queue, newest })
    }

    /// Adds a record; its number is set by the writer. Waits while the queue is full.
    pub(crate) async fn append(&self, record: LogRecord) {
        // The writer outlives every clone of its queue, so this cannot fail.
        let _ = self.queue.send(record).await;
    }

    /// See [`LogReader`].
    pub(crate) fn view(&self) -> LogView {
        LogView { folder: self.folder.clone(), newest: self.newest.clone() }
    }
}

/// The reading half of a log: it does not keep the writer alive.
#[derive(Clone, Debug)]
pub(crate) struct LogView {
    folder: Arc<Path>,
    newest: watch::Receiver<u64>,
}

impl LogView {
    pub(crate) fn newest(&self) -> u64 {
        *self.newest.borrow()
    }

    pub(crate) fn read(&self, query: LogQuery) -> io::Result<LogReader> {
        LogReader::new(&self.folder, query, Some(self.newest.clone()))
    }
}

/// A segment's file name, from the number of its first record.
fn segment_name(first: u64) -> String {
    format!("{first:020}.jsonl")
}

/// The numbers of the first records of the segments in the folder, in order.
fn segments(folder: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for file in fs::read_dir(folder)? {
        let name = file?.file_name();
        let first = name.to_str().and_then(|name| name.strip_suffix(".jsonl"));
        found.extend(first.and_then(|first| first.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

fn segment_path(folder: &Path, first: u64) -> PathBuf {
    folder.join(segment_name(first))
}

#[cfg(test)]
mod tests {
    use orchestrator_core::report::Stream;
    use orchestrator_core::{Generation, ReplicaId, ServiceName};

    use super::*;

    fn record(service: &str, text: impl Into<String>) -> LogRecord {
        LogRecord {
            seq: 0,
            time: 0,
            replica: ReplicaId { service: ServiceName::parse(service).unwrap(), index: 1 },
            generation: Generation(1),
            stream: Stream::Stdout,
            text: text.into(),
            partial: false,
            lost: 0,
        }
    }

    async fn texts(mut reader: LogReader) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(item) = reader.next().await {
            texts.push(match item.unwrap() {
                LogItem::Record(record) => record.text,
                LogItem::Missed(n) => format!("missed {n}"),
            });
        }
        texts
    }

    #[tokio::test]
    async fn a_follower_sees_every_line_once_and_ends_with_the_project() {
        let folder = tempfile::tempdir().unwrap();
        let store = LogStore::open(folder.path()).unwrap();
        store.append(record("a", "before")).await;
        let reader = store.view().read(LogQuery { follow: true, ..LogQuery::default() }).unwrap();
        for n in 0..5000 {
            store.append(record("a", n.to_string())).await;
        }
        drop(store);
        let got = texts(reader).await;
        assert_eq!(got[0], "before");
        assert_eq!(got[1..], (0..5000).map(|n| n.to_string()).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn numbers_go_on_after_a_crash_that_tore_the_last_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut newest = {
            let store = LogStore::open(folder.path()).unwrap();
            store.append(record("a", "one")).await;
            store.append(record("a", "two")).await;
            store.newest.clone()
        };
        while newest.changed().await.is_ok() {}
        let path = segment_path(folder.path(), 1);
        let mut written = fs::read(&path).unwrap();
        written.truncate(written.len() - 5);
        fs::write(&path, written).unwrap();

        let store = LogStore::open(folder.path()).unwrap();
        store.append(record("a", "three")).await;
        let reader = store.view().read(LogQuery { follow: true, ..LogQuery::default() }).unwrap();
        drop(store);
        assert_eq!(texts(reader).await, ["one", "three"]);
        assert_eq!(segments(folder.path()).unwrap(), [1, 2]);
    }

    #[tokio::test]
    async fn rotation_bounds_the_log_and_readers_are_told_what_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let store = LogStore::open(folder.path()).unwrap();
        let text = "x".repeat(64 * 1024);
        let enough = (SEGMENT_SIZE * (KEPT_SEGMENTS as u64 + 2) / (64 * 1024)) as usize;
        for _ in 0..enough {
            store.append(record("a", text.clone())).await;
        }
        let view = store.view();
        drop(store);
        let after = LogQuery { after: 1, follow: true, ..LogQuery::default() };
        let mut reader = view.read(after).unwrap();
        let mut newest = view.newest.clone();
        while newest.changed().await.is_ok() {}
        assert!(segments(folder.path()).unwrap().len() <= KEPT_SEGMENTS);
        let first_kept = segments(folder.path()).unwrap()[0];
        let missed = reader.next().await.unwrap().unwrap();
        assert!(matches!(missed, LogItem::Missed(n) if n == first_kept - 2), "{missed:?}");
        let mut whole = view.read(LogQuery::default()).unwrap();
        let missed = whole.next().await.unwrap().unwrap();
        assert!(matches!(missed, LogItem::Missed(n) if n == first_kept - 1), "{missed:?}");
        let mut late = view.read(LogQuery { since: Some(0), ..LogQuery::default() }).unwrap();
        assert!(matches!(late.next().await, Some(Ok(LogItem::Record(_)))));
    }

    #[tokio::test]
    async fn tail_since_and_services_choose_what_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = LogStore::open(folder.path()).unwrap();
        for n in 0..10 {
            let service = if n % 2 == 0 { "even" } else { "odd" };
            store.append(LogRecord { time: n, ..record(service, n.to_string()) }).await;
        }
        let mut newest = store.newest.clone();
        newest.wait_for(|newest| *newest == 10).await.unwrap();
        let even = vec![ServiceName::parse("even").unwrap()];
        let read = |query| LogReader::open(folder.path(), query).unwrap();
        let last_two = LogQuery { services: even.clone(), tail: Some(2), ..LogQuery::default() };
        assert_eq!(texts(read(last_two)).await, ["6", "8"]);
        let late = LogQuery { services: even, since: Some(4), ..LogQuery::default() };
        assert_eq!(texts(read(late)).await, ["4", "6", "8"]);
        let none = LogQuery { tail: Some(0), ..LogQuery::default() };
        assert_eq!(texts(read(none)).await, [""; 0]);
    }
}
