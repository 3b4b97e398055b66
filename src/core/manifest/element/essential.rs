//! `essential`: whether everything ends when this service ends.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::manifest::problem::Placed;
use crate::manifest::reader::{Field, Key, Reader};

pub(crate) const KEY: Key = Key {
    name: "essential",
    about: "Whether everything ends when this service ends, with its exit code.",
    schema,
};

/// Reads whether it is essential.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<bool>> {
    field.flag(reader)
}

fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["boolean", "string"], "pattern": "\\$\\{", "default": false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::element::testing;

    #[test]
    fn it_is_true_or_false() {
        assert!(testing::read(KEY, "essential: true", read).unwrap().value);
        assert!(testing::read(KEY, "essential: ${NOT_SET:-true}", read).unwrap().value);
        assert_eq!(
            testing::read(KEY, "essential: yes", read).unwrap_err(),
            "1:12 'essential' of service 'web' is to be true or false, not text | write true or false"
        );
    }
}
