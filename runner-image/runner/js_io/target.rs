//! [`Target`]: the host and the port that a URL leads to, in the words of the manifest, and the errors on the way there.

use std::error::Error as _;
use std::io;

use tokio_rustls::rustls::pki_types::ServerName;
use url::{Host, Url};

use super::messages::Failure;

/// Where a request goes.
pub(super) struct Target {
    /// As the manifest writes it.
    pub(super) to: String,
    /// Whom the certificate has to be for; none for `http:`.
    pub(super) tls: Option<ServerName<'static>>,
}

impl Target {
    /// Reads it from a URL.
    pub(super) fn of(url: &Url) -> Result<Self, Failure> {
        let invalid = |what: &str| Failure::new("EINVAL", format!("cannot fetch {url}: {what}"));
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("only http: and https: are understood"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("a name and a password belong into the header 'authorization'"));
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(invalid("it names no host"));
        };
        // One of IPv4 that is dressed up as IPv6 is undressed, as in the manifest.
        let host = match host {
            Host::Domain(name) => Host::Domain(name.strip_suffix('.').unwrap_or(name).to_owned()),
            Host::Ipv4(address) => Host::Ipv4(address),
            Host::Ipv6(address) => address.to_ipv4_mapped().map_or(Host::Ipv6(address), Host::Ipv4),
        };
        let tls = match &host {
            _ if url.scheme() == "http" => None,
            Host::Domain(name) => {
                Some(ServerName::try_from(name.clone()).map_err(|_| invalid("it names no host"))?)
            }
            Host::Ipv4(address) => Some(ServerName::IpAddress((*address).into())),
            Host::Ipv6(address) => Some(ServerName::IpAddress((*address).into())),
        };
        Ok(Self { to: format!("{host}:{port}"), tls })
    }

    /// What the gateway could not reach is a connection that it ends: it tells why in the events.
    pub(super) fn unreachable(&self, error: &io::Error) -> Failure {
        let code = match error.kind() {
            io::ErrorKind::ConnectionRefused => "ECONNREFUSED",
            // What TLS has to say comes so.
            io::ErrorKind::InvalidData => "tls",
            _ => "ECONNRESET",
        };
        let hint = if code == "tls" { "" } else { " ('orchestrator events' tells more)" };
        Failure::new(code, format!("cannot fetch from {}: {error}{hint}", self.to))
    }

    /// A conversation that was none, or ended too early.
    pub(super) fn broken(&self, error: &hyper::Error) -> Failure {
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(error) = cause.downcast_ref::<io::Error>() {
                return self.unreachable(error);
            }
            source = cause.source();
        }
        if error.is_incomplete_message() {
            return self
                .unreachable(&io::Error::new(io::ErrorKind::ConnectionReset, "the connection was closed"));
        }
        Failure::new("http", format!("cannot fetch from {}: {error}", self.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_where_the_manifest_would_write_it() {
        for (url, to) in [
            ("http://DB/x", "db:80"),
            ("https://db./", "db:443"),
            ("http://db:6379", "db:6379"),
            ("http://127.1/", "127.0.0.1:80"),
            ("http://[::1]:8080/", "[::1]:8080"),
            ("http://[::ffff:10.0.0.1]/", "10.0.0.1:80"),
            ("http://b\u{fc}cher.example/", "xn--bcher-kva.example:80"),
        ] {
            let target = Target::of(&Url::parse(url).unwrap()).map(|target| target.to);
            assert_eq!(target.as_deref().ok(), Some(to), "{url}");
        }
    }
}
