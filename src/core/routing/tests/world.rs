//! A project whose lines are lists of what they were told.

use std::sync::Arc;

use crate::name::{ReplicaId, ServiceName};
use crate::permissions::{Permissions, ServiceGrants, Share};
use crate::routing::{Call, LineId, Offer, Output, Party, Peer, Routing, Said, Told, Weigh};
use crate::supervisor::Moment;

impl Weigh for String {
    fn weight(&self) -> usize {
        self.len()
    }
}

pub(super) struct World {
    pub(super) routing: Routing<String>,
    pub(super) now: u64,
    /// What was said to whom, and what was denied, the oldest first.
    pub(super) outputs: Vec<Output<String>>,
}

pub(super) fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).unwrap()
}

/// May call and hear everything of these.
pub(super) fn friends(targets: &[&str]) -> Permissions {
    let all = || ["*".parse().unwrap()].into();
    let grants = |target: &&str| (name(target), ServiceGrants { call: all(), emit: [].into(), hear: all() });
    Permissions { services: targets.iter().map(grants).collect(), ..Permissions::default() }
}

impl World {
    /// A project of these services.
    pub(super) fn new(services: &[(&str, Permissions)]) -> Self {
        let mut routing = Routing::default();
        for (service, permissions) in services {
            routing.know(name(service), Arc::new(permissions.clone()), Some(4), Share::Everybody);
        }
        Self { routing, now: 0, outputs: Vec::new() }
    }

    /// A replica that can be called, with the methods `f` and `g`.
    pub(super) fn replica(&mut self, line: u64, service: &str, index: u32) -> LineId {
        let line = LineId(line);
        self.routing.connect(line, Party::Replica(ReplicaId { service: name(service), index }));
        let outputs = self.routing.open(Moment(self.now), line, vec!["f".into(), "g".into()]);
        self.outputs.extend(outputs);
        line
    }

    /// Another member of the fabric, on the host `h`, that has these services, each with the methods `f` and `g`.
    pub(super) fn member(&mut self, line: u64, name: &str, services: &[&str]) -> LineId {
        let line = LineId(line);
        let peer = Peer { name: name.into(), host: "h".into(), session: String::new() };
        self.routing.connect(line, Party::Member(peer));
        self.offer(line, services, 0);
        line
    }

    pub(super) fn offer(&mut self, line: LineId, services: &[&str], load: u32) {
        let offers = services.iter().map(|service| Offer {
            service: name(service),
            methods: vec!["f".into(), "g".into()],
            replicas: 1,
            load,
        });
        let outputs = self.routing.offer(Moment(self.now), line, offers.collect(), Vec::new());
        self.outputs.extend(outputs);
    }

    pub(super) fn say(&mut self, line: LineId, said: Said, payload: &str) {
        let outputs = self.routing.hear(Moment(self.now), line, said, payload.into());
        self.outputs.extend(outputs);
    }

    pub(super) fn pass(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        let outputs = self.routing.expire(Moment(self.now));
        self.outputs.extend(outputs);
    }

    pub(super) fn lose(&mut self, line: LineId) {
        let outputs = self.routing.disconnect(Moment(self.now), line);
        self.outputs.extend(outputs);
    }

    /// What lines were told since the last time, in short.
    pub(super) fn heard(&mut self) -> Vec<String> {
        std::mem::take(&mut self.outputs).into_iter().map(shown).collect()
    }

    /// The number of the invocation that was told last.
    pub(super) fn invocation(&self) -> u64 {
        let id = |output: &Output<String>| match output {
            Output::Tell { told: Told::Invoke { id, .. }, .. } => Some(*id),
            _ => None,
        };
        self.outputs.iter().rev().find_map(id).expect("something was invoked")
    }
}

pub(super) fn call(id: u64, service: &str, method: &str) -> Call {
    Call { id, service: service.into(), method: method.into(), ..Call::default() }
}

fn shown(output: Output<String>) -> String {
    match output {
        Output::Denied { line, denial } => format!("{} denied: {denial}", line.0),
        Output::Behind { line } => format!("{} behind", line.0),
        Output::Tell { line, told, payload } => {
            let told = match told {
                Told::Invoke { method, from, timeout, one_way, service, .. } => {
                    let how = if one_way { "send" } else { "invoke" };
                    let service = service.map(|service| format!("{service}.")).unwrap_or_default();
                    format!("{how} {service}{method} from {from} in {timeout}")
                }
                Told::Cancel { .. } => "cancel".into(),
                Told::Credit { items, .. } => format!("credit {items}"),
                Told::Event { event, from, all: true, groups } if groups.is_empty() => {
                    format!("event {event} from {from}")
                }
                Told::Event { event, from, all, groups } => {
                    format!("event {event} from {from} {all} {groups:?}")
                }
                Told::EventElsewhere { event, from, to } => {
                    format!("event {event} from {from} elsewhere {} {:?} {:?}", to.all, to.groups, to.granted)
                }
                Told::Emitted { id, receivers } => format!("{id}: emitted to {receivers}"),
                Told::Reply { id } => format!("{id}: reply"),
                Told::Stream { id } => format!("{id}: stream"),
                Told::Item { id } => format!("{id}: item"),
                Told::End { id } => format!("{id}: end"),
                Told::Error { id, fault, .. } => format!("{id}: {fault}"),
            };
            format!("{} {told} {payload}", line.0).trim_end().to_owned()
        }
    }
}
