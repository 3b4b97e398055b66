//! [`ServiceNode`]: one service in the graph, with its desired state, its replicas and their restart budgets.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::manifest::{Dependency, Kind, Restart, Service};
use crate::name::ServiceName;

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
