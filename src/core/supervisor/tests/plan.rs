//! [`Plan`]: what was declared, as the rules need it.

use std::collections::{BTreeMap, BTreeSet};

use crate::manifest::{Condition, OnCrash, RestartPolicy};
use crate::name::ServiceName;
use crate::service_node::NodeSpec;

/// What was declared: the services there are, and who depends on whom.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) specs: BTreeMap<ServiceName, NodeSpec>,
    /// Parents included.
    pub(super) edges: Vec<Edge>,
}

/// An arrow of the graph: who, on whom, how.
pub(super) type Edge = (ServiceName, ServiceName, Condition, OnCrash);

impl Plan {
    pub(super) fn new(specs: Vec<NodeSpec>) -> Self {
        let mut plan = Self { specs: BTreeMap::new(), edges: Vec::new() };
        specs.into_iter().for_each(|spec| plan.add(spec));
        plan
    }

    pub(super) fn add(&mut self, spec: NodeSpec) {
        let declared = spec.depends_on.iter().map(|(on, edge)| (on.clone(), edge.condition, edge.on_crash));
        let parent = spec.name.parent().map(|parent| (parent, Condition::Ready, OnCrash::Close));
        let edges =
            declared.chain(parent).map(|(on, condition, crash)| (spec.name.clone(), on, condition, crash));
        self.edges.extend(edges);
        self.specs.insert(spec.name.clone(), spec);
    }

    pub(super) fn remove(&mut self, service: &ServiceName) {
        self.specs.remove(service);
        self.edges.retain(|(of, ..)| of != service);
    }

    pub(super) fn with_dependencies(&self, names: &[ServiceName]) -> BTreeSet<ServiceName> {
        let mut found = BTreeSet::new();
        let mut todo = names.to_vec();
        while let Some(name) = todo.pop() {
            let edges = self.edges.iter().filter(|edge| edge.0 == name);
            todo.extend(edges.map(|(_, on, ..)| on.clone()).filter(|on| !found.contains(on)));
            found.insert(name);
        }
        found
    }

    /// How many crashes are followed by a restart.
    pub(super) fn allowed(&self, service: &ServiceName) -> u32 {
        let restart = self.specs[service].restart;
        if restart.policy == RestartPolicy::Never { 0 } else { restart.max }
    }
}
