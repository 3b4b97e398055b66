//! [`ServiceNode`]: one service in the graph, with its desired state, its replicas and their restart budgets.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::manifest::{Condition, Dependency, Kind, Restart, Service};
use crate::name::{Generation, ReplicaId, ServiceName, StartId};
use crate::report::{CrashReason, Phase, State, Why};
use crate::supervisor::Moment;

/// What the Supervisor needs to know of a service: the part of [`Service`] that decides when it runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeSpec {
    /// The service's name. A child's names its parent, on which it depends always (lifecycle rule 6).
    pub name: ServiceName,
    /// Whether it runs on or runs to completion.
    pub kind: Kind,
    /// What it depends on, besides its parent.
    pub depends_on: BTreeMap<ServiceName, Dependency>,
    /// How many replicas run.
    pub replicas: NonZeroU32,
    /// What happens when a replica crashes. The budget is each replica's own.
    pub restart: Restart,
    /// How long a start may take.
    pub start_timeout: Duration,
    /// How long a graceful close may take before it is forced.
    pub close_timeout: Duration,
    /// Whether everything ends when this ends.
    pub essential: bool,
}

impl From<&Service> for NodeSpec {
    fn from(service: &Service) -> Self {
        Self {
            name: service.name.clone(),
            kind: service.kind,
            depends_on: service.depends_on.clone(),
            replicas: service.replicas,
            restart: service.restart,
            start_timeout: service.start_timeout,
            close_timeout: service.close_timeout,
            essential: service.essential,
        }
    }
}

/// One service in the graph.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceNode {
    pub(crate) spec: Arc<NodeSpec>,
    /// It shall run, as far as its dependencies let it.
    pub(crate) wanted: bool,
    /// A person has stopped it, and may start it again: the project does not end for want of work meanwhile.
    pub(crate) held: bool,
    /// It has been wanted before.
    pub(crate) known: bool,
    /// Close it, and what depends on it, then start it again.
    pub(crate) restarting: bool,
    /// A child that is to be forgotten once it is closed.
    pub(crate) removing: bool,
    /// It has been decided that it closes, and why. Stays until it has closed, whatever happens meanwhile.
    pub(crate) closing: Option<Why>,
    pub(crate) replicas: Vec<Replica>,
    /// The newest generation of the replicas that it has no more: one that comes anew follows it (lifecycle rule 8).
    pub(crate) retired: Generation,
    /// What was last reported of it.
    pub(crate) reported: (State, Option<Why>),
}

/// One replica of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Replica {
    pub(crate) id: ReplicaId,
    /// Its present start, or its last one.
    pub(crate) generation: Generation,
    /// How many of its starts followed a crash.
    pub(crate) restarts: u32,
    /// When it crashed, as far as that counts for its budget.
    pub(crate) crashes: Vec<Moment>,
    pub(crate) life: Life,
    /// What was last reported of it.
    pub(crate) reported: (State, Option<Why>),
}

/// What a replica is doing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Life {
    /// Nothing of it is there.
    Closed(Rest),
    /// Its environment is being made, its code started.
    Starting {
        /// How far it has come.
        phase: Phase,
        /// What its readiness check said last.
        detail: Option<String>,
    },
    /// It is ready.
    Running,
    /// It was told to close, or its environment is being destroyed.
    Closing {
        /// Why.
        why: Why,
        /// Its environment is being destroyed, so there is nothing more to do about it.
        destroyed: bool,
        /// What it will be when nothing of it is left.
        then: Rest,
    },
}

/// What a closed replica waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rest {
    /// To be wanted, and for its dependencies.
    Idle,
    /// For its back-off to be over.
    BackingOff { wait: Duration, last: CrashReason },
    /// For nothing: it crashed more often than its budget allows.
    GaveUp { crashes: u32, last: CrashReason },
    /// For nothing: it crashed, and is not to be restarted.
    Failed { last: CrashReason },
    /// For nothing: it ran to completion.
    Completed,
    /// For nothing: its service has fewer replicas now.
    Retired,
}

impl ServiceNode {
    pub(crate) fn new(spec: NodeSpec) -> Self {
        let replica = |index| Replica::new(ReplicaId { service: spec.name.clone(), index });
        Self {
            replicas: (1..=spec.replicas.get()).map(replica).collect(),
            retired: Generation::default(),
            wanted: false,
            held: false,
            known: false,
            restarting: false,
            removing: false,
            closing: None,
            reported: (State::Closed, None),
            spec: Arc::new(spec),
        }
    }

    /// At least one replica is ready (lifecycle rule 13).
    pub(crate) fn is_running(&self) -> bool {
        self.replicas.iter().any(|replica| replica.life == Life::Running)
    }

    /// Nothing of it is there.
    pub(crate) fn is_closed(&self) -> bool {
        self.replicas.iter().all(|replica| matches!(replica.life, Life::Closed(_)))
    }

    /// A replica is starting or running: there is something to close.
    pub(crate) fn is_live(&self) -> bool {
        self.replicas.iter().any(Replica::is_live)
    }

    /// It has run to completion.
    pub(crate) fn is_completed(&self) -> bool {
        self.replicas.iter().all(|replica| replica.life == Life::Closed(Rest::Completed))
    }

    /// Every replica has come to an end from which it does not start again by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.replicas.iter().all(|replica| match &replica.life {
            Life::Closed(rest) => {
                matches!(rest, Rest::GaveUp { .. } | Rest::Failed { .. } | Rest::Completed | Rest::Retired)
            }
            _ => false,
        })
    }

    /// The reason of a replica that has failed for good.
    pub(crate) fn failure(&self) -> Option<&CrashReason> {
        self.replicas.iter().find_map(|replica| match &replica.life {
            Life::Closed(Rest::GaveUp { last, .. } | Rest::Failed { last }) => Some(last),
            _ => None,
        })
    }

    /// What a dependent needs of it is there.
    pub(crate) fn provides(&self, condition: Condition) -> bool {
        match condition {
            Condition::Ready => self.is_running(),
            Condition::Completed => self.is_completed(),
        }
    }
}

impl Replica {
    pub(crate) fn new(id: ReplicaId) -> Self {
        Self {
            id,
            generation: Generation::default(),
            restarts: 0,
            crashes: Vec::new(),
            life: Life::Closed(Rest::Idle),
            reported: (State::Closed, None),
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self.life, Life::Starting { .. } | Life::Running)
    }

    pub(crate) fn start(&self) -> StartId {
        StartId { replica: self.id.clone(), generation: self.generation }
    }

    pub(crate) fn state(&self) -> State {
        match self.life {
            Life::Closed(_) => State::Closed,
            Life::Starting { .. } => State::Starting,
            Life::Running => State::Running,
            Life::Closing { .. } => State::Closing,
        }
    }

    /// Past crashes are forgotten: it starts again as soon as it may. What has run to completion stays so.
    pub(crate) fn forgive(&mut self) {
        self.crashes.clear();
        let forgiven = |rest: &mut Rest| {
            if !matches!(rest, Rest::Completed | Rest::Retired) {
                *rest = Rest::Idle;
            }
        };
        match &mut self.life {
            Life::Closed(rest) | Life::Closing { then: rest, .. } => forgiven(rest),
            Life::Starting { .. } | Life::Running => {}
        }
    }
}
