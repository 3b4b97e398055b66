//! `orchestrator down`: closes a running project, in order.

use std::time::Duration;

use orchestrator_views::control_api::wire::{EventItem, Shutdown};
use orchestrator_views::event_line;

use crate::Context;
use crate::exit_code::Code;
use crate::failure::{Failure, Outcome};
use crate::output::note;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Destroy everything now, instead of closing it in order
    #[arg(long)]
    kill: bool,
    /// How long to wait for the end
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    timeout: Option<Duration>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let project = context.target.project(&context.embedded)?;
    let client = context.target.client(&context.embedded)?;
    let seen = client.snapshot().await?.seq;
    let mut events = client.get(&format!("/v1/events?after={seen}&follow=true")).await?;
    client.post("/v1/shutdown", &Shutdown { kill: args.kill }).await?;
    let closing = async {
        while let Some(item) = events.next::<EventItem>().await {
            if let EventItem::Event(event) = item?
                && let orchestrator_core::report::EventKind::Service { .. } = event.kind
            {
                note(&event_line(&event, context.terminal.palette()));
            }
        }
        // The stream ends with the project; its folder goes last.
        while project.runtime().exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok::<(), Failure>(())
    };
    match args.timeout {
        None => closing.await?,
        Some(limit) => tokio::time::timeout(limit, closing).await.map_err(|_| {
            Failure::new(Code::TimedOut, format!("project '{}' is still closing", project.name()))
                .hint("wait longer, or run 'orchestrator down --kill'")
        })??,
    }
    note(&format!("project '{}' is down", project.name()));
    Ok(Code::Ok)
}
