//! [`Facts`]: what is known of starts beyond what the Supervisor decides by: ids, measurements, times.

use std::collections::HashMap;

use orchestrator_core::report::{Phase, Resources, ServiceView, State};
use orchestrator_core::{Generation, ReplicaId, StartId};

/// The facts of all starts that are there, and of each replica's last one.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    starts: HashMap<StartId, Start>,
    /// The state that each replica was last seen in, and since when, in milliseconds since 1970-01-01 UTC.
    seen: HashMap<ReplicaId, (Generation, State, u64)>,
}

/// The facts of one start.
#[derive(Debug, Default)]
pub(crate) struct Start {
    /// How far it has come.
    pub(crate) phase: Phase,
    /// Its service's process id, while there is a process.
    pub(crate) pid: Option<u32>,
    /// What it uses, as last measured.
    pub(crate) resources: Option<Resources>,
    /// What code runs in it, or ran.
    pub(crate) code_sha256: Option<String>,
    pub(crate) checks: Vec<String>,
    over: bool,
}

impl Facts {
    /// The facts of a start.
    pub(crate) fn of(&mut self, start: &StartId) -> &mut Start {
        self.starts.entry(start.clone()).or_default()
    }

    /// A start begins: what is known of those of its replica that are over is of no use any more.
    pub(crate) fn began(&mut self, start: &StartId) {
        self.starts.retain(|other, known| other.replica != start.replica || !known.over);
        self.of(start);
    }

    /// Nothing is left of a start.
    pub(crate) fn ended(&mut self, start: &StartId) {
        let known = self.of(start);
        let (code_sha256, checks) = (known.code_sha256.take(), std::mem::take(&mut known.checks));
        *known = Start { code_sha256, checks, over: true, ..Start::default() };
    }

    /// What code the starts of a service run that are there.
    pub(crate) fn code_of(&self, service: &orchestrator_core::ServiceName) -> impl Iterator<Item = &str> {
        let there =
            self.starts.iter().filter(move |(start, known)| start.replica.service == *service && !known.over);
        there.filter_map(|(_, known)| known.code_sha256.as_deref())
    }

    /// The service is no longer part of the project.
    pub(crate) fn forget(&mut self, service: &orchestrator_core::ServiceName) {
        self.starts.retain(|start, _| start.replica.service != *service);
        self.seen.retain(|replica, _| replica.service != *service);
    }

    /// Adds what is known to a view of a service, at this time.
    pub(crate) fn fill(&mut self, view: &mut ServiceView, time: u64) {
        for shown in &mut view.replicas {
            let replica = ReplicaId { service: view.name.clone(), index: shown.index };
            let now = (shown.generation, shown.state);
            let seen = self.seen.entry(replica.clone()).or_insert((now.0, now.1, time));
            if (seen.0, seen.1) != now {
                *seen = (now.0, now.1, time);
            }
            shown.since = seen.2;
            let start = StartId { replica, generation: shown.generation };
            let Some(known) = self.starts.get(&start) else { continue };
            shown.phase = if shown.state == State::Running { Phase::Done } else { known.phase };
            shown.pid = known.pid;
            shown.resources = known.resources;
            shown.code_sha256.clone_from(&known.code_sha256);
            shown.checks.clone_from(&known.checks);
        }
    }
}
