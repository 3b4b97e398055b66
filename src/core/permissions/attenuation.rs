//! [`excess`]: what one grant has that another has not. A child gets no more than its parent has (lifecycle rule 15).

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use super::{ChildGrants, Enforce, HostUser, Limits, Pattern, Permissions, ServiceGrants};

/// Something that was asked for beyond a ceiling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excess {
    /// The permission, as it is written in a manifest.
    pub permission: &'static str,
    /// What was asked for.
    pub asked: String,
    /// What there is to give.
    pub ceiling: String,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { permission, asked, ceiling } = self;
        write!(f, "E_ATTENUATION permission={permission} asked={asked:?} ceiling={ceiling:?}")
    }
}

impl ChildGrants {
    /// The most that a child of the service with these grants can be given.
    #[must_use]
    pub fn of_a_child(&self) -> Permissions {
        let mut most = (*self.ceiling).clone();
        most.children = (self.depth > 1).then(|| Self { depth: self.depth - 1, ..self.clone() });
        most
    }
}

/// Everything that `asked` has beyond `ceiling`; nothing where it is within. A secret is within one that can be handed on
/// only, so who has one that cannot is not within themselves.
#[must_use]
pub fn excess(asked: &Permissions, ceiling: &Permissions) -> Vec<Excess> {
    let mut found = Vec::new();
    let readable: BTreeSet<_> = ceiling.fs.read.union(&ceiling.fs.write).cloned().collect();
    paths("fs.read", &asked.fs.read, &readable, &mut found);
    paths("fs.write", &asked.fs.write, &ceiling.fs.write, &mut found);
    let files = !asked.fs.read.is_empty() || !asked.fs.write.is_empty();
    if files && asked.fs.user != ceiling.fs.user {
        let said =
            |user: Option<HostUser>| user.map_or("each folder's owner".into(), |user| user.to_string());
        found.push(Excess { permission: "user", asked: said(asked.fs.user), ceiling: said(ceiling.fs.user) });
    }
    paths("devices", &asked.devices, &ceiling.devices, &mut found);
    members("net.connect", &asked.net.connect, &ceiling.net.connect, &mut found);
    members("net.listen", &asked.net.listen, &ceiling.net.listen, &mut found);
    for (name, secret) in &asked.secrets {
        let given = ceiling.secrets.get(name).filter(|held| held.delegable && held.source == secret.source);
        if given.is_none() {
            let delegable =
                ceiling.secrets.iter().filter(|(_, held)| held.delegable).map(|(name, _)| name.clone());
            found.push(Excess { permission: "secrets", asked: name.clone(), ceiling: list(delegable) });
        }
    }
    services(asked, ceiling, &mut found);
    children(asked.children.as_ref(), ceiling.children.as_ref(), &mut found);
    if asked.subprocess && !ceiling.subprocess {
        found.push(Excess { permission: "subprocess", asked: "true".into(), ceiling: "false".into() });
    }
    let (scratch, most) = (asked.fs.scratch, ceiling.fs.scratch);
    number("fs.scratch.size", Some(scratch.size), Some(most.size), &mut found);
    number("fs.scratch.inodes", Some(scratch.inodes), Some(most.inodes), &mut found);
    let (own, most) = (&asked.limits, &ceiling.limits);
    number("limits.memory", own.memory, most.memory, &mut found);
    number("limits.cpu", own.cpu, most.cpu, &mut found);
    number("limits.pids", own.pids, most.pids, &mut found);
    number("limits.fds", own.fds, most.fds, &mut found);
    let seconds = |time: Option<std::time::Duration>| time.map(|time| time.as_millis());
    number("limits.cpu_time", seconds(own.cpu_time), seconds(most.cpu_time), &mut found);
    number("limits.logs", own.logs, most.logs, &mut found);
    number("limits.message", own.message, most.message, &mut found);
    if own.enforce == Enforce::Soft && most.enforce == Enforce::Hard {
        found.push(Excess { permission: "limits.enforce", asked: "soft".into(), ceiling: "hard".into() });
    }
    found
}

/// One of the limits, as a number.
type Limit = fn(&Limits) -> Option<u64>;

/// The limit that the children of a service go beyond together: what they may use is part of what it may use itself.
#[must_use]
pub fn over_budget(own: &Limits, children: &[&Limits]) -> Option<Excess> {
    let mut found = Vec::new();
    // A child without a limit of its own is bounded by its parent's alone, which it then has all of.
    let sum = |limit: Limit| {
        let all = limit(own)?;
        Some(children.iter().map(|child| limit(child).unwrap_or(all)).fold(0, u64::saturating_add))
    };
    let limits: [(&'static str, Limit); 3] = [
        ("limits.memory", |limits| limits.memory),
        ("limits.cpu", |limits| limits.cpu.map(u64::from)),
        ("limits.pids", |limits| limits.pids.map(u64::from)),
    ];
    for (permission, limit) in limits {
        if let Some(sum) = sum(limit) {
            number(permission, Some(sum), limit(own), &mut found);
        }
    }
    found.into_iter().next()
}

fn services(asked: &Permissions, ceiling: &Permissions, found: &mut Vec<Excess>) {
    let none = ServiceGrants::default();
    for (name, grants) in &asked.services {
        let most = ceiling.services.get(name).unwrap_or(&none);
        for (permission, asked, most) in [
            ("services.call", &grants.call, &most.call),
            ("services.emit", &grants.emit, &most.emit),
            ("services.hear", &grants.hear, &most.hear),
        ] {
            let within = |pattern: &&Pattern| most.iter().any(|other| pattern.within(other));
            for pattern in asked.iter().filter(|pattern| !within(pattern)) {
                let asked = format!("{name}: {pattern}");
                let ceiling = format!("{name}: {}", list(most.iter().map(ToString::to_string)));
                found.push(Excess { permission, asked, ceiling });
            }
        }
    }
}

fn children(asked: Option<&ChildGrants>, ceiling: Option<&ChildGrants>, found: &mut Vec<Excess>) {
    let Some(asked) = asked else { return };
    let Some(ceiling) = ceiling else {
        let asked = asked.max.to_string();
        return found.push(Excess { permission: "children", asked, ceiling: "none".into() });
    };
    number("children.max", Some(asked.max), Some(ceiling.max), found);
    number("children.depth", Some(asked.depth), Some(ceiling.depth), found);
    found.extend(excess(&asked.ceiling, &ceiling.ceiling));
}

/// A path is within another one if all of its components begin with the other's: `/srv/data2` is not in `/srv/data`.
fn paths(
    permission: &'static str,
    asked: &BTreeSet<PathBuf>,
    ceiling: &BTreeSet<PathBuf>,
    found: &mut Vec<Excess>,
) {
    let shown = |paths: &BTreeSet<PathBuf>| list(paths.iter().map(|path| path.display().to_string()));
    let within = |path: &Path| ceiling.iter().any(|root| path.starts_with(root));
    for path in asked.iter().filter(|path| !within(path)) {
        found.push(Excess { permission, asked: path.display().to_string(), ceiling: shown(ceiling) });
    }
}

fn members<T: Ord + ToString>(
    permission: &'static str,
    asked: &BTreeSet<T>,
    ceiling: &BTreeSet<T>,
    found: &mut Vec<Excess>,
) {
    for one in asked.difference(ceiling) {
        let ceiling = list(ceiling.iter().map(ToString::to_string));
        found.push(Excess { permission, asked: one.to_string(), ceiling });
    }
}

/// None is no limit, which is more than any.
fn number<T: PartialOrd + ToString>(
    permission: &'static str,
    asked: Option<T>,
    ceiling: Option<T>,
    found: &mut Vec<Excess>,
) {
    let Some(ceiling) = ceiling else { return };
    if asked.as_ref().is_none_or(|asked| *asked > ceiling) {
        let asked = asked.map_or_else(|| "no limit".into(), |asked| asked.to_string());
        found.push(Excess { permission, asked, ceiling: ceiling.to_string() });
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::collection::btree_set;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::name::ServiceName;
    use crate::permissions::{FileGrants, NetGrants, Scratch, Secret, SecretSource};

    fn path() -> impl Strategy<Value = PathBuf> {
        // Few names, so that paths are often below each other, and often almost.
        proptest::collection::vec(prop_oneof!["a", "b", "ab"], 1..4)
            .prop_map(|parts| format!("/{}", parts.join("/")).into())
    }

    fn services() -> impl Strategy<Value = std::collections::BTreeMap<ServiceName, ServiceGrants>> {
        let pattern = || {
            let texts = prop_oneof![Just("*"), Just("u.*"), Just("u.a"), Just("u.b.*"), Just("v")];
            btree_set(texts.prop_map(|text| text.parse().unwrap()), 0..3)
        };
        let grants = (pattern(), pattern(), pattern()).prop_map(|(call, emit, hear)| ServiceGrants {
            call,
            emit,
            hear,
        });
        let name = prop_oneof!["a", "b"].prop_map(|name: String| ServiceName::parse(&name).unwrap());
        proptest::collection::btree_map(name, grants, 0..3)
    }

    fn permissions() -> impl Strategy<Value = Permissions> {
        let children = option::of((1..4u32, 1..4u32, childless().prop_map(Box::new)));
        (childless(), children).prop_map(|(mut permissions, children)| {
            permissions.children = children.map(|(max, depth, ceiling)| ChildGrants { max, depth, ceiling });
            permissions
        })
    }

    fn childless() -> impl Strategy<Value = Permissions> {
        let endpoint = prop_oneof![Just("a:1"), Just("A.:1"), Just("b:1"), Just("[::1]:2"), Just("[0::1]:2")]
            .prop_map(|text| text.parse().unwrap());
        let fs = (btree_set(path(), 0..3), btree_set(path(), 0..3), 0..3u64, 0..3u64);
        let net = (btree_set(endpoint, 0..3), btree_set(1..4u16, 0..3));
        let limits = (
            option::of(0..3u64),
            option::of(0..3u32),
            option::of(0..3u32),
            option::of(0..3u32),
            option::of(0..3u64),
            any::<bool>(),
        );
        (fs, net, any::<bool>(), btree_set(path(), 0..2), limits, services()).prop_map(
            |(fs, net, subprocess, devices, limits, services)| {
                let (memory, cpu, pids, fds, seconds, soft) = limits;
                Permissions {
                    fs: FileGrants {
                        read: fs.0,
                        write: fs.1,
                        scratch: Scratch { size: fs.2, inodes: fs.3 },
                        user: None,
                    },
                    net: NetGrants { connect: net.0, listen: net.1 },
                    services,
                    children: None,
                    secrets: std::collections::BTreeMap::new(),
                    subprocess,
                    devices,
                    limits: Limits {
                        memory,
                        cpu,
                        pids,
                        fds,
                        cpu_time: seconds.map(Duration::from_secs),
                        logs: seconds,
                        message: memory,
                        enforce: if soft { Enforce::Soft } else { Enforce::Hard },
                    },
                }
            },
        )
    }

    /// Whether a service with this grant can do this one thing: the meaning that the comparison has to respect.
    fn can(grant: &Permissions, deed: &Deed) -> bool {
        let below = |paths: &BTreeSet<PathBuf>, path: &PathBuf| {
            path.ancestors().any(|ancestor| paths.contains(ancestor))
        };
        let at_most = |limit: Option<u64>, amount: u64| limit.is_none_or(|limit| amount <= limit);
        match deed {
            Deed::Read(path) => below(&grant.fs.read, path) || below(&grant.fs.write, path),
            Deed::Write(path) => below(&grant.fs.write, path),
            Deed::Connect(text) => grant.net.connect.contains(&text.parse().unwrap()),
            Deed::Start => grant.subprocess,
            Deed::Memory(amount) => at_most(grant.limits.memory, *amount),
            Deed::Pids(amount) => at_most(grant.limits.pids.map(u64::from), *amount),
            Deed::Call(method) => {
                let own = ServiceName::parse("web").unwrap();
                grant.may_call(&own, &ServiceName::parse("a").unwrap(), method).is_ok()
            }
            Deed::OpenThatReads(path) => {
                let children = grant.children.as_ref().map(ChildGrants::of_a_child);
                children.is_some_and(|most| below(&most.fs.read, path) || below(&most.fs.write, path))
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Deed {
        Read(PathBuf),
        Write(PathBuf),
        Connect(&'static str),
        Start,
        Memory(u64),
        Pids(u64),
        Call(&'static str),
        OpenThatReads(PathBuf),
    }

    fn deed() -> impl Strategy<Value = Deed> {
        prop_oneof![
            path().prop_map(Deed::Read),
            path().prop_map(Deed::Write),
            prop_oneof![Just("a:1"), Just("b:1"), Just("B:1"), Just("[::1]:2")].prop_map(Deed::Connect),
            Just(Deed::Start),
            (0..5u64).prop_map(Deed::Memory),
            (0..5u64).prop_map(Deed::Pids),
            prop_oneof![Just("u.a"), Just("u.b.c"), Just("u"), Just("v"), Just("w")].prop_map(Deed::Call),
            path().prop_map(Deed::OpenThatReads),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn who_is_within_a_ceiling_can_do_nothing_more(asked in permissions(), ceiling in permissions(), deed in deed()) {
            if excess(&asked, &ceiling).is_empty() {
                prop_assert!(!can(&asked, &deed) || can(&ceiling, &deed), "{deed:?}");
            }
        }

        #[test]
        fn everybody_is_within_themselves(one in permissions()) {
            prop_assert_eq!(excess(&one, &one), []);
        }

        #[test]
        fn who_is_within_who_is_within_is_within(a in permissions(), b in permissions(), c in permissions()) {
            if excess(&a, &b).is_empty() && excess(&b, &c).is_empty() {
                prop_assert_eq!(excess(&a, &c), []);
            }
        }

        #[test]
        fn taking_away_stays_within(one in permissions(), other in permissions()) {
            let mut less = one.clone();
            less.fs.read = &one.fs.read & &other.fs.read;
            less.fs.write = &one.fs.write & &other.fs.write;
            less.net.connect = &one.net.connect & &other.net.connect;
            less.subprocess &= other.subprocess;
            less.limits.memory = less.limits.memory.map(|memory| memory / 2);
            prop_assert_eq!(excess(&less, &one), []);
        }
    }

    #[test]
    fn a_secret_is_handed_on_only_where_that_was_said() {
        let secret = |delegable| Secret { source: SecretSource::Env("TOKEN".into()), delegable };
        let with = |secret: Secret| {
            let secrets = [("token".to_owned(), secret)].into();
            Permissions { secrets, ..Permissions::default() }
        };
        assert_eq!(excess(&with(secret(false)), &with(secret(true))), []);
        let found = excess(&with(secret(false)), &with(secret(false)));
        assert_eq!(found[0].to_string(), r#"E_ATTENUATION permission=secrets asked="token" ceiling="[]""#);
        let other = Secret { source: SecretSource::Env("OTHER".into()), delegable: true };
        assert_eq!(excess(&with(secret(false)), &with(other)).len(), 1, "the same name, another secret");
    }

    #[test]
    fn a_child_is_one_level_nearer_to_the_end() {
        let mut ceiling = Permissions::default();
        ceiling.fs.read.insert("/srv".into());
        let grants = ChildGrants { max: 3, depth: 2, ceiling: Box::new(ceiling) };
        let child = grants.of_a_child();
        assert_eq!(child.children.as_ref().map(|below| (below.max, below.depth)), Some((3, 1)));
        let grandchild = child.children.unwrap().of_a_child();
        assert_eq!((grandchild.children, grandchild.fs), (None, child.fs));
    }

    #[test]
    fn what_children_may_use_is_part_of_what_their_parent_may() {
        let limits = |memory, pids| Limits { memory, pids, ..Limits::default() };
        let own = limits(Some(100), None);
        let (forty, sixty, all) = (limits(Some(40), Some(9)), limits(Some(60), None), limits(None, None));
        assert_eq!(over_budget(&own, &[&forty, &sixty]), None);
        let found = over_budget(&own, &[&forty, &sixty, &forty]).unwrap();
        assert_eq!(found.to_string(), r#"E_ATTENUATION permission=limits.memory asked="140" ceiling="100""#);
        assert!(over_budget(&own, &[&all]).is_none() && over_budget(&own, &[&all, &forty]).is_some());
    }

    #[test]
    fn what_is_too_much_is_named() {
        let mut asked = Permissions::default();
        asked.fs.read.insert("/srv/data2".into());
        asked.net.connect.insert("API.example.com:443".parse().unwrap());
        let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let auth = ServiceName::parse("auth").unwrap();
        let grants = ServiceGrants { call: patterns(&["user.*", "verify"]), ..ServiceGrants::default() };
        asked.services.insert(auth.clone(), grants);
        asked.children = Some(ChildGrants { max: 1, depth: 1, ceiling: Box::default() });
        let mut ceiling = Permissions::default();
        let grants = ServiceGrants { call: patterns(&["user.find", "verify"]), ..ServiceGrants::default() };
        ceiling.services.insert(auth, grants);
        ceiling.fs.write.insert("/srv/data".into());
        ceiling.limits.memory = Some(1024);
        let found: Vec<_> = excess(&asked, &ceiling).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                r#"E_ATTENUATION permission=fs.read asked="/srv/data2" ceiling="[/srv/data]""#,
                r#"E_ATTENUATION permission=net.connect asked="api.example.com:443" ceiling="[]""#,
                r#"E_ATTENUATION permission=services.call asked="auth: user.*" ceiling="auth: [user.find, verify]""#,
                r#"E_ATTENUATION permission=children asked="1" ceiling="none""#,
                r#"E_ATTENUATION permission=limits.memory asked="no limit" ceiling="1024""#,
            ]
        );
    }
}
