//! [`TOOLS`]: what assistants are offered, and which command each of them is.

use rmcp::model::JsonObject;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A verb as a tool.
pub(super) struct Verb {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// It starts, stops or changes services.
    pub(super) changes: bool,
    /// It may have effects that nobody knows here.
    pub(super) acts: bool,
    /// The JSON Schema of its arguments.
    pub(super) schema: fn() -> JsonObject,
    /// The command line for these arguments.
    pub(super) command: fn(JsonObject) -> Result<Vec<String>, String>,
}

/// What there is to read, then what there is to do.
pub(super) const TOOLS: &[Verb] = &[
    reads::<Nothing>(
        "ps",
        "The replicas of the running project: state, restarts, calls, and why one does not run.",
    ),
    reads::<Logs>("logs", "What the services wrote, the last lines of it; also of a project that has ended."),
    reads::<Nothing>(
        "events",
        "What happened, in order: states, crashes with their reasons, what was refused and the fix.",
    ),
    reads::<Nothing>("stats", "What each replica uses: processor, memory; and the host."),
    reads::<Nothing>("graph", "Which service depends on which, with their states."),
    reads::<Manifest>("check", "Whether a manifest is right: every problem with its line, column and fix."),
    reads::<Service>("explain", "What a service finds in its sandbox and may do."),
    Verb {
        acts: true,
        ..reads::<Call>("call", "Calls a method of a running service, and answers with its result as JSON.")
    },
    changes::<Up>("up", "Starts the services of a manifest in the background, and waits until they run."),
    changes::<Nothing>("down", "Closes the running project, in order."),
    changes::<Services>("start", "Starts services, and what they depend on."),
    changes::<Services>("stop", "Closes services, after what depends on them."),
    changes::<Services>("restart", "Closes services and what depends on them, then starts all that again."),
    changes::<Services>(
        "reload",
        "Replaces running services by what their files are now, with no call lost.",
    ),
    changes::<Scale>("scale", "Has more replicas of a running service, or fewer."),
    changes::<Apply>(
        "apply",
        "Has the running project become what its manifest says now; with dry_run, only says how.",
    ),
];

const fn reads<T: Arguments>(name: &'static str, about: &'static str) -> Verb {
    Verb { name, about, changes: false, acts: false, schema: schema::<T>, command: command::<T> }
}

const fn changes<T: Arguments>(name: &'static str, about: &'static str) -> Verb {
    Verb { changes: true, acts: true, ..reads::<T>(name, about) }
}

/// The arguments of a verb, as an assistant gives them.
trait Arguments: DeserializeOwned + JsonSchema {
    /// As the command line has them. What is not an option stands after `--`, so that it cannot be one.
    fn line(self) -> Vec<String>;
}

fn schema<T: Arguments>() -> JsonObject {
    match SchemaGenerator::default().into_root_schema_for::<T>().to_value() {
        Value::Object(schema) => schema,
        _ => JsonObject::new(),
    }
}

fn command<T: Arguments>(arguments: JsonObject) -> Result<Vec<String>, String> {
    let arguments: T = serde_json::from_value(Value::Object(arguments)).map_err(|error| error.to_string())?;
    Ok(arguments.line())
}

/// Nothing.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Logs {
    /// Only these services
    #[serde(default)]
    services: Vec<String>,
    /// So many of the last lines
    #[serde(default = "Logs::usual")]
    tail: u32,
    /// Only what was written in this last while, such as 10m, or since this time, such as 2026-11-20T10:00:00Z
    since: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Manifest {
    /// Its file; without it, the one of the project that is meant
    manifest: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Service {
    /// The service
    service: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Services {
    /// The services
    services: Vec<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Call {
    /// Whose method
    service: String,
    /// Which method, as in get or admin.reset
    method: String,
    /// Its arguments, in order
    #[serde(default)]
    arguments: Vec<Value>,
    /// How long it may take, such as 10s
    timeout: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Up {
    /// The manifest; without it, the one of the project that is meant
    manifest: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Scale {
    /// The service
    service: String,
    /// How many replicas it is to have
    replicas: u32,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Apply {
    /// Only say what would be done
    #[serde(default)]
    dry_run: bool,
}

impl Logs {
    fn usual() -> u32 {
        100
    }
}

impl Arguments for Nothing {
    fn line(self) -> Vec<String> {
        Vec::new()
    }
}

impl Arguments for Logs {
    fn line(self) -> Vec<String> {
        let since = self.since.map(|since| format!("--since={since}"));
        [format!("--tail={}", self.tail)]
            .into_iter()
            .chain(since)
            .chain(["--".into()])
            .chain(self.services)
            .collect()
    }
}

impl Arguments for Manifest {
    fn line(self) -> Vec<String> {
        ["--".into()].into_iter().chain(self.manifest).collect()
    }
}

impl Arguments for Service {
    fn line(self) -> Vec<String> {
        vec!["--".into(), self.service]
    }
}

impl Arguments for Services {
    fn line(self) -> Vec<String> {
        ["--".into()].into_iter().chain(self.services).collect()
    }
}

impl Arguments for Call {
    fn line(self) -> Vec<String> {
        let timeout = self.timeout.map(|timeout| format!("--timeout={timeout}"));
        let arguments = self.arguments.iter().map(Value::to_string);
        timeout.into_iter().chain(["--".into(), self.service, self.method]).chain(arguments).collect()
    }
}

impl Arguments for Up {
    fn line(self) -> Vec<String> {
        ["--detach".into(), "--".into()].into_iter().chain(self.manifest).collect()
    }
}

impl Arguments for Scale {
    fn line(self) -> Vec<String> {
        vec!["--".into(), format!("{}={}", self.service, self.replicas)]
    }
}

impl Arguments for Apply {
    fn line(self) -> Vec<String> {
        self.dry_run.then(|| "--dry-run".into()).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(tool: &str, arguments: Value) -> Result<String, String> {
        let Value::Object(arguments) = arguments else { panic!("no object") };
        let tool = TOOLS.iter().find(|known| known.name == tool).unwrap();
        (tool.command)(arguments).map(|line| line.join(" "))
    }

    #[test]
    fn a_tool_is_a_command_line_and_nothing_in_it_becomes_an_option() {
        for (tool, arguments, expected) in [
            ("ps", json!({}), ""),
            ("logs", json!({}), "--tail=100 --"),
            (
                "logs",
                json!({ "services": ["--json"], "tail": 5, "since": "1h" }),
                "--tail=5 --since=1h -- --json",
            ),
            (
                "call",
                json!({ "service": "db", "method": "get", "arguments": ["a b", 1, null] }),
                "-- db get \"a b\" 1 null",
            ),
            ("scale", json!({ "service": "web", "replicas": 3 }), "-- web=3"),
            ("apply", json!({ "dry_run": true }), "--dry-run"),
        ] {
            assert_eq!(line(tool, arguments).as_deref(), Ok(expected), "{tool}");
        }
    }

    #[test]
    fn arguments_that_are_none_are_told() {
        assert_eq!(line("explain", json!({})), Err("missing field `service`".into()));
        let unknown = line("ps", json!({ "all": true }));
        assert_eq!(unknown, Err("unknown field `all`, there are no fields".into()));
    }

    #[test]
    fn every_tool_has_the_schema_of_an_object() {
        for tool in TOOLS {
            assert_eq!((tool.schema)()["type"], "object", "{}", tool.name);
        }
    }
}
