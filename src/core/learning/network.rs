//! The connections of a record: by which name each is to be granted.

use std::net::{IpAddr, SocketAddr};

use super::{Known, Learned, Record, Remark, Use};
use crate::name::ServiceName;
use crate::permissions::{Endpoint, Host, range_of};

pub(super) fn learn(record: &Record, known: &Known<'_>, learned: &mut Learned) {
    for used in &record.uses {
        match used {
            Use::Listen(port) => drop(learned.permissions.net.listen.insert(*port)),
            Use::Connect(to) if !is_own(record, *to) => {
                let (host, remark) = known.host(record, *to);
                learned.permissions.net.connect.insert(Endpoint { host, port: to.port() });
                learned.remarks.extend(remark);
            }
            Use::Datagram(to) => drop(learned.remarks.insert(Remark::Datagram(*to))),
            Use::Lookup(name) => {
                for (service, port) in known.meant(name) {
                    let host = Host::Name(service.to_string());
                    learned.permissions.net.connect.insert(Endpoint { host, port });
                    learned.remarks.insert(Remark::ByName(service));
                }
            }
            _ => {}
        }
    }
}

/// What it listens on itself it reaches in any case.
fn is_own(record: &Record, to: SocketAddr) -> bool {
    is_here(to.ip()) && record.uses.contains(&Use::Listen(to.port()))
}

fn is_here(address: IpAddr) -> bool {
    address.is_loopback() || address.is_unspecified()
}

impl Known<'_> {
    /// How the manifest is to call the host of a connection.
    fn host(&self, record: &Record, to: SocketAddr) -> (Host, Option<Remark>) {
        let address = to.ip().to_canonical();
        if is_here(address) {
            return match self.service_at(to.port()) {
                Some(service) => (Host::Name(service.to_string()), Some(Remark::ByAddress { to, service })),
                None if address.is_unspecified() => (Host::Address(loopback(address)), None),
                None => (Host::Address(address), None),
            };
        }
        let led = self.addresses.iter().find(|(_, addresses)| addresses.contains(&address));
        match (led.map(|(name, _)| name.clone()), range_of(address)) {
            (Some(name), Some(_)) => (Host::Address(address), Some(Remark::Private { name, address })),
            (Some(name), None) => (Host::Name(name), None),
            (None, Some(_)) => (Host::Address(address), None),
            (None, None) => match self.last_unexplained(record) {
                Some(name) => (Host::Name(name), None),
                None => (Host::Address(address), Some(Remark::Nameless(to))),
            },
        }
    }

    /// The one name that leads to none of the connections: the names of large sites lead to other addresses each time.
    fn last_unexplained(&self, record: &Record) -> Option<String> {
        let connected = |address: &IpAddr| {
            record
                .uses
                .iter()
                .any(|used| matches!(used, Use::Connect(to) if to.ip().to_canonical() == *address))
        };
        let public = |addresses: &std::collections::BTreeSet<IpAddr>| {
            !addresses.is_empty() && addresses.iter().all(|address| range_of(*address).is_none())
        };
        let mut names = self
            .addresses
            .iter()
            .filter(|(_, addresses)| public(addresses) && !addresses.iter().any(connected));
        let first = names.next();
        first.filter(|_| names.next().is_none()).map(|(name, _)| name.clone())
    }

    /// The other service that listens on this port.
    fn service_at(&self, port: u16) -> Option<ServiceName> {
        let others = self.manifest.services.values().filter(|other| other.name != self.service.name);
        others
            .into_iter()
            .find(|other| other.permissions.net.listen.contains(&port))
            .map(|other| other.name.clone())
    }

    /// The ports of the service that a name stands for which leads nowhere outside of a sandbox.
    fn meant(&self, name: &str) -> Vec<(ServiceName, u16)> {
        if self.addresses.get(name).is_some_and(|addresses| !addresses.is_empty()) {
            return Vec::new();
        }
        // A resolver also tries it in the host's own domain.
        let label = name.split('.').next().unwrap_or_default();
        let meant = self.manifest.services.values().find(|other| other.name.as_str() == label);
        let ports = meant
            .filter(|other| other.name != self.service.name)
            .into_iter()
            .flat_map(|other| other.permissions.net.listen.iter().map(|port| (other.name.clone(), *port)));
        ports.collect()
    }
}

fn loopback(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    }
}
