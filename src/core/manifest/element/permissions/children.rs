//! `children`: the services that a service may open below itself while it runs.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::{RawPermissions, ceiling_schema, granting, read_ceiling};
use crate::manifest::problem::{Hint, Place, ProblemKind};
use crate::manifest::reader::{Field, Key, Reader};
use crate::manifest::schema as build;

const MAX: Key = Key {
    name: "max",
    about: "The most that there are at a time, those of children among them.",
    schema: max_schema,
};
const DEPTH: Key = Key {
    name: "depth",
    about: "The most levels. By default 1: its children have none themselves.",
    schema: depth_schema,
};
const PERMISSIONS: Key = Key {
    name: "permissions",
    about: "The most that any of them can be granted. Absent: nothing.",
    schema: ceiling_schema,
};
const KEYS: &[Key] = &[MAX, DEPTH, PERMISSIONS];

const MOST: u32 = 10_000;
const DEEPEST: u32 = 16;

/// What is granted, as it is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RawChildren {
    pub(crate) max: u32,
    pub(crate) depth: u32,
    pub(crate) permissions: Box<RawPermissions>,
    /// Where the permissions are, or else all of it.
    pub(crate) place: Place,
}

pub(super) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<RawChildren> {
    let fields = granting(field, KEYS, reader)?;
    let Some(max) = fields.get(&MAX) else {
        if !fields.mentions(&MAX) {
            let kind = ProblemKind::MissingKey { key: MAX.name, owner: field.owner.clone() };
            reader.report(field.place(), kind, Hint::advise("say how many there can be, as in 'max: 4'"));
        }
        return None;
    };
    let max = max.whole(1, MOST, reader);
    let depth = fields.get(&DEPTH).and_then(|field| Some(field.whole(1, DEEPEST, reader)?.value));
    let ceiling = fields.get(&PERMISSIONS);
    let place = ceiling.as_ref().unwrap_or(field).place().clone();
    let permissions = ceiling.and_then(|field| read_ceiling(&field, reader)).unwrap_or_default();
    Some(RawChildren {
        max: max?.value,
        depth: depth.unwrap_or(1),
        permissions: Box::new(permissions),
        place,
    })
}

pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
    build::mapping(KEYS, &["max"], generator)
}

fn max_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "minimum": 1, "maximum": MOST })
}

fn depth_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "minimum": 1, "maximum": DEEPEST, "default": 1 })
}

#[cfg(test)]
mod tests {
    use super::super::{KEY, read};
    use crate::manifest::element::testing;

    #[test]
    fn how_many_how_deep_and_how_much_is_read() {
        let text = "permissions: {children: {max: 4, depth: 2, permissions: {subprocess: true}}}";
        let children = testing::read(KEY, text, read).unwrap().children.unwrap();
        assert_eq!((children.max, children.depth, children.permissions.subprocess), (4, 2, Some(true)));
        let children =
            testing::read(KEY, "permissions: {children: {max: 1}}", read).unwrap().children.unwrap();
        assert_eq!((children.depth, *children.permissions), (1, super::RawPermissions::default()));
    }

    #[test]
    fn what_is_no_ceiling_is_refused() {
        for (text, expected) in [
            (
                "{depth: 1}",
                "1:25 'children' of 'permissions' of service 'web' has no 'max' \
                 | say how many there can be, as in 'max: 4'",
            ),
            (
                "{max: 0}",
                "1:31 'max' of 'children' of 'permissions' of service 'web': 0 is not between 1 and 10000 \
                 | write a whole number from 1 to 10000",
            ),
            (
                "{max: 1, permissions: {children: {max: 1}}}",
                "1:48 unknown key 'children' in 'permissions' of 'children' of 'permissions' of service 'web' \
                 | the keys here: fs, net, services, secrets, subprocess, devices, limits",
            ),
        ] {
            let text = format!("permissions: {{children: {text}}}");
            assert_eq!(testing::read(KEY, &text, read).unwrap_err(), expected, "{text}");
        }
    }
}
