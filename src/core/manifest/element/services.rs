//! `services`: the services of a project, by name.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::SERVICE;
use crate::manifest::reader::Key;
use crate::manifest::schema;

pub(crate) const KEY: Key =
    Key { name: "services", about: "The services, by name.", schema: services_schema };

fn services_schema(generator: &mut SchemaGenerator) -> Schema {
    let service = schema::service(SERVICE, generator);
    json_schema!({
        "type": "object",
        "minProperties": 1,
        "propertyNames": { "pattern": "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$" },
        "additionalProperties": service,
    })
}
