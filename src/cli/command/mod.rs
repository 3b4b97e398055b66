//! The verbs, a file each: its arguments, and what comes of them.

mod check;
mod down;
mod logs;
mod ps;
mod up;

use crate::Context;
use crate::exit_code::Exit;
use crate::failure::Failure;

/// What a person can ask for.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Up(up::Args),
    Down(down::Args),
    Ps(ps::Args),
    Logs(logs::Args),
    Check(check::Args),
}

impl Command {
    /// What a verb has to do while this process has one thread only.
    ///
    /// # Errors
    /// Where that fails.
    pub(crate) fn before_threads(&self) -> Result<(), Failure> {
        match self {
            Self::Up(args) => args.before_threads(),
            _ => Ok(()),
        }
    }

    /// Does what is asked for.
    ///
    /// # Errors
    /// Where it could not be done.
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Up(args) => up::run(args, context).await,
            Self::Down(args) => down::run(args, context).await,
            Self::Ps(args) => ps::run(args, context).await,
            Self::Logs(args) => logs::run(args, context).await,
            Self::Check(args) => check::run(args, context),
        }
    }
}
