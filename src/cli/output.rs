//! [`Output`]: the one writer to standard output. That its reader has gone is no error: it has seen what it wanted.

use std::io::{self, StdoutLock, Write};

use serde::Serialize;

use crate::exit_code::Exit;
use crate::failure::Failure;

/// Standard output, held by the one who writes to it.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: io::BufWriter<StdoutLock<'static>>,
}

impl Output {
    pub(crate) fn open() -> Self {
        Self { stdout: io::BufWriter::new(io::stdout().lock()) }
    }

    /// Writes a text as it is.
    ///
    /// # Errors
    /// Where it cannot be written. Where nobody reads any more, the failure is silent and ends with exit code 0.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.stdout.write_all(text.as_bytes()).map_err(failed)
    }

    /// Writes a line.
    ///
    /// # Errors
    /// As [`Output::text`].
    pub(crate) fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.text(line)?;
        self.text("\n")
    }

    /// Writes a value as one line of JSON.
    ///
    /// # Errors
    /// As [`Output::text`].
    pub(crate) fn json<T: Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        let line = serde_json::to_string(value).map_err(Failure::internal)?;
        self.line(&line)
    }

    /// Hands over what has been written so far. To be called whenever nothing more is to come at once, and at the end.
    ///
    /// # Errors
    /// As [`Output::text`].
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush().map_err(failed)
    }
}

/// Writes a text and hands it over.
///
/// # Errors
/// As [`Output::text`].
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut output = Output::open();
    output.text(text)?;
    output.flush()
}

fn failed(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::told(Exit::Ok),
        _ => Failure::new(Exit::Internal, CannotWrite(error)),
    }
}

/// Standard output cannot be written to.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
struct CannotWrite(#[source] io::Error);
