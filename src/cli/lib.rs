//! The command line: what a person types, and what comes of it. One file a verb, in `command/`; each reads its own
//! arguments, and says in its own words what it did. Errors are printed in one place only: `failure.rs`.

mod client;
mod clock;
mod command;
mod diagnostic;
mod exit_code;
mod failure;
mod load;
mod output;
mod screen;
mod service_names;
mod source;
mod signals;
mod target;
mod terminal;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgAction, CommandFactory, Parser};
use orchestrator_manager::Embedded;
use tracing_subscriber::filter::LevelFilter;

use command::Command;
use exit_code::Exit;
use failure::Failure;
use target::Target;
use terminal::Terminal;

/// How long what may still be blocked on a dead terminal has when the process ends.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Runs a handful of services safely on one machine: isolated, in order, from one manifest
#[derive(Debug, Parser)]
#[command(name = "orchestrator", version, max_term_width = 100, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    target: Target,
    /// Say more about what the orchestrator does; twice: even more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Use no colours, as with NO_COLOR=1
    #[arg(long, global = true)]
    no_color: bool,
}

/// What every verb is given.
#[derive(Clone, Debug)]
struct Context {
    /// What this binary carries inside itself.
    embedded: Embedded,
    /// Which project is meant.
    target: Target,
    /// What the output goes to.
    terminal: Terminal,
}

/// Runs the command line of this process and returns its exit code.
#[must_use]
pub fn run(embedded: Embedded) -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody reads it: then the exit code says it.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok }.into();
        }
    };
    let terminal = Terminal::of_process(arguments.no_color);
    log_own_doings(arguments.verbose, terminal);
    let context = Context { embedded, target: arguments.target, terminal };
    match run_verb(arguments.command, &context) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.print(terminal);
            failure.exit().into()
        }
    }
}

fn run_verb(command: Command, context: &Context) -> Result<Exit, Failure> {
    command.before_threads()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::internal)?;
    let done = runtime.block_on(command.run(context));
    runtime.shutdown_timeout(LAST_WORDS);
    done
}

/// Sends what the orchestrator says about its own doings to standard error.
fn log_own_doings(verbose: u8, terminal: Terminal) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let subscriber = tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr);
    subscriber.with_ansi(terminal.stderr_colour()).with_target(false).init();
}

/// The whole command line, for what describes it.
fn description() -> clap::Command {
    Arguments::command()
}
