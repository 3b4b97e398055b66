//! Why something is in the state it is in: the second half of what a person is shown.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::millis;
use super::{CrashReason, ReloadCause};
use crate::name::ServiceName;

/// The reason for a state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Why {
    /// Closed: has not been asked to run.
    NotStarted,
    /// Closed, wanted: these dependencies are not ready (or completed) yet.
    WaitingFor {
        /// The dependencies that it waits for.
        services: Vec<ServiceName>,
    },
    /// Closed, wanted: it cannot start, because this dependency will not run again by itself.
    BlockedBy {
        /// The dependency at the root of it: stopped, given up or failed.
        service: ServiceName,
    },
    /// Closed, wanted: restarted after a wait.
    BackingOff {
        /// The whole wait.
        #[serde(with = "millis")]
        wait: Duration,
        /// Why it crashed.
        last: CrashReason,
    },
    /// Closed: it crashed more often than its budget allows.
    GaveUp {
        /// How many crashes there were within the window.
        crashes: u32,
        /// The window.
        #[serde(with = "millis")]
        within: Duration,
        /// Why it crashed last.
        last: CrashReason,
    },
    /// Closed: it crashed, and its policy is not to restart.
    Failed {
        /// Why it crashed.
        last: CrashReason,
    },
    /// Closed: it ran to completion, with exit code 0.
    Completed,
    /// Closing or closed: it was asked to, or asked to be.
    Stopped,
    /// Closing: this dependency crashed, or closes.
    ClosedBy {
        /// The dependency.
        service: ServiceName,
    },
    /// Closing, or closed for a moment: it is being restarted.
    Restarting,
    /// Closing: what is left of it after a crash is destroyed.
    Crashed {
        /// Why it crashed.
        last: CrashReason,
    },
    /// Closing: it did not close in time, and is destroyed.
    Forced {
        /// The time it had.
        #[serde(with = "millis")]
        after: Duration,
    },
    /// Running, while a new start is brought up to take its place.
    Reloading {
        /// Why it is to be replaced.
        #[serde(flatten)]
        cause: ReloadCause,
    },
    /// Closing: a new start has taken its place.
    Replaced,
    /// Running, but fewer replicas than wanted.
    Degraded {
        /// How many run.
        running: u32,
        /// How many are wanted.
        wanted: u32,
    },
}

/// How far a start has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The environment is being made.
    #[default]
    Creating,
    /// The environment is there; its remote has not connected yet.
    Connecting,
    /// The code is on its way.
    Shipping,
    /// The code is loaded and its `start()` runs.
    Starting,
    /// It has started; its readiness check has not succeeded yet.
    Readying,
    /// It is through.
    Done,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Creating => "creating its environment",
            Self::Connecting => "connecting",
            Self::Shipping => "shipping its code",
            Self::Starting => "starting its code",
            Self::Readying => "waiting for its readiness check",
            Self::Done => "running",
        })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted => f.write_str("not started"),
            Self::WaitingFor { services } => {
                f.write_str("waiting for ")?;
                for (i, service) in services.iter().enumerate() {
                    write!(f, "{}{service}", if i == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Self::BlockedBy { service } => write!(f, "blocked by {service}"),
            Self::BackingOff { wait, last } => write!(f, "backing off {}: {last}", Spoken(*wait)),
            Self::GaveUp { crashes, within, last } => {
                write!(f, "gave up after {crashes} crashes within {}: {last}", Spoken(*within))
            }
            Self::Failed { last } => write!(f, "failed: {last}"),
            Self::Completed => f.write_str("completed"),
            Self::Stopped => f.write_str("stopped"),
            Self::ClosedBy { service } => write!(f, "closed by {service}"),
            Self::Restarting => f.write_str("restarting"),
            Self::Crashed { last } => write!(f, "crashed: {last}"),
            Self::Forced { after } => write!(f, "forced: did not close within {}", Spoken(*after)),
            Self::Reloading { cause: ReloadCause::Asked } => f.write_str("reloading"),
            Self::Reloading { cause } => write!(f, "reloading: {cause}"),
            Self::Replaced => f.write_str("replaced"),
            Self::Degraded { running, wanted } => write!(f, "{running} of {wanted} replicas"),
        }
    }
}

/// A duration as a person would say it: `250 ms`, `2 s`, `1.5 s`, `3 min`, `24 h`.
#[derive(Clone, Copy, Debug)]
pub struct Spoken(pub Duration);

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HOUR: u128 = 3_600_000;
        let millis = self.0.as_millis();
        match millis {
            0..1000 => write!(f, "{millis} ms"),
            1000..120_000 if millis.is_multiple_of(1000) => write!(f, "{} s", millis / 1000),
            1000..120_000 => write!(f, "{}.{} s", millis / 1000, millis % 1000 / 100),
            HOUR.. if millis.is_multiple_of(HOUR) => write!(f, "{} h", millis / HOUR),
            _ => write!(f, "{} min", millis / 60_000),
        }
    }
}
