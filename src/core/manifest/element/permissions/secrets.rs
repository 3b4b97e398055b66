//! `secrets`: what a service is given as files that nobody else sees.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::granting;
use crate::manifest::problem::{Hint, Owner, Placed, ProblemKind, ValueError};
use crate::manifest::reader::{Field, Key, Reader};
use crate::manifest::schema as build;

const NAME: Key =
    Key { name: "name", about: "The name of the file that it finds it in.", schema: name_schema };
const FILE: Key =
    Key { name: "file", about: "Where it is kept: a file, relative to the manifest.", schema: text_schema };
const ENV: Key = Key {
    name: "env",
    about: "Where it is kept: a variable in the environment of who starts the orchestrator.",
    schema: text_schema,
};
const DELEGABLE: Key = Key {
    name: "delegable",
    about: "Whether its children can be given it. By default false.",
    schema: flag_schema,
};
const KEYS: &[Key] = &[NAME, FILE, ENV, DELEGABLE];

/// A secret as it is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RawSecret {
    pub(crate) name: Placed<String>,
    pub(crate) source: RawSource,
    pub(crate) delegable: bool,
}

/// Where it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RawSource {
    File(Placed<String>),
    Env(String),
}

pub(super) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Vec<RawSecret>> {
    let items = field.items("a list of secrets", reader)?;
    Some(items.iter().filter_map(|item| read_one(item, reader)).collect())
}

fn read_one(item: &Field<'_>, reader: &mut Reader<'_>) -> Option<RawSecret> {
    let fields = granting(item, KEYS, reader)?;
    let Some(name) = fields.get(&NAME) else {
        let kind = ProblemKind::MissingKey { key: NAME.name, owner: item.owner.clone() };
        reader.report(
            item.place(),
            kind,
            Hint::advise("write it as in { name: db_password, file: ./db_password }"),
        );
        return None;
    };
    let written = name.text("a name", reader)?;
    if !is_file_name(&written.value) {
        let hint = Hint::advise("use lower-case letters, digits, '-', '_' and '.'");
        name.bad_value(ValueError::SecretName(written.value), hint, reader);
        return None;
    }
    let file = fields.get(&FILE).and_then(|field| field.text("a path", reader));
    let env = fields.get(&ENV).and_then(|field| field.text("the name of a variable", reader));
    let source = match (file, env) {
        (Some(file), None) => RawSource::File(file),
        (None, Some(env)) => RawSource::Env(env.value),
        (Some(_), Some(_)) => return excluded(item, reader),
        (None, None) => {
            let kind = ProblemKind::MissingKey { key: FILE.name, owner: item.owner.clone() };
            reader.report(item.place(), kind, Hint::advise("say where it is kept: 'file:' or 'env:'"));
            return None;
        }
    };
    let delegable = fields.get(&DELEGABLE).and_then(|field| Some(field.flag(reader)?.value));
    Some(RawSecret { name: written, source, delegable: delegable.unwrap_or_default() })
}

fn excluded(item: &Field<'_>, reader: &mut Reader<'_>) -> Option<RawSecret> {
    let owner: Owner = item.owner.clone();
    let (one, other) = (FILE.name.to_owned(), ENV.name.to_owned());
    reader.report(
        item.place(),
        ProblemKind::Excluded { one, other, owner },
        Hint::advise("keep one of them"),
    );
    None
}

fn is_file_name(name: &str) -> bool {
    let inside =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    (1..=64).contains(&name.len()) && name.bytes().all(inside) && !name.starts_with('.')
}

pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
    let mut one = build::mapping(KEYS, &["name"], generator);
    let has = |key: &str| serde_json::json!({ "required": [key] });
    one.insert("oneOf".to_owned(), vec![has("file"), has("env")].into());
    json_schema!({ "type": "array", "items": one })
}

fn name_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^[a-z0-9_-][a-z0-9._-]{0,63}$" })
}

fn text_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1 })
}

fn flag_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "boolean", "default": false })
}

#[cfg(test)]
mod tests {
    use super::super::{KEY, read};
    use super::*;
    use crate::manifest::element::testing;

    #[test]
    fn a_secret_has_a_name_and_a_place() {
        let text =
            "permissions: {secrets: [{name: db_pw, file: ./pw}, {name: token, env: TOKEN, delegable: true}]}";
        let secrets = testing::read(KEY, text, read).unwrap().secrets.unwrap();
        assert!(matches!(&secrets[0].source, RawSource::File(file) if file.value == "./pw"));
        assert_eq!((&secrets[1].source, secrets[1].delegable), (&RawSource::Env("TOKEN".into()), true));
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for (text, expected) in [
            (
                "[{file: ./pw}]",
                "1:25 an item of 'secrets' of 'permissions' of service 'web' has no 'name' \
                 | write it as in { name: db_password, file: ./db_password }",
            ),
            (
                "[{name: ../pw, file: ./pw}]",
                "1:32 'name' of an item of 'secrets' of 'permissions' of service 'web': '../pw' cannot be the name of a \
                 secret | use lower-case letters, digits, '-', '_' and '.'",
            ),
            (
                "[{name: pw}]",
                "1:25 an item of 'secrets' of 'permissions' of service 'web' has no 'file' \
                 | say where it is kept: 'file:' or 'env:'",
            ),
            (
                "[{name: pw, file: a, env: B}]",
                "1:25 an item of 'secrets' of 'permissions' of service 'web' has both 'file' and 'env' | keep one of them",
            ),
        ] {
            let text = format!("permissions: {{secrets: {text}}}");
            assert_eq!(testing::read(KEY, &text, read).unwrap_err(), expected, "{text}");
        }
    }
}
