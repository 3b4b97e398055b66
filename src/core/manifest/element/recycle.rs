//! `recycle`: after how much one start of a replica is replaced by a new one.

use std::num::NonZeroU32;

use schemars::{Schema, SchemaGenerator, json_schema};

use super::{duration, size};
use crate::manifest::Recycle;
use crate::manifest::problem::{Hint, Placed, ValueError};
use crate::manifest::reader::{Field, Key, Reader};
use crate::manifest::schema;

pub(crate) const KEY: Key = Key {
    name: "recycle",
    about: "After how much a replica is replaced by a new start of itself, as a reload does. By default never.",
    schema: recycle_schema,
};

const REQUESTS: Key =
    Key { name: "requests", about: "After so many calls that it has answered.", schema: requests_schema };

const MEMORY: Key =
    Key { name: "memory", about: "When it uses more memory than this, as in 256MiB.", schema: memory_schema };

const AGE: Key = Key {
    name: "age",
    about: "After so long, as in 24h. Replicas that began together are replaced one after the other, a little earlier each.",
    schema: age_schema,
};

const KEYS: &[Key] = &[REQUESTS, MEMORY, AGE];
const MOST_REQUESTS: u32 = 1_000_000_000;

/// Reads the limits of one start: one at least.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<Recycle>> {
    let fields = field.fields(KEYS, reader)?;
    if !KEYS.iter().any(|key| fields.mentions(key)) {
        let why = ValueError::Checks { some: false, checks: "requests, memory, age" };
        field.bad_value(why, Hint::advise("write one of them, as in 'age: 24h', or remove it"), reader);
        return None;
    }
    let requests = fields.get(&REQUESTS).and_then(|field| field.whole(1, MOST_REQUESTS, reader));
    Some(field.placed(Recycle {
        requests: requests.and_then(|requests| NonZeroU32::new(requests.value)),
        memory: fields.get(&MEMORY).and_then(|field| Some(size::read(&field, reader)?.value)),
        age: fields.get(&AGE).and_then(|field| Some(duration::read(&field, reader)?.value)),
    }))
}

fn recycle_schema(generator: &mut SchemaGenerator) -> Schema {
    schema::mapping(KEYS, &[], generator)
}

fn requests_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["integer", "string"], "minimum": 1, "maximum": MOST_REQUESTS, "pattern": "\\$\\{" })
}

fn memory_schema(_: &mut SchemaGenerator) -> Schema {
    size::schema()
}

fn age_schema(_: &mut SchemaGenerator) -> Schema {
    duration::schema()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::manifest::element::testing;

    #[test]
    fn each_limit_is_one_of_its_own() {
        let recycle = testing::read(KEY, "recycle: { requests: 100, age: 24h }", read).unwrap().value;
        let age = Some(Duration::from_secs(24 * 3600));
        assert_eq!(recycle, Recycle { requests: NonZeroU32::new(100), memory: None, age });
    }

    #[test]
    fn what_says_nothing_or_too_little_is_refused() {
        for (text, expected) in [
            (
                "recycle: {}",
                "1:10 'recycle' of service 'web': it has none of requests, memory, age, where one is expected \
                 | write one of them, as in 'age: 24h', or remove it",
            ),
            (
                "recycle: { requests: 0 }",
                "1:22 'requests' of 'recycle' of service 'web': 0 is not between 1 and 1000000000 \
                 | write a whole number from 1 to 1000000000",
            ),
            (
                "recycle: { age: 24 }",
                "1:17 'age' of 'recycle' of service 'web': the duration '24' has no unit | write '24s' or '24ms'",
            ),
        ] {
            assert_eq!(testing::read(KEY, text, read).unwrap_err(), expected, "{text}");
        }
    }
}
