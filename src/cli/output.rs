//! The way to the terminal: standard output for what was asked for, standard error for everything about it. A reader
//! that has gone (`orchestrator logs | head`) ends the command quietly.

use std::io::{self, ErrorKind, Write};
use std::process::exit;

use serde::Serialize;

use crate::exit_code::Code;

/// Writes text to standard output as it is.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    quiet(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Writes a line to standard output.
pub(crate) fn print_line(line: &str) {
    print(&format!("{line}\n"));
}

/// Writes a value as one line of JSON to standard output.
pub(crate) fn print_json<T: Serialize>(value: &T) {
    // The report types are plain data, so this always is JSON.
    print_line(&serde_json::to_string(value).unwrap_or_default());
}

/// Writes text to standard error as it is. Nobody is left to be told when that fails.
pub(crate) fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Writes a line to standard error.
pub(crate) fn note(line: &str) {
    complain(&format!("{line}\n"));
}

fn quiet(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() == ErrorKind::BrokenPipe
    {
        exit(i32::from(Code::Ok.number()));
    }
}
