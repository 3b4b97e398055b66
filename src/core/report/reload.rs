//! How the replacing of a replica by a new start of itself is told.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::CrashReason;
use super::event::{Size, millis};
use super::why::Spoken;
use crate::name::ReplicaId;

/// Why a replica is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum ReloadCause {
    /// Somebody asked for it.
    Asked,
    /// It has answered as many calls as one start is to answer.
    Requests {
        /// How many.
        answered: u64,
    },
    /// It used more memory than one start is to use.
    Memory {
        /// What it used, in bytes.
        used: u64,
        /// What it may, in bytes.
        most: u64,
    },
    /// It has run for as long as one start is to run.
    Age {
        /// How long that is.
        #[serde(with = "millis")]
        most: Duration,
    },
}

/// A replica was not replaced: its new start failed. What ran before runs on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NotReloaded {
    /// The replica.
    pub replica: ReplicaId,
    /// What became of its new start.
    pub reason: CrashReason,
    /// How many replicas of the service had been replaced before, and stay so.
    pub reloaded: u32,
    /// How many replicas the service has.
    pub of: NonZeroU32,
}

impl fmt::Display for ReloadCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("asked for"),
            Self::Requests { answered } => write!(f, "{answered} calls answered"),
            Self::Memory { used, most } => write!(f, "{} of memory, over {}", Size(*used), Size(*most)),
            Self::Age { most } => write!(f, "has run for {}", Spoken(*most)),
        }
    }
}

impl fmt::Display for NotReloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { replica, reason, reloaded, of } = self;
        write!(f, "{replica} was not reloaded: {reason}; what ran before runs on")?;
        match reloaded {
            0 => Ok(()),
            _ => write!(f, ", beside {reloaded} of {of} replicas that run what is new"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::ServiceName;

    #[test]
    fn a_failed_reload_says_what_serves_now() {
        let failed = |reloaded| NotReloaded {
            replica: ReplicaId { service: ServiceName::parse("web").unwrap(), index: 2 },
            reason: CrashReason::Exit { code: 3 },
            reloaded,
            of: NonZeroU32::new(3).unwrap(),
        };
        assert_eq!(
            failed(0).to_string(),
            "web-2 was not reloaded: exited with code 3; what ran before runs on"
        );
        assert_eq!(
            failed(1).to_string(),
            "web-2 was not reloaded: exited with code 3; what ran before runs on, beside 1 of 3 replicas that \
             run what is new"
        );
    }

    #[test]
    fn each_cause_is_said_with_its_figures() {
        let hour = Duration::from_secs(3600);
        for (cause, said) in [
            (ReloadCause::Requests { answered: 10_000 }, "10000 calls answered"),
            (ReloadCause::Memory { used: 300 << 20, most: 256 << 20 }, "300 MiB of memory, over 256 MiB"),
            (ReloadCause::Age { most: 24 * hour }, "has run for 24 h"),
        ] {
            assert_eq!(cause.to_string(), said);
        }
    }
}
