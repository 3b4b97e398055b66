//! `net`: the connections that a service may have.

use std::collections::BTreeSet;

use schemars::{Schema, SchemaGenerator, json_schema};

use super::granting;
use crate::manifest::node::Content;
use crate::manifest::problem::{Hint, Placed, ValueError};
use crate::manifest::reader::{Field, Key, Reader};
use crate::manifest::schema as build;
use crate::permissions::{Endpoint, EndpointError, Host};

const CONNECT: Key = Key {
    name: "connect",
    about: "Where it may connect to: exact hosts and ports, as in 'api.example.com:443'; or another service, as in \
            'db:6379', on a port that this one listens on.",
    schema: connect_schema,
};
const LISTEN: Key = Key {
    name: "listen",
    about: "The ports of its own loopback that it may listen on. Those that 'ready' and 'alive' try are among them.",
    schema: listen_schema,
};
const KEYS: &[Key] = &[CONNECT, LISTEN];
/// What is said of what is no endpoint.
const ONE: &str = "write one host and one port, as in 'api.example.com:443'";

/// The connections as they are written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RawNet {
    pub(crate) connect: Vec<Placed<Endpoint>>,
    pub(crate) listen: BTreeSet<u16>,
}

pub(super) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<RawNet> {
    if matches!(&field.node.content, Content::Text(text) if text == "none") {
        return Some(RawNet::default());
    }
    let fields = granting(field, KEYS, reader)?;
    let connect = fields.get(&CONNECT).and_then(|field| read_connect(&field, reader)).unwrap_or_default();
    let listen = fields.get(&LISTEN).and_then(|field| read_listen(&field, reader)).unwrap_or_default();
    Some(RawNet { connect, listen })
}

fn read_connect(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Vec<Placed<Endpoint>>> {
    let items = field.items("a list of hosts with ports", reader)?;
    Some(items.iter().filter_map(|item| read_endpoint(item, reader)).collect())
}

fn read_endpoint(item: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<Endpoint>> {
    let text = item.text("a host and a port, as in 'api.example.com:443'", reader)?.value;
    let endpoint: Endpoint = match text.parse() {
        Ok(endpoint) => endpoint,
        Err(error) => {
            let hint = match &error {
                EndpointError::NotAscii(_) => "write it in its ASCII form, as in 'xn--...'",
                EndpointError::Brackets(_) => "write an IPv6 address in brackets, as in '[::1]:80'",
                _ => ONE,
            };
            item.bad_value(error.into(), Hint::advise(hint), reader);
            return None;
        }
    };
    match &endpoint.host {
        Host::Address(address) if address.is_unspecified() || address.is_multicast() => {
            item.bad_value(ValueError::NoHost(address.to_string()), Hint::advise(ONE), reader);
            None
        }
        Host::Name(name) if name == "localhost" || name.ends_with(".localhost") => {
            let port = endpoint.port;
            let hint = format!(
                "name another service, as in 'db:{port}', or write '127.0.0.1:{port}' for a port of this host"
            );
            item.bad_value(ValueError::OwnHost(name.clone()), Some(Hint::Do(hint)), reader);
            None
        }
        _ => Some(item.placed(endpoint)),
    }
}

fn read_listen(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<BTreeSet<u16>> {
    let items = field.items("a list of ports", reader)?;
    let ports = items.iter().filter_map(|item| u16::try_from(item.whole(1, 65_535, reader)?.value).ok());
    Some(ports.collect())
}

pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
    let mapping = build::mapping(KEYS, &[], generator);
    json_schema!({ "anyOf": [{ "const": "none" }, mapping] })
}

fn connect_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "string", "pattern": ":[0-9]+$|\\$\\{" } })
}

fn listen_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "integer", "minimum": 1, "maximum": 65535 } })
}
