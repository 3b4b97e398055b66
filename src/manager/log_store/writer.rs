//! The one writer of a log: a thread that numbers records, writes what is queued and then flushes once.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use orchestrator_core::report::LogRecord;
use tokio::sync::{mpsc, watch};

use super::{KEPT_SEGMENTS, SEGMENT_SIZE, segment_path, segments};

/// Starts the writer. It ends when all senders of the queue are gone and all is written.
pub(super) fn spawn(folder: &Path, queued: mpsc::Receiver<LogRecord>) -> io::Result<watch::Receiver<u64>> {
    let last = last_number(folder)?;
    let mut writer = Writer { folder: folder.to_owned(), segment: None, last, failed: false };
    let (newest, seen) = watch::channel(last);
    std::thread::Builder::new().name("log-writer".into()).spawn(move || writer.run(queued, &newest))?;
    Ok(seen)
}

struct Writer {
    folder: PathBuf,
    /// The segment that grows. None before the first record, and after a failure.
    segment: Option<Segment>,
    /// The number of the last record written.
    last: u64,
    /// Whether the last write failed, so that a full disk is reported once and not a line.
    failed: bool,
}

struct Segment {
    file: BufWriter<File>,
    size: u64,
}

impl Writer {
    fn run(&mut self, mut queued: mpsc::Receiver<LogRecord>, newest: &watch::Sender<u64>) {
        while let Some(record) = queued.blocking_recv() {
            self.try_write(record);
            while let Ok(record) = queued.try_recv() {
                self.try_write(record);
            }
            self.flush();
            newest.send_replace(self.last);
        }
    }

    /// Writes a record. One that cannot be written is lost, and the loss is reported: a full disk must stop no service.
    fn try_write(&mut self, record: LogRecord) {
        let written = self.write(record);
        self.note(written);
    }

    fn flush(&mut self) {
        let flushed = self.segment.as_mut().map_or(Ok(()), |segment| segment.file.flush());
        self.note(flushed);
    }

    fn note(&mut self, outcome: io::Result<()>) {
        match outcome {
            Ok(()) => self.failed = false,
            Err(error) => {
                if !self.failed {
                    tracing::error!(folder = %self.folder.display(), %error, "the log cannot be written, lines are lost");
                }
                self.failed = true;
                // A new segment after a failure: what half a line was written stays behind at the end of the old one.
                self.segment = None;
            }
        }
    }

    fn write(&mut self, mut record: LogRecord) -> io::Result<()> {
        record.seq = self.last + 1;
        let mut line = serde_json::to_vec(&record)?;
        line.push(b'\n');
        let segment = match &mut self.segment {
            Some(segment) if segment.size < SEGMENT_SIZE => segment,
            grown => {
                if let Some(mut grown) = grown.take() {
                    grown.file.flush()?;
                }
                let file = File::create_new(segment_path(&self.folder, record.seq))?;
                remove_oldest(&self.folder)?;
                grown.insert(Segment { file: BufWriter::new(file), size: 0 })
            }
        };
        segment.file.write_all(&line)?;
        segment.size += line.len() as u64;
        self.last = record.seq;
        Ok(())
    }
}

fn remove_oldest(folder: &Path) -> io::Result<()> {
    let found = segments(folder)?;
    let too_many = found.len().saturating_sub(KEPT_SEGMENTS);
    found[..too_many].iter().try_for_each(|first| fs::remove_file(segment_path(folder, *first)))
}

/// The number of the last whole record in the folder. A segment without any is removed, so that its name is free.
fn last_number(folder: &Path) -> io::Result<u64> {
    let Some(first) = segments(folder)?.pop() else { return Ok(0) };
    let path = segment_path(folder, first);
    let mut lines = BufReader::new(File::open(&path)?);
    let (mut line, mut whole) = (Vec::new(), 0);
    while lines.read_until(b'\n', &mut line)? > 0 {
        whole += u64::from(line.ends_with(b"\n"));
        line.clear();
    }
    if whole == 0 {
        fs::remove_file(path)?;
    }
    Ok(first + whole - 1)
}
