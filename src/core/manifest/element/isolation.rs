//! `isolation`: what a service's environment is made of. At the top for all services; a service may say otherwise.

use schemars::{Schema, SchemaGenerator};

use crate::manifest::problem::Placed;
use crate::manifest::reader::{Field, Key, Reader};
use crate::permissions::Isolation;

pub(crate) const KEY: Key = Key {
    name: "isolation",
    about: "What its environment is made of: process (by default), or docker, a container.",
    schema,
};

const WORDS: [(&str, Isolation); 2] = [("process", Isolation::Process), ("docker", Isolation::Docker)];

/// Reads what it is made of.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<Isolation>> {
    field.word(&WORDS, reader)
}

fn schema(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<Isolation>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::element::testing;

    #[test]
    fn there_are_processes_and_containers() {
        assert_eq!(testing::read(KEY, "isolation: docker", read).unwrap().value, Isolation::Docker);
        assert_eq!(
            testing::read(KEY, "isolation: dokcer", read).unwrap_err(),
            "1:12 'isolation' of service 'web' cannot be 'dokcer' | did you mean 'docker'?"
        );
    }
}
