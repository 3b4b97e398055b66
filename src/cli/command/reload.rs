//! `orchestrator reload`: replaces what runs by what is there now, without anybody noticing.

use orchestrator_core::ServiceName;
use orchestrator_views::control_api::wire::Services;

use crate::Context;
use crate::exit_code::Code;
use crate::failure::Outcome;
use crate::output::note;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which services; without any, all that run
    services: Vec<ServiceName>,
    /// Do not wait until it has come true
    #[arg(long)]
    no_wait: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let client = context.target.client(&context.embedded)?;
    let Args { mut services, no_wait } = args;
    if services.is_empty() {
        services = client.snapshot().await?.reloadable();
    }
    if services.is_empty() {
        note("nothing runs that could be reloaded");
        return Ok(Code::Ok);
    }
    let names: Vec<_> = services.iter().map(ServiceName::to_string).collect();
    client.post("/v1/reload", &Services { services, wait: !no_wait }).await?;
    let done = if no_wait { "asked for" } else { "reloaded" };
    note(&format!("{}: {done}", names.join(", ")));
    Ok(Code::Ok)
}
