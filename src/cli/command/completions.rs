//! `orchestrator completions`: the completions of a shell.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::exit_code::Code;
use crate::output::print;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Code {
    let mut text = Vec::new();
    generate(args.shell, &mut crate::Arguments::command(), "orchestrator", &mut text);
    print(&String::from_utf8_lossy(&text));
    Code::Ok
}
