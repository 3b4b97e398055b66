//! `fabric` and `elsewhere`: the Redis over which orchestrators and programs of several hosts find each other, and the
//! services that run at others.

use std::time::Duration;

use schemars::{Schema, SchemaGenerator, json_schema};

use super::{duration, name};
use crate::manifest::node::Content;
use crate::manifest::problem::{Hint, Placed, ValueError};
use crate::manifest::reader::{Field, Key, Reader};
use crate::manifest::{Fabric, FabricKey, RedisUrl, schema};
use crate::name::ServiceName;

pub(crate) const KEY: Key = Key {
    name: "fabric",
    about: "The Redis over which this project calls services of other hosts, and is called by them.",
    schema: fabric_schema,
};

pub(crate) const ELSEWHERE: Key = Key {
    name: "elsewhere",
    about: "Services that other members of the fabric have, or programs that attach: they can be granted as those of the manifest.",
    schema: elsewhere_schema,
};

const REDIS: Key = Key {
    name: "redis",
    about: "Its address: redis://[USER:PASSWORD@]HOST[:PORT][/DB], or rediss:// for TLS.",
    schema: url_schema,
};
const SECRET: Key = Key {
    name: "key",
    about: "What all members have and nobody else: 32 bytes or more. By default ORCHESTRATOR_FABRIC_KEY of the environment.",
    schema: text_schema,
};
const CA: Key = Key {
    name: "ca",
    about: "A file with the certificates (PEM) that a Redis over TLS is known by, where nobody else knows them.",
    schema: text_schema,
};
const PREFIX: Key = Key {
    name: "prefix",
    about: "What its channels and keys in Redis begin with. By default 'orchestrator'.",
    schema: text_schema,
};
const TIMEOUT: Key = Key {
    name: "timeout",
    about: "How long nothing may be heard of this member before it counts as gone. By default 6s.",
    schema: timeout_schema,
};

const KEYS: &[Key] = &[REDIS, SECRET, CA, PREFIX, TIMEOUT];

/// The shortest time-out: less would be the time that a busy host takes to say something.
const SHORTEST: Duration = Duration::from_millis(500);

/// The longest one: others wait no longer.
const LONGEST: Duration = Duration::from_secs(600);

/// Reads the fabric: an address, or all of it.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Fabric> {
    if let Content::Text(_) = field.node.content {
        return read_url(field, reader).map(Fabric::at);
    }
    let fields = field.fields(KEYS, reader)?;
    let Some(redis) = fields.get(&REDIS) else {
        let why = ValueError::NoRedis;
        field.bad_value(why, Hint::advise("add one, as in { redis: 'redis://127.0.0.1' }"), reader);
        return None;
    };
    let redis = read_url(&redis, reader);
    let key = fields.get(&SECRET).map(|field| read_key(&field, reader));
    let ca = fields.get(&CA).map(|field| field.text("a path", reader));
    let prefix = fields.get(&PREFIX).map(|field| read_prefix(&field, reader));
    let timeout = fields.get(&TIMEOUT).map(|field| read_timeout(&field, reader));
    let fabric = Fabric::at(redis?);
    // What is written and wrong has been reported.
    Some(Fabric {
        key: key.flatten(),
        ca: ca.flatten().map(|path| path.value.into()),
        prefix: prefix.flatten().unwrap_or(fabric.prefix),
        timeout: timeout.flatten().unwrap_or(fabric.timeout),
        redis: fabric.redis,
    })
}

fn read_timeout(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Duration> {
    let timeout = duration::read(field, reader)?.value;
    if timeout < SHORTEST {
        field.bad_value(ValueError::ShortTimeout, Hint::advise("write 500ms or more"), reader);
        return None;
    }
    if timeout > LONGEST {
        field.bad_value(ValueError::LongTimeout, Hint::advise("write 10m or less"), reader);
        return None;
    }
    Some(timeout)
}

fn read_url(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<RedisUrl> {
    let text = field.text("an address, as in redis://127.0.0.1:6379/0", reader)?;
    match RedisUrl::parse(&text.value) {
        Ok(url) => Some(url),
        Err(why) => {
            field.bad_value(why.into(), Hint::advise("write it as 'redis://127.0.0.1:6379/0'"), reader);
            None
        }
    }
}

fn read_key(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<FabricKey> {
    let text = field.text("a key, best as '${FABRIC_KEY}'", reader)?;
    match FabricKey::parse(&text.value) {
        Ok(key) => Some(key),
        Err(why) => {
            field.bad_value(why.into(), Hint::advise("make one with 'openssl rand -hex 32'"), reader);
            None
        }
    }
}

fn read_prefix(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<String> {
    let text = field.text("a short text", reader)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    if !(1..=64).contains(&text.value.len()) || !text.value.bytes().all(plain) {
        let why = ValueError::Prefix(text.value);
        field.bad_value(
            why,
            Hint::advise("write up to 64 letters, digits, hyphens, dots and colons"),
            reader,
        );
        return None;
    }
    Some(text.value)
}

/// Reads the names of what runs at others.
pub(crate) fn read_elsewhere(field: &Field<'_>, reader: &mut Reader<'_>) -> Vec<Placed<ServiceName>> {
    let items = field.items("a list of services", reader).unwrap_or_default();
    let names = items.iter().filter_map(|item| {
        let text = item.text("the name of a service", reader)?;
        name::label(&text.value, &text.place, "a service", reader).map(|name| Placed::new(name, &text.place))
    });
    names.collect()
}

fn fabric_schema(generator: &mut SchemaGenerator) -> Schema {
    let whole = schema::mapping(KEYS, &[REDIS.name], generator);
    json_schema!({ "anyOf": [url_schema(generator), whole] })
}

fn url_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^rediss?://[^ ]+$|\\$\\{" })
}

fn timeout_schema(_: &mut SchemaGenerator) -> Schema {
    duration::schema_with_default("6s")
}

fn text_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1 })
}

fn elsewhere_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "string", "minLength": 1 } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::element::testing;

    fn fabric(text: &str) -> Result<Fabric, String> {
        testing::read(KEY, &format!("fabric: {text}"), read)
    }

    #[test]
    fn an_address_is_enough() {
        let read = fabric("redis://localhost:637${TWO}").unwrap();
        assert_eq!(read, Fabric::at(RedisUrl::parse("redis://localhost:6372").unwrap()));
        let key = "k".repeat(32);
        let read =
            fabric(&format!("{{ redis: redis://a/3, key: {key}, prefix: 'shop:1', timeout: 2s }}")).unwrap();
        assert_eq!((read.key, read.prefix), (Some(FabricKey::parse(&key).unwrap()), "shop:1".to_owned()));
        assert_eq!((read.timeout, read.redis.database()), (Duration::from_secs(2), 3));
    }

    #[test]
    fn what_is_wrong_is_said_without_what_is_secret() {
        for (text, expected) in [
            (
                "http://me:secret@a",
                "1:9 'fabric' of service 'web': it is no redis or rediss address | write it as 'redis://127.0.0.1:6379/0'",
            ),
            (
                "{ prefix: a }",
                "1:9 'fabric' of service 'web': it has no 'redis' | add one, as in { redis: 'redis://127.0.0.1' }",
            ),
            (
                "{ redis: redis://a, key: secret }",
                "1:34 'key' of 'fabric' of service 'web': the key has 6 bytes, where 32 are the least \
                 | make one with 'openssl rand -hex 32'",
            ),
            (
                "{ redis: redis://a, prefix: 'a b' }",
                "1:37 'prefix' of 'fabric' of service 'web': 'a b' cannot be a prefix \
                 | write up to 64 letters, digits, hyphens, dots and colons",
            ),
            (
                "{ redis: redis://a, timeout: 1h }",
                "1:38 'timeout' of 'fabric' of service 'web': others wait no longer than 10m | write 10m or less",
            ),
            (
                "{ redis: redis://a, timeout: 10ms }",
                "1:38 'timeout' of 'fabric' of service 'web': it is too short for a busy host | write 500ms or more",
            ),
        ] {
            assert_eq!(fabric(text).unwrap_err(), expected, "{text}");
        }
    }
}
