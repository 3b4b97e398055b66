//! `fs`: the files and folders that a service may use. Paths are checked when they are resolved.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::granting;
use crate::manifest::element::size;
use crate::manifest::node::Content;
use crate::manifest::problem::{Hint, Placed, ProblemKind, ValueError};
use crate::manifest::reader::{Field, Key, Reader};
use crate::manifest::schema as build;
use crate::permissions::Scratch;

const READ: Key = Key {
    name: "read",
    about: "Files and folders that it may read, with all that is in them; relative to the manifest.",
    schema: paths_schema,
};
const WRITE: Key = Key {
    name: "write",
    about: "Files and folders that it may read and write, with all that is in them; relative to the manifest.",
    schema: writes_schema,
};
const SCRATCH: Key = Key {
    name: "scratch",
    about: "How much its own /tmp holds, which is in memory. By default 16MiB in 4096 files.",
    schema: scratch_schema,
};
const KEYS: &[Key] = &[READ, WRITE, SCRATCH];

const SIZE: Key = Key { name: "size", about: "The most bytes.", schema: size_schema };
const INODES: Key = Key { name: "inodes", about: "The most files and folders.", schema: inodes_schema };
const SCRATCH_KEYS: &[Key] = &[SIZE, INODES];

const MOST_INODES: u32 = 100_000_000;

const PATH: Key = Key { name: "path", about: "The file or folder.", schema: path_schema };
const SHARED: Key = Key {
    name: "shared",
    about: "Whether other services may write there too. Each of them has to say so. By default false.",
    schema: flag_schema,
};
const WRITE_KEYS: &[Key] = &[PATH, SHARED];

/// The paths as they are written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RawFiles {
    pub(crate) read: Vec<Placed<String>>,
    pub(crate) write: Vec<RawWrite>,
    pub(crate) scratch: Option<Scratch>,
}

/// A path to write to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RawWrite {
    pub(crate) path: Placed<String>,
    pub(crate) shared: bool,
}

pub(super) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<RawFiles> {
    if matches!(&field.node.content, Content::Text(text) if text == "none") {
        return Some(RawFiles::default());
    }
    let fields = granting(field, KEYS, reader)?;
    let read = fields.get(&READ).and_then(|field| read_paths(&field, reader)).unwrap_or_default();
    let write = fields.get(&WRITE).and_then(|field| read_writes(&field, reader)).unwrap_or_default();
    let scratch = fields.get(&SCRATCH).and_then(|field| read_scratch(&field, reader));
    Some(RawFiles { read, write, scratch })
}

/// A list of paths.
pub(super) fn read_paths(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Vec<Placed<String>>> {
    let items = field.items("a list of paths", reader)?;
    Some(items.iter().filter_map(|item| read_path(item, reader)).collect())
}

fn read_path(item: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<String>> {
    let path = item.text("a path", reader)?;
    if path.value.is_empty() {
        let hint = Hint::advise("name a file or a folder, as in './data'");
        item.bad_value(ValueError::Empty, hint, reader);
        return None;
    }
    Some(path)
}

/// A list of paths, each alone or in a mapping that says more.
fn read_writes(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Vec<RawWrite>> {
    let items = field.items("a list of paths", reader)?;
    Some(items.iter().filter_map(|item| read_write(item, reader)).collect())
}

fn read_write(item: &Field<'_>, reader: &mut Reader<'_>) -> Option<RawWrite> {
    if !matches!(item.node.content, Content::Mapping(_)) {
        return Some(RawWrite { path: read_path(item, reader)?, shared: false });
    }
    let fields = granting(item, WRITE_KEYS, reader)?;
    let Some(path) = fields.get(&PATH) else {
        let kind = ProblemKind::MissingKey { key: PATH.name, owner: item.owner.clone() };
        reader.report(item.place(), kind, Hint::advise("write it as in { path: ./state, shared: true }"));
        return None;
    };
    let shared = fields.get(&SHARED).and_then(|field| Some(field.flag(reader)?.value));
    Some(RawWrite { path: read_path(&path, reader)?, shared: shared.unwrap_or_default() })
}

fn read_scratch(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Scratch> {
    let fields = granting(field, SCRATCH_KEYS, reader)?;
    let mut scratch = Scratch::default();
    if let Some(size) = fields.get(&SIZE).and_then(|field| size::read(&field, reader)) {
        scratch.size = size.value;
    }
    if let Some(inodes) = fields.get(&INODES).and_then(|field| field.whole(1, MOST_INODES, reader)) {
        scratch.inodes = inodes.value.into();
    }
    Some(scratch)
}

pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
    let mapping = build::mapping(KEYS, &[], generator);
    json_schema!({ "anyOf": [{ "const": "none" }, mapping] })
}

pub(super) fn paths_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "string", "minLength": 1 } })
}

fn writes_schema(generator: &mut SchemaGenerator) -> Schema {
    let more = build::mapping(WRITE_KEYS, &["path"], generator);
    let path = path_schema(generator);
    json_schema!({ "type": "array", "items": { "anyOf": [path, more] } })
}

fn path_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1 })
}

fn flag_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "boolean", "default": false })
}

fn scratch_schema(generator: &mut SchemaGenerator) -> Schema {
    build::mapping(SCRATCH_KEYS, &[], generator)
}

fn size_schema(_: &mut SchemaGenerator) -> Schema {
    size::schema()
}

fn inodes_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "minimum": 1, "maximum": MOST_INODES })
}
