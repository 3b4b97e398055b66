//! `orchestrator fabric`: who else is in the fabric of a running project.

use crate::Context;
use crate::exit_code::Code;
use crate::failure::{Failure, Outcome};
use crate::output::{print, print_json};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let snapshot = context.target.client(&context.embedded)?.snapshot().await?;
    let Some(view) = &snapshot.fabric else {
        let text = format!("project '{}' is part of no fabric", snapshot.project);
        return Err(Failure::new(Code::Usage, text).hint(
            "start it with 'fabric: redis://127.0.0.1' in its manifest, or 'up --fabric redis://127.0.0.1'",
        ));
    };
    if args.json {
        print_json(view);
    } else {
        print(&orchestrator_views::fabric(view, context.terminal.palette()));
    }
    Ok(Code::Ok)
}
