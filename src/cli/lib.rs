//! The command line: one file per verb in `command/`, each its arguments and what it does. Errors are printed in one
//! place (`failure.rs`) and become exit codes in one place (`exit_code.rs`).

mod client;
mod command;
mod diagnostic;
mod exit_code;
mod failure;
mod file_watch;
mod interrupts;
mod load;
mod news;
mod output;
mod painter;
mod pull;
mod screen;
mod target;
mod terminal;
mod writer;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use orchestrator_manager::{Embedded, SocketActivation};
use tracing_subscriber::EnvFilter;

use crate::command::Verb;
use crate::exit_code::Code;
use crate::failure::{Failure, Outcome, chain};
use crate::target::Target;

/// Runs a handful of services safely on one machine, in order, from one manifest.
#[derive(Debug, Parser)]
#[command(name = "orchestrator", version, arg_required_else_help = true)]
struct Arguments {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    verb: Verb,
}

/// What every command is given.
pub(crate) struct Context {
    pub(crate) target: Target,
    pub(crate) embedded: Embedded,
    pub(crate) terminal: terminal::Terminal,
    /// The sockets that this process was passed.
    pub(crate) activation: SocketActivation,
}

/// Runs the command line of this process and returns its exit code.
#[must_use]
pub fn run(embedded: Embedded) -> ExitCode {
    // Before anything opens a descriptor: theirs have the first numbers.
    let activation = SocketActivation::of_process();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let terminal = terminal::Terminal::new(arguments.target.no_color);
    log_to_stderr(arguments.target.verbose, terminal.colour);
    if let Verb::Up(up) = &arguments.verb
        && up.detached
    {
        // Before there is any thread: from now on no terminal can end it.
        let _ = rustix::process::setsid();
    }
    let outcome =
        activation.map_err(|error| Failure::new(Code::Failed, chain(&error))).and_then(|activation| {
            let context = Context { target: arguments.target, embedded, terminal, activation };
            in_runtime(&context, arguments.verb)
        });
    let code = outcome.unwrap_or_else(|failure| {
        failure.print(terminal.palette());
        failure.code
    });
    ExitCode::from(code.number())
}

fn in_runtime(context: &Context, verb: Verb) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::internal(&error))?;
    let outcome = runtime.block_on(command::run(verb, context));
    // A command that has its answer does not wait for a read of standard input or the like.
    runtime.shutdown_background();
    outcome
}

fn usage(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        output::print(&text);
        return ExitCode::from(Code::Ok.number());
    }
    output::complain(&text);
    ExitCode::from(Code::Usage.number())
}

fn log_to_stderr(verbose: bool, colour: bool) {
    let level = if verbose { "debug" } else { "warn" };
    let filter = EnvFilter::builder().parse_lossy(level);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false)
        .without_time()
        .init();
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory};

    use super::*;

    /// The verb's part of the page.
    fn section<'a>(page: &'a str, verb: &str) -> &'a str {
        let after =
            page.split_once(&format!("\n## {verb}\n")).unwrap_or_else(|| panic!("no part for {verb}")).1;
        after.split("\n## ").next().unwrap_or_default()
    }

    fn options(command: &Command) -> impl Iterator<Item = String> {
        let options = command.get_arguments().filter(|option| !option.is_hide_set());
        options.filter_map(|option| option.get_long().map(|long| format!("`--{long}")))
    }

    #[test]
    fn the_page_has_every_verb_and_every_option() {
        let page = include_str!("../../docs/cli.md");
        let command = Arguments::command();
        let (general, _) = page.split_once("\n## ").unwrap();
        for option in options(&command) {
            assert!(general.contains(&option), "{option}");
        }
        for verb in command.get_subcommands() {
            let part = section(page, verb.get_name());
            for option in options(verb).chain(verb.get_subcommands().flat_map(options)) {
                assert!(part.contains(&option), "{} {option}", verb.get_name());
            }
        }
        let parts = page.matches("\n## ").count();
        assert_eq!(parts, command.get_subcommands().count(), "a part that is no verb's");
    }
}
