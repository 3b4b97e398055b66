//! `logs`: what the services wrote: of a project that runs, and of one that ran.

use std::time::Duration;

use orchestrator_core::ServiceName;
use orchestrator_manager::{LogItem, LogQuery, LogReader, Project};
use orchestrator_views::LogLines;
use orchestrator_views::control_api::wire;

use crate::Context;
use crate::client::Client;
use crate::clock;
use crate::exit_code::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::service_names::service_name;
use crate::target;

/// Show what the services wrote, also after the project has ended
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these services [default: all]
    #[arg(value_name = "SERVICE", value_parser = service_name)]
    services: Vec<ServiceName>,
    /// Go on as long as the project runs
    #[arg(short = 'F', long)]
    follow: bool,
    /// Only what was written in this time before now, such as 10m
    #[arg(long, value_name = "DURATION", value_parser = clock::duration)]
    since: Option<Duration>,
    /// Of what is there, only so many of the last lines
    #[arg(long, value_name = "LINES")]
    tail: Option<usize>,
    /// Print each line as an object of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let project = context.target.project(&context.embedded)?;
    let mut printer = Printer {
        output: Output::open(),
        lines: LogLines::new(context.terminal.palette(), Vec::new()),
        json: args.json,
    };
    match Client::connect(&project.control_socket()).await {
        Ok(client) => of_running(client, &args, &mut printer).await?,
        Err(_) => of_ended(&project, &args, &mut printer).await?,
    }
    Ok(Exit::Ok)
}

async fn of_running(mut client: Client, args: &Args, printer: &mut Printer) -> Result<(), Failure> {
    let mut records = client.stream::<wire::LogItem>(&args.path()).await?;
    while let Some(item) = records.next().await? {
        printer.print(&item)?;
        while let Some(item) = records.next_received()? {
            printer.print(&item)?;
        }
        printer.output.flush()?;
    }
    Ok(())
}

async fn of_ended(project: &Project, args: &Args, printer: &mut Printer) -> Result<(), Failure> {
    if !project.log_folder().is_dir() {
        return Err(target::not_running(project));
    }
    let query = LogQuery {
        services: args.services.clone(),
        since: args.since.map(clock::ago),
        tail: args.tail,
        after: 0,
        follow: false,
    };
    let mut reader = LogReader::open(&project.log_folder(), query).map_err(Failure::internal)?;
    while let Some(item) = reader.next().await {
        let item = match item.map_err(Failure::internal)? {
            LogItem::Record(record) => wire::LogItem::Record(Box::new(record)),
            LogItem::Missed(missed) => wire::LogItem::Missed { missed },
        };
        printer.print(&item)?;
    }
    printer.output.flush()
}

impl Args {
    /// The query, as the control API wants it.
    fn path(&self) -> String {
        let mut path = format!("/v1/logs?follow={}", self.follow);
        if !self.services.is_empty() {
            let names: Vec<_> = self.services.iter().map(ServiceName::as_str).collect();
            path.push_str(&format!("&services={}", names.join(",")));
        }
        if let Some(since) = self.since {
            path.push_str(&format!("&since={}", clock::ago(since)));
        }
        if let Some(tail) = self.tail {
            path.push_str(&format!("&tail={tail}"));
        }
        path
    }
}

/// Prints records, for people or for programs.
struct Printer {
    output: Output,
    lines: LogLines,
    json: bool,
}

impl Printer {
    fn print(&mut self, item: &wire::LogItem) -> Result<(), Failure> {
        if self.json {
            return self.output.json(item);
        }
        let line = match item {
            wire::LogItem::Record(record) => self.lines.line(record),
            wire::LogItem::Missed { missed } => self.lines.missed(*missed),
        };
        self.output.line(&line)
    }
}
