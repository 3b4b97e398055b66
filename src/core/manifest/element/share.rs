//! `share`: which callers of other members of the fabric a service has.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::permissions::services::patterns;
use crate::manifest::node::Content;
use crate::manifest::problem::{Hint, Placed, ProblemKind};
use crate::manifest::reader::{Field, Key, Reader};
use crate::manifest::schema as build;
use crate::permissions::{Share, Shared};

pub(crate) const KEY: Key = Key {
    name: "share",
    about: "Whether services of other members of the fabric may call it, or which may. By default all that are granted it \
            in their own manifests.",
    schema,
};

const FROM: Key = Key {
    name: "from",
    about: "Who: a service and its project, as in 'web@shop'. Each half may be '*'.",
    schema: text_schema,
};
const CALL: Key = Key {
    name: "call",
    about: "The methods that it may call: names, all below one ('user.*'), or all ('*').",
    schema: texts_schema,
};
const KEYS: &[Key] = &[FROM, CALL];

/// Reads who may call it.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<Share>> {
    if !matches!(field.node.content, Content::List(_)) {
        let flag = field.flag(reader)?;
        return Some(field.placed(if flag.value { Share::Everybody } else { Share::Nobody }));
    }
    let items = field.items("true, false, or a list of callers", reader)?;
    let rules: Vec<_> = items.iter().filter_map(|item| read_one(item, reader)).collect();
    (rules.len() == items.len()).then(|| field.placed(Share::Only(rules)))
}

fn read_one(item: &Field<'_>, reader: &mut Reader<'_>) -> Option<Shared> {
    let fields = item.fields(KEYS, reader)?;
    let Some(from) = fields.get(&FROM) else {
        let kind = ProblemKind::MissingKey { key: FROM.name, owner: item.owner.clone() };
        reader.report(item.place(), kind, Hint::advise("write it as in { from: web@shop, call: [get] }"));
        return None;
    };
    let call = patterns(&fields, &CALL, reader);
    let text = from.text("a service and its project, as in 'web@shop'", reader)?;
    match text.value.parse() {
        Ok(from) => Some(Shared { from, call }),
        Err(why) => {
            let why: crate::permissions::CallerError = why;
            from.bad_value(
                why.into(),
                Hint::advise("write a service and its project, as in 'web@shop'"),
                reader,
            );
            None
        }
    }
}

fn schema(generator: &mut SchemaGenerator) -> Schema {
    let one = build::mapping(KEYS, &[FROM.name], generator);
    json_schema!({ "anyOf": [
        { "type": "boolean", "default": true },
        { "type": "string", "pattern": "\\$\\{" },
        { "type": "array", "items": one },
    ] })
}

fn text_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1 })
}

fn texts_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "string", "minLength": 1 } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::element::testing;

    fn share(text: &str) -> Result<Share, String> {
        testing::read(KEY, &format!("share: {text}"), read).map(|read| read.value)
    }

    #[test]
    fn it_is_with_all_or_nobody_or_some() {
        assert_eq!(share("true"), Ok(Share::Everybody));
        assert_eq!(share("false"), Ok(Share::Nobody));
        let rule = Shared { from: "web@shop".parse().unwrap(), call: ["get".parse().unwrap()].into() };
        assert_eq!(share("[{ from: web@shop, call: [get] }]"), Ok(Share::Only(vec![rule])));
        for (text, expected) in [
            (
                "[{ call: [get] }]",
                "1:9 an item of 'share' of service 'web' has no 'from' | write it as in { from: web@shop, call: [get] }",
            ),
            (
                "[{ from: web, call: [get] }]",
                "1:17 'from' of an item of 'share' of service 'web': 'web' is no caller \
                 | write a service and its project, as in 'web@shop'",
            ),
        ] {
            assert_eq!(share(text).unwrap_err(), expected, "{text}");
        }
    }
}
