//! `orchestrator types`: what the services of a running project offer, for editors and type checkers.

use clap::ValueEnum;

use crate::Context;
use crate::exit_code::Code;
use crate::failure::Outcome;
use crate::output::print;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For which language
    language: Language,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Language {
    Typescript,
    Python,
}

pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let snapshot = context.target.client(&context.embedded)?.snapshot().await?;
    print(&match args.language {
        Language::Typescript => orchestrator_views::typescript(&snapshot),
        Language::Python => orchestrator_views::python(&snapshot),
    });
    Ok(Code::Ok)
}
