//! Every plugin that speaks the host protocol behaves alike: one table of cases, run against the real host processes
//! over a socket on descriptor 3, exactly as docs/host-protocol.md says.
//!
//! What cannot be run is skipped by name: a case that makes no sense for a plugin, and a plugin whose interpreter is
//! not installed. `cargo test -p orchestrator-runner --test conformance -- python::` runs those that begin so.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test without cargo's own harness")]

mod cases;
mod host_process;
mod plugin;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;

use cases::Case;
use host_process::HostProcess;
use plugin::Plugin;

/// How many cases run at one time. Most of them wait for a process.
const WORKERS: usize = 4;

fn main() -> ExitCode {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let plugins = Plugin::all();
    let every = plugins.iter().flat_map(|plugin| cases::ALL.iter().map(move |case| (plugin, case)));
    let chosen: Vec<_> = every.filter(|(plugin, case)| name(plugin, case).contains(&filter)).collect();
    let (queue, outcomes) = (Mutex::new(chosen.into_iter()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().next();
                    let Some((plugin, case)) = next else { break };
                    let outcome = run(plugin, case);
                    println!("test {} ... {}", name(plugin, case), outcome.word());
                    outcomes.lock().unwrap().push(outcome);
                }
            });
        }
    });
    summary(&outcomes.into_inner().unwrap())
}

enum Outcome {
    Passed,
    Failed,
    Skipped(String),
}

impl Outcome {
    fn word(&self) -> String {
        match self {
            Self::Passed => "ok".into(),
            Self::Failed => "FAILED".into(),
            Self::Skipped(why) => format!("skipped, {why}"),
        }
    }
}

fn run(plugin: &Plugin, case: &Case) -> Outcome {
    let Some(files) = case.files(plugin.name) else {
        return Outcome::Skipped("the case does not apply".into());
    };
    if !plugin.is_installed() {
        return Outcome::Skipped(format!("{} is not installed", plugin.program()));
    }
    let check = AssertUnwindSafe(|| (case.check)(HostProcess::start(plugin, files, case.kind)));
    if catch_unwind(check).is_ok() { Outcome::Passed } else { Outcome::Failed }
}

fn name(plugin: &Plugin, case: &Case) -> String {
    format!("{}::{}", plugin.name, case.name)
}

fn summary(outcomes: &[Outcome]) -> ExitCode {
    let count = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| wanted(outcome)).count();
    let failed = count(|outcome| matches!(outcome, Outcome::Failed));
    let passed = count(|outcome| matches!(outcome, Outcome::Passed));
    let skipped = count(|outcome| matches!(outcome, Outcome::Skipped(_)));
    println!("\ntest result: {passed} passed; {failed} failed; {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
