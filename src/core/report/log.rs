//! One line of a service's output.

use serde::{Deserialize, Serialize};

use crate::name::{Generation, ReplicaId};

/// One line that a service wrote, or a note about lines that are missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Its number in the project's log, from 1, over all services and runs. Gaps are lines that rotation removed.
    pub seq: u64,
    /// When the orchestrator received it, in milliseconds since 1970-01-01 UTC.
    pub time: u64,
    /// Who wrote it.
    #[serde(flatten)]
    pub replica: ReplicaId,
    /// Which start of it.
    pub generation: Generation,
    /// Where it was written to.
    pub stream: Stream,
    /// The line without its end. Bytes that are no UTF-8 stand as U+FFFD. Control characters are as the service
    /// wrote them: a view that shows it to a person neutralises them.
    pub text: String,
    /// The line goes on in the stream's next record: it was longer than one record may be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// How many bytes of this stream were lost before this record, because they came faster than they could be kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost: u64,
}

/// Where a line was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}
