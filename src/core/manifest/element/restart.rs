//! `restart`: what is done when a replica crashes: a word, or a mapping with the waits and the budget as well.

use std::time::Duration;

use schemars::{Schema, SchemaGenerator, json_schema};

use super::duration;
use super::replicas::whole;
use crate::manifest::node::Content;
use crate::manifest::problem::{Hint, Placed, ValueError};
use crate::manifest::reader::{Field, Key, Reader};
use crate::manifest::schema;
use crate::manifest::{Kind, Restart, RestartPolicy};

pub(crate) const KEY: Key = Key {
    name: "restart",
    about: "Which ends are followed by a restart, after which wait, and how often. By default on-failure, and never \
            for a job.",
    schema: restart_schema,
};

const POLICY: Key = Key {
    name: "policy",
    about: "Which ends are followed by a restart. By default on-failure.",
    schema: policy_schema,
};

const BACKOFF: Key = Key {
    name: "backoff",
    about: "The wait before the first restart, and the longest that it grows to. By default 100ms..10s.",
    schema: backoff_schema,
};

const MAX: Key = Key {
    name: "max",
    about: "How many crashes within the window are followed by a restart; one more, and it gives up. By default 5.",
    schema: max_schema,
};

const WITHIN: Key = Key {
    name: "within",
    about: "The window in which crashes are counted. By default 60s.",
    schema: within_schema,
};

const KEYS: &[Key] = &[POLICY, BACKOFF, MAX, WITHIN];
const MOST_CRASHES: u32 = 1000;
const POLICIES: [(&str, RestartPolicy); 3] = [
    ("never", RestartPolicy::Never),
    ("on-failure", RestartPolicy::OnFailure),
    ("always", RestartPolicy::Always),
];

/// What happens to a service that says nothing of restarts.
pub(crate) fn default_of(kind: Kind) -> Restart {
    let policy = match kind {
        Kind::Service => RestartPolicy::default(),
        Kind::Job => RestartPolicy::Never,
    };
    Restart { policy, ..Restart::default() }
}

/// Reads what is done after a crash.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<Restart>> {
    let mut restart = Restart::default();
    if matches!(field.node.content, Content::Text(_)) {
        restart.policy = field.word(&POLICIES, reader)?.value;
        return Some(field.placed(restart));
    }
    if !matches!(field.node.content, Content::Mapping(_)) {
        field.wrong_type("never, on-failure, always or a mapping", None, reader);
        return None;
    }
    let fields = field.fields(KEYS, reader)?;
    if let Some(policy) = fields.get(&POLICY).and_then(|field| field.word(&POLICIES, reader)) {
        restart.policy = policy.value;
    }
    if let Some((least, most)) = fields.get(&BACKOFF).and_then(|field| read_backoff(&field, reader)) {
        (restart.backoff_min, restart.backoff_max) = (least, most);
    }
    if let Some(max) = fields.get(&MAX).and_then(|field| field.whole(0, MOST_CRASHES, reader)) {
        restart.max = max.value;
    }
    if let Some(within) = fields.get(&WITHIN).and_then(|field| duration::read(&field, reader)) {
        restart.within = within.value;
    }
    Some(field.placed(restart))
}

fn read_backoff(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<(Duration, Duration)> {
    let text = field.verbatim("a range of durations, as in 100ms..10s", reader)?.value;
    match backoff(&text) {
        Ok(range) => Some(range),
        Err((why, hint)) => {
            field.bad_value(why, hint, reader);
            None
        }
    }
}

/// Reads `100ms..10s`, or one duration for a wait that does not grow.
fn backoff(text: &str) -> Result<(Duration, Duration), (ValueError, Option<Hint>)> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let least = duration::parse(least.trim()).map_err(duration::refused)?;
    let most = duration::parse(most.trim()).map_err(duration::refused)?;
    if least > most {
        let hint = Hint::advise("write the shorter wait first, as in 100ms..10s");
        return Err((ValueError::Backwards(text.to_owned()), hint));
    }
    Ok((least, most))
}

fn restart_schema(generator: &mut SchemaGenerator) -> Schema {
    let policy = policy_schema(generator);
    let mapping = schema::mapping(KEYS, &[], generator);
    json_schema!({ "anyOf": [policy, mapping] })
}

fn policy_schema(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<RestartPolicy>()
}

fn backoff_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": "^[0-9hms]+( *\\.\\. *[0-9hms]+)?$|\\$\\{",
        "default": "100ms..10s",
    })
}

fn max_schema(_: &mut SchemaGenerator) -> Schema {
    whole(0, MOST_CRASHES, 5)
}

fn within_schema(_: &mut SchemaGenerator) -> Schema {
    duration::schema_with_default("60s")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::element::testing;

    #[test]
    fn a_word_is_a_policy_with_the_default_budget() {
        let restart = testing::read(KEY, "restart: always", read).unwrap().value;
        assert_eq!(restart, Restart { policy: RestartPolicy::Always, ..Restart::default() });
    }

    #[test]
    fn a_mapping_says_more() {
        let text = "restart: { policy: never, backoff: 1s..1m30s, max: 2, within: 2h }";
        let expected = Restart {
            policy: RestartPolicy::Never,
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(90),
            max: 2,
            within: Duration::from_secs(7200),
        };
        assert_eq!(testing::read(KEY, text, read).unwrap().value, expected);
        let steady = testing::read(KEY, "restart: { backoff: 2s }", read).unwrap().value;
        assert_eq!(
            (steady.backoff_min, steady.backoff_max),
            (Duration::from_secs(2), Duration::from_secs(2))
        );
        assert_eq!(steady.policy, RestartPolicy::OnFailure);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, expected) in [
            (
                "on-fail",
                "1:10 'restart' of service 'web' cannot be 'on-fail' | write never or on-failure or always",
            ),
            (
                "onfailure",
                "1:10 'restart' of service 'web' cannot be 'onfailure' | did you mean 'on-failure'?",
            ),
            (
                "true",
                "1:10 'restart' of service 'web' is to be never, on-failure, always or a mapping, not true or false \
 | write never, on-failure, always or a mapping",
            ),
            (
                "{ backoff: 10s..1s }",
                "1:21 'backoff' of 'restart' of service 'web': the range 10s..1s ends before it begins \
                 | write the shorter wait first, as in 100ms..10s",
            ),
            (
                "{ backoff: 100..10s, max: -1 }",
                "1:21 'backoff' of 'restart' of service 'web': the duration '100' has no unit \
                 | write '100s' or '100ms'\n\
                 1:36 'max' of 'restart' of service 'web': -1 is not between 0 and 1000 \
                 | write a whole number from 0 to 1000",
            ),
        ] {
            assert_eq!(
                testing::read(KEY, &format!("restart: {text}"), read).unwrap_err(),
                expected,
                "{text}"
            );
        }
    }
}
