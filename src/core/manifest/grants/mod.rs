//! From the permissions as they are written to [`Permissions`]: paths become absolute and are compared with what is on
//! disk, and what children can be granted with what there is to give.

mod between;
mod host_user;
mod paths;

use std::collections::BTreeMap;

pub(super) use self::between::check;
use self::paths::Paths;
pub use self::paths::never_granted;
use super::element::permissions::{RawChildren, RawPermissions};
use super::problem::{Hint, ProblemKind};
use super::raw::{NamedService, RawManifest};
use super::reader::Reader;
use super::{Probe, ReadyCheck, Surroundings, image_choice};
use crate::name::ServiceName;
use crate::permissions::{
    ChildGrants, Isolation, Limits, NetGrants, Permissions, Sandbox, ServiceGrants, excess,
};

/// Fewer threads than this, and Node does not fail but hang.
const LEAST_PIDS_OF_NODE: u32 = 16;

/// The permissions that are meant, where the reader has recorded no problem. `runtime` runs the service, where that is
/// clear.
pub(super) fn resolve(
    named: &NamedService,
    runtime: &str,
    around: &Surroundings<'_>,
    reader: &mut Reader<'_>,
) -> Permissions {
    let raw = &named.service.permissions;
    let mut paths = Paths { service: &named.written.value, around, reader };
    let mut permissions = granted(raw, &mut paths);
    permissions.fs.user = host_user::resolve(named, paths.around, paths.reader);
    let children =
        raw.children.as_ref().map(|children| (children, granted(&children.permissions, &mut paths)));
    listen_where_tried(named, &mut permissions.net);
    if let Some((raw, ceiling)) = children {
        permissions.children = Some(below(named, raw, ceiling, &permissions, reader));
    }
    if let Some(pids) = permissions.limits.pids
        && pids < LEAST_PIDS_OF_NODE
        && runtime == "node"
    {
        let (service, least) = (named.written.value.clone(), LEAST_PIDS_OF_NODE);
        let kind = ProblemKind::FewPids { service, runtime: runtime.to_owned(), least };
        let place = named.service.runtime.as_ref().map_or(&named.written.place, |runtime| &runtime.place);
        reader.report(place, kind, Hint::advise(format!("write 'pids: {least}' or more")));
    }
    permissions
}

fn granted(raw: &RawPermissions, paths: &mut Paths<'_, '_, '_>) -> Permissions {
    let mut permissions = Permissions {
        subprocess: raw.subprocess.unwrap_or_default(),
        limits: raw.limits.clone().unwrap_or_default(),
        ..Permissions::default()
    };
    if let Some(files) = &raw.fs {
        permissions.fs.read = paths.reads(&files.read);
        permissions.fs.write = paths.writes(&files.write);
        permissions.fs.scratch = files.scratch.unwrap_or_default();
    }
    permissions.secrets = paths.secrets(raw.secrets.as_deref().unwrap_or_default());
    permissions.devices = raw.devices.iter().flatten().filter_map(|path| paths.device(path)).collect();
    if let Some(written) = &raw.net {
        permissions.net.connect = written.connect.iter().map(|endpoint| endpoint.value.clone()).collect();
        permissions.net.listen.clone_from(&written.listen);
    }
    permissions.services = towards(raw);
    permissions
}

/// What is granted towards other services; several items on one add up.
fn towards(raw: &RawPermissions) -> BTreeMap<ServiceName, ServiceGrants> {
    let mut services = BTreeMap::<_, ServiceGrants>::new();
    for talk in raw.services.iter().flatten() {
        let grants = services.entry(talk.name.value.clone()).or_default();
        grants.call.extend(talk.grants.call.iter().cloned());
        grants.emit.extend(talk.grants.emit.iter().cloned());
        grants.hear.extend(talk.grants.hear.iter().cloned());
    }
    services
}

/// What children can be granted, which has to be there to give. A limit that is not written is the service's own.
fn below(
    named: &NamedService,
    raw: &RawChildren,
    mut ceiling: Permissions,
    own: &Permissions,
    reader: &mut Reader<'_>,
) -> ChildGrants {
    ceiling.limits = tighter(&ceiling.limits, &own.limits);
    ceiling.fs.user = own.fs.user;
    ceiling.fs.scratch.size = ceiling.fs.scratch.size.min(own.fs.scratch.size);
    ceiling.fs.scratch.inodes = ceiling.fs.scratch.inodes.min(own.fs.scratch.inodes);
    let mut most = own.clone();
    // Who runs a service's code may as well call it.
    if let Some(name) = &named.name {
        let all: ServiceGrants =
            ServiceGrants { call: ["*".parse()].into_iter().flatten().collect(), ..ServiceGrants::default() };
        most.services.insert(name.clone(), all);
    }
    for excess in excess(&ceiling, &most) {
        let (service, excess) = (named.written.value.clone(), excess.to_string());
        let hint = format!("grant it to '{service}' too, or take it out of 'children'");
        reader.report(&raw.place, ProblemKind::BeyondOwn { service, excess }, Some(Hint::Do(hint)));
    }
    ChildGrants { max: raw.max, depth: raw.depth, ceiling: Box::new(ceiling) }
}

/// These limits, and where one is absent the other's.
pub(super) fn tighter(limits: &Limits, other: &Limits) -> Limits {
    Limits {
        memory: limits.memory.or(other.memory),
        cpu: limits.cpu.or(other.cpu),
        pids: limits.pids.or(other.pids),
        fds: limits.fds.or(other.fds),
        cpu_time: limits.cpu_time.or(other.cpu_time),
        logs: limits.logs.or(other.logs),
        message: limits.message.or(other.message),
        enforce: limits.enforce,
    }
}

/// The ports that are tried from inside are ports that it listens on.
fn listen_where_tried(named: &NamedService, net: &mut NetGrants) {
    let ready = named.service.ready.as_ref().and_then(|ready| match &ready.value.check {
        ReadyCheck::Probe(probe) => port(probe),
        ReadyCheck::Log(_) | ReadyCheck::Notify => None,
    });
    let alive = named.service.alive.as_ref().and_then(|alive| alive.value.probe.as_ref()).and_then(port);
    net.listen.extend(ready.into_iter().chain(alive));
}

fn port(probe: &Probe) -> Option<u16> {
    match probe {
        Probe::Tcp(port) | Probe::Http { port, .. } => Some(*port),
        Probe::Exec(_) => None,
    }
}

/// How tight a service is held: as the manifest says of all, or tighter. In a container it is always as tight as can be.
pub(super) fn sandbox(named: &NamedService, top: &RawManifest, reader: &mut Reader<'_>) -> Sandbox {
    let all = top.sandbox.as_ref().map(|top| top.value).unwrap_or_default();
    let service = || named.written.value.clone();
    if let Some(own) = named.service.sandbox.as_ref().filter(|own| own.value < all) {
        let hint = "leave it out; or say it at the top, and 'strict' in each service that can be";
        reader.report(&own.place, ProblemKind::LooserSandbox { service: service() }, Hint::advise(hint));
    }
    let written = named.service.sandbox.as_ref().or(top.sandbox.as_ref());
    let meant = written.map(|written| written.value).unwrap_or_default();
    if let Some(written) = written
        && image_choice::isolation(named, top) == Isolation::Docker
        && meant != Sandbox::Strict
    {
        let kind = ProblemKind::SandboxOfContainer { service: service() };
        let hint = format!("write 'sandbox: strict' in '{}', or 'isolation: process'", service());
        reader.report(&written.place, kind, Some(Hint::Do(hint)));
    }
    meant
}
