//! `kind`: whether a service runs on or runs to completion.

use schemars::{Schema, SchemaGenerator};

use crate::manifest::Kind;
use crate::manifest::problem::Placed;
use crate::manifest::reader::{Field, Key, Reader};

pub(crate) const KEY: Key = Key {
    name: "kind",
    about: "Whether it runs until it is closed (service, the default), or to completion (job).",
    schema,
};

/// Reads the kind.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<Kind>> {
    field.word(&[("service", Kind::Service), ("job", Kind::Job)], reader)
}

fn schema(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<Kind>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::element::testing;

    #[test]
    fn a_kind_is_one_of_two_words() {
        assert_eq!(testing::read(KEY, "kind: job", read).unwrap().value, Kind::Job);
        for (text, expected) in [
            ("kind: jbo", "1:7 'kind' of service 'web' cannot be 'jbo' | did you mean 'job'?"),
            ("kind: daemon", "1:7 'kind' of service 'web' cannot be 'daemon' | write service or job"),
            (
                "kind: [job]",
                "1:7 'kind' of service 'web' is to be service or job, not a list | write service or job",
            ),
            (
                "kind:",
                "1:1 'kind' of service 'web' is to be service or job, not nothing \
                 | give it a value, or remove it",
            ),
        ] {
            assert_eq!(testing::read(KEY, text, read).unwrap_err(), expected, "{text}");
        }
    }
}
