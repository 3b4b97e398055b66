//! The checks that `ready` and `alive` share: `tcp`, `http` and `exec`, tried inside the service's environment.

use std::net::Ipv4Addr;

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::manifest::Probe;
use crate::manifest::node::Content;
use crate::manifest::problem::{Hint, ValueError};
use crate::manifest::reader::{Field, Fields, Key, Reader};

pub(super) const TCP: Key = Key {
    name: "tcp",
    about: "Something accepts TCP connections on this port of the loopback interface.",
    schema: tcp_schema,
};

pub(super) const HTTP: Key = Key {
    name: "http",
    about: "A GET of this port and path on the loopback interface, as in 8080/health, answers with a status from 200 \
            to 399.",
    schema: http_schema,
};

pub(super) const EXEC: Key =
    Key { name: "exec", about: "This command exits with code 0.", schema: super::args::schema };

/// Every probe that is written. Whether one is missing or one too many is for the caller to say.
pub(super) fn read(fields: &Fields<'_>, reader: &mut Reader<'_>) -> Vec<Option<Probe>> {
    let tcp = fields.get(&TCP).map(|field| read_tcp(&field, reader));
    let http = fields.get(&HTTP).map(|field| read_http(&field, reader));
    let exec = fields.get(&EXEC).map(|field| read_exec(&field, reader));
    [tcp, http, exec].into_iter().flatten().collect()
}

fn read_tcp(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Probe> {
    let port = field.whole(1, u16::MAX.into(), reader)?;
    u16::try_from(port.value).ok().map(Probe::Tcp)
}

fn read_http(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Probe> {
    if matches!(field.node.content, Content::Number(_)) {
        let port = field.whole(1, u16::MAX.into(), reader)?;
        return u16::try_from(port.value).ok().map(|port| Probe::Http { port, path: "/".to_owned() });
    }
    let target = field.text("a port and a path, as in 8080/health", reader)?;
    match http_target(&target.value) {
        Ok(probe) => Some(probe),
        Err(why) => {
            let hint = Hint::advise("write it as '8080/health' or 'http://127.0.0.1:8080/health'");
            field.bad_value(why, hint, reader);
            None
        }
    }
}

/// Reads `PORT/path`, or the same with `http://` and a loopback host before it.
fn http_target(text: &str) -> Result<Probe, ValueError> {
    let wrong = || ValueError::HttpTarget(text.to_owned());
    let target = match text.strip_prefix("http://") {
        Some(address) => {
            let (host, target) = address.split_once(':').ok_or_else(wrong)?;
            if host != "localhost" && !host.parse::<Ipv4Addr>().is_ok_and(|host| host.is_loopback()) {
                return Err(ValueError::Elsewhere(host.to_owned()));
            }
            target
        }
        None => text,
    };
    let (port, path) = target.split_once('/').unwrap_or((target, ""));
    let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
    // The path goes into the first line of a request, which ends at a space.
    if path.chars().any(|c| c.is_whitespace() || c.is_control() || !c.is_ascii()) {
        return Err(wrong());
    }
    Ok(Probe::Http { port, path: format!("/{path}") })
}

fn read_exec(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Probe> {
    let command = field.texts(reader)?;
    if command.value.first().is_none_or(String::is_empty) {
        field.bad_value(ValueError::Empty, Hint::advise("write a command, as in [pg_isready, -q]"), reader);
        return None;
    }
    Some(Probe::Exec(command.value))
}

fn tcp_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["integer", "string"], "minimum": 1, "maximum": u16::MAX, "pattern": "\\$\\{" })
}

fn http_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["integer", "string"],
        "minimum": 1,
        "maximum": u16::MAX,
        "pattern": "^(http://(localhost|127(\\.[0-9]+){3}):)?[0-9]+(/[!-~]*)?$|\\$\\{",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_target_is_a_port_and_a_path_on_loopback() {
        for (text, port, path) in [
            ("8080/health", 8080, "/health"),
            ("8080", 8080, "/"),
            ("http://127.0.0.1:80/a/b?c=d", 80, "/a/b?c=d"),
            ("http://localhost:65535", 65535, "/"),
        ] {
            assert_eq!(http_target(text), Ok(Probe::Http { port, path: path.into() }), "{text}");
        }
        for (text, expected) in [
            ("/health", "'/health' is no port with a path"),
            ("0/", "'0/' is no port with a path"),
            ("70000/", "'70000/' is no port with a path"),
            ("80/a b", "'80/a b' is no port with a path"),
            ("80/a\r\nHost: x", "'80/a\r\nHost: x' is no port with a path"),
            ("https://127.0.0.1:80/", "'https://127.0.0.1:80/' is no port with a path"),
            ("http://localhost/", "'http://localhost/' is no port with a path"),
            (
                "http://example.com:80/",
                "a check is made inside the service's environment, not on 'example.com'",
            ),
        ] {
            assert_eq!(http_target(text).unwrap_err().to_string(), expected, "{text}");
        }
    }
}
