//! `orchestrator ps`: the replicas of a running project.

use crate::Context;
use crate::exit_code::Code;
use crate::failure::Outcome;
use crate::output::{print, print_json};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What each replica's sandbox was checked for, and what runs in it
    #[arg(long)]
    security: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let snapshot = context.target.client(&context.embedded)?.snapshot().await?;
    if args.json {
        print_json(&snapshot);
    } else if args.security {
        print(&orchestrator_views::security(&snapshot));
    } else {
        print(&orchestrator_views::ps(&snapshot, super::now(), context.terminal.palette()));
    }
    Ok(Code::Ok)
}
