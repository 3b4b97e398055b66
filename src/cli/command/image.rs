//! `orchestrator image`: the image that containers of `code` are made from, with the runner in it.

use clap::Subcommand;
use orchestrator_manager::{EngineError, RunnerImages};

use crate::Context;
use crate::exit_code::Code;
use crate::failure::{Failure, Outcome};
use crate::output::{note, print_line};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make the runner's image, if it is not there
    Build,
    /// List the runner's images, that of this version and older ones
    Ls,
    /// Remove the runner's images that no container uses
    Rm,
}

pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let done = match args.verb {
        Verb::Build => build(context).await,
        Verb::Ls => list().await,
        Verb::Rm => remove().await,
    };
    done.map(|()| Code::Ok).map_err(|error| Failure::engine(&error))
}

async fn build(context: &Context) -> Result<(), EngineError> {
    let name = RunnerImages::reach().await?.build(context.embedded.runner).await?;
    print_line(&name);
    Ok(())
}

async fn list() -> Result<(), EngineError> {
    for name in RunnerImages::reach().await?.list().await? {
        print_line(&name);
    }
    Ok(())
}

async fn remove() -> Result<(), EngineError> {
    for name in RunnerImages::reach().await?.remove().await? {
        note(&format!("{name} is removed"));
    }
    Ok(())
}
