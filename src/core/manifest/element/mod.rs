//! One file per key of a manifest: its type and default, how it is read, its schema, its tests. The tables here are
//! what is known at each level; the reader, the lists in errors and the JSON Schema are all made from them.

pub(crate) mod alive;
pub(crate) mod args;
pub(crate) mod code;
pub(crate) mod depends_on;
pub(crate) mod duration;
pub(crate) mod essential;
pub(crate) mod fabric;
pub(crate) mod image;
pub(crate) mod isolation;
pub(crate) mod kind;
pub(crate) mod listen;
pub(crate) mod max_in_flight;
pub(crate) mod max_surge;
pub(crate) mod name;
pub(crate) mod on_give_up;
pub(crate) mod permissions;
pub(crate) mod probe;
pub(crate) mod ready;
pub(crate) mod recycle;
pub(crate) mod replicas;
pub(crate) mod restart;
pub(crate) mod runtime;
pub(crate) mod sandbox;
pub(crate) mod services;
pub(crate) mod share;
pub(crate) mod size;
pub(crate) mod timeouts;
pub(crate) mod user;
pub(crate) mod version;

use super::reader::Key;

/// What is written at the top of a manifest.
pub(crate) const MANIFEST: &[Key] = &[
    version::KEY,
    name::KEY,
    isolation::KEY,
    image::POLICY,
    sandbox::KEY,
    on_give_up::KEY,
    fabric::KEY,
    fabric::ELSEWHERE,
    services::KEY,
];

/// What is written of a service in a manifest.
pub(crate) const SERVICE: &[Key] = &[
    code::KEY,
    runtime::KEY,
    runtime::PLUGIN,
    image::KEY,
    image::RUNTIME,
    kind::KEY,
    args::KEY,
    depends_on::KEY,
    replicas::KEY,
    max_in_flight::KEY,
    max_surge::KEY,
    listen::KEY,
    share::KEY,
    ready::KEY,
    alive::KEY,
    restart::KEY,
    recycle::KEY,
    on_give_up::KEY,
    timeouts::START,
    timeouts::CLOSE,
    essential::KEY,
    isolation::KEY,
    sandbox::KEY,
    user::USER,
    user::GROUP,
    permissions::KEY,
];

/// What a plugin can say of the ready-made service that it is. The rest is its user's to say.
pub(crate) const PLUGIN_SERVICE: &[Key] = &[
    code::KEY,
    runtime::KEY,
    kind::KEY,
    args::KEY,
    ready::KEY,
    alive::KEY,
    restart::KEY,
    timeouts::START,
    timeouts::CLOSE,
    permissions::KEY,
];

/// Reads keys from a text, in an element's tests.
#[cfg(test)]
pub(crate) mod testing {
    use std::collections::BTreeMap;

    use crate::manifest::problem::{Owner, Problem};
    use crate::manifest::reader::{Field, Fields, Key, Reader};
    use crate::manifest::yaml;

    /// What `read` makes of `key` in `text`, which is what would be written under a service `web`; or the problems
    /// with their hints, one a line.
    pub(crate) fn read<T>(
        key: Key,
        text: &str,
        read: impl FnOnce(&Field<'_>, &mut Reader<'_>) -> Option<T>,
    ) -> Result<T, String> {
        let document = yaml::read(text).unwrap();
        let variables = BTreeMap::from([("TWO".to_owned(), "2".to_owned())]);
        let check = |regex: &str| if regex.contains('(') { Err("unclosed group".to_owned()) } else { Ok(()) };
        let mut reader = Reader::new(Some(&variables), &check);
        let owner = Owner::Service("web".to_owned());
        let keys = [key];
        let fields = Fields::open(&document.root, owner, &keys, &mut reader).unwrap();
        let value = fields.get(&keys[0]).and_then(|field| read(&field, &mut reader));
        let problems = reader.into_problems();
        match value {
            Some(value) if problems.is_empty() => Ok(value),
            _ => Err(problems.iter().map(shown).collect::<Vec<_>>().join("\n")),
        }
    }

    fn shown(problem: &Problem) -> String {
        let hint = problem.hint.as_ref().map(|hint| format!(" | {hint}")).unwrap_or_default();
        format!("{}:{} {}{hint}", problem.place.line, problem.place.column, problem.kind)
    }
}
