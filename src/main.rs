//! The front door: everything is behind [`orchestrator_cli::run`].

use std::process::ExitCode;

fn main() -> ExitCode {
    orchestrator_cli::run(orchestrator::EMBEDDED)
}
