//! [`Cursor`]: a place in the files of a log, moving forward. Plain blocking reads, no waiting.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;

use orchestrator_core::report::LogRecord;

use super::reader::{LogItem, LogQuery};
use super::{segment_path, segments};

/// Reads the records that a query wants, in order, from wherever they are.
#[derive(Debug)]
pub(super) struct Cursor {
    folder: PathBuf,
    query: LogQuery,
    /// The number of the last record that was read, wanted or not.
    last: u64,
    open: Option<OpenSegment>,
}

#[derive(Debug)]
struct OpenSegment {
    first: u64,
    file: BufReader<File>,
    /// A line whose end is not written yet.
    torn: Vec<u8>,
}

impl Cursor {
    pub(super) fn new(folder: PathBuf, query: LogQuery) -> Self {
        Self { folder, last: query.after, query, open: None }
    }

    /// The number of the last record that was read, wanted or not.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The last `n` of the records that the query wants and that are there now. Reading goes on behind them.
    pub(super) fn tail(&mut self, n: usize) -> io::Result<VecDeque<LogItem>> {
        let mut tail: VecDeque<LogItem> = VecDeque::new();
        let mut newest = self.last;
        for first in segments(&self.folder)?.into_iter().rev() {
            let mut wanted = Vec::new();
            for record in self.records_of(first)? {
                newest = newest.max(record.seq);
                if self.query.wants(&record) {
                    wanted.push(record);
                }
            }
            let room = n - tail.len();
            for record in wanted.into_iter().rev().take(room) {
                tail.push_front(LogItem::Record(record));
            }
            if tail.len() == n {
                break;
            }
        }
        self.last = newest;
        Ok(tail)
    }

    fn records_of(&self, first: u64) -> io::Result<impl Iterator<Item = LogRecord> + use<>> {
        let mut text = Vec::new();
        if let Some(mut file) = open_if_there(&self.folder, first)? {
            file.read_to_end(&mut text)?;
        }
        Ok(text.split_inclusive(|byte| *byte == b'\n').filter_map(parse).collect::<Vec<_>>().into_iter())
    }

    /// The next records that the query wants, about `most` of them. Nothing when the end is reached for now.
    pub(super) fn read(&mut self, most: usize) -> io::Result<VecDeque<LogItem>> {
        let mut items = VecDeque::new();
        while items.len() < most {
            let Some(segment) = &mut self.open else {
                if self.open_next(&mut items)? {
                    continue;
                }
                break;
            };
            if segment.file.read_until(b'\n', &mut segment.torn)? == 0 {
                // The end of this segment, and of the log unless a newer segment has been begun.
                let this = segment.first;
                if segments(&self.folder)?.last().is_none_or(|newest| *newest <= this) {
                    break;
                }
                self.finish_segment(&mut items)?;
                continue;
            }
            self.take_line(&mut items);
        }
        Ok(items)
    }

    /// Keeps the line that was just read, if it is whole, new and wanted.
    fn take_line(&mut self, items: &mut VecDeque<LogItem>) {
        let Some(segment) = &mut self.open else { return };
        if !segment.torn.ends_with(b"\n") {
            return;
        }
        let record = parse(&segment.torn);
        segment.torn.clear();
        let Some(record) = record.filter(|record| record.seq > self.last) else { return };
        self.last = record.seq;
        if self.query.wants(&record) {
            items.push_back(LogItem::Record(record));
        }
    }

    /// A newer segment was begun after this one's end was seen: reads what was written to this one in between.
    fn finish_segment(&mut self, items: &mut VecDeque<LogItem>) -> io::Result<()> {
        while let Some(segment) = &mut self.open {
            if segment.file.read_until(b'\n', &mut segment.torn)? == 0 {
                self.open = None;
                break;
            }
            self.take_line(items);
        }
        Ok(())
    }

    /// Opens the segment that holds the next record. False where there is none yet.
    fn open_next(&mut self, items: &mut VecDeque<LogItem>) -> io::Result<bool> {
        let next = self.last + 1;
        let found = segments(&self.folder)?;
        let holding = found.iter().rev().find(|first| **first <= next).or(found.first());
        let Some(&first) = holding else { return Ok(false) };
        let Some(file) = open_if_there(&self.folder, first)? else { return Ok(true) };
        // Whoever asked for what came since a time may well have all of that.
        if first > next && (self.last > 0 || self.query.since.is_none()) {
            items.push_back(LogItem::Missed(first - next));
        }
        self.last = self.last.max(first - 1);
        self.open = Some(OpenSegment { first, file: BufReader::new(file), torn: Vec::new() });
        Ok(true)
    }
}

/// Rotation may remove a segment between the listing and the opening.
fn open_if_there(folder: &std::path::Path, first: u64) -> io::Result<Option<File>> {
    match File::open(segment_path(folder, first)) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a record. A torn line, left by a crash, is none.
fn parse(line: &[u8]) -> Option<LogRecord> {
    serde_json::from_slice(line).ok()
}
