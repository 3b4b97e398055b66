//! Snapshots for the tests of views.

use orchestrator_core::manifest::Kind;
use orchestrator_core::report::{Phase, ReplicaView, ServiceView, Snapshot, State, Why};
use orchestrator_core::{Generation, ServiceName};

pub(crate) fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).unwrap()
}

/// A first replica in its second start, since one second after 1970 began.
pub(crate) fn replica(state: State, why: Option<Why>) -> ReplicaView {
    ReplicaView {
        index: 1,
        state,
        why,
        generation: Generation(2),
        restarts: 1,
        phase: Phase::Starting,
        since: 1000,
        pid: None,
        resources: None,
        code_sha256: None,
        checks: Vec::new(),
        calls: None,
        methods: Vec::new(),
    }
}

/// A service in JavaScript, in the state of its one replica.
pub(crate) fn service(text: &str, replica: ReplicaView) -> ServiceView {
    ServiceView {
        name: name(text),
        kind: Kind::Service,
        runtime: "js".into(),
        state: replica.state,
        why: replica.why.clone(),
        depends_on: Vec::new(),
        replicas: vec![replica],
    }
}

pub(crate) fn snapshot(services: Vec<ServiceView>) -> Snapshot {
    Snapshot { services, ..Snapshot::empty(name("test")) }
}
