//! `version`: the version of the manifest's format; optional, and always 1.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::manifest::node::Content;
use crate::manifest::problem::{Hint, ValueError};
use crate::manifest::reader::{Field, Key, Reader};

pub(crate) const KEY: Key = Key {
    name: "version",
    about: "The version of the manifest's format: 1, which is also the default.",
    schema,
};

/// Reads the version: there is only one.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<()> {
    match &field.node.content {
        Content::Number(number) if number == "1" => return Some(()),
        Content::Number(number) | Content::Text(number) => {
            let hint = Hint::advise("write 'version: 1', or leave it out");
            field.bad_value(ValueError::Version(number.clone()), hint, reader);
        }
        _ => field.wrong_type("the number 1", None, reader),
    }
    None
}

fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "const": 1, "default": 1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::element::testing;

    #[test]
    fn there_is_only_one_version() {
        assert_eq!(testing::read(KEY, "version: 1", read), Ok(()));
        assert_eq!(
            testing::read(KEY, "version: '3.8'", read).unwrap_err(),
            "1:10 'version' of service 'web': this program reads version 1 only, not 3.8 \
             | write 'version: 1', or leave it out"
        );
    }
}
