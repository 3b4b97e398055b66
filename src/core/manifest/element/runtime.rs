//! `runtime` and `plugin`: which plugin runs a service's code, or which plugin is the service. Whether there is such
//! a plugin is seen when the whole manifest is resolved.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::manifest::problem::Placed;
use crate::manifest::reader::{Field, Key, Reader};

pub(crate) const KEY: Key = Key {
    name: "runtime",
    about: "The plugin that runs the code: js, node, python, exec, or any that is installed. By default told by the \
            ending of the code's file, or by the files in its folder.",
    schema,
};

pub(crate) const PLUGIN: Key = Key {
    name: "plugin",
    about: "The plugin that is the whole service, instead of code. What is written here wins over what it says.",
    schema,
};

/// Reads a plugin's name.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<String>> {
    field.text("the name of a plugin", reader)
}

fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1 })
}
