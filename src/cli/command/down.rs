//! `down`: closes a running project in order, and waits until nothing of it is left.

use std::time::Duration;

use orchestrator_core::report::Snapshot;
use orchestrator_views::control_api::wire;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::Context;
use crate::client::{Client, ClientError};
use crate::clock;
use crate::exit_code::Exit;
use crate::failure::Failure;
use crate::output;

/// Close everything in order, and wait until it is gone
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Kill whatever has not closed by then, such as 10s [default: each service's own close_timeout]
    #[arg(long, value_name = "DURATION", value_parser = clock::duration)]
    timeout: Option<Duration>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let mut client = context.target.connect(&context.embedded).await?;
    let snapshot: Snapshot = client.get("/v1/snapshot").await?;
    let orchestrator = watch_process(snapshot.pid)?;
    ask(&mut client, false).await?;
    let in_time = match args.timeout {
        Some(limit) => tokio::time::timeout(limit, ended(&orchestrator)).await.is_ok(),
        None => ended(&orchestrator).await,
    };
    if !in_time {
        ask(&mut client, true).await?;
        ended(&orchestrator).await;
    }
    let how = if in_time { "closed" } else { "killed, because it had not closed in time" };
    output::print(&format!("project '{}' is {how}\n", snapshot.project))?;
    Ok(Exit::Ok)
}

async fn ask(client: &mut Client, kill: bool) -> Result<(), Failure> {
    match client.post("/v1/shutdown", &wire::Shutdown { kill }).await {
        // It was ending already.
        Err(ClientError::Lost(_)) => Ok(()),
        Err(ClientError::Refused(failure)) if failure.kind == "ended" => Ok(()),
        asked => Ok(asked?),
    }
}

/// A descriptor that becomes readable when the process has ended.
fn watch_process(pid: u32) -> Result<AsyncFd<rustix::fd::OwnedFd>, Failure> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Failure::internal("the project does not say which process runs it"))?;
    let process = pidfd_open(pid, PidfdFlags::NONBLOCK).map_err(Failure::internal)?;
    AsyncFd::with_interest(process, Interest::READABLE).map_err(Failure::internal)
}

/// Waits for the end of the process. Always true.
async fn ended(process: &AsyncFd<rustix::fd::OwnedFd>) -> bool {
    // An error would mean that it cannot be waited for, so there is nothing to wait for.
    let _ = process.readable().await;
    true
}
