//! Every plugin that speaks the host protocol behaves alike: one table of cases, run against the real host processes
//! over a socket of its own, exactly as docs/host-protocol.md says.
//!
//! What cannot be run is skipped by name: a case that makes no sense for a plugin, and a plugin whose interpreter is
//! not installed. `cargo test -p orchestrator-runner --test conformance -- python::` runs those that begin so.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test without cargo's own harness")]

mod cases;
mod host_process;
mod plugin;
mod sockets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;

use cases::Files;
use host_process::HostProcess;
use plugin::Plugin;
use sockets::Listening;

/// How many cases run at one time. Most of them wait for a process.
const WORKERS: usize = 4;

fn main() -> ExitCode {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let plugins = Plugin::all();
    let every = plugins.iter().flat_map(tests);
    let chosen: Vec<_> = every.filter(|test| test.name().contains(&filter)).collect();
    let (queue, outcomes) = (Mutex::new(chosen.into_iter()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().next();
                    let Some(test) = next else { break };
                    let outcome = test.run();
                    println!("test {} ... {}", test.name(), outcome.word());
                    outcomes.lock().unwrap().push(outcome);
                }
            });
        }
    });
    summary(&outcomes.into_inner().unwrap())
}

/// One case, of either table, for one plugin.
struct Test<'a> {
    plugin: &'a Plugin,
    case: &'static str,
    /// None where the case does not apply.
    files: Option<Files>,
    check: Box<dyn Fn(Files) + Send + 'a>,
}

fn tests(plugin: &Plugin) -> impl Iterator<Item = Test<'_>> {
    let plain = cases::ALL.iter().map(move |case| Test {
        plugin,
        case: case.name,
        files: case.files(plugin.name),
        check: Box::new(move |files| (case.check)(HostProcess::start(plugin, files, case.kind))),
    });
    let listening = sockets::ALL.iter().map(move |case| Test {
        plugin,
        case: case.name,
        files: case.files(plugin.name),
        check: Box::new(move |files| (case.check)(Listening::start(plugin, files))),
    });
    plain.chain(listening)
}

impl Test<'_> {
    fn name(&self) -> String {
        format!("{}::{}", self.plugin.name, self.case)
    }

    fn run(&self) -> Outcome {
        let Some(files) = self.files else {
            return Outcome::Skipped("the case does not apply".into());
        };
        if !self.plugin.is_installed() {
            return Outcome::Skipped(format!("{} is not installed", self.plugin.program()));
        }
        let check = AssertUnwindSafe(|| (self.check)(files));
        if catch_unwind(check).is_ok() { Outcome::Passed } else { Outcome::Failed }
    }
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

fn summary(outcomes: &[Outcome]) -> ExitCode {
    let count = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| wanted(outcome)).count();
    let failed = count(|outcome| matches!(outcome, Outcome::Failed));
    let passed = count(|outcome| matches!(outcome, Outcome::Passed));
    let skipped = count(|outcome| matches!(outcome, Outcome::Skipped(_)));
    println!("\ntest result: {passed} passed; {failed} failed; {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
