//! One request, one answer; and where it is no, the line of the manifest that would make it a yes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::endpoint::{Endpoint, Host};
use super::{NetGrants, Permissions};
use crate::name::ServiceName;

/// Something that a service tried and may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Who tried: a service, or somebody of another member of the fabric, as `web@shop`.
    pub who: String,
    /// What, as in `connect to api.example.com:443`.
    pub tried: String,
    /// The line of the manifest that would allow it.
    pub grant: String,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who, tried, grant } = self;
        write!(f, "{who} may not {tried}; to allow it: {grant}")
    }
}

/// Addresses that lead back into a host or its own network, where a name that anybody can register must not lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnAddress {
    /// The host itself.
    Loopback,
    /// A private network, or a carrier's.
    Private,
    /// This link only, cloud metadata among it.
    LinkLocal,
    /// More than one host, or none.
    NotOne,
}

impl Permissions {
    /// Whether this service may connect there.
    ///
    /// # Errors
    /// With what would allow it.
    pub fn may_connect(&self, service: &ServiceName, to: &Endpoint) -> Result<(), Denial> {
        if self.net.connect.contains(to) {
            return Ok(());
        }
        let line = format!("services.{service}.permissions.net.connect: [\"{to}\"]");
        Err(Denial { who: service.to_string(), tried: format!("connect to {to}"), grant: line })
    }
}

impl NetGrants {
    /// Whether an address that a name was resolved to may be dialled: the host's own world only where the manifest names
    /// the address itself.
    ///
    /// # Errors
    /// With what kind of address it is.
    pub fn may_dial(asked: &Endpoint, resolved: IpAddr) -> Result<(), OwnAddress> {
        match (&asked.host, range_of(resolved)) {
            (Host::Address(literal), _) if *literal == resolved.to_canonical() => Ok(()),
            (_, None) => Ok(()),
            (_, Some(own)) => Err(own),
        }
    }
}

/// The own world that an address belongs to; none where it is public.
#[must_use]
pub fn range_of(address: IpAddr) -> Option<OwnAddress> {
    match address.to_canonical() {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => v6(address),
    }
}

fn v4(address: Ipv4Addr) -> Option<OwnAddress> {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        (127, ..) => Some(OwnAddress::Loopback),
        (10, ..) | (172, 16..=31, _) | (192, 168, _) | (100, 64..=127, _) | (198, 18..=19, _) => {
            Some(OwnAddress::Private)
        }
        (169, 254, _) => Some(OwnAddress::LinkLocal),
        (0 | 224..=255, ..) | (192, 0, 0) => Some(OwnAddress::NotOne),
        _ => None,
    }
}

fn v6(address: Ipv6Addr) -> Option<OwnAddress> {
    let [first, second, ..] = address.segments();
    // Addresses that carry one of IPv4 inside are as good as that: NAT64 and 6to4.
    let inner = match (first, second) {
        (0x64, 0xff9b) => Some(address.segments()[6..].to_vec()),
        (0x2002, _) => Some(address.segments()[1..3].to_vec()),
        _ => None,
    };
    if let Some([high, low]) = inner.as_deref() {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        return v4(Ipv4Addr::new(a, b, c, d));
    }
    match first {
        0 if address == Ipv6Addr::LOCALHOST => Some(OwnAddress::Loopback),
        0 => Some(OwnAddress::NotOne),
        0xfc00..=0xfdff => Some(OwnAddress::Private),
        0xfe80..=0xfeff => Some(OwnAddress::LinkLocal),
        0xff00.. => Some(OwnAddress::NotOne),
        _ => None,
    }
}

impl fmt::Display for OwnAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "this host itself",
            Self::Private => "a private network",
            Self::LinkLocal => "this link only",
            Self::NotOne => "no single host",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_says_what_would_allow_it() {
        let web = ServiceName::parse("web").unwrap();
        let mut permissions = Permissions::default();
        let to: Endpoint = "api.example.com:443".parse().unwrap();
        assert_eq!(
            permissions.may_connect(&web, &to).unwrap_err().to_string(),
            "web may not connect to api.example.com:443; to allow it: \
             services.web.permissions.net.connect: [\"api.example.com:443\"]"
        );
        permissions.net.connect.insert(to.clone());
        assert_eq!(permissions.may_connect(&web, &to), Ok(()));
        assert!(permissions.may_connect(&web, &"api.example.com:80".parse().unwrap()).is_err());
    }

    #[test]
    fn a_name_never_leads_into_the_hosts_own_world() {
        use OwnAddress::{LinkLocal, Loopback, NotOne, Private};
        for (address, expected) in [
            ("93.184.216.34", None),
            ("2606:2800:220:1::1", None),
            ("127.8.9.1", Some(Loopback)),
            ("::1", Some(Loopback)),
            ("::ffff:127.0.0.1", Some(Loopback)),
            ("10.1.2.3", Some(Private)),
            ("172.31.0.1", Some(Private)),
            ("172.32.0.1", None),
            ("192.168.1.1", Some(Private)),
            ("100.64.0.1", Some(Private)),
            ("fd00::1", Some(Private)),
            ("64:ff9b::10.0.0.1", Some(Private)),
            ("2002:7f00:1::", Some(Loopback)),
            ("169.254.169.254", Some(LinkLocal)),
            ("fe80::1", Some(LinkLocal)),
            ("0.0.0.0", Some(NotOne)),
            ("::", Some(NotOne)),
            ("224.0.0.1", Some(NotOne)),
            ("255.255.255.255", Some(NotOne)),
            ("ff02::1", Some(NotOne)),
        ] {
            assert_eq!(range_of(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn an_address_that_is_written_out_is_meant() {
        let literal: Endpoint = "127.0.0.1:80".parse().unwrap();
        let name: Endpoint = "localhost.example:80".parse().unwrap();
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(NetGrants::may_dial(&literal, loopback), Ok(()));
        assert_eq!(NetGrants::may_dial(&name, loopback), Err(OwnAddress::Loopback));
        assert_eq!(NetGrants::may_dial(&name, "1.1.1.1".parse().unwrap()), Ok(()));
    }
}
