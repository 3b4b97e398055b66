//! [`learn`]: from what a service was seen to use, while nothing was denied to it, to the least that it has to be granted.
//!
//! What every service of its runtime has anyway is left out. What cannot be granted is not: it becomes a [`Remark`], so that
//! whoever reads the grants knows what will be missing. Nothing is looked up here but by what the caller hands in.

mod files;
mod network;
mod remark;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;

pub use self::remark::{Remark, Verb};
use crate::manifest::{Manifest, RestartPolicy, Service, Surroundings};
use crate::name::ServiceName;
use crate::permissions::{Limits, Pattern, Permissions, Sandbox, Scratch, ServiceGrants};

/// Something that a service used. Paths are absolute, without links, and were there at that time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// It read a file.
    Read(PathBuf),
    /// It listed a folder.
    List(PathBuf),
    /// It changed a file that was there.
    Write(PathBuf),
    /// It made or removed what this path names. Only its folder was there for certain.
    Make(PathBuf),
    /// It executed a file.
    Run(PathBuf),
    /// It did one of these by a path that leads through a link.
    Link {
        /// As it was named.
        from: PathBuf,
        /// Where it led.
        to: PathBuf,
    },
    /// It started a process.
    Process,
    /// It connected to a socket in the file system.
    Socket(PathBuf),
    /// It connected to a TCP port.
    Connect(SocketAddr),
    /// It sent a datagram there, other than to look up a name.
    Datagram(SocketAddr),
    /// It waited for connections at this TCP port.
    Listen(u16),
    /// It looked up this name.
    Lookup(String),
    /// It called a method of another service.
    Call {
        /// Whose.
        service: ServiceName,
        /// Which.
        method: String,
    },
    /// An event of its own reached another service.
    Emit {
        /// Whom.
        service: ServiceName,
        /// Which.
        event: String,
    },
    /// An event of another service reached it.
    Hear {
        /// Whose.
        service: ServiceName,
        /// Which.
        event: String,
    },
}

/// What was seen of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Each thing once.
    pub uses: BTreeSet<Use>,
    /// How many further uses could not be seen.
    pub lost: u64,
}

/// What is known besides.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The service, as its manifest says.
    pub service: &'a Service,
    /// The manifest that it is in.
    pub manifest: &'a Manifest,
    /// The host, as the manifest was read against it.
    pub around: &'a Surroundings<'a>,
    /// The host's files that its runtime brings with it.
    pub runtime: &'a [PathBuf],
    /// What the names that it looked up lead to; nothing where a name leads nowhere.
    pub addresses: &'a BTreeMap<String, BTreeSet<IpAddr>>,
}

/// The least that a service has to be granted to do once more what it did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Learned {
    /// The grants. Files, connections, other services and processes only: nothing else can be seen.
    pub permissions: Permissions,
    /// Those of the written paths that another service writes to as well.
    pub shared: BTreeSet<PathBuf>,
    /// What the grants cannot say.
    pub remarks: BTreeSet<Remark>,
    /// The keys of the present permissions that nothing can be learned about.
    pub kept: Vec<&'static str>,
}

/// Works out what has to be granted.
#[must_use]
pub fn learn(record: &Record, known: &Known<'_>) -> Learned {
    let mut learned = Learned { kept: kept(known.service), ..Learned::default() };
    files::learn(record, known, &mut learned);
    network::learn(record, known, &mut learned);
    for used in &record.uses {
        match used {
            Use::Process => learned.permissions.subprocess = true,
            Use::Call { service, method } => talk(&mut learned, known, service, method, |of| &mut of.call),
            Use::Emit { service, event } => talk(&mut learned, known, service, event, |of| &mut of.emit),
            Use::Hear { service, event } => talk(&mut learned, known, service, event, |of| &mut of.hear),
            _ => {}
        }
    }
    if record.lost > 0 {
        learned.remarks.insert(Remark::Lost(record.lost));
    }
    learned
}

/// Nothing has to be granted between a service and its own replicas, its parent and its children.
fn talk(
    learned: &mut Learned,
    known: &Known<'_>,
    other: &ServiceName,
    name: &str,
    of: impl Fn(&mut ServiceGrants) -> &mut BTreeSet<Pattern>,
) {
    let own = &known.service.name;
    if other == own || other.parent().as_ref() == Some(own) {
        return;
    }
    if let Ok(pattern) = name.parse() {
        of(learned.permissions.services.entry(other.clone()).or_default()).insert(pattern);
    }
}

/// The manifest with which a service is watched: it alone is held to nothing, may speak with everybody, is there once, and its
/// end, which comes once, is the end of everything.
#[must_use]
pub fn watched(mut manifest: Manifest, name: &ServiceName) -> Manifest {
    let all = || ["*".parse()].into_iter().flatten().collect::<BTreeSet<Pattern>>();
    let everything = || ServiceGrants { call: all(), emit: all(), hear: all() };
    let others = manifest.services.keys().filter(|other| *other != name);
    let services = others.map(|other| (other.clone(), everything())).collect();
    if let Some(service) = manifest.services.get_mut(name) {
        service.sandbox = Sandbox::None;
        service.permissions.services = services;
        service.replicas = NonZeroU32::MIN;
        service.restart.policy = RestartPolicy::Never;
        service.essential = true;
    }
    manifest
}

fn kept(service: &Service) -> Vec<&'static str> {
    let Permissions { fs, children, secrets, devices, limits, .. } = &service.permissions;
    let keys = [
        ("env", !service.env.is_empty()),
        ("secrets", !secrets.is_empty()),
        ("fs.scratch", fs.scratch != Scratch::default()),
        ("children", children.is_some()),
        ("devices", !devices.is_empty()),
        ("limits", *limits != Limits::default()),
    ];
    keys.into_iter().filter_map(|(key, is_there)| is_there.then_some(key)).collect()
}
