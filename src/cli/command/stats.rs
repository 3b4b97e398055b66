//! `orchestrator stats`: what the replicas of a running project use, and the host.

use orchestrator_core::report::Snapshot;
use orchestrator_views::HostTotals;
use serde::Serialize;
use sysinfo::System;

use crate::Context;
use crate::exit_code::Code;
use crate::failure::{Failure, Outcome};
use crate::output::{print, print_json};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Again whenever something was measured
    #[arg(short, long)]
    follow: bool,
    /// As JSON, a line a measurement
    #[arg(long)]
    json: bool,
}

/// A measurement as JSON.
#[derive(Serialize)]
struct Measured {
    host: HostTotals,
    #[serde(flatten)]
    snapshot: Snapshot,
}

pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let client = context.target.client(&context.embedded)?;
    let mut system = System::new().map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
    let mut snapshots = client.get("/v1/snapshots").await?;
    while let Some(snapshot) = snapshots.next::<Snapshot>().await {
        show(&args, context, snapshot?, host(&mut system));
        if !args.follow {
            break;
        }
    }
    Ok(Code::Ok)
}

fn show(args: &Args, context: &Context, snapshot: Snapshot, host: HostTotals) {
    if args.json {
        print_json(&Measured { host, snapshot });
        return;
    }
    let table = orchestrator_views::stats(&snapshot, host, super::now(), context.terminal.palette());
    let clear = if args.follow && context.terminal.colour { "\x1b[H\x1b[2J" } else { "" };
    print(&format!("{clear}{table}"));
}

fn host(system: &mut System) -> HostTotals {
    system.refresh_memory();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    HostTotals { cpus, memory: system.total_memory(), memory_used: system.used_memory() }
}
