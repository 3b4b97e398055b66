//! [`Facts`]: what is known of replicas beyond what the Supervisor decides by: ids, measurements, times.

use std::collections::HashMap;

use orchestrator_core::report::{Phase, Resources, ServiceView, State};
use orchestrator_core::{Generation, ReplicaId, StartId};

/// The facts of all replicas.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    replicas: HashMap<ReplicaId, Replica>,
}

/// The facts of one replica.
#[derive(Debug, Default)]
pub(crate) struct Replica {
    /// How far its present start has come.
    pub(crate) phase: Phase,
    /// Its service's process id, while there is a process.
    pub(crate) pid: Option<u32>,
    /// What it uses, as last measured.
    pub(crate) resources: Option<Resources>,
    /// What code runs, or ran last.
    pub(crate) code_sha256: Option<String>,
    pub(crate) checks: Vec<String>,
    /// The state that it was last seen in, and since when, in milliseconds since 1970-01-01 UTC.
    seen: Option<(Generation, State, u64)>,
}

impl Facts {
    /// The facts of the replica that was started.
    pub(crate) fn of(&mut self, start: &StartId) -> &mut Replica {
        self.replicas.entry(start.replica.clone()).or_default()
    }

    /// Nothing is left of a start.
    pub(crate) fn ended(&mut self, start: &StartId) {
        let replica = self.of(start);
        replica.phase = Phase::default();
        replica.pid = None;
        replica.resources = None;
    }

    /// The service is no longer part of the project.
    pub(crate) fn forget(&mut self, service: &orchestrator_core::ServiceName) {
        self.replicas.retain(|replica, _| replica.service != *service);
    }

    /// Adds what is known to a view of a service, at this time.
    pub(crate) fn fill(&mut self, view: &mut ServiceView, time: u64) {
        for shown in &mut view.replicas {
            let id = ReplicaId { service: view.name.clone(), index: shown.index };
            let known = self.replicas.entry(id).or_default();
            let since = match known.seen {
                Some((generation, state, since))
                    if (generation, state) == (shown.generation, shown.state) =>
                {
                    since
                }
                _ => time,
            };
            known.seen = Some((shown.generation, shown.state, since));
            shown.since = since;
            shown.phase = if shown.state == State::Running { Phase::Done } else { known.phase };
            shown.pid = known.pid;
            shown.resources = known.resources;
            shown.code_sha256.clone_from(&known.code_sha256);
            shown.checks.clone_from(&known.checks);
        }
    }
}
