//! `ready`: what must succeed before a started service counts as running.

use std::time::Duration;

use schemars::{Schema, SchemaGenerator, json_schema};

use super::{duration, probe};
use crate::manifest::problem::{Hint, Placed, ValueError};
use crate::manifest::reader::{Field, Fields, Key, Reader};
use crate::manifest::schema;
use crate::manifest::{Readiness, ReadyCheck};

pub(crate) const KEY: Key = Key {
    name: "ready",
    about: "What must succeed before it counts as running. By default its own start() having returned.",
    schema: ready_schema,
};

const LOG: Key =
    Key { name: "log", about: "A line of its output matches this regular expression.", schema: log_schema };

const NOTIFY: Key = Key {
    name: "notify",
    about: "It says so itself, with 'started' on the host protocol.",
    schema: notify_schema,
};

const INTERVAL: Key =
    Key { name: "interval", about: "The wait between two tries. By default 100ms.", schema: interval_schema };

const KEYS: &[Key] = &[probe::TCP, probe::HTTP, LOG, probe::EXEC, NOTIFY, INTERVAL];
const CHECKS: &str = "tcp, http, log, exec, notify";
const INTERVAL_DEFAULT: Duration = Duration::from_millis(100);

/// Reads the readiness check: exactly one.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<Readiness>> {
    let fields = field.fields(KEYS, reader)?;
    let interval = match fields.get(&INTERVAL) {
        Some(interval) => duration::read(&interval, reader).map(|interval| interval.value),
        None => Some(INTERVAL_DEFAULT),
    };
    let mut checks = read_checks(&fields, reader);
    let misspelt = KEYS.iter().any(|key| key.name != INTERVAL.name && fields.mentions(key));
    match checks.len() {
        1 => Some(field.placed(Readiness { check: checks.remove(0)?, interval: interval? })),
        0 if misspelt => None,
        found => {
            let hint = Hint::advise("write one, as in { tcp: 8080 }");
            field.bad_value(ValueError::Checks { some: found > 0, checks: CHECKS }, hint, reader);
            None
        }
    }
}

fn read_checks(fields: &Fields<'_>, reader: &mut Reader<'_>) -> Vec<Option<ReadyCheck>> {
    let mut checks: Vec<_> =
        probe::read(fields, reader).into_iter().map(|probe| probe.map(ReadyCheck::Probe)).collect();
    checks.extend(fields.get(&LOG).map(|field| read_log(&field, reader)));
    checks.extend(fields.get(&NOTIFY).map(|field| read_notify(&field, reader)));
    checks
}

fn read_log(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<ReadyCheck> {
    let regex = field.text("a regular expression", reader)?.value;
    if regex.is_empty() {
        field.bad_value(ValueError::Empty, Hint::advise("write what the line has in it"), reader);
        return None;
    }
    if let Err(why) = reader.check_regex(&regex) {
        let hint = Hint::advise("correct it; a '\\' before a character takes its meaning away");
        field.bad_value(ValueError::Regex(why), hint, reader);
        return None;
    }
    Some(ReadyCheck::Log(regex))
}

fn read_notify(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<ReadyCheck> {
    if field.flag(reader)?.value {
        return Some(ReadyCheck::Notify);
    }
    field.bad_value(ValueError::OnlyTrue, Hint::advise("write 'notify: true', or remove 'ready'"), reader);
    None
}

fn ready_schema(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = schema::mapping(KEYS, &[], generator);
    let checks: Vec<_> = CHECKS.split(", ").map(|check| serde_json::json!({ "required": [check] })).collect();
    schema.insert("oneOf".to_owned(), checks.into());
    schema
}

fn log_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1 })
}

fn notify_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "const": true })
}

fn interval_schema(_: &mut SchemaGenerator) -> Schema {
    duration::schema_with_default("100ms")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Probe;
    use crate::manifest::element::testing;

    #[test]
    fn each_check_can_be_written() {
        let probe = |probe| ReadyCheck::Probe(probe);
        for (text, expected) in [
            ("{ tcp: 6379 }", probe(Probe::Tcp(6379))),
            ("{ tcp: '${TWO}' }", probe(Probe::Tcp(2))),
            ("{ http: 8080/health }", probe(Probe::Http { port: 8080, path: "/health".into() })),
            ("{ http: 8080 }", probe(Probe::Http { port: 8080, path: "/".into() })),
            ("{ exec: [test, -e, 1] }", probe(Probe::Exec(vec!["test".into(), "-e".into(), "1".into()]))),
            ("{ log: 'listening on \\d+' }", ReadyCheck::Log("listening on \\d+".into())),
            ("{ notify: true }", ReadyCheck::Notify),
        ] {
            let ready = testing::read(KEY, &format!("ready: {text}"), read).unwrap().value;
            assert_eq!(ready, Readiness { check: expected, interval: Duration::from_millis(100) }, "{text}");
        }
        let slow = testing::read(KEY, "ready: { tcp: 1, interval: 2s }", read).unwrap().value;
        assert_eq!(slow.interval, Duration::from_secs(2));
    }

    #[test]
    fn exactly_one_check_makes_sense() {
        for (text, expected) in [
            (
                "{}",
                "1:8 'ready' of service 'web': it has none of tcp, http, log, exec, notify, where one is expected \
                 | write one, as in { tcp: 8080 }",
            ),
            (
                "{ tcp: 1, notify: true }",
                "1:8 'ready' of service 'web': it has more than one of tcp, http, log, exec, notify, where one is \
                 expected | write one, as in { tcp: 8080 }",
            ),
            ("{ tpc: 1 }", "1:10 unknown key 'tpc' in 'ready' of service 'web' | did you mean 'tcp'?"),
            (
                "{ tcp: 0, interval: 5 }",
                "1:28 'interval' of 'ready' of service 'web': the duration '5' has no unit | write '5s' or '5ms'\n\
                 1:15 'tcp' of 'ready' of service 'web': 0 is not between 1 and 65535 \
                 | write a whole number from 1 to 65535",
            ),
            (
                "{ log: '(' }",
                "1:15 'log' of 'ready' of service 'web': it is no regular expression: unclosed group \
                 | correct it; a '\\' before a character takes its meaning away",
            ),
            (
                "{ notify: false }",
                "1:18 'notify' of 'ready' of service 'web': it can only be 'true' \
                 | write 'notify: true', or remove 'ready'",
            ),
            (
                "{ exec: [] }",
                "1:16 'exec' of 'ready' of service 'web': it cannot be empty \
                 | write a command, as in [pg_isready, -q]",
            ),
            (
                "8080",
                "1:8 'ready' of service 'web' is to be a mapping, as in 'key: value', not a number \
 | write a mapping, as in 'key: value'",
            ),
        ] {
            let problem = testing::read(KEY, &format!("ready: {text}"), read).unwrap_err();
            assert_eq!(problem, expected, "{text}");
        }
    }
}
