//! The command line.
use std::process::ExitCode;
/// Runs the command line of this process and returns its exit code.
#[must_use]
pub fn run(_embedded: orchestrator_manager::Embedded) -> ExitCode { ExitCode::SUCCESS }
