//! What goes over the control API beyond the report types: requests and errors, as JSON.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;

use orchestrator_core::ServiceName;
use orchestrator_core::planning::Step;
use orchestrator_core::report::{Event, LogRecord};
use serde::{Deserialize, Serialize};

/// The body of `POST /v1/services/start`, `/v1/services/stop`, `/v1/services/restart` and `/v1/reload`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Services {
    /// Which services. Empty: all; for a reload, all that run.
    #[serde(default)]
    pub services: Vec<ServiceName>,
    /// Whether to answer only when it has come true.
    #[serde(default)]
    pub wait: bool,
}

/// The body of `POST /v1/scale`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// Which service.
    pub service: ServiceName,
    /// How many replicas it is to have.
    pub replicas: NonZeroU32,
    /// Whether to answer only when it has come true.
    #[serde(default)]
    pub wait: bool,
}

/// The body of `POST /v1/apply`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// The manifest that is meant, absolute: it has to be the one that the project was started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// What `${VAR}` stands for in it. Empty: what it stood for when the project was started.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
    /// Whether to answer only when it has come true.
    #[serde(default)]
    pub wait: bool,
}

/// The answer of `POST /v1/apply`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Applied {
    /// What was done, or would be; nothing where nothing differs.
    pub steps: Vec<Step>,
}

/// The body of `POST /v1/shutdown`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shutdown {
    /// Destroy everything now, instead of closing it in order.
    #[serde(default)]
    pub kill: bool,
}

/// The query of `POST /v1/services/SERVICE/METHOD`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// How long it may take, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// How often it may be tried again; -1 for as often as there is time.
    #[serde(default)]
    pub retries: i64,
    /// Calls with the same key go to the same replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// The answer of `POST /v1/events/EVENT`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Emitted {
    /// How many replicas it was sent to.
    pub receivers: u64,
}

/// What a service has thrown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thrown {
    /// Its type.
    pub name: String,
    /// Where.
    pub stack: String,
}

/// The query of `GET /v1/events`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// Only those after this number.
    #[serde(default)]
    pub after: u64,
    /// Whether to wait for more.
    #[serde(default)]
    pub follow: bool,
}

/// The query of `GET /v1/logs`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logs {
    /// Only these services, with commas between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<String>,
    /// Only those received at this time or later, in milliseconds since 1970-01-01 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Of those that are there, only so many of the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<usize>,
    /// Whether to wait for more.
    #[serde(default)]
    pub follow: bool,
}

/// One line of a stream of events.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EventItem {
    /// So many events are no longer there.
    Missed {
        /// How many.
        missed: u64,
    },
    /// An event.
    Event(Box<Event>),
}

/// One line of a stream of log records.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LogItem {
    /// So many records are no longer there.
    Missed {
        /// How many.
        missed: u64,
    },
    /// A record.
    Record(Box<LogRecord>),
}

/// The body of every answer that is an error.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// The error.
    pub error: FailureBody,
}

/// An error.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FailureBody {
    /// What kind: `unknown-service`, `refused`, `unmet`, `ended`, `bad-request`, `internal`; of a call the code of its
    /// fault, as `timeout`.
    pub kind: String,
    /// What happened, in one line.
    pub message: String,
    /// What a service has thrown, where it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thrown: Option<Thrown>,
}
