//! The present: every service and replica as it is now.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{FabricView, Phase, Why};
use crate::manifest::Kind;
use crate::name::{Generation, ServiceName};

/// A project as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The project's name.
    pub project: ServiceName,
    /// When this was so, in milliseconds since 1970-01-01 UTC.
    pub time: u64,
    /// The number of the last event that this reflects.
    pub seq: u64,
    /// The orchestrator's process id.
    pub pid: u32,
    /// The SHA-256 of the runner that its services run in, in hexadecimal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub runner_sha256: String,
    /// What it sees of the fabric; none where it is part of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fabric: Option<FabricView>,
    /// Its services, dependencies first; a child after its parent.
    pub services: Vec<ServiceView>,
}

/// A service as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Its name.
    pub name: ServiceName,
    /// Whether it runs on or runs to completion.
    pub kind: Kind,
    /// The plugin that runs it. Empty where the Supervisor alone speaks.
    #[serde(default)]
    pub runtime: String,
    /// Its state.
    pub state: State,
    /// Why, where there is more to say than the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Why>,
    /// What it depends on, its parent included.
    pub depends_on: Vec<ServiceName>,
    /// Its replicas, in the order of their numbers.
    pub replicas: Vec<ReplicaView>,
}

/// A replica as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplicaView {
    /// Its number, from 1.
    pub index: u32,
    /// Its state.
    pub state: State,
    /// Why, where there is more to say than the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Why>,
    /// How many times it has been started.
    pub generation: Generation,
    /// How many of those starts followed a crash.
    pub restarts: u32,
    /// How far its present start has come.
    #[serde(default)]
    pub phase: Phase,
    /// Since when it has been in its state, in milliseconds since 1970-01-01 UTC.
    #[serde(default)]
    pub since: u64,
    /// The process id of its service, as the host sees it, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// What it uses, as last measured, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The SHA-256 of the code that was shipped to it, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_sha256: Option<String>,
    /// What its sandbox was checked for from inside before any code was sent, and held. Empty without a sandbox.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<String>,
    /// What it has to do with calls, while it is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<Calls>,
    /// What can be called of it while it runs, nested names with dots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
}

/// What a replica has to do with calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Calls {
    /// How many it has been given and has not answered: its score, where the least gets the next one.
    pub in_flight: u32,
    /// How many it has answered since it was started.
    pub served: u64,
    /// How many events it did not get because it had too many.
    #[serde(default)]
    pub lost_events: u64,
}

/// What the process tree of a replica uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// Processor use since the last measurement, in cores: 0.5 is half a core.
    pub cpu: f64,
    /// Processor time since the start, in milliseconds.
    pub cpu_time: u64,
    /// Resident memory, in bytes.
    pub memory: u64,
    /// How many processes there are.
    pub processes: u32,
}

/// The states of a service and of a replica (design: rules of the lifecycle).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Being brought up; not to be called yet.
    Starting,
    /// Up and ready.
    Running,
    /// Being brought down.
    Closing,
    /// Nothing of it is there.
    #[default]
    Closed,
}

impl Snapshot {
    /// A project of which nothing is known yet.
    #[must_use]
    pub fn empty(project: ServiceName) -> Self {
        Self {
            project,
            time: 0,
            seq: 0,
            pid: 0,
            runner_sha256: String::new(),
            fabric: None,
            services: Vec::new(),
        }
    }

    /// What a reload of everything reloads: the services that run, or are about to. Children are their parents' matter.
    #[must_use]
    pub fn reloadable(&self) -> Vec<ServiceName> {
        let up = |service: &&ServiceView| {
            let own = service.kind == Kind::Service && service.name.parent().is_none();
            own && matches!(service.state, State::Starting | State::Running)
        };
        self.services.iter().filter(up).map(|service| service.name.clone()).collect()
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Closing => "closing",
            Self::Closed => "closed",
        })
    }
}
