//! `user` and `group`: as whom a service uses the files of the host.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::manifest::problem::Placed;
use crate::manifest::reader::{Field, Key, Reader};

pub(crate) const USER: Key = Key {
    name: "user",
    about: "The user of the host, by name or number, as whom the service uses the files that it is granted. By default the \
            owner of each granted folder. For root's orchestrators.",
    schema,
};

pub(crate) const GROUP: Key = Key {
    name: "group",
    about: "The group of that user, by name or number. By default the user's own.",
    schema,
};

/// Reads who it is.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<String>> {
    field.verbatim("a name or a number", reader)
}

fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "integer"], "minimum": 1 })
}
