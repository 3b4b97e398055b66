//! [`unenforceable`]: what of a grant a host cannot hold a service to. Where there is anything, nothing starts.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Enforce, Permissions, Sandbox};
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
pub struct Backend(
    /// The sandbox of a process.
    pub Sandbox,
);

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

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Sandbox::None => "process/none",
            Sandbox::Landlock => "process/landlock",
            Sandbox::Strict => "process/strict",
        })
    }
}

/// What of these permissions cannot be enforced with this sandbox on this host. Without a sandbox nothing is enforced,
/// and nothing is said: whoever chose it was asked.
#[must_use]
pub fn unenforceable(
    service: &ServiceName,
    permissions: &Permissions,
    sandbox: Sandbox,
    host: &Capabilities,
) -> Vec<Unenforceable> {
    let mut found = Found { service, backend: Backend(sandbox).to_string(), all: Vec::new() };
    if sandbox == Sandbox::None {
        return found.all;
    }
    sandbox_itself(sandbox, host, &mut found);
    if sandbox == Sandbox::Landlock {
        among_the_host(permissions, &mut found);
    }
    if permissions.limits.enforce == Enforce::Hard {
        limits(permissions, sandbox, host, &mut found);
    }
    found.all
}

/// The limits without which a service runs here, because its manifest says that they are soft.
#[must_use]
pub fn unenforced(
    service: &ServiceName,
    permissions: &Permissions,
    sandbox: Sandbox,
    host: &Capabilities,
) -> Vec<Unenforceable> {
    let mut found = Found { service, backend: Backend(sandbox).to_string(), all: Vec::new() };
    if sandbox != Sandbox::None && permissions.limits.enforce == Enforce::Soft {
        limits(permissions, sandbox, host, &mut found);
    }
    found.all
}

struct Found<'a> {
    service: &'a ServiceName,
    backend: String,
    all: Vec<Unenforceable>,
}

impl Found<'_> {
    fn add(&mut self, permission: &str, missing: &str, fix: &str) {
        let (service, backend) = (self.service.clone(), self.backend.clone());
        let (permission, missing, fix) = (permission.into(), missing.into(), fix.into());
        self.all.push(Unenforceable { service, permission, backend, missing, fix });
    }
}

fn sandbox_itself(sandbox: Sandbox, host: &Capabilities, found: &mut Found<'_>) {
    if sandbox == Sandbox::Strict
        && let Some(why) = &host.namespaces
    {
        let fix = "allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
                   kernel.apparmor_restrict_unprivileged_userns), or write 'sandbox: landlock'";
        found.add("sandbox", &format!("namespaces: {why}"), fix);
    }
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

fn limits(permissions: &Permissions, sandbox: Sandbox, host: &Capabilities, found: &mut Found<'_>) {
    let limits = &permissions.limits;
    // The kernel counts the processes of a user in a user namespace without any control group.
    let counted = host.controllers.pids || sandbox == Sandbox::Strict;
    for (permission, wanted, there) in [
        ("limits.memory", limits.memory.is_some(), host.controllers.memory),
        ("limits.cpu", limits.cpu.is_some(), host.controllers.cpu),
        ("limits.pids", limits.pids.is_some(), counted),
    ] {
        if wanted && !there {
            let controller = permission.trim_start_matches("limits.");
            let fix = "run it as root, or in a user session to which systemd delegates control groups \
                       (Delegate=yes), or write 'enforce: soft'";
            found.add(permission, &format!("control group '{controller}' that this user may write"), fix);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Capabilities {
        let controllers = Controllers { memory: true, cpu: true, pids: true };
        Capabilities { namespaces: None, landlock: 6, confinement: None, controllers }
    }

    fn said(permissions: &Permissions, sandbox: Sandbox, host: &Capabilities) -> Vec<String> {
        let db = ServiceName::parse("db").unwrap();
        unenforceable(&db, permissions, sandbox, host).iter().map(ToString::to_string).collect()
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
        let soft = |sandbox| unenforced(&db, &permissions, sandbox, &host).len();
        assert_eq!((soft(Sandbox::Strict), soft(Sandbox::Landlock)), (1, 2));
        assert_eq!(unenforced(&db, &permissions, Sandbox::Strict, &everything()), []);
    }
}
