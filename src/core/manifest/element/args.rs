//! `args`: the arguments for a service's program.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::manifest::problem::Placed;
use crate::manifest::reader::{Field, Key, Reader};

pub(crate) const KEY: Key = Key { name: "args", about: "Arguments for the program.", schema };

/// Reads the arguments. Numbers and `true` need no quotes: they are taken as they are written.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<Vec<String>>> {
    field.texts(reader)
}

/// The schema of a list of texts.
pub(super) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": ["string", "number", "boolean"] } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::element::testing;

    #[test]
    fn arguments_are_taken_as_they_are_written() {
        let args = testing::read(KEY, "args: [--port, 012, 1.10, true, '', no, '${TWO}']", read).unwrap();
        assert_eq!(args.value, ["--port", "012", "1.10", "true", "", "no", "2"]);
    }

    #[test]
    fn every_wrong_argument_is_reported() {
        assert_eq!(
            testing::read(KEY, "args: [~, [a], \"\\0\"]", read).unwrap_err(),
            "1:8 an item of 'args' of service 'web' is to be text, not nothing | write \"\" for an empty text, or remove it\n\
             1:11 an item of 'args' of service 'web' is to be text, not a list | write text\n\
             1:16 an item of 'args' of service 'web': it cannot hold the character U+0000 | take it out"
        );
        assert_eq!(
            testing::read(KEY, "args: -v", read).unwrap_err(),
            "1:7 'args' of service 'web' is to be a list of texts, not text \
             | write it in brackets, as in [one, two]"
        );
    }
}
