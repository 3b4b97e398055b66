//! `permissions`: what a service is allowed and given. Absent means nothing; nothing is inherited.
//!
//! What is granted stands where it is granted, so `<<` is refused in all of it.

mod children;
mod env;
mod fs;
mod limits;
mod net;
mod secrets;
pub(crate) mod services;

use std::collections::BTreeMap;

use schemars::{Schema, SchemaGenerator, json_schema};

pub(crate) use self::children::RawChildren;
pub(crate) use self::env::{read_env, schema as env_schema};
pub(crate) use self::fs::{RawFiles, RawWrite};
pub(crate) use self::net::RawNet;
pub(crate) use self::secrets::{RawSecret, RawSource};
pub(crate) use self::services::RawTalk;
use crate::manifest::node::Content;
use crate::manifest::problem::{Hint, Placed, ProblemKind};
use crate::manifest::reader::{Field, Fields, Key, Reader};
use crate::manifest::schema;
use crate::permissions::Limits;

pub(crate) const KEY: Key = Key {
    name: "permissions",
    about: "What it is allowed and given. Absent: nothing.",
    schema: permissions_schema,
};

const FS: Key = Key { name: "fs", about: "The files and folders that it may use.", schema: fs::schema };
const NET: Key = Key { name: "net", about: "The connections that it may have.", schema: net::schema };
const SERVICES: Key = Key {
    name: "services",
    about: "What it may call of other services, and which events go between them and it.",
    schema: services::schema,
};
const CHILDREN: Key = Key {
    name: "children",
    about: "The services that it may open below itself while it runs. Absent: none.",
    schema: children::schema,
};
const ENV_UNSAFE: Key = Key {
    name: "env_unsafe",
    about: "Whether 'env' may hold variables that change what a runtime loads, as LD_PRELOAD and NODE_OPTIONS do.",
    schema: flag_schema,
};
const ENV: Key = Key {
    name: "env",
    about: "The environment variables that it gets, besides the few that every service has.",
    schema: env_schema,
};
const SECRETS: Key = Key {
    name: "secrets",
    about: "What it is given as files in /run/secrets, which are in memory and nobody else's.",
    schema: secrets::schema,
};
const SUBPROCESS: Key = Key {
    name: "subprocess",
    about: "Whether it may start processes. Threads it always may. By default false.",
    schema: flag_schema,
};
const DEVICES: Key = Key {
    name: "devices",
    about: "Device nodes that it may use, as in /dev/dri/renderD128.",
    schema: fs::paths_schema,
};
const LIMITS: Key = Key { name: "limits", about: "The most that it may use.", schema: limits::schema };
const KEYS: &[Key] = &[FS, NET, SERVICES, CHILDREN, ENV, ENV_UNSAFE, SECRETS, SUBPROCESS, DEVICES, LIMITS];
/// What can be granted to children in advance.
const CEILING: &[Key] = &[FS, NET, SERVICES, SECRETS, SUBPROCESS, DEVICES, LIMITS];

/// Permissions as they are written. What is absent here was not written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RawPermissions {
    pub(crate) fs: Option<RawFiles>,
    pub(crate) net: Option<RawNet>,
    pub(crate) services: Option<Vec<RawTalk>>,
    pub(crate) children: Option<RawChildren>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) secrets: Option<Vec<RawSecret>>,
    pub(crate) subprocess: Option<bool>,
    pub(crate) devices: Option<Vec<Placed<String>>>,
    pub(crate) limits: Option<Limits>,
}

/// Reads what is granted. `none` says out loud that it is nothing.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<RawPermissions> {
    if matches!(&field.node.content, Content::Text(text) if text == "none") {
        return Some(RawPermissions::default());
    }
    let fields = granting(field, KEYS, reader)?;
    let mut permissions = grants(&fields, reader);
    permissions.children = fields.get(&CHILDREN).and_then(|field| children::read(&field, reader));
    let anything = fields.get(&ENV_UNSAFE).and_then(|field| Some(field.flag(reader)?.value));
    if let Some(field) = fields.get(&ENV) {
        if !anything.unwrap_or_default() {
            env::refuse_unsafe(&field, reader);
        }
        permissions.env = read_env(&field, reader).unwrap_or_default();
    }
    Some(permissions)
}

/// Reads what children can be granted: everything but further children, whose depth says it, and the environment, which is
/// theirs to choose.
fn read_ceiling(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<RawPermissions> {
    if matches!(&field.node.content, Content::Text(text) if text == "none") {
        return Some(RawPermissions::default());
    }
    let fields = granting(field, CEILING, reader)?;
    Some(grants(&fields, reader))
}

fn grants(fields: &Fields<'_>, reader: &mut Reader<'_>) -> RawPermissions {
    RawPermissions {
        fs: fields.get(&FS).and_then(|field| fs::read(&field, reader)),
        net: fields.get(&NET).and_then(|field| net::read(&field, reader)),
        services: fields.get(&SERVICES).and_then(|field| services::read(&field, reader)),
        secrets: fields.get(&SECRETS).and_then(|field| secrets::read(&field, reader)),
        subprocess: fields.get(&SUBPROCESS).and_then(|field| Some(field.flag(reader)?.value)),
        devices: fields.get(&DEVICES).and_then(|field| fs::read_paths(&field, reader)),
        limits: fields.get(&LIMITS).and_then(|field| limits::read(&field, reader)),
        ..RawPermissions::default()
    }
}

impl RawPermissions {
    /// What is not written here, as a ready-made service has it.
    pub(crate) fn with_defaults_of(self, plugin: &Self) -> Self {
        let mut env = plugin.env.clone();
        env.extend(self.env);
        Self {
            fs: self.fs.or_else(|| plugin.fs.clone()),
            net: self.net.or_else(|| plugin.net.clone()),
            services: self.services.or_else(|| plugin.services.clone()),
            children: self.children.or_else(|| plugin.children.clone()),
            env,
            secrets: self.secrets.or_else(|| plugin.secrets.clone()),
            subprocess: self.subprocess.or(plugin.subprocess),
            devices: self.devices.or_else(|| plugin.devices.clone()),
            limits: self.limits.or_else(|| plugin.limits.clone()),
        }
    }
}

/// A mapping of grants with these keys, without `<<`.
fn granting<'n>(field: &Field<'n>, keys: &[Key], reader: &mut Reader<'_>) -> Option<Fields<'n>> {
    refuse_merge(field, reader);
    field.fields(keys, reader)
}

fn refuse_merge(field: &Field<'_>, reader: &mut Reader<'_>) {
    let Content::Mapping(mapping) = &field.node.content else { return };
    if let Some(place) = &mapping.merge {
        let kind = ProblemKind::MergeRefused { owner: field.owner.clone() };
        reader.report(place, kind, Hint::advise("write out what is granted here"));
    }
}

fn permissions_schema(generator: &mut SchemaGenerator) -> Schema {
    let mapping = schema::mapping(KEYS, &[], generator);
    json_schema!({ "anyOf": [{ "const": "none" }, mapping] })
}

fn ceiling_schema(generator: &mut SchemaGenerator) -> Schema {
    let mapping = schema::mapping(CEILING, &[], generator);
    json_schema!({ "anyOf": [{ "const": "none" }, mapping] })
}

fn flag_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "boolean", "default": false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::element::testing;

    #[test]
    fn everything_that_can_be_granted_is_read() {
        let text = "permissions:\n  fs: { read: [./data], write: [/srv/x], scratch: { size: 1MiB, inodes: 9 } }\n  net: \
                    { connect: ['A.example:443', '[::1]:80'], listen: [80] }\n  subprocess: true\n  devices: [/dev/kvm]\n  \
                    limits: { memory: 1GiB, cpu: 0.5, pids: 20, fds: 64, cpu_time: 1h, logs: 1MiB/s, message: 4KiB, enforce: soft }\n";
        let read = testing::read(KEY, text, read).unwrap();
        let (fs, net, limits) = (read.fs.unwrap(), read.net.unwrap(), read.limits.unwrap());
        assert_eq!((fs.read[0].value.as_str(), fs.write[0].path.value.as_str()), ("./data", "/srv/x"));
        assert_eq!((fs.scratch.unwrap().size, fs.scratch.unwrap().inodes), (1 << 20, 9));
        let connect: Vec<_> = net.connect.iter().map(|endpoint| endpoint.value.to_string()).collect();
        assert_eq!((connect, net.listen), (vec!["a.example:443".into(), "[::1]:80".into()], [80].into()));
        assert_eq!((read.subprocess, read.devices.unwrap()[0].value.as_str()), (Some(true), "/dev/kvm"));
        assert_eq!(
            (limits.memory, limits.cpu, limits.pids, limits.fds),
            (Some(1 << 30), Some(500), Some(20), Some(64))
        );
        assert_eq!((limits.logs, limits.message), (Some(1 << 20), Some(4096)));
        assert_eq!(testing::read(KEY, "permissions: none", super::read), Ok(RawPermissions::default()));
    }

    #[test]
    fn what_cannot_be_granted_is_refused() {
        for (text, expected) in [
            (
                "{net: {connect: ['*.example.com:443']}}",
                "1:31 an item of 'connect' of 'net' of 'permissions' of service 'web': '*.example.com' stands for more \
                 than one host | write one host and one port, as in 'api.example.com:443'",
            ),
            (
                "{net: {connect: [api.example.com]}}",
                "1:31 an item of 'connect' of 'net' of 'permissions' of service 'web': 'api.example.com' has no port \
                 | write one host and one port, as in 'api.example.com:443'",
            ),
            (
                "{limits: {memory: 64}}",
                "1:32 'memory' of 'limits' of 'permissions' of service 'web': the size '64' has no unit \
                 | write '64MiB' or '64KiB'",
            ),
            (
                "{limits: {cpu: 0}}",
                "1:29 'cpu' of 'limits' of 'permissions' of service 'web': '0' is no number of cores \
                 | write how many cores, as in 0.5 or 2",
            ),
            (
                "{fs: {<<: {read: [/srv]}}}",
                "1:20 '<<' cannot be used in 'fs' of 'permissions' of service 'web' | write out what is granted here",
            ),
            (
                "all",
                "1:14 'permissions' of service 'web' is to be a mapping, as in 'key: value', not text \
                 | write a mapping, as in 'key: value'",
            ),
            (
                "{limits: {logs: 1MiB}}",
                "1:30 'logs' of 'limits' of 'permissions' of service 'web': '1MiB' says nothing of time \
                 | write it as in '1MiB/s'",
            ),
            (
                "{limits: {message: 1GiB}}",
                "1:33 'message' of 'limits' of 'permissions' of service 'web': '1GiB' is more than a message can have \
                 | write '64MiB' or less",
            ),
            (
                "{net: {connect: ['localhost:80']}}",
                "1:31 an item of 'connect' of 'net' of 'permissions' of service 'web': 'localhost' is the service's own \
                 | name another service, as in 'db:80', or write '127.0.0.1:80' for a port of this host",
            ),
            (
                "{net: {connect: ['0.0.0.0:80']}}",
                "1:31 an item of 'connect' of 'net' of 'permissions' of service 'web': '0.0.0.0' is no address of one host \
                 | write one host and one port, as in 'api.example.com:443'",
            ),
            (
                "{nett: none}",
                "1:15 unknown key 'nett' in 'permissions' of service 'web' | did you mean 'net'?",
            ),
        ] {
            assert_eq!(
                testing::read(KEY, &format!("permissions: {text}"), read).unwrap_err(),
                expected,
                "{text}"
            );
        }
    }
}
