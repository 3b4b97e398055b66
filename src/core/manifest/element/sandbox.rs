//! `sandbox`: how tight services are held. At the top for all of them; a service may only be held tighter.

use schemars::{Schema, SchemaGenerator};

use crate::manifest::problem::Placed;
use crate::manifest::reader::{Field, Key, Reader};
use crate::permissions::Sandbox;

pub(crate) const KEY: Key = Key {
    name: "sandbox",
    about: "How tight it is held: strict (by default: namespaces, Landlock and system call filters), landlock (without \
            namespaces), or none, which needs --allow-unconfined.",
    schema,
};

const WORDS: [(&str, Sandbox); 3] =
    [("strict", Sandbox::Strict), ("landlock", Sandbox::Landlock), ("none", Sandbox::None)];

/// Reads how tight it is.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<Sandbox>> {
    field.word(&WORDS, reader)
}

fn schema(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<Sandbox>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::element::testing;

    #[test]
    fn there_are_three_and_the_later_is_the_tighter() {
        assert_eq!(testing::read(KEY, "sandbox: none", read).unwrap().value, Sandbox::None);
        assert!(Sandbox::Strict > Sandbox::Landlock && Sandbox::Landlock > Sandbox::None);
        assert_eq!(
            testing::read(KEY, "sandbox: stict", read).unwrap_err(),
            "1:10 'sandbox' of service 'web' cannot be 'stict' | did you mean 'strict'?"
        );
    }
}
