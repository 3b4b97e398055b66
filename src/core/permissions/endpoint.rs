//! [`Endpoint`]: one host and one port, in the one way to write them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a connection goes to. Written `host:port`, with an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint {
    /// The host.
    pub host: Host,
    /// The port, never 0.
    pub port: u16,
}

/// A host, by name or by address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name in lower case, without a dot at its end.
    Name(String),
    /// An address. One of IPv4 that is dressed up as IPv6 is undressed.
    Address(IpAddr),
}

/// Why a text is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// There is no port.
    #[error("'{0}' has no port")]
    NoPort(String),
    /// The port is none.
    #[error("'{0}' is no port from 1 to 65535")]
    Port(String),
    /// A `*`.
    #[error("'{0}' stands for more than one host")]
    Wildcard(String),
    /// Letters outside of ASCII.
    #[error("'{0}' is not written in ASCII")]
    NotAscii(String),
    /// An IPv6 address without brackets.
    #[error("'{0}' has a colon in its host")]
    Brackets(String),
    /// Neither a name nor an address.
    #[error("'{0}' is neither a host's name nor an address")]
    Host(String),
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let (host, port) = text.rsplit_once(':').ok_or_else(|| EndpointError::NoPort(text.to_owned()))?;
        let number = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok()).flatten();
        let port = match number {
            Some(0) | None => return Err(EndpointError::Port(port.to_owned())),
            Some(port) => port,
        };
        Ok(Self { host: host.parse()?, port })
    }
}

impl FromStr for Host {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let address = match bracketed {
            Some(inner) => inner.parse().map(IpAddr::V6).ok(),
            None => text.parse().map(IpAddr::V4).ok(),
        };
        if let Some(address) = address {
            return Ok(Self::Address(address.to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let why: fn(String) -> EndpointError = if name.contains('*') {
            EndpointError::Wildcard
        } else if !name.is_ascii() {
            EndpointError::NotAscii
        } else if name.contains(':') {
            EndpointError::Brackets
        } else if !is_name(&name) {
            EndpointError::Host
        } else {
            return Ok(Self::Name(name));
        };
        Err(why(text.to_owned()))
    }
}

/// Labels of letters, digits, `-` and `_`. A last label of digits alone would be an address in disguise.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let looks_like_number = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= 253 && !looks_like_number && name.split('.').all(label)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Self, EndpointError> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_one_spelling() {
        for (text, canonical) in [
            ("api.example.com:443", "api.example.com:443"),
            ("API.Example.COM.:443", "api.example.com:443"),
            ("db:6379", "db:6379"),
            ("10.0.0.5:5432", "10.0.0.5:5432"),
            ("[::1]:80", "[::1]:80"),
            ("[0:0::0001]:080", "[::1]:80"),
            ("[::ffff:10.0.0.5]:1", "10.0.0.5:1"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn what_is_not_exactly_one_host_and_port_is_refused() {
        for (text, expected) in [
            ("api.example.com", "'api.example.com' has no port"),
            ("a:0", "'0' is no port from 1 to 65535"),
            ("a:80-90", "'80-90' is no port from 1 to 65535"),
            ("a:*", "'*' is no port from 1 to 65535"),
            ("a:+1", "'+1' is no port from 1 to 65535"),
            ("a:65536", "'65536' is no port from 1 to 65535"),
            ("*.example.com:443", "'*.example.com' stands for more than one host"),
            ("bücher.example:443", "'bücher.example' is not written in ASCII"),
            ("::1:80", "'::1' has a colon in its host"),
            (":80", "'' is neither a host's name nor an address"),
            ("a..b:80", "'a..b' is neither a host's name nor an address"),
            ("0x7f000001:80", "'0x7f000001' is neither a host's name nor an address"),
            ("2130706433:80", "'2130706433' is neither a host's name nor an address"),
            ("127.1:80", "'127.1' is neither a host's name nor an address"),
            ("a b:80", "'a b' is neither a host's name nor an address"),
            ("http://a:80", "'http://a' has a colon in its host"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap_err().to_string(), expected, "{text}");
        }
    }
}
