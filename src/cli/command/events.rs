//! `orchestrator events`: what happened in a running project.

use orchestrator_views::control_api::wire::EventItem;
use orchestrator_views::event_line;

use crate::Context;
use crate::exit_code::Code;
use crate::failure::Outcome;
use crate::output::{print_json, print_line};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Go on with what happens, until the project has ended
    #[arg(short, long)]
    follow: bool,
    /// As JSON, a line an event
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let client = context.target.client(&context.embedded)?;
    let mut events = client.get(&format!("/v1/events?follow={}", args.follow)).await?;
    while let Some(item) = events.next::<EventItem>().await {
        match item? {
            item if args.json => print_json(&item),
            EventItem::Missed { missed } => print_line(&format!("({missed} older events are gone)")),
            EventItem::Event(event) => print_line(&event_line(&event, context.terminal.palette())),
        }
    }
    Ok(Code::Ok)
}
