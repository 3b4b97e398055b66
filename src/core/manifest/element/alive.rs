//! `alive`: how a running service is checked. Failing too often in a row is a crash.

use std::num::NonZeroU32;

use schemars::{Schema, SchemaGenerator};

use super::{duration, probe, replicas};
use crate::manifest::Liveness;
use crate::manifest::problem::{Hint, Placed, ValueError};
use crate::manifest::reader::{Field, Key, Reader};
use crate::manifest::schema;

pub(crate) const KEY: Key = Key {
    name: "alive",
    about: "How it is checked while it runs, besides its exported health(), which is asked whenever there is one.",
    schema: alive_schema,
};

const INTERVAL: Key =
    Key { name: "interval", about: "The wait between two tries. By default 10s.", schema: interval_schema };

const TIMEOUT: Key =
    Key { name: "timeout", about: "How long one try may take. By default 5s.", schema: timeout_schema };

const FAILURES: Key = Key {
    name: "failures",
    about: "How many failures in a row are a crash. By default 3.",
    schema: failures_schema,
};

const KEYS: &[Key] = &[probe::TCP, probe::HTTP, probe::EXEC, INTERVAL, TIMEOUT, FAILURES];
const MOST_FAILURES: u32 = 1000;

/// Reads the liveness check: one probe at most.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<Liveness>> {
    let fields = field.fields(KEYS, reader)?;
    let mut alive = Liveness::default();
    let mut probes = probe::read(&fields, reader);
    if probes.len() > 1 {
        let why = ValueError::Checks { some: true, checks: "tcp, http, exec" };
        field.bad_value(why, Hint::advise("keep one of them"), reader);
    } else {
        alive.probe = probes.pop().flatten();
    }
    if let Some(interval) = fields.get(&INTERVAL).and_then(|field| duration::read(&field, reader)) {
        alive.interval = interval.value;
    }
    if let Some(timeout) = fields.get(&TIMEOUT).and_then(|field| duration::read(&field, reader)) {
        alive.timeout = timeout.value;
    }
    let failures = fields.get(&FAILURES).and_then(|field| field.whole(1, MOST_FAILURES, reader));
    if let Some(failures) = failures.and_then(|failures| NonZeroU32::new(failures.value)) {
        alive.failures = failures;
    }
    Some(field.placed(alive))
}

fn alive_schema(generator: &mut SchemaGenerator) -> Schema {
    schema::mapping(KEYS, &[], generator)
}

fn interval_schema(_: &mut SchemaGenerator) -> Schema {
    duration::schema_with_default("10s")
}

fn timeout_schema(_: &mut SchemaGenerator) -> Schema {
    duration::schema_with_default("5s")
}

fn failures_schema(_: &mut SchemaGenerator) -> Schema {
    replicas::whole(1, MOST_FAILURES, 3)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::manifest::Probe;
    use crate::manifest::element::testing;

    #[test]
    fn what_is_not_written_is_the_default() {
        let alive = testing::read(KEY, "alive: { tcp: 80, timeout: 1s }", read).unwrap().value;
        let expected =
            Liveness { probe: Some(Probe::Tcp(80)), timeout: Duration::from_secs(1), ..Liveness::default() };
        assert_eq!(alive, expected);
        let settings = testing::read(KEY, "alive: { interval: 1s, failures: 1 }", read).unwrap().value;
        assert_eq!((settings.probe, settings.failures.get()), (None, 1));
    }

    #[test]
    fn at_most_one_probe_makes_sense() {
        assert_eq!(
            testing::read(KEY, "alive: { tcp: 80, exec: [x], failures: 0 }", read).unwrap_err(),
            "1:8 'alive' of service 'web': it has more than one of tcp, http, exec, where one is expected \
             | keep one of them\n\
             1:40 'failures' of 'alive' of service 'web': 0 is not between 1 and 1000 \
             | write a whole number from 1 to 1000"
        );
    }
}
