//! `orchestrator logs`: what the services wrote, of a running project or of one that has ended.

use jiff::Timestamp;
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
    /// Only what was written in this last while, such as 10m, or since this time, such as 2026-11-20T10:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<u64>,
    /// Only so many of the last lines
    #[arg(short = 'n', long, value_name = "N")]
    tail: Option<usize>,
    /// As JSON, a line a record
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let project = context.target.project(&context.embedded)?;
    let mut lines = LogLines::new(context.terminal.palette(), []);
    let mut show = |item| match item {
        item if args.json => print_json(&item),
        wire::LogItem::Missed { missed } => print_line(&lines.missed(missed)),
        wire::LogItem::Record(record) => print_line(&lines.line(&record)),
    };
    if project.answers() {
        let mut records = Client::new(&project.control_socket()).get(&path(&args)).await?;
        while let Some(item) = records.next().await {
            show(item?);
        }
        return Ok(Code::Ok);
    }
    if !project.log_folder().is_dir() {
        let message = format!("project '{}' has never run here: there is no log", project.name());
        return Err(Failure::new(Code::NotRunning, message).hint("start it with 'orchestrator up'"));
    }
    let query = LogQuery {
        services: args.services.clone(),
        since: args.since,
        tail: args.tail,
        after: 0,
        follow: false,
    };
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
fn path(args: &Args) -> String {
    let services: Vec<_> = args.services.iter().map(ServiceName::as_str).collect();
    let since = args.since.map(|since| format!("&since={since}")).unwrap_or_default();
    let tail = args.tail.map(|tail| format!("&tail={tail}")).unwrap_or_default();
    format!("/v1/logs?services={}&follow={}{since}{tail}", services.join(","), args.follow)
}

/// A moment in milliseconds since 1970-01-01 UTC, from a time, or from how long ago it was.
fn moment(text: &str) -> Result<u64, String> {
    if let Ok(ago) = super::duration(text) {
        return Ok(super::now().saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)));
    }
    // A time in years to come, or before there was any log, is still a time.
    let time = text.parse::<Timestamp>().map(|time| u64::try_from(time.as_millisecond()).unwrap_or(0));
    time.map_err(|_| {
        "write a while, such as 10m, or a time with its offset, such as 2026-11-20T10:00:00Z".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_a_while_ago() {
        for (text, millis) in [
            ("1970-01-01T00:00:01Z", 1000),
            ("2026-11-20T10:00:00Z", 1_795_168_800_000),
            ("2026-11-20T11:00:00+01:00", 1_795_168_800_000),
            ("2026-11-20 10:00:00.250Z", 1_795_168_800_250),
            ("1969-12-31T23:59:59Z", 0),
        ] {
            assert_eq!(moment(text), Ok(millis), "{text}");
        }
        let ago = moment("1h").unwrap();
        assert!(ago <= super::super::now() - 3_600_000 && ago > 1_700_000_000_000);
    }

    #[test]
    fn what_is_no_moment_is_told_what_would_be_one() {
        for text in
            ["", "yesterday", "10", "2026-11-20", "2026-11-20T10:00:00", "2026-13-01T00:00:00Z", "-1h"]
        {
            let fix = "write a while, such as 10m, or a time with its offset, such as 2026-11-20T10:00:00Z";
            assert_eq!(moment(text), Err(fix.to_owned()), "{text}");
        }
    }
}
