//! `services`: what a service may say to other services, and hear from them.

use std::collections::BTreeSet;

use schemars::{Schema, SchemaGenerator, json_schema};

use super::granting;
use crate::manifest::problem::{Hint, Placed, ProblemKind, ValueError};
use crate::manifest::reader::{Field, Fields, Key, Reader};
use crate::manifest::schema as build;
use crate::name::ServiceName;
use crate::permissions::{Pattern, PatternError, ServiceGrants};

const NAME: Key = Key { name: "name", about: "The other service.", schema: name_schema };
const CALL: Key = Key {
    name: "call",
    about: "The methods of the other that it may call: names, all below one ('user.*'), or all ('*').",
    schema: patterns_schema,
};
const EMIT: Key = Key {
    name: "emit",
    about: "Its own events that reach the other, if that one listens. Enough where the other has no 'hear' for them.",
    schema: patterns_schema,
};
const HEAR: Key = Key {
    name: "hear",
    about: "Events of the other that reach it, if it listens. Enough where the other has no 'emit' for them.",
    schema: patterns_schema,
};
const KEYS: &[Key] = &[NAME, CALL, EMIT, HEAR];

/// What is granted towards one other service, as it is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RawTalk {
    pub(crate) name: Placed<ServiceName>,
    pub(crate) grants: ServiceGrants,
}

pub(super) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Vec<RawTalk>> {
    let items = field.items("a list of services", reader)?;
    Some(items.iter().filter_map(|item| read_one(item, reader)).collect())
}

fn read_one(item: &Field<'_>, reader: &mut Reader<'_>) -> Option<RawTalk> {
    let fields = granting(item, KEYS, reader)?;
    let Some(name) = fields.get(&NAME) else {
        let kind = ProblemKind::MissingKey { key: NAME.name, owner: item.owner.clone() };
        reader.report(item.place(), kind, Hint::advise("write it as in { name: db, call: [get] }"));
        return None;
    };
    let grants = ServiceGrants {
        call: patterns(&fields, &CALL, reader),
        emit: patterns(&fields, &EMIT, reader),
        hear: patterns(&fields, &HEAR, reader),
    };
    let written = name.text("the name of a service", reader)?;
    match ServiceName::parse(&written.value) {
        Ok(parsed) => Some(RawTalk { name: name.placed(parsed), grants }),
        Err(error) => {
            let hint = Hint::advise("write the name of one service; of its methods there can be many");
            name.bad_value(ValueError::Service(written.value, error), hint, reader);
            None
        }
    }
}

pub(crate) fn patterns(fields: &Fields<'_>, key: &Key, reader: &mut Reader<'_>) -> BTreeSet<Pattern> {
    let Some(field) = fields.get(key) else { return BTreeSet::new() };
    let mut patterns = BTreeSet::new();
    for item in field.items("a list of names", reader).unwrap_or_default() {
        let Some(text) = item.text("a name, as in 'get' or 'user.*'", reader) else { continue };
        match text.value.parse() {
            Ok(pattern) => {
                patterns.insert(pattern);
            }
            Err(error) => {
                let hint = match &error {
                    PatternError::TooLong(_) => "write a shorter one, or '*' for its end",
                    _ => "write a name, all below one as in 'user.*', or '*' for all",
                };
                item.bad_value(error.into(), Hint::advise(hint), reader);
            }
        }
    }
    patterns
}

pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
    let one = build::mapping(KEYS, &["name"], generator);
    json_schema!({ "type": "array", "items": one })
}

fn name_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1 })
}

fn patterns_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "string", "minLength": 1 } })
}

#[cfg(test)]
mod tests {
    use super::super::{KEY, read};
    use crate::manifest::element::testing;

    #[test]
    fn what_may_be_said_and_heard_is_read() {
        let text = "permissions: {services: [{name: auth, call: [verify, 'user.*'], hear: ['session.*']}, {name: web/one, emit: ['*']}]}";
        let services = testing::read(KEY, text, read).unwrap().services.unwrap();
        let shown = |index: usize| {
            let raw = &services[index];
            let list = |patterns: &std::collections::BTreeSet<_>| {
                patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            };
            format!(
                "{}: {} | {} | {}",
                raw.name.value,
                list(&raw.grants.call),
                list(&raw.grants.emit),
                list(&raw.grants.hear)
            )
        };
        assert_eq!(
            (shown(0), shown(1)),
            ("auth: user.* verify |  | session.*".into(), "web/one:  | * | ".into())
        );
    }

    #[test]
    fn what_nobody_can_say_is_refused() {
        for (text, expected) in [
            (
                "[{call: [a]}]",
                "1:26 an item of 'services' of 'permissions' of service 'web' has no 'name' \
                 | write it as in { name: db, call: [get] }",
            ),
            (
                "[{name: '*', call: [a]}]",
                "1:33 'name' of an item of 'services' of 'permissions' of service 'web': '*' cannot be a service: '*' cannot \
                 be in a name: lower-case letters, digits and '-' can | write the name of one service; of its methods there \
                 can be many",
            ),
            (
                "[{name: db, call: ['*.get']}]",
                "1:44 an item of 'call' of an item of 'services' of 'permissions' of service 'web': '*' can only be the last \
                 part, not as in '*.get' | write a name, all below one as in 'user.*', or '*' for all",
            ),
            (
                "[{name: db, calls: [get]}]",
                "1:37 unknown key 'calls' in an item of 'services' of 'permissions' of service 'web' | did you mean 'call'?",
            ),
        ] {
            let text = format!("permissions: {{services: {text}}}");
            assert_eq!(testing::read(KEY, &text, read).unwrap_err(), expected, "{text}");
        }
    }
}
