//! Times as people write them and as reports carry them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use orchestrator_core::manifest;

/// Now, in milliseconds since 1970-01-01 UTC.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The moment that was so long ago, likewise.
pub(crate) fn ago(time: Duration) -> u64 {
    now().saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// Reads a duration of the command line: `1m30s`.
///
/// # Errors
/// Where it is none; the text says why.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    manifest::parse_duration(text).map_err(|error| error.to_string())
}
