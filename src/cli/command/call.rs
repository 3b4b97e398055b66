//! `orchestrator call` and `orchestrator emit`: speaks to the services of a running project as one of them would.

use std::fmt::Write;
use std::time::Duration;

use orchestrator_core::ServiceName;
use orchestrator_views::control_api::wire;
use serde_json::Value;

use crate::Context;
use crate::exit_code::Code;
use crate::failure::{Failure, Outcome};
use crate::output::{note, print_line};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Whose method
    service: ServiceName,
    /// Which method, as in get or admin.reset
    method: String,
    /// Its arguments, each as JSON; what is none is taken as text
    #[arg(value_name = "JSON", allow_hyphen_values = true)]
    arguments: Vec<String>,
    /// How long it may take. By default 60s
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    timeout: Option<Duration>,
    /// How often it may be tried again on another replica; -1 for as often as there is time
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    retries: i64,
    /// Calls with the same key go to the same replica
    #[arg(long)]
    key: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct EmitArgs {
    /// The event's name, as in stock.changed
    event: String,
    /// Its data as JSON; what is none is taken as text
    #[arg(value_name = "JSON", allow_hyphen_values = true)]
    data: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let client = context.target.client(&context.embedded)?;
    let timeout = args.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    let query = wire::Call { timeout, retries: args.retries, key: args.key };
    let path = format!(
        "/v1/services/{}/{}{}",
        encoded(args.service.as_str()),
        encoded(&args.method),
        in_query(&query)
    );
    let arguments: Vec<_> = args.arguments.iter().map(|text| value(text)).collect();
    let mut answer = client.ask(&path, &arguments).await?;
    if !answer.is_stream() {
        let value: Value = answer.lines.whole().await?;
        print_line(&value.to_string());
        return Ok(Code::Ok);
    }
    let mut failed = false;
    while let Some(line) = answer.lines.next_line().await {
        if line == "event: error" {
            failed = true;
        } else if let Some(data) = line.strip_prefix("data: ") {
            if failed {
                let wire::Failure { error } =
                    serde_json::from_str(data).map_err(|error| Failure::internal(&error))?;
                return Err(crate::client::failure_of(error));
            }
            print_line(data);
        }
    }
    Ok(Code::Ok)
}

pub(crate) async fn emit(args: EmitArgs, context: &Context) -> Outcome {
    let client = context.target.client(&context.embedded)?;
    let data = args.data.map_or(Value::Null, |text| value(&text));
    let mut answer = client.ask(&format!("/v1/events/{}", encoded(&args.event)), &data).await?;
    let wire::Emitted { receivers } = answer.lines.whole().await?;
    let replicas = if receivers == 1 { "replica" } else { "replicas" };
    note(&format!("{}: sent to {receivers} {replicas}", args.event));
    Ok(Code::Ok)
}

/// JSON, or else text: so a word needs no quotes within quotes.
fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

fn in_query(query: &wire::Call) -> String {
    let mut text = format!("?retries={}", query.retries);
    if let Some(timeout) = query.timeout {
        let _ = write!(text, "&timeout={timeout}");
    }
    if let Some(key) = &query.key {
        let _ = write!(text, "&key={}", encoded(key));
    }
    text
}

/// As a part of a path (RFC 3986, 2.3).
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_is_text() {
        let shown: Vec<_> =
            ["1", "[1]", "apple", "\"1\"", "-"].map(value).iter().map(Value::to_string).collect();
        assert_eq!(shown, ["1", "[1]", "\"apple\"", "\"1\"", "\"-\""]);
    }

    #[test]
    fn a_childs_name_is_one_part_of_a_path() {
        assert_eq!(encoded("web/one é"), "web%2Fone%20%C3%A9");
        let query = wire::Call { timeout: Some(5), retries: -1, key: Some("a&b".into()) };
        assert_eq!(in_query(&query), "?retries=-1&timeout=5&key=a%26b");
    }
}
