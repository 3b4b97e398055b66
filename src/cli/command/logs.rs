//! `orchestrator logs`: what the services wrote, of a running project or of one that has ended.

use std::time::Duration;

use orchestrator_core::ServiceName;
use orchestrator_manager::{LogItem, LogQuery, LogReader};
use orchestrator_views::LogLines;
use orchestrator_views::control_api::wire;

use crate::Context;
use crate::client::Client;
use crate::exit_code::Code;
use crate::failure::{Failure, Outcome};
use crate::output::{print_json, print_line};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these services
    services: Vec<ServiceName>,
    /// Go on with what is written, until the project has ended
    #[arg(short, long)]
    follow: bool,
    /// Only what was written in this last while, such as 10m
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    since: Option<Duration>,
    /// Only so many of the last lines
    #[arg(short = 'n', long, value_name = "N")]
    tail: Option<usize>,
    /// As JSON, a line a record
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let project = context.target.project(&context.embedded)?;
    let since = args
        .since
        .map(|since| super::now().saturating_sub(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)));
    let mut lines = LogLines::new(context.terminal.palette(), []);
    let mut show = |item| match item {
        item if args.json => print_json(&item),
        wire::LogItem::Missed { missed } => print_line(&lines.missed(missed)),
        wire::LogItem::Record(record) => print_line(&lines.line(&record)),
    };
    if project.answers() {
        let mut records = Client::new(&project.control_socket()).get(&path(&args, since)).await?;
        while let Some(item) = records.next().await {
            show(item?);
        }
        return Ok(Code::Ok);
    }
    if !project.log_folder().is_dir() {
        let message = format!("project '{}' has never run here: there is no log", project.name());
        return Err(Failure::new(Code::NotRunning, message).hint("start it with 'orchestrator up'"));
    }
    let query = LogQuery { services: args.services.clone(), since, tail: args.tail, after: 0, follow: false };
    let mut reader = LogReader::open(&project.log_folder(), query)?;
    while let Some(item) = reader.next().await {
        show(match item? {
            LogItem::Missed(missed) => wire::LogItem::Missed { missed },
            LogItem::Record(record) => wire::LogItem::Record(Box::new(record)),
        });
    }
    Ok(Code::Ok)
}

/// Names have nothing in them that a query would have to escape.
fn path(args: &Args, since: Option<u64>) -> String {
    let services: Vec<_> = args.services.iter().map(ServiceName::as_str).collect();
    let since = since.map(|since| format!("&since={since}")).unwrap_or_default();
    let tail = args.tail.map(|tail| format!("&tail={tail}")).unwrap_or_default();
    format!("/v1/logs?services={}&follow={}{since}{tail}", services.join(","), args.follow)
}
