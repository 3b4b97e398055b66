//! [`ServiceNode`]: one service in the graph, with its desired state, its replicas and their restart budgets.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::manifest::{Condition, Dependency, Kind, Restart, Service};
use crate::name::{Generation, ReplicaId, ServiceName, StartId};
use crate::replica::{Life, Replica, Rest};
use crate::report::{CrashReason, NotReloaded, ReloadCause, State, Why};
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
    /// How many of them may have a second start beside their own while they are reloaded.
    pub max_surge: NonZeroU32,
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
            max_surge: service.max_surge,
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
    /// The start that has opened it, where it is a child: it goes with that one.
    pub(crate) opener: Option<StartId>,
    /// How many of its replicas the present reload, or the last one, has replaced.
    pub(crate) reloaded: u32,
    /// Why the last reload that was asked for has ended early, where it has.
    pub(crate) not_reloaded: Option<NotReloaded>,
    /// It has been decided that it closes, and why. Stays until it has closed, whatever happens meanwhile.
    pub(crate) closing: Option<Why>,
    pub(crate) replicas: Vec<Replica>,
    /// The newest generation of the replicas that it has no more: one that comes anew follows it (lifecycle rule 8).
    pub(crate) retired: Generation,
    /// When a new start that was to replace another one failed last.
    pub(crate) failed_at: Option<Moment>,
    /// What was last reported of it.
    pub(crate) reported: (State, Option<Why>),
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
            opener: None,
            reloaded: 0,
            not_reloaded: None,
            failed_at: None,
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
        self.replicas.iter().all(Replica::is_gone)
    }

    /// A replica is starting or running: there is something to close.
    pub(crate) fn is_live(&self) -> bool {
        self.replicas.iter().any(Replica::is_live)
    }

    /// A replica is being replaced, or is to be.
    pub(crate) fn is_reloading(&self) -> bool {
        self.replicas.iter().any(|replica| replica.stale.is_some() || replica.successor().is_some())
    }

    /// What runs of it is to be replaced, for somebody has asked for that. What is not live reads what is there when it starts.
    pub(crate) fn outdate(&mut self) {
        self.not_reloaded = None;
        // What is reloaded is counted from here on, unless a reload is under way.
        if !self.is_reloading() {
            self.reloaded = 0;
        }
        for replica in self.replicas.iter_mut().filter(|replica| replica.is_live()) {
            replica.stale = Some(ReloadCause::Asked);
        }
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
