//! [`Output`]: what a start writes, on its way into the log: lines of it, without secrets; and whether the line is among them that its
//! readiness waits for.

use orchestrator_core::manifest::{ReadyCheck, Service};
use orchestrator_core::report::{Exception, LogRecord, Stream};
use orchestrator_core::{Generation, ReplicaId};
use orchestrator_port::message::control::Thrown;
use regex::Regex;

use crate::event_stream::now_millis;
use crate::inbox::Inbox;
use crate::lines::{Line, Lines};
use crate::log_store::LogStore;
use crate::secrets::Redactor;

/// The output of one start.
pub(crate) struct Output<'a> {
    logs: &'a LogStore,
    replica: ReplicaId,
    generation: Generation,
    stdout: Lines,
    stderr: Lines,
    /// The line that readiness waits for; None where none is.
    awaited: Option<Regex>,
    pub(crate) redactor: Redactor,
}

impl<'a> Output<'a> {
    /// Nothing has come yet.
    pub(crate) fn new(inbox: &Inbox, logs: &'a LogStore, service: &Service) -> Self {
        let awaited = match service.ready.as_ref().map(|ready| &ready.check) {
            Some(ReadyCheck::Log(pattern)) => Regex::new(pattern).ok(),
            _ => None,
        };
        let start = inbox.start().clone();
        let (replica, generation) = (start.replica, start.generation);
        Self {
            logs,
            replica,
            generation,
            stdout: Lines::default(),
            stderr: Lines::default(),
            awaited,
            redactor: Redactor::default(),
        }
    }

    /// Logs the bytes, after the loss of that many. True where the awaited line is among them.
    pub(crate) async fn take(&mut self, stream: Stream, bytes: &[u8], mut lost: u64) -> bool {
        let lines = match stream {
            Stream::Stdout => self.stdout.feed(bytes),
            Stream::Stderr => self.stderr.feed(bytes),
        };
        let mut matched = false;
        for line in lines {
            matched |= self.awaited.as_ref().is_some_and(|awaited| awaited.is_match(&line.text));
            self.append(stream, line, std::mem::take(&mut lost)).await;
        }
        if matched {
            self.awaited = None;
        }
        matched
    }

    /// Logs what was written without a line's end.
    pub(crate) async fn end(&mut self) {
        for (stream, line) in [(Stream::Stdout, self.stdout.end()), (Stream::Stderr, self.stderr.end())] {
            if let Some(line) = line {
                self.append(stream, line, 0).await;
            }
        }
    }

    /// What was thrown, without secrets.
    pub(crate) fn exception(&self, thrown: Thrown) -> Exception {
        let [name, message, stack] =
            [thrown.name, thrown.message, thrown.stack].map(|text| self.redactor.clean(text));
        Exception { name, message, stack }
    }

    async fn append(&self, stream: Stream, line: Line, lost: u64) {
        let record = LogRecord {
            seq: 0,
            time: now_millis(),
            replica: self.replica.clone(),
            generation: self.generation,
            stream,
            text: self.redactor.clean(line.text),
            partial: line.partial,
            lost,
        };
        self.logs.append(record).await;
    }
}
