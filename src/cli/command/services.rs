//! `orchestrator start`, `stop` and `restart`: asks for something of some services, and waits for it to come true.

use orchestrator_core::ServiceName;
use orchestrator_views::control_api::wire::Services;

use crate::Context;
use crate::exit_code::Code;
use crate::failure::Outcome;
use crate::output::note;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which services
    #[arg(required = true)]
    services: Vec<ServiceName>,
    /// Do not wait until it has come true
    #[arg(long)]
    no_wait: bool,
}

pub(crate) async fn run(verb: &str, args: Args, context: &Context) -> Outcome {
    let client = context.target.client(&context.embedded)?;
    let names: Vec<_> = args.services.iter().map(ServiceName::to_string).collect();
    let wait = !args.no_wait;
    client.post(&format!("/v1/services/{verb}"), &Services { services: args.services, wait }).await?;
    let done = match (verb, wait) {
        (_, false) => "asked for",
        ("stop", true) => "closed",
        (_, true) => "running",
    };
    note(&format!("{}: {done}", names.join(", ")));
    Ok(Code::Ok)
}
