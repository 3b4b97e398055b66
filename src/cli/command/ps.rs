//! `ps`: every replica as it is now.

use orchestrator_core::report::Snapshot;

use crate::Context;
use crate::clock;
use crate::exit_code::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Show every replica of a running project: its state, why, and since when
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the whole snapshot as one line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let mut client = context.target.connect(&context.embedded).await?;
    let snapshot: Snapshot = client.get("/v1/snapshot").await?;
    let mut output = Output::open();
    if args.json {
        output.json(&snapshot)?;
    } else {
        output.text(&orchestrator_views::ps(&snapshot, clock::now(), context.terminal.palette()))?;
    }
    output.flush()?;
    Ok(Exit::Ok)
}
