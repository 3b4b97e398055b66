//! [`Listener`]: a socket that the orchestrator owns and a service serves.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// One entry of `listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What the service knows it by: lower-case letters, digits and hyphens.
    pub name: String,
    /// Where it is reached.
    pub address: ListenAddress,
}

/// Where people reach a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// This port of every address of the host.
    Port(u16),
    /// This address.
    Tcp(SocketAddr),
    /// A Unix socket at this absolute path.
    Unix(PathBuf),
}

/// Why a text is no address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// It is none of what is possible.
    #[error("'{0}' is no port, no address with a port and no path")]
    Neither(String),
    /// Port 0, or more than there are.
    #[error("'{0}' is no port from 1 to 65535")]
    Port(String),
    /// A name of a host, which may mean anything at another time.
    #[error("'{0}' is no address: a name can mean another one tomorrow")]
    Name(String),
    /// Longer than the path of a socket can be.
    #[error("the path '{0}' is longer than a socket's can be ({LONGEST_PATH} bytes)")]
    Long(String),
}

/// What `sun_path` holds, without the zero at its end.
const LONGEST_PATH: usize = 107;

impl Listener {
    /// Whether HTTP is spoken there, which says what somebody hears while nobody serves: a listener is named for what it
    /// speaks, `http`, or `http-` and more.
    #[must_use]
    pub fn is_http(&self) -> bool {
        self.name == "http" || self.name.starts_with("http-")
    }
}

impl ListenAddress {
    /// Its port, where it has one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Port(port) => Some(*port),
            Self::Tcp(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }

    /// Whether both cannot be listened on at the same time.
    #[must_use]
    pub fn clashes_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(one), Self::Unix(other)) => one == other,
            (Self::Tcp(one), Self::Tcp(other)) => {
                let any = |address: &SocketAddr| address.ip().is_unspecified();
                one.port() == other.port() && (one.ip() == other.ip() || any(one) || any(other))
            }
            _ => self.port().is_some() && self.port() == other.port(),
        }
    }

    /// The address that a text means; a path is relative to `folder`.
    ///
    /// # Errors
    /// Where it means none.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ListenError> {
        if text.starts_with('/') || text.starts_with("./") || text.starts_with("../") {
            let path = normal(&folder.join(text));
            let long = path.as_os_str().len() > LONGEST_PATH;
            return if long { Err(ListenError::Long(text.to_owned())) } else { Ok(Self::Unix(path)) };
        }
        let port = |digits: &str| {
            let port =
                digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
            port.filter(|port| *port != 0).ok_or_else(|| ListenError::Port(digits.to_owned()))
        };
        let Some((host, digits)) = text.rsplit_once(':') else {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let neither = || ListenError::Neither(text.to_owned());
            return if is_number { port(text).map(Self::Port) } else { Err(neither()) };
        };
        let address = match host {
            "localhost" => IpAddr::from([127, 0, 0, 1]),
            "*" => return port(digits).map(Self::Port),
            _ => match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
                Some(inner) => Ipv6Addr::from_str(inner).map(IpAddr::V6),
                None => host.parse().map(IpAddr::V4),
            }
            .map_err(|_| ListenError::Name(host.to_owned()))?,
        };
        Ok(Self::Tcp(SocketAddr::new(address, port(digits)?)))
    }
}

/// Without `.` and `..`, as they are written: nobody has made the socket yet, so nothing can be asked of the disk.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut normal, part| {
        match part {
            std::path::Component::ParentDir => {
                normal.pop();
            }
            std::path::Component::CurDir => {}
            part => normal.push(part),
        }
        normal
    })
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "*:{port}"),
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ListenAddress, ListenError> {
        ListenAddress::parse(text, Path::new("/shop"))
    }

    #[test]
    fn an_address_is_a_port_an_address_with_a_port_or_a_path() {
        for (text, shown) in [
            ("8080", "*:8080"),
            ("*:8080", "*:8080"),
            ("127.0.0.1:9090", "127.0.0.1:9090"),
            ("localhost:9090", "127.0.0.1:9090"),
            ("[::1]:80", "[::1]:80"),
            ("./app.sock", "/shop/app.sock"),
            ("../run/./app.sock", "/run/app.sock"),
            ("/run/app.sock", "/run/app.sock"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), shown, "{text}");
        }
        let long = format!("/{}", "x".repeat(107));
        for (text, error) in [
            ("0", "'0' is no port from 1 to 65535"),
            ("65536", "'65536' is no port from 1 to 65535"),
            ("127.0.0.1:", "'' is no port from 1 to 65535"),
            ("127.0.0.1:+1", "'+1' is no port from 1 to 65535"),
            ("example.org:80", "'example.org' is no address: a name can mean another one tomorrow"),
            ("::1:80", "'::1' is no address: a name can mean another one tomorrow"),
            ("app.sock", "'app.sock' is no port, no address with a port and no path"),
            ("", "'' is no port, no address with a port and no path"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), error, "{text}");
        }
        assert!(matches!(parse(&long), Err(ListenError::Long(_))));
    }

    #[test]
    fn what_cannot_be_there_twice_clashes() {
        for (one, other, clash) in [
            ("80", "80", true),
            ("80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("./a", "/shop/a", true),
            ("./a", "80", false),
        ] {
            let (first, second) = (parse(one).unwrap(), parse(other).unwrap());
            assert_eq!(first.clashes_with(&second), clash, "{one} {other}");
            assert_eq!(second.clashes_with(&first), clash, "{other} {one}");
        }
    }
}
