//! `start_timeout` and `close_timeout`: how long a start and a close may take.

use std::time::Duration;

use schemars::{Schema, SchemaGenerator};

use super::duration;
use crate::manifest::reader::Key;

pub(crate) const START: Key = Key {
    name: "start_timeout",
    about: "How long a start may take, until it is ready. Longer is a crash. By default 60s.",
    schema: start_schema,
};

pub(crate) const CLOSE: Key = Key {
    name: "close_timeout",
    about: "How long it may take to close by itself before it is killed. By default 10s.",
    schema: close_schema,
};

/// How long a start may take, unless the manifest says otherwise.
pub(crate) const START_DEFAULT: Duration = Duration::from_secs(60);

/// How long a close may take, unless the manifest says otherwise.
pub(crate) const CLOSE_DEFAULT: Duration = Duration::from_secs(10);

pub(crate) use duration::read;

fn start_schema(_: &mut SchemaGenerator) -> Schema {
    duration::schema_with_default("60s")
}

fn close_schema(_: &mut SchemaGenerator) -> Schema {
    duration::schema_with_default("10s")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::element::testing;

    #[test]
    fn a_timeout_says_its_unit() {
        let read_it = testing::read(START, "start_timeout: 1m30s", read).unwrap();
        assert_eq!(read_it.value, Duration::from_secs(90));
        for (text, expected) in [
            (
                "close_timeout: 10",
                "1:16 'close_timeout' of service 'web': the duration '10' has no unit | write '10s' or '10ms'",
            ),
            (
                "close_timeout: soon",
                "1:16 'close_timeout' of service 'web': 'soon' is no duration \
                 | write it in whole numbers with units, as in '250ms', '10s', '1m30s' or '2h'",
            ),
            (
                "close_timeout: [10s]",
                "1:16 'close_timeout' of service 'web' is to be a duration, as in '10s', not a list \
 | write a duration, as in '10s'",
            ),
        ] {
            assert_eq!(testing::read(CLOSE, text, read).unwrap_err(), expected, "{text}");
        }
    }
}
