//! `on_give_up`: who is told, outside of the project, that a replica has given up: a command, a webhook, or both.

use std::net::Ipv6Addr;

use schemars::{Schema, SchemaGenerator, json_schema};

use super::args;
use crate::manifest::problem::{Hint, Placed, ValueError};
use crate::manifest::reader::{Field, Key, Reader};
use crate::manifest::schema;
use crate::manifest::{OnGiveUp, Webhook};

pub(crate) const KEY: Key = Key {
    name: "on_give_up",
    about: "What is done once when a replica gives up: a command of this host, run by the orchestrator and outside of the \
            sandbox, a webhook, or both.",
    schema: on_give_up_schema,
};

const EXEC: Key = Key {
    name: "exec",
    about: "This program is run with these arguments. What happened is in its environment.",
    schema: args::schema,
};

const WEBHOOK: Key = Key {
    name: "webhook",
    about: "What happened is posted to this http or https address, as JSON.",
    schema: webhook_schema,
};

const KEYS: &[Key] = &[EXEC, WEBHOOK];

/// The beginnings of an address, whether each means TLS, and its port where none is written.
const SCHEMES: [(&str, bool, u16); 2] = [("http://", false, 80), ("https://", true, 443)];

/// A text that is no address of a webhook.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no http or https address")]
pub struct WebhookError(String);

/// Reads what is done: one thing at least.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<OnGiveUp>> {
    let fields = field.fields(KEYS, reader)?;
    if !KEYS.iter().any(|key| fields.mentions(key)) {
        let hint = Hint::advise("write 'exec', 'webhook' or both, as in { exec: [./tell.sh] }, or remove it");
        field.bad_value(ValueError::Empty, hint, reader);
        return None;
    }
    let exec = fields.get(&EXEC).map(|field| read_exec(&field, reader));
    let webhook = fields.get(&WEBHOOK).map(|field| read_webhook(&field, reader));
    // What is written and wrong has been reported.
    let wrong = matches!(exec, Some(None)) || matches!(webhook, Some(None));
    (!wrong).then(|| field.placed(OnGiveUp { exec: exec.flatten(), webhook: webhook.flatten() }))
}

fn read_exec(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Vec<String>> {
    let command = field.texts(reader)?.value;
    if command.first().is_none_or(String::is_empty) {
        field.bad_value(ValueError::Empty, Hint::advise("write a command, as in [./tell.sh, --now]"), reader);
        return None;
    }
    Some(command)
}

fn read_webhook(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Webhook> {
    let text = field.text("an address, as in http://127.0.0.1:9000/path", reader)?.value;
    match parse(&text) {
        Ok(webhook) => Some(webhook),
        Err(why) => {
            field.bad_value(why.into(), Hint::advise("write it as 'http://127.0.0.1:9000/path'"), reader);
            None
        }
    }
}

/// Reads `http://HOST[:PORT][/PATH]`, or the same with `https`.
fn parse(text: &str) -> Result<Webhook, WebhookError> {
    let wrong = || WebhookError(text.to_owned());
    let (rest, tls, usual) = SCHEMES
        .into_iter()
        .find_map(|(scheme, tls, port)| Some((text.strip_prefix(scheme)?, tls, port)))
        .ok_or_else(wrong)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    // The target goes into the first line of a request, which ends at a space.
    if target.contains('#') || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong());
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            (host, port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?)
        }
        _ => (authority, usual),
    };
    if !is_host(host) {
        return Err(wrong());
    }
    let path = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    Ok(Webhook { tls, host: host.to_owned(), port, path })
}

/// A name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        }
    }
}

fn on_give_up_schema(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = schema::mapping(KEYS, &[], generator);
    schema.insert("minProperties".to_owned(), 1.into());
    schema
}

fn webhook_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^https?://[^#]+$|\\$\\{" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::element::testing;

    #[test]
    fn a_webhook_is_a_host_a_port_and_a_path() {
        for (text, shown) in [
            ("http://127.0.0.1:9000/path?a=b", "http://127.0.0.1:9000/path?a=b"),
            ("http://example.com", "http://example.com:80/"),
            ("http://example.com?a", "http://example.com:80/?a"),
            ("https://hooks.example.com/a/b", "https://hooks.example.com:443/a/b"),
            ("http://[::1]:81/a", "http://[::1]:81/a"),
            ("http://[::1]/a", "http://[::1]:80/a"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), shown);
        }
        for text in [
            "http://",
            "http://:80/",
            "http://a:0/",
            "http://a:b/",
            "http://me@a/",
            "http://a/b c",
            "http://a/#b",
            "http://[::1/",
            "ftp://a/",
            "a:80",
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), format!("'{text}' is no http or https address"));
        }
    }

    #[test]
    fn one_thing_at_least_is_done() {
        let read =
            |text: &str| testing::read(KEY, &format!("on_give_up: {text}"), read).map(|read| read.value);
        let both = read("{ exec: [./tell.sh, 1], webhook: 'http://localhost:${TWO}' }").unwrap();
        let webhook = Webhook { tls: false, host: "localhost".into(), port: 2, path: "/".into() };
        let exec = Some(vec!["./tell.sh".to_owned(), "1".to_owned()]);
        assert_eq!(both, OnGiveUp { exec, webhook: Some(webhook) });
        for (text, expected) in [
            (
                "{}",
                "1:13 'on_give_up' of service 'web': it cannot be empty \
                 | write 'exec', 'webhook' or both, as in { exec: [./tell.sh] }, or remove it",
            ),
            (
                "{ exec: [] }",
                "1:21 'exec' of 'on_give_up' of service 'web': it cannot be empty \
                 | write a command, as in [./tell.sh, --now]",
            ),
            (
                "{ exec: ./tell.sh }",
                "1:21 'exec' of 'on_give_up' of service 'web' is to be a list of texts, not text \
                 | write it in brackets, as in [one, two]",
            ),
            (
                "{ webhook: localhost }",
                "1:24 'webhook' of 'on_give_up' of service 'web': 'localhost' is no http or https address \
                 | write it as 'http://127.0.0.1:9000/path'",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), expected, "{text}");
        }
    }
}
