//! [`unenforceable`]: what of a grant a host cannot hold a service to. Where there is anything, nothing starts.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Enforce, Host, Isolation, Permissions, Sandbox};
use crate::name::ServiceName;

/// What this host can enforce, as it was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Capabilities {
    /// Why no namespaces can be made; none where they can.
    pub namespaces: Option<String>,
    /// The version of Landlock; 0 without.
    pub landlock: u32,
    /// Why no process can be held by Landlock and system call filters; none where one can.
    pub confinement: Option<String>,
    /// Whether this user is root, and can be others.
    pub root: bool,
    /// Which control groups this user can make.
    pub controllers: Controllers,
}

/// The control groups that limits can be set with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Controllers {
    /// Bytes of memory.
    pub memory: bool,
    /// Shares of a processor.
    pub cpu: bool,
    /// Processes.
    pub pids: bool,
}

/// The oldest version of Landlock that holds everything: with scopes, Linux 6.12.
const LANDLOCK: u32 = 6;

/// Who makes the environment, and how tight it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The keeper, with this sandbox.
    Process(Sandbox),
    /// The Docker engine, whose container is a sandbox with namespaces.
    Docker,
}

/// A permission that cannot be enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unenforceable {
    /// Whose it is.
    pub service: ServiceName,
    /// As it is written in a manifest.
    pub permission: String,
    /// Where it cannot be enforced, as in `process/landlock`.
    pub backend: String,
    /// What is missing there.
    pub missing: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for Unenforceable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, permission, backend, missing, fix } = self;
        write!(f, "E_UNENFORCEABLE service={service} permission={permission} backend={backend} ")?;
        write!(f, "missing={missing:?} fix={fix:?}")
    }
}

impl Backend {
    /// That of a service.
    #[must_use]
    pub fn of(isolation: Isolation, sandbox: Sandbox) -> Self {
        match isolation {
            Isolation::Process => Self::Process(sandbox),
            Isolation::Docker => Self::Docker,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Process(Sandbox::None) => "process/none",
            Self::Process(Sandbox::Landlock) => "process/landlock",
            Self::Process(Sandbox::Strict) => "process/strict",
            Self::Docker => "docker",
        })
    }
}

/// What of these permissions cannot be enforced by this back end on this host. Without a sandbox nothing is enforced,
/// and nothing is said: whoever chose it was asked. For a container, `host` says what its engine can limit, and needs no
/// namespaces.
#[must_use]
pub fn unenforceable(
    service: &ServiceName,
    permissions: &Permissions,
    backend: Backend,
    host: &Capabilities,
) -> Vec<Unenforceable> {
    let mut found = Found { service, backend, all: Vec::new() };
    match backend {
        Backend::Process(Sandbox::None) => {
            user(permissions, host, &mut found);
            return found.all;
        }
        Backend::Process(sandbox) => {
            if sandbox == Sandbox::Strict {
                namespaces(host, &mut found);
            }
            kernel(host, &mut found);
            if sandbox == Sandbox::Landlock {
                among_the_host(permissions, &mut found);
            }
        }
        Backend::Docker => {
            kernel(host, &mut found);
            addresses(permissions, &mut found);
        }
    }
    user(permissions, host, &mut found);
    if permissions.limits.enforce == Enforce::Hard {
        limits(permissions, host, &mut found);
    }
    found.all
}

/// The limits without which a service runs here, because its manifest says that they are soft.
#[must_use]
pub fn unenforced(
    service: &ServiceName,
    permissions: &Permissions,
    backend: Backend,
    host: &Capabilities,
) -> Vec<Unenforceable> {
    let mut found = Found { service, backend, all: Vec::new() };
    if backend != Backend::Process(Sandbox::None) && permissions.limits.enforce == Enforce::Soft {
        limits(permissions, host, &mut found);
    }
    found.all
}

struct Found<'a> {
    service: &'a ServiceName,
    backend: Backend,
    all: Vec<Unenforceable>,
}

impl Found<'_> {
    fn add(&mut self, permission: &str, missing: &str, fix: &str) {
        let (service, backend) = (self.service.clone(), self.backend.to_string());
        let (permission, missing, fix) = (permission.into(), missing.into(), fix.into());
        self.all.push(Unenforceable { service, permission, backend, missing, fix });
    }
}

fn namespaces(host: &Capabilities, found: &mut Found<'_>) {
    if let Some(why) = &host.namespaces {
        let fix = "allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
                   kernel.apparmor_restrict_unprivileged_userns), or write 'sandbox: landlock'";
        found.add("sandbox", &format!("namespaces: {why}"), fix);
    }
}

fn kernel(host: &Capabilities, found: &mut Found<'_>) {
    if host.landlock < LANDLOCK {
        let has = match host.landlock {
            0 => "Landlock".to_owned(),
            version => format!("Landlock ABI {LANDLOCK}, not {version}"),
        };
        found.add("sandbox", &has, "use Linux 6.12 or later with landlock in its 'lsm=' boot option");
    } else if let Some(why) = &host.confinement {
        let fix =
            "use a kernel with CONFIG_SECCOMP_FILTER, and nothing around the orchestrator that forbids it";
        found.add("sandbox", &format!("confinement: {why}"), fix);
    }
}

/// A container's loopback interface has the addresses that the engine gives it, and nobody in there can give it others.
fn addresses(permissions: &Permissions, found: &mut Found<'_>) {
    for endpoint in &permissions.net.connect {
        match &endpoint.host {
            Host::Name(_) => {}
            Host::Address(IpAddr::V4(address)) if address.is_loopback() => {}
            Host::Address(_) => found.add(
                "net.connect",
                &format!("the address of {endpoint} inside of a container"),
                "grant a name that stands for it, or write 'isolation: process'",
            ),
        }
    }
}

/// Without namespaces there is no place to make a destination in, and no file system to limit.
fn among_the_host(permissions: &Permissions, found: &mut Found<'_>) {
    let strict = "remove it, or write 'sandbox: strict'";
    for (permission, granted) in [
        ("net.connect", !permissions.net.connect.is_empty()),
        ("net.listen", !permissions.net.listen.is_empty()),
    ] {
        if granted {
            found.add(permission, "network namespace", strict);
        }
    }
    if permissions.fs.scratch != super::Scratch::default() {
        found.add("fs.scratch", "mount namespace", strict);
    }
}

/// As whom files are used is a matter of how they are mounted.
fn user(permissions: &Permissions, host: &Capabilities, found: &mut Found<'_>) {
    if permissions.fs.user.is_none() {
        return;
    }
    match found.backend {
        Backend::Process(Sandbox::Strict) if host.root => {}
        Backend::Process(Sandbox::Strict) => {
            found.add(
                "user",
                "root",
                "remove it, or start the orchestrator as root: yours uses files as you",
            );
        }
        Backend::Process(_) => found.add("user", "mount namespace", "remove it, or write 'sandbox: strict'"),
        Backend::Docker => found.add("user", "id-mapped mounts", "remove it, or write 'isolation: process'"),
    }
}

fn limits(permissions: &Permissions, host: &Capabilities, found: &mut Found<'_>) {
    let limits = &permissions.limits;
    // The kernel counts the processes of a user in a user namespace without any control group.
    let counted = host.controllers.pids || found.backend == Backend::Process(Sandbox::Strict);
    for (permission, wanted, there) in [
        ("limits.memory", limits.memory.is_some(), host.controllers.memory),
        ("limits.cpu", limits.cpu.is_some(), host.controllers.cpu),
        ("limits.pids", limits.pids.is_some(), counted),
    ] {
        if wanted && !there {
            let controller = permission.trim_start_matches("limits.");
            let fix = match found.backend {
                Backend::Docker => "start the engine with control groups, or write 'enforce: soft'",
                Backend::Process(_) => {
                    "run it as root, or in a user session to which systemd delegates control groups \
                     (Delegate=yes), or write 'enforce: soft'"
                }
            };
            found.add(permission, &format!("control group '{controller}' that this user may write"), fix);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Capabilities {
        let controllers = Controllers { memory: true, cpu: true, pids: true };
        Capabilities { namespaces: None, landlock: 6, confinement: None, root: true, controllers }
    }

    fn said(permissions: &Permissions, sandbox: Sandbox, host: &Capabilities) -> Vec<String> {
        let db = ServiceName::parse("db").unwrap();
        unenforceable(&db, permissions, Backend::Process(sandbox), host)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn what_a_host_can_enforce_is_not_refused() {
        let mut permissions = Permissions::default();
        permissions.net.connect.insert("a:1".parse().unwrap());
        permissions.limits.memory = Some(1);
        assert_eq!(said(&permissions, Sandbox::Strict, &everything()), [""; 0]);
    }

    #[test]
    fn each_mechanism_that_is_missing_is_named() {
        let nothing = Permissions::default();
        let without = |change: fn(&mut Capabilities)| {
            let mut host = everything();
            change(&mut host);
            said(&nothing, Sandbox::Strict, &host)
        };
        assert_eq!(
            without(|host| host.namespaces = Some("Operation not permitted".into())),
            [
                "E_UNENFORCEABLE service=db permission=sandbox backend=process/strict missing=\"namespaces: Operation not \
              permitted\" fix=\"allow user namespaces (sysctl user.max_user_namespaces, \
              kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns), or write 'sandbox: \
              landlock'\""
            ]
        );
        assert_eq!(
            without(|host| host.landlock = 4),
            [
                "E_UNENFORCEABLE service=db permission=sandbox backend=process/strict missing=\"Landlock ABI 6, not 4\" \
              fix=\"use Linux 6.12 or later with landlock in its 'lsm=' boot option\""
            ]
        );
        assert_eq!(
            without(|host| host.confinement = Some("no filters".into())),
            [
                "E_UNENFORCEABLE service=db permission=sandbox backend=process/strict missing=\"confinement: no filters\" \
                 fix=\"use a kernel with CONFIG_SECCOMP_FILTER, and nothing around the orchestrator that forbids it\""
            ]
        );
    }

    #[test]
    fn landlock_alone_holds_no_network_and_no_scratch() {
        let mut permissions = Permissions::default();
        permissions.net.connect.insert("a:1".parse().unwrap());
        permissions.fs.scratch.size = 1;
        assert_eq!(
            said(&permissions, Sandbox::Landlock, &everything()),
            [
                "E_UNENFORCEABLE service=db permission=net.connect backend=process/landlock missing=\"network \
                 namespace\" fix=\"remove it, or write 'sandbox: strict'\"",
                "E_UNENFORCEABLE service=db permission=fs.scratch backend=process/landlock missing=\"mount namespace\" \
                 fix=\"remove it, or write 'sandbox: strict'\"",
            ]
        );
    }

    #[test]
    fn a_container_needs_no_namespaces_of_the_host_and_has_no_address_but_its_own() {
        let db = ServiceName::parse("db").unwrap();
        let mut permissions = Permissions::default();
        let granted = ["a:1", "127.0.0.1:1", "10.0.0.1:1", "[::1]:1"].map(|text| text.parse().unwrap());
        permissions.net.connect.extend(granted);
        permissions.limits.pids = Some(9);
        let controllers = Controllers { pids: false, ..everything().controllers };
        let host = Capabilities { namespaces: Some("no".into()), controllers, ..everything() };
        let refused = unenforceable(&db, &permissions, Backend::Docker, &host);
        assert_eq!(
            refused.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "E_UNENFORCEABLE service=db permission=net.connect backend=docker missing=\"the address of 10.0.0.1:1 \
                 inside of a container\" fix=\"grant a name that stands for it, or write 'isolation: process'\"",
                "E_UNENFORCEABLE service=db permission=net.connect backend=docker missing=\"the address of [::1]:1 \
                 inside of a container\" fix=\"grant a name that stands for it, or write 'isolation: process'\"",
                "E_UNENFORCEABLE service=db permission=limits.pids backend=docker missing=\"control group 'pids' that \
                 this user may write\" fix=\"start the engine with control groups, or write 'enforce: soft'\"",
            ]
        );
    }

    #[test]
    fn limits_need_control_groups_unless_they_are_soft() {
        let mut permissions = Permissions::default();
        permissions.limits.memory = Some(1);
        permissions.limits.pids = Some(20);
        let host = Capabilities { controllers: Controllers::default(), ..everything() };
        let refused = said(&permissions, Sandbox::Strict, &host);
        assert_eq!(refused.len(), 1, "a user namespace counts processes: {refused:?}");
        assert!(refused[0].contains("permission=limits.memory"), "{refused:?}");
        assert_eq!(said(&permissions, Sandbox::Landlock, &host).len(), 2);
        permissions.limits.enforce = Enforce::Soft;
        assert_eq!(said(&permissions, Sandbox::Landlock, &host), [""; 0]);
        let db = ServiceName::parse("db").unwrap();
        let soft = |backend| unenforced(&db, &permissions, backend, &host).len();
        assert_eq!(
            (soft(Backend::Process(Sandbox::Strict)), soft(Backend::Process(Sandbox::Landlock))),
            (1, 2)
        );
        assert_eq!(unenforced(&db, &permissions, Backend::Process(Sandbox::Strict), &everything()), []);
    }
}
