//! How a running project becomes another one: what stays the same is not touched.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Changes, Refusal, Supervisor, Timer};
use crate::manifest::Kind;
use crate::replica::{Life, Rest};
use crate::service_graph::GraphError;
use crate::service_node::{NodeSpec, ServiceNode};

impl Supervisor {
    /// The services are these from now on. What a person has stopped stays so.
    pub(super) fn apply(&mut self, changes: Changes) -> Result<(), Refusal> {
        let Changes { services, removed, started: _, adjusted, reloaded, restarted, scaled } = changes;
        let replicas: Vec<_> = services
            .iter()
            .filter(|spec| scaled.contains(&spec.name) && spec.kind == Kind::Service)
            .map(|spec| (spec.name.clone(), spec.replicas))
            .collect();
        self.become_these(services)?;
        for place in self.places(&removed)? {
            self.remove_subtree(place);
        }
        for (name, replicas) in replicas {
            self.scale(&name, replicas)?;
        }
        for place in self.places(&adjusted)? {
            self.renew(place, |_| {});
        }
        for place in self.places(&reloaded)? {
            self.renew(place, ServiceNode::outdate);
        }
        for place in self.places(&restarted)? {
            self.renew(place, |node| node.restarting = true);
        }
        Ok(())
    }

    /// Gives every service its new rules, and those that are new a place.
    fn become_these(&mut self, services: Vec<NodeSpec>) -> Result<(), Refusal> {
        let mut services: BTreeMap<_, _> =
            services.into_iter().map(|spec| (spec.name.clone(), spec)).collect();
        let mut nodes = self.nodes.clone();
        for node in &mut nodes {
            let Some(spec) = services.remove(&node.spec.name) else { continue };
            // A number that somebody chose stays; but a job runs once.
            let replicas = if spec.kind == Kind::Service { node.spec.replicas } else { spec.replicas };
            node.spec = Arc::new(NodeSpec { replicas, ..spec });
            node.removing = false;
        }
        nodes.extend(services.into_values().map(|spec| {
            let mut node = ServiceNode::new(spec);
            (node.wanted, node.known) = (true, true);
            node
        }));
        self.reorder(nodes).map_err(|error| match error {
            GraphError::Missing { service: name, on } => {
                Refusal::Dependency { name, on, why: "it is not there".into() }
            }
            GraphError::Duplicate(name) => Refusal::Exists { name },
            GraphError::Cycle(names) => {
                let (name, on) = (names[0].clone(), names[1].clone());
                Refusal::Dependency { name, on, why: GraphError::Cycle(names).to_string() }
            }
        })
    }

    /// Forgives a service its crashes and does something to it, unless it was stopped: then it is new when it is started.
    fn renew(&mut self, place: usize, deed: impl FnOnce(&mut ServiceNode)) {
        let node = &mut self.nodes[place];
        if !node.wanted {
            return;
        }
        let again = node.spec.kind == Kind::Service;
        for replica in &mut node.replicas {
            replica.forgive();
            if again && replica.life == Life::Closed(Rest::Completed) {
                replica.life = Life::Closed(Rest::Idle);
            }
            self.timers.cancel(&replica.start(), Timer::BackOff);
        }
        deed(node);
    }
}
