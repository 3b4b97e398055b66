//! The verbs, one file each.

mod apply;
mod call;
mod check;
mod completions;
mod detach;
mod doctor;
mod down;
mod events;
mod explain;
mod fabric;
mod gc;
mod graph;
mod image;
mod learn;
mod lock;
mod logs;
mod mcp;
mod plugin;
mod ps;
mod reload;
mod scale;
mod schema;
mod services;
mod stats;
mod types;
mod up;
mod watch;

use clap::Subcommand;

use crate::Context;
use crate::failure::Outcome;

/// What the orchestrator can be told to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start the services of a manifest, in order, and show what they write
    Up(up::Args),
    /// Close a running project, in order
    Down(down::Args),
    /// Show the replicas of a running project
    Ps(ps::Args),
    /// Show what the services wrote, also of a project that has ended
    Logs(logs::Args),
    /// Show what the services use
    Stats(stats::Args),
    /// Show who else is in the fabric
    Fabric(fabric::Args),
    /// Show what happened
    Events(events::Args),
    /// Start services, and what they depend on
    Start(services::Args),
    /// Close services, after what depends on them
    Stop(services::Args),
    /// Close services and what depends on them, then start all that again
    Restart(services::Args),
    /// Replace running services by what their files are now, while others go on using them
    Reload(reload::Args),
    /// Have a running project become what its manifest says now, and touch nothing else
    Apply(apply::Args),
    /// Have more replicas of a running service, or fewer
    Scale(scale::Args),
    /// Call a method of a running service
    Call(call::Args),
    /// Tell an event to the services that listen to it
    Emit(call::EmitArgs),
    /// Print what services offer, for editors and type checkers
    Types(types::Args),
    /// Check a manifest, and do nothing else
    Check(check::Args),
    /// Show what a service finds and may do
    Explain(explain::Args),
    /// Run a service with nothing denied, and print the permissions that it needs
    Learn(learn::Args),
    /// Show what this host can enforce
    Doctor(doctor::Args),
    /// Note what the names of a manifest's images mean
    Lock(lock::Args),
    /// Make, list and remove the image that containers run in
    Image(image::Args),
    /// Remove the containers that killed orchestrators have left
    Gc(gc::Args),
    /// Show who depends on whom
    Graph(graph::Args),
    /// Print the JSON Schema of manifests
    Schema(schema::Args),
    /// List, show and make plugins
    Plugin(plugin::Args),
    /// Serve the verbs as tools for assistants, over the Model Context Protocol
    Mcp(mcp::Args),
    /// Print the completions of a shell
    Completions(completions::Args),
}

pub(crate) async fn run(verb: Verb, context: &Context) -> Outcome {
    match verb {
        Verb::Up(args) => up::run(args, context).await,
        Verb::Down(args) => down::run(args, context).await,
        Verb::Ps(args) => ps::run(args, context).await,
        Verb::Logs(args) => logs::run(args, context).await,
        Verb::Stats(args) => stats::run(args, context).await,
        Verb::Fabric(args) => fabric::run(args, context).await,
        Verb::Events(args) => events::run(args, context).await,
        Verb::Start(args) => services::run("start", args, context).await,
        Verb::Stop(args) => services::run("stop", args, context).await,
        Verb::Restart(args) => services::run("restart", args, context).await,
        Verb::Reload(args) => reload::run(args, context).await,
        Verb::Apply(args) => apply::run(args, context).await,
        Verb::Scale(args) => scale::run(args, context).await,
        Verb::Call(args) => call::run(args, context).await,
        Verb::Emit(args) => call::emit(args, context).await,
        Verb::Types(args) => types::run(args, context).await,
        Verb::Check(args) => check::run(&args, context),
        Verb::Explain(args) => explain::run(&args, context),
        Verb::Learn(args) => learn::run(args, context).await,
        Verb::Doctor(args) => doctor::run(&args, context).await,
        Verb::Lock(args) => lock::run(args, context).await,
        Verb::Image(args) => image::run(args, context).await,
        Verb::Gc(_) => gc::run().await,
        Verb::Graph(args) => graph::run(args, context).await,
        Verb::Schema(args) => Ok(schema::run(&args)),
        Verb::Plugin(args) => plugin::run(args, context),
        Verb::Mcp(args) => mcp::run(args, context).await,
        Verb::Completions(args) => Ok(completions::run(&args)),
    }
}

/// A duration as manifests write it, for an argument.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    orchestrator_core::manifest::parse_duration(text).map_err(|error| error.to_string())
}

/// Milliseconds since 1970-01-01 UTC, by this host's clock.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
