//! `replicas`: how many of a service run.

use std::num::NonZeroU32;

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::manifest::problem::Placed;
use crate::manifest::reader::{Field, Key, Reader};

/// The most replicas that one service can have on one machine.
const MOST: u32 = 1000;

pub(crate) const KEY: Key =
    Key { name: "replicas", about: "How many of it run; a job runs once. By default 1.", schema };

/// Reads the number of replicas.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<NonZeroU32>> {
    let number = field.whole(1, MOST, reader)?;
    NonZeroU32::new(number.value).map(|replicas| field.placed(replicas))
}

fn schema(_: &mut SchemaGenerator) -> Schema {
    whole(1, MOST, 1)
}

/// The schema of a whole number with a default, or a variable that stands for one.
pub(super) fn whole(least: u32, most: u32, default: u32) -> Schema {
    json_schema!({
        "type": ["integer", "string"],
        "minimum": least,
        "maximum": most,
        "pattern": "\\$\\{",
        "default": default,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::element::testing;

    #[test]
    fn replicas_are_a_number_or_a_variable() {
        for text in ["replicas: 2", "replicas: ${TWO}", "replicas: '${NOT_SET:-2}'"] {
            assert_eq!(testing::read(KEY, text, read).unwrap().value.get(), 2, "{text}");
        }
        for (text, expected) in [
            (
                "replicas: 0",
                "1:11 'replicas' of service 'web': 0 is not between 1 and 1000 \
                 | write a whole number from 1 to 1000",
            ),
            (
                "replicas: 1.5",
                "1:11 'replicas' of service 'web': 1.5 is not between 1 and 1000 \
                 | write a whole number from 1 to 1000",
            ),
            (
                "replicas: '2'",
                "1:11 'replicas' of service 'web' is to be a whole number from 1 to 1000, not text \
                 | write it without quotes",
            ),
            (
                "replicas: two",
                "1:11 'replicas' of service 'web' is to be a whole number from 1 to 1000, not text \
 | write a whole number from 1 to 1000",
            ),
        ] {
            assert_eq!(testing::read(KEY, text, read).unwrap_err(), expected, "{text}");
        }
    }
}
