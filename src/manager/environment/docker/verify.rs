//! Whether the engine has made what it was asked for: [`difference`], by what it says of the container before that is
//! started. What was asked for has to be there, and what was not has to be nothing.

use bollard::models::{ContainerCreateBody, ContainerInspectResponse, HostConfig};
use serde_json::{Map, Value};

/// Whether a field may have this value.
type MayBe = fn(&Value) -> bool;

/// What an engine fills in by itself, and what it may fill in.
const FILLED_IN: [(&str, MayBe); 6] = [
    // The engine's own, kept on purpose: they hide what of /proc and /sys is the host's.
    ("MaskedPaths", holds_proc_kcore),
    ("ReadonlyPaths", holds_proc_sys),
    ("Runtime", is_text),
    ("ConsoleSize", is_list),
    ("CgroupParent", is_text),
    ("Isolation", is_default),
];

/// The first thing in which a container is not what was asked for.
pub(super) fn difference(asked: &ContainerCreateBody, made: &ContainerInspectResponse) -> Option<String> {
    let configured = made.config.as_ref();
    let own = [
        ("User", asked.user == configured.and_then(|made| made.user.clone())),
        ("Entrypoint", asked.entrypoint == configured.and_then(|made| made.entrypoint.clone())),
        ("Cmd", configured.is_some_and(|made| made.cmd.as_ref().is_none_or(Vec::is_empty))),
    ];
    if let Some((what, _)) = own.iter().find(|(_, same)| !same) {
        return Some((*what).to_owned());
    }
    // A volume that the image wants would be a folder of the host that nobody has granted.
    let volume = made.mounts.iter().flatten().find(|mount| mount.typ.as_deref() != Some("bind"));
    if let Some(volume) = volume {
        return Some(format!("{} is a volume", volume.destination.as_deref().unwrap_or_default()));
    }
    let asked = asked.host_config.as_ref().map(fields).unwrap_or_default();
    let made = made.host_config.as_ref().map(fields)?;
    let filled_in = FILLED_IN.iter().map(|(name, _)| *name);
    let mut names = asked.keys().chain(made.keys()).map(String::as_str).chain(filled_in);
    names.find_map(|name| differs(name, asked.get(name), made.get(name)))
}

fn fields(config: &HostConfig) -> Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// A field that is not as it should be, with what it should be and what it is.
fn differs(name: &str, asked: Option<&Value>, made: Option<&Value>) -> Option<String> {
    let nothing = Value::Null;
    let made = made.unwrap_or(&nothing);
    let same = match asked {
        Some(asked) => same(asked, made),
        None => match FILLED_IN.iter().find(|(filled_in, _)| *filled_in == name) {
            Some((_, may_be)) => may_be(made),
            None => is_nothing(made),
        },
    };
    let asked = asked.unwrap_or(&nothing);
    (!same).then(|| format!("{name} is {made} instead of {asked}"))
}

/// Whether what was made is what was asked for: nothing may be written in several ways, and lists are in no order.
fn same(asked: &Value, made: &Value) -> bool {
    match (asked, made) {
        (Value::Array(asked), Value::Array(made)) => {
            let among = |all: &[Value], one: &Value, turned: bool| {
                all.iter().any(|other| if turned { same(other, one) } else { same(one, other) })
            };
            asked.len() == made.len()
                && asked.iter().all(|one| among(made, one, false))
                && made.iter().all(|one| among(asked, one, true))
        }
        (Value::Object(asked), Value::Object(made)) => {
            let names = asked.keys().chain(made.keys());
            let field =
                |fields: &Map<String, Value>, name: &str| fields.get(name).cloned().unwrap_or_default();
            { names }.all(|name| same(&field(asked, name), &field(made, name)))
        }
        (asked, made) => asked == made || (is_nothing(asked) && is_nothing(made)),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

fn has(value: &Value, item: &str) -> bool {
    value.as_array().is_some_and(|items| items.iter().any(|one| one == item))
}

fn holds_proc_kcore(value: &Value) -> bool {
    has(value, "/proc/kcore")
}

fn holds_proc_sys(value: &Value) -> bool {
    has(value, "/proc/sys")
}

fn is_text(value: &Value) -> bool {
    value.is_string() || value.is_null()
}

fn is_list(value: &Value) -> bool {
    value.is_array() || value.is_null()
}

fn is_default(value: &Value) -> bool {
    is_nothing(value) || value == "default"
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bollard::models::{ContainerConfig, DeviceMapping, Mount};
    use orchestrator_port::keeper::Limits;
    use orchestrator_port::launch::{Confinement, Sandbox};

    use super::super::host_config::{Plan, User, body};
    use super::*;

    fn asked() -> ContainerCreateBody {
        let confinement = Confinement {
            sandbox: Sandbox::Container,
            hostname: "web".into(),
            read: vec!["/srv/assets".into()],
            write: vec!["/srv/state".into()],
            runtime: Vec::new(),
            user: None,
            devices: Vec::new(),
            scratch_bytes: 1 << 20,
            scratch_entries: 99,
            subprocess: false,
            network: true,
            relays: Vec::new(),
            hosts: [("db".to_owned(), "127.1.0.2".to_owned())].into(),
            descriptors: Some(1024),
            processes: None,
            cpu_seconds: None,
        };
        body(&Plan {
            image: "orchestrator/runner:1".into(),
            user: User::Own { uid: 61185, gid: 61185 },
            folder: "/run/orchestrator/shop/s1".into(),
            runner: None,
            volumes: Vec::new(),
            limits: Limits { memory: Some(1 << 26), cpu: Some(500), pids: Some(9) },
            confinement,
            labels: HashMap::new(),
        })
    }

    /// What an engine says that it has made where it did as it was asked, in its own way of saying it.
    fn made(change: impl FnOnce(&mut ContainerConfig, &mut HostConfig)) -> ContainerInspectResponse {
        let asked = asked();
        let mut config =
            ContainerConfig { user: asked.user, entrypoint: asked.entrypoint, ..ContainerConfig::default() };
        let mut host = HostConfig {
            masked_paths: Some(vec!["/proc/kcore".into()]),
            readonly_paths: Some(vec!["/proc/sys".into()]),
            binds: None,
            pid_mode: Some(String::new()),
            cap_add: Some(Vec::new()),
            runtime: Some("runc".into()),
            ..asked.host_config.unwrap()
        };
        host.ulimits.as_mut().unwrap().reverse();
        change(&mut config, &mut host);
        let (config, host_config) = (Some(config), Some(host));
        ContainerInspectResponse { config, host_config, ..ContainerInspectResponse::default() }
    }

    fn difference_of(change: impl FnOnce(&mut ContainerConfig, &mut HostConfig)) -> Option<String> {
        difference(&asked(), &made(change))
    }

    #[test]
    fn what_was_made_as_asked_is_no_difference() {
        assert_eq!(difference_of(|_, _| ()), None);
    }

    #[test]
    fn whatever_is_looser_than_asked_is_named() {
        let named = |change: fn(&mut ContainerConfig, &mut HostConfig)| {
            let difference = difference_of(change).unwrap_or_default();
            difference.split(' ').next().unwrap_or_default().to_owned()
        };
        assert_eq!(named(|config, _| config.user = Some("0".into())), "User");
        assert_eq!(named(|config, _| config.entrypoint = None), "Entrypoint");
        assert_eq!(named(|config, _| config.cmd = Some(vec!["sh".into()])), "Cmd");
        assert_eq!(named(|_, host| host.privileged = Some(true)), "Privileged");
        assert_eq!(named(|_, host| host.readonly_rootfs = None), "ReadonlyRootfs");
        assert_eq!(named(|_, host| host.network_mode = Some("bridge".into())), "NetworkMode");
        assert_eq!(named(|_, host| host.cap_drop = None), "CapDrop");
        assert_eq!(named(|_, host| host.cap_add = Some(vec!["SYS_ADMIN".into()])), "CapAdd");
        assert_eq!(
            named(|_, host| host.security_opt.as_mut().unwrap().push("seccomp=unconfined".into())),
            "SecurityOpt"
        );
        assert_eq!(named(|_, host| host.memory_swap = Some(-1)), "MemorySwap");
        assert_eq!(named(|_, host| host.pids_limit = None), "PidsLimit");
        assert_eq!(named(|_, host| host.pid_mode = Some("host".into())), "PidMode");
        assert_eq!(named(|_, host| host.ipc_mode = Some("shareable".into())), "IpcMode");
        assert_eq!(named(|_, host| host.binds = Some(vec!["/:/host".into()])), "Binds");
        assert_eq!(named(|_, host| host.devices = Some(vec![DeviceMapping::default()])), "Devices");
        assert_eq!(named(|_, host| host.mounts.as_mut().unwrap().push(Mount::default())), "Mounts");
        assert_eq!(named(|_, host| host.mounts.as_mut().unwrap()[1].read_only = None), "Mounts");
        assert_eq!(named(|_, host| host.masked_paths = Some(Vec::new())), "MaskedPaths");
        assert_eq!(named(|_, host| host.readonly_paths = None), "ReadonlyPaths");
        let text = difference_of(|_, host| host.privileged = Some(true)).unwrap();
        assert_eq!(text, "Privileged is true instead of false");
    }
}
