//! `isolation`: what a service's environment is made of. For now a process.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::manifest::problem::{Hint, ProblemKind};
use crate::manifest::reader::{Field, Key, Reader};

pub(crate) const KEY: Key =
    Key { name: "isolation", about: "What each service's environment is made of: a process.", schema };

/// Reads the isolation: there is only one.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<()> {
    let text = field.text("process", reader)?;
    if text.value == "process" {
        return Some(());
    }
    let hint = match text.value.as_str() {
        "docker" | "swarm" => "this version runs processes only: write 'process', or leave it out",
        _ => "write 'process', or leave it out",
    };
    let kind = ProblemKind::UnknownWord { owner: field.owner.clone(), word: text.value };
    reader.report(field.place(), kind, Hint::advise(hint));
    None
}

fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "const": "process", "default": "process" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::element::testing;

    #[test]
    fn there_are_only_processes_yet() {
        assert_eq!(testing::read(KEY, "isolation: process", read), Ok(()));
        assert_eq!(
            testing::read(KEY, "isolation: docker", read).unwrap_err(),
            "1:12 'isolation' of service 'web' cannot be 'docker' \
             | this version runs processes only: write 'process', or leave it out"
        );
    }
}
