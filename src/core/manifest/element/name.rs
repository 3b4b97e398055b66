//! `name`: the project's name. By default that of the manifest's folder.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::manifest::problem::{Hint, Place, ProblemKind};
use crate::manifest::reader::{Field, Key, Reader};
use crate::name::{NameError, ServiceName};

pub(crate) const KEY: Key = Key {
    name: "name",
    about: "The project's name, by which its folders, its logs and its control socket are found. By default the \
            name of the manifest's folder.",
    schema,
};

/// Reads the project's name.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<ServiceName> {
    let text = field.text("a name", reader)?;
    label(&text.value, field.place(), "a project", reader)
}

/// A name that is one DNS label: a slash would make it a child's.
pub(crate) fn label(
    name: &str,
    place: &Place,
    what: &'static str,
    reader: &mut Reader<'_>,
) -> Option<ServiceName> {
    let read = if name.contains('/') { Err(NameError::Character('/')) } else { ServiceName::parse(name) };
    read.map_err(|why| {
        let hint = match sanitised(name) {
            Some(better) => format!("write '{better}'"),
            None => "write a lower-case letter, then lower-case letters, digits and '-'".to_owned(),
        };
        reader.report(place, ProblemKind::BadName { name: name.to_owned(), what, why }, Some(Hint::Do(hint)));
    })
    .ok()
}

/// The name that is most like a text: in lower case, with '-' for what a name cannot hold.
#[must_use]
pub fn sanitised(text: &str) -> Option<ServiceName> {
    let label: String = text
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .skip_while(|c| !c.is_ascii_lowercase())
        .take(ServiceName::LONGEST)
        .collect();
    ServiceName::parse(label.trim_end_matches('-')).ok()
}

/// The schema of a name.
pub(crate) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$|\\$\\{" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::element::testing;

    #[test]
    fn a_name_is_one_label() {
        assert_eq!(testing::read(KEY, "name: shop-${TWO}", read).unwrap().as_str(), "shop-2");
        for (text, expected) in [
            (
                "name: My_Shop",
                "1:7 'My_Shop' cannot be the name of a project: 'M' cannot be in a name: lower-case letters, digits \
                 and '-' can | write 'my-shop'",
            ),
            (
                "name: a/b",
                "1:7 'a/b' cannot be the name of a project: '/' cannot be in a name: lower-case letters, digits and \
                 '-' can | write 'a-b'",
            ),
            (
                "name: '2'",
                "1:7 '2' cannot be the name of a project: a name starts with a lower-case letter, not with '2' \
                 | write a lower-case letter, then lower-case letters, digits and '-'",
            ),
            ("name: 2", "1:7 'name' of service 'web' is to be a name, not a number | write a name"),
        ] {
            assert_eq!(testing::read(KEY, text, read).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn a_name_can_be_made_of_most_texts() {
        for (text, expected) in [
            ("My Shop", Some("my-shop")),
            ("2nd.site", Some("nd-site")),
            ("tail--", Some("tail")),
            ("été", Some("t")),
            ("42", None),
            ("", None),
        ] {
            assert_eq!(sanitised(text).as_ref().map(ServiceName::as_str), expected, "{text}");
        }
        assert_eq!(sanitised(&"a".repeat(99)).unwrap().as_str().len(), 63);
    }
}
