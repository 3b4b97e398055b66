//! `code`: what is shipped to a service's environment: a file, a folder, or the source text itself.

use std::path::PathBuf;

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::manifest::node::Content;
use crate::manifest::problem::{Hint, Placed, ValueError};
use crate::manifest::reader::{Field, Key, Reader};

pub(crate) const KEY: Key = Key {
    name: "code",
    about: "A file or a folder, relative to the manifest; or the source text itself, in several lines: 'code: |'.",
    schema,
};

/// The code as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RawCode {
    /// A file or a folder.
    Path {
        /// What was written.
        written: String,
        /// The same, relative to the folder of the manifest, or absolute.
        path: PathBuf,
    },
    /// The source text itself.
    Inline(String),
}

/// Reads the code. Source text keeps its dollar signs: `${name}` is JavaScript's as well.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<RawCode>> {
    if let Content::Text(text) = &field.node.content
        && text.contains('\n')
    {
        if text.trim().is_empty() {
            return empty(field, reader);
        }
        return Some(field.placed(RawCode::Inline(text.clone())));
    }
    let written = field.text("a path, or source text after 'code: |'", reader)?.value;
    if written.is_empty() {
        return empty(field, reader);
    }
    let path = PathBuf::from(&written);
    Some(field.placed(RawCode::Path { written, path }))
}

fn empty(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<RawCode>> {
    field.bad_value(ValueError::Empty, Hint::advise("name a file or a folder, as in './web.js'"), reader);
    None
}

fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::element::testing;

    #[test]
    fn a_line_is_a_path_and_lines_are_source_text() {
        let path = testing::read(KEY, "code: ./a-${TWO}.js", read).unwrap().value;
        assert_eq!(path, RawCode::Path { written: "./a-2.js".into(), path: "./a-2.js".into() });
        let inline = testing::read(KEY, "code: |\n  log(`${name}`)\n", read).unwrap().value;
        assert_eq!(inline, RawCode::Inline("log(`${name}`)\n".into()));
    }

    #[test]
    fn nothing_is_no_code() {
        let empty = "'code' of service 'web': it cannot be empty | name a file or a folder, as in './web.js'";
        for text in ["code: ''", "code: |+\n\n\n"] {
            let problem = testing::read(KEY, text, read).unwrap_err();
            assert!(problem.ends_with(empty), "{text}: {problem}");
        }
    }
}
