//! The stream of events: what happened, when, to whom.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{FabricNews, NotReloaded, State, Why};
use crate::name::{Generation, ReplicaId, ServiceName};
use crate::planning::Step;

/// Something that happened in a project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number in this run of the project, from 1, without gaps.
    pub seq: u64,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub time: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// A service as a whole changed its state, or the reason for it.
    Service {
        /// The service.
        service: ServiceName,
        /// Its state now.
        state: State,
        /// Why, where there is more to say than the state.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<Why>,
    },
    /// One replica changed its state, or the reason for it.
    Replica {
        /// The replica.
        replica: ReplicaId,
        /// Which start of it.
        generation: Generation,
        /// Its state now.
        state: State,
        /// Why, where there is more to say than the state.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<Why>,
    },
    /// A replica failed to start, or left running unasked.
    Crash {
        /// The replica.
        replica: ReplicaId,
        /// Which start of it.
        generation: Generation,
        /// What happened.
        reason: CrashReason,
    },
    /// A replica crashed more often than its budget allows, and is not restarted any more.
    GaveUp {
        /// The replica.
        replica: ReplicaId,
        /// How many crashes there were within the window.
        crashes: u32,
        /// The window.
        #[serde(with = "millis")]
        within: Duration,
        /// What happened last.
        last: CrashReason,
    },
    /// A replica gave up, and what its manifest wants done then has failed.
    NotTold {
        /// The replica.
        replica: ReplicaId,
        /// What has failed, and how.
        why: String,
    },
    /// A new start has taken a replica's place; the one before it finishes what it has, and closes.
    Reloaded {
        /// The replica.
        replica: ReplicaId,
        /// Which start of it is meant from now on.
        generation: Generation,
        /// Which one was meant before.
        before: Generation,
    },
    /// A replica was to be replaced, and its new start failed.
    NotReloaded(NotReloaded),
    /// An uncaught exception in a service's code. Whether it ends the service is the runtime's matter.
    Exception {
        /// The replica.
        replica: ReplicaId,
        /// Which start of it.
        generation: Generation,
        /// The exception.
        exception: Exception,
    },
    /// Something that a replica tried was refused, or could not be done for it.
    Refused {
        /// The replica.
        replica: ReplicaId,
        /// Which start of it.
        generation: Generation,
        /// What, as the end of a sentence that begins with the replica; with what would allow it, where that is known.
        what: String,
    },
    /// A service runs without a limit, because this host cannot hold it and its manifest says that it is soft.
    Unenforced {
        /// The service.
        service: ServiceName,
        /// The limit, as it is written in a manifest.
        permission: String,
        /// What this host has not.
        missing: String,
    },
    /// Something that happened in the fabric.
    Fabric(FabricNews),
    /// A child service was created or forgotten.
    Child {
        /// The child.
        service: ServiceName,
        /// True when it was created, false when it was forgotten.
        created: bool,
    },
    /// The project becomes what its manifest says now.
    Applied {
        /// What is done for that.
        steps: Vec<Step>,
    },
    /// The project is closing, for this cause.
    Closing {
        /// Why it closes.
        cause: FinishCause,
    },
    /// The project has ended. The last event of a run.
    Finished {
        /// How.
        finish: Finish,
    },
}

/// Why a replica crashed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "crash", rename_all = "kebab-case")]
pub enum CrashReason {
    /// The environment could not be made, or the remote did not come up in it.
    Environment {
        /// What failed, with its causes.
        error: String,
    },
    /// The code threw while it was loaded or started.
    Start {
        /// What was thrown.
        exception: Exception,
    },
    /// The process ended because of an exception that nobody caught.
    Uncaught {
        /// What was thrown.
        exception: Exception,
    },
    /// The start took too long.
    StartTimeout {
        /// The time it had.
        #[serde(with = "millis")]
        after: Duration,
        /// How far it had come.
        phase: super::Phase,
        /// What the last readiness check said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// The process ended with this exit code, unasked.
    Exit {
        /// The exit code.
        code: i32,
    },
    /// The process was ended by a signal.
    Signal {
        /// The signal's number.
        signal: i32,
    },
    /// Its processes used more memory than they may.
    OutOfMemory {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The connection to the remote was lost.
    ConnectionLost {
        /// How it was lost.
        detail: String,
    },
    /// Its health check failed as often in a row as its manifest allows.
    Unhealthy {
        /// How often.
        failures: u32,
        /// What the last failure said.
        detail: String,
    },
}

/// An exception as the service's runtime reported it. All of it is the service's own words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Exception {
    /// Its type: `TypeError`, `ValueError`.
    pub name: String,
    /// Its message.
    pub message: String,
    /// Its stack, a frame a line, in the service's own file names. Empty if the runtime gave none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stack: String,
}

/// How a project ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finish {
    /// The exit code for whoever ran the project: 0 if nothing failed.
    pub exit_code: u8,
    /// Why it ended.
    pub cause: FinishCause,
}

/// Why a project ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum FinishCause {
    /// It was asked to.
    Asked,
    /// It was told to end now.
    Killed,
    /// An essential service ended.
    Essential {
        /// The service.
        service: ServiceName,
    },
    /// Nothing runs any more and nothing will start again by itself.
    NothingLeft,
}

impl fmt::Display for CrashReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment { error } => write!(f, "no environment: {error}"),
            Self::Start { exception } | Self::Uncaught { exception } => write!(f, "{exception}"),
            Self::StartTimeout { after, phase, detail } => {
                write!(f, "not ready after {}, while {phase}", super::why::Spoken(*after))?;
                detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
            }
            Self::Exit { code } => write!(f, "exited with code {code}"),
            Self::Signal { signal: SIGSYS } => {
                f.write_str("killed by SIGSYS: it made a system call that its sandbox has no use for")
            }
            Self::Signal { signal } => match signal_name(*signal) {
                Some(name) => write!(f, "killed by {name}"),
                None => write!(f, "killed by signal {signal}"),
            },
            Self::OutOfMemory { limit } => write!(f, "out of memory, limit {}", Size(*limit)),
            Self::ConnectionLost { detail } => write!(f, "lost its connection: {detail}"),
            Self::Unhealthy { failures, detail } => {
                write!(f, "unhealthy {failures} times in a row: {detail}")
            }
        }
    }
}

/// A size as manifests write it, in the largest unit that it is a whole number of.
pub(super) struct Size(pub(super) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.into_iter().find(|(unit, _)| self.0 > 0 && self.0.is_multiple_of(*unit)) {
            Some((unit, name)) => write!(f, "{} {name}", self.0 / unit),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name.as_str(), self.message.as_str()) {
            ("", message) => f.write_str(message),
            (name, "") => f.write_str(name),
            (name, message) => write!(f, "{name}: {message}"),
        }
    }
}

impl Finish {
    /// The end of a project whose manager is gone: nobody is left to say how it ended.
    #[must_use]
    pub fn killed() -> Self {
        Self { exit_code: 1, cause: FinishCause::Killed }
    }
}

impl CrashReason {
    /// The exit code that a shell would report for it: the process's own, 128 and the signal, or 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Exit { code } => u8::try_from(*code).unwrap_or(1),
            Self::Signal { signal } => u8::try_from(128 + signal).unwrap_or(1),
            // As a shell tells of somebody who was killed.
            Self::OutOfMemory { .. } => 137,
            _ => 1,
        }
    }
}

/// What ends a process that makes a system call which a filter kills for.
const SIGSYS: i32 = 31;

/// The names of the signals that end processes, as on every Linux architecture that the runner is built for.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        _ => return None,
    })
}

/// Durations as whole milliseconds.
pub(super) mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}
