//! `listen`: the sockets that the orchestrator owns for a service. Whether two services want the same one is seen when the
//! whole manifest is resolved.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::manifest::problem::{Hint, Placed, ValueError};
use crate::manifest::reader::{Field, Key, Reader};

/// The most sockets of one service.
const MOST: usize = 16;

pub(crate) const KEY: Key = Key {
    name: "listen",
    about: "The sockets that it serves, by name: a port, an address with a port, or a path. They outlive its replicas.",
    schema,
};

/// A socket as it is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RawListener {
    /// Its name.
    pub(crate) name: Placed<String>,
    /// Where it is.
    pub(crate) address: Placed<String>,
}

/// Reads the sockets.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Vec<RawListener> {
    let expected = "a mapping of names to ports, as in '{ http: 8080 }'";
    let Some(mapping) = field.mapping(expected, reader) else { return Vec::new() };
    if mapping.entries.is_empty() || mapping.entries.len() > MOST {
        let (why, hint) = match mapping.entries.len() {
            0 => (ValueError::Empty, "write one, as in { http: 8080 }, or remove it".to_owned()),
            _ => (ValueError::ManySockets, format!("write {MOST} at most")),
        };
        field.bad_value(why, Some(Hint::Do(hint)), reader);
    }
    let entries = mapping.entries.iter();
    let read = entries.filter_map(|entry| {
        let value = field.of_entry(&entry.key.value, &entry.value);
        let address = value.verbatim("a port, an address with a port, or a path", reader)?;
        if !is_name(&entry.key.value) {
            let hint = Hint::advise("write lower-case letters, digits and hyphens");
            value.bad_value(ValueError::SocketName(entry.key.value.clone()), hint, reader);
            return None;
        }
        Some(RawListener { name: entry.key.clone(), address })
    });
    read.collect()
}

/// What can stand in `LISTEN_FDNAMES`, and reads well in a log.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(plain)
}

fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": MOST,
        "propertyNames": { "pattern": "^[a-z0-9-]{1,63}$" },
        "additionalProperties": {
            "anyOf": [
                { "type": "integer", "minimum": 1, "maximum": 65535 },
                { "type": "string", "minLength": 1 },
            ],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::element::testing;

    fn listeners(text: &str) -> Result<Vec<(String, String)>, String> {
        let read = testing::read(KEY, &format!("listen: {text}"), |field, reader| Some(read(field, reader)))?;
        Ok(read.into_iter().map(|socket| (socket.name.value, socket.address.value)).collect())
    }

    #[test]
    fn sockets_have_names_and_addresses_in_the_order_of_the_file() {
        let read = listeners("{ http: 8080, admin: '127.0.0.1:${TWO}', ipc: ./app.sock }").unwrap();
        let expected = [("http", "8080"), ("admin", "127.0.0.1:2"), ("ipc", "./app.sock")];
        assert_eq!(read, expected.map(|(name, address)| (name.to_owned(), address.to_owned())));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, problem) in [
            (
                "8080",
                "1:9 'listen' of service 'web' is to be a mapping of names to ports, as in '{ http: 8080 }', not a number \
                 | write a mapping of names to ports, as in '{ http: 8080 }'",
            ),
            (
                "{}",
                "1:9 'listen' of service 'web': it cannot be empty | write one, as in { http: 8080 }, or remove it",
            ),
            (
                "{ HTTP: 80 }",
                "1:17 'HTTP' of 'listen' of service 'web': 'HTTP' cannot be the name of a socket \
                 | write lower-case letters, digits and hyphens",
            ),
            (
                "{ http: [80] }",
                "1:17 'http' of 'listen' of service 'web' is to be a port, an address with a port, or a path, not a list \
                 | write a port, an address with a port, or a path",
            ),
        ] {
            assert_eq!(listeners(text).unwrap_err(), problem, "{text}");
        }
    }
}
