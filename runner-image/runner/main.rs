//! The runner: one static program that the orchestrator carries inside itself, in one of several roles.
//!
//! - `runner keeper FOLDER`: the parent of a project's runners, a child of the orchestrator (`keeper.rs`).
//! - `runner remote`: the RemoteService of one start (`remote_service.rs`).
//! - `runner container`: the same, as the first process of a container.
//! - `runner self-check SANDBOX RUNNER CANARY`: what a service would find in its place (`self_check.rs`).
//! - `runner probe FOLDER`: tries what this host can enforce (`probe.rs`).
//! - `runner js-host CODE`: the process that runs a js service's code (`js/`).
//! - `runner js-io`: the one that opens files and connections for it (`js_io/`).
//! - `runner js-http LISTENERS BYTES`: the one that accepts for it, and hands it requests (`js_http/`).
//!
//! None of them is meant to be started by a person; what they need comes by descriptor, or by standard input.

mod beside;
mod cgroup;
mod command;
mod confine;
mod init;
mod js;
mod js_http;
mod js_io;
mod keeper;
mod notes;
mod output;
mod probe;
mod probes;
mod relay;
mod remote_service;
mod resources;
mod root_folder;
mod self_check;
mod service_process;
mod source;
mod ticket;

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use remote_service::RemoteError;
use ticket::Origin;

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let role = arguments.next().unwrap_or_default();
    match (role.to_str(), arguments.next()) {
        (Some("keeper"), Some(folder)) => exit_code(keeper::run(Path::new(&folder))),
        (Some("remote"), None) => remote(Origin::Process),
        (Some("container"), None) => remote(Origin::Container),
        (Some("js-host"), Some(_)) => js::host(),
        (Some("js-io"), None) => exit_code(js_io::run()),
        (Some("js-http"), Some(listeners)) => {
            exit_code(js_http::run(&listeners, &arguments.next().unwrap_or_default()))
        }
        (Some("probe"), Some(folder)) => exit_code(probe::run(Path::new(&folder))),
        (Some("self-check"), Some(sandbox)) => self_check::look(&sandbox, arguments.next()),
        _ => {
            exit_code::<io::Error>(Err(io::Error::other("this program is started by the orchestrator only")))
        }
    }
}

fn remote(origin: Origin) -> ExitCode {
    match remote_service::run(origin) {
        // Who would read about it has gone.
        Err(RemoteError::Port(_)) => ExitCode::FAILURE,
        ended => exit_code(ended),
    }
}

fn exit_code<E: Error>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody to tell that this could not be written either.
            let _ = writeln!(io::stderr(), "runner: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
