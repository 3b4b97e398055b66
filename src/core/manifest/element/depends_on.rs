//! `depends_on`: what a service needs of others: a list of names, or a mapping of names to conditions. Whether the
//! names exist is seen when the whole manifest is resolved.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::manifest::node::Content;
use crate::manifest::problem::Placed;
use crate::manifest::reader::{Field, Key, Reader};
use crate::manifest::schema;
use crate::manifest::{Condition, OnCrash};

pub(crate) const KEY: Key = Key {
    name: "depends_on",
    about: "The services that must be ready, and the jobs that must have completed, before it starts.",
    schema: depends_on_schema,
};

const CONDITION: Key = Key {
    name: "condition",
    about: "What must be true of it: ready, the default for a service, or completed, the default for a job.",
    schema: condition_schema,
};

const ON_CRASH: Key = Key {
    name: "on_crash",
    about: "What its crash does: this service is closed (close, the default), or runs on (ignore).",
    schema: on_crash_schema,
};

const KEYS: &[Key] = &[CONDITION, ON_CRASH];

/// One dependency as it is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RawDependency {
    /// The name of what is depended on.
    pub(crate) name: Placed<String>,
    pub(crate) condition: Option<Placed<Condition>>,
    pub(crate) on_crash: OnCrash,
}

/// Reads the dependencies.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Vec<RawDependency> {
    match &field.node.content {
        Content::Mapping(mapping) => {
            let entries = mapping.entries.iter();
            let read = entries.map(|entry| {
                let value = field.of_entry(&entry.key.value, &entry.value);
                read_entry(&entry.key, &value, reader)
            });
            read.collect()
        }
        Content::List(_) => {
            let items = field.items("a list of names", reader).unwrap_or_default();
            items.iter().filter_map(|item| read_item(item, reader)).collect()
        }
        _ => {
            let hint = Some("write it in brackets, as in [db]");
            field.wrong_type("a list of names, or a mapping of names to conditions", hint, reader);
            Vec::new()
        }
    }
}

fn read_item(item: &Field<'_>, reader: &mut Reader<'_>) -> Option<RawDependency> {
    let name = item.text("a name", reader)?;
    Some(RawDependency { name, condition: None, on_crash: OnCrash::default() })
}

fn read_entry(name: &Placed<String>, value: &Field<'_>, reader: &mut Reader<'_>) -> RawDependency {
    let mut dependency = RawDependency { name: name.clone(), condition: None, on_crash: OnCrash::default() };
    let Some(fields) = value.fields(KEYS, reader) else { return dependency };
    let conditions = [("ready", Condition::Ready), ("completed", Condition::Completed)];
    dependency.condition = fields.get(&CONDITION).and_then(|field| field.word(&conditions, reader));
    let reactions = [("close", OnCrash::Close), ("ignore", OnCrash::Ignore)];
    if let Some(on_crash) = fields.get(&ON_CRASH).and_then(|field| field.word(&reactions, reader)) {
        dependency.on_crash = on_crash.value;
    }
    dependency
}

fn depends_on_schema(generator: &mut SchemaGenerator) -> Schema {
    let dependency = schema::mapping(KEYS, &[], generator);
    json_schema!({
        "anyOf": [
            { "type": "array", "items": { "type": "string" }, "uniqueItems": true },
            { "type": "object", "additionalProperties": dependency },
        ],
    })
}

fn condition_schema(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<Condition>()
}

fn on_crash_schema(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<OnCrash>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::element::testing;

    fn read_some(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Vec<RawDependency>> {
        Some(read(field, reader))
    }

    #[test]
    fn a_list_and_a_mapping_say_the_same() {
        let list = testing::read(KEY, "depends_on: [db, cache]", read_some).unwrap();
        let names: Vec<_> = list.iter().map(|dependency| dependency.name.value.as_str()).collect();
        assert_eq!(names, ["db", "cache"]);
        let text = "depends_on: { db: {}, migrate: { condition: completed, on_crash: ignore } }";
        let mapping = testing::read(KEY, text, read_some).unwrap();
        assert_eq!((&mapping[0].condition, mapping[0].on_crash), (&None, OnCrash::Close));
        let condition = mapping[1].condition.as_ref().map(|condition| condition.value);
        assert_eq!((condition, mapping[1].on_crash), (Some(Condition::Completed), OnCrash::Ignore));
    }

    #[test]
    fn every_wrong_dependency_is_reported() {
        for (text, expected) in [
            (
                "db",
                "1:13 'depends_on' of service 'web' is to be a list of names, or a mapping of names to conditions, \
                 not text | write it in brackets, as in [db]",
            ),
            (
                "[{ db: ready }, 3]",
                "1:14 an item of 'depends_on' of service 'web' is to be a name, not a mapping | write a name\n\
                 1:29 an item of 'depends_on' of service 'web' is to be a name, not a number | write a name",
            ),
            (
                "{ db: { condition: started, on_crsh: close } }",
                "1:41 unknown key 'on_crsh' in 'db' of 'depends_on' of service 'web' | did you mean 'on_crash'?\n\
                 1:32 'condition' of 'db' of 'depends_on' of service 'web' cannot be 'started' \
                 | write ready or completed",
            ),
        ] {
            let problem = testing::read(KEY, &format!("depends_on: {text}"), read_some).unwrap_err();
            assert_eq!(problem, expected, "{text}");
        }
    }
}
