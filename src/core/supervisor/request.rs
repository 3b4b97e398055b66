//! What people and parents may ask for. A request is honoured whole or not at all.

use super::{Ending, Refusal, Request, Supervisor};
use crate::name::{ServiceName, StartId};
use crate::replica::{Life, Rest};
use crate::report::{EventKind, FinishCause};
use crate::service_graph::GraphError;
use crate::service_node::{NodeSpec, ServiceNode};

impl Supervisor {
    pub(super) fn take_request(&mut self, request: Request) -> Result<(), Refusal> {
        match request {
            Request::Shutdown => self.begin_end(FinishCause::Asked, None),
            Request::Kill => {
                self.begin_end(FinishCause::Killed, None);
                if let Ending::Closing { cause, .. } = &mut self.ending {
                    // Whatever it was closing for, this is how it ends.
                    *cause = FinishCause::Killed;
                }
                self.destroy_all();
            }
            _ if self.ending != Ending::No => return Err(Refusal::ShuttingDown),
            Request::Start(names) => {
                let places = self.places(&names)?;
                self.want(&places);
            }
            Request::Stop(names) => {
                for place in self.places(&names)? {
                    self.nodes[place].wanted = false;
                    self.nodes[place].held = true;
                }
            }
            Request::Restart(names) => {
                let places = self.places(&names)?;
                self.want(&places);
                places.iter().for_each(|place| self.nodes[*place].restarting = true);
            }
            Request::Reload(names) => return self.reload(&names),
            Request::Apply(changes) => return self.apply(changes),
            Request::Scale(name, replicas) => return self.scale(&name, replicas),
            Request::Create { child, opener } => return self.create_child(child, opener),
            Request::Remove(name) => {
                let place = self.places(std::slice::from_ref(&name))?[0];
                if name.parent().is_none() {
                    return Err(Refusal::NotAChild { name });
                }
                self.remove_subtree(place);
            }
        }
        Ok(())
    }

    pub(super) fn places(&self, names: &[ServiceName]) -> Result<Vec<usize>, Refusal> {
        names.iter().map(|name| self.graph.place(name).ok_or_else(|| self.unknown(name))).collect()
    }

    fn unknown(&self, name: &ServiceName) -> Refusal {
        let known = self.graph.names().iter().map(ServiceName::as_str);
        let similar = crate::manifest::suggest::nearest(name.as_str(), known).map(Into::into);
        Refusal::UnknownService { name: name.to_string(), similar }
    }

    /// Wants these and what they depend on, and forgives them their crashes. A job that has completed stays so.
    pub(super) fn want(&mut self, places: &[usize]) {
        for place in self.graph.with_dependencies(places.iter().copied()) {
            let node = &mut self.nodes[place];
            node.wanted = true;
            node.held = false;
            node.known = true;
            let again = node.spec.kind == crate::manifest::Kind::Service;
            for replica in &mut node.replicas {
                replica.forgive();
                if again && replica.life == Life::Closed(Rest::Completed) {
                    replica.life = Life::Closed(Rest::Idle);
                }
                self.timers.cancel(&replica.start(), super::Timer::BackOff);
            }
        }
    }

    fn create_child(&mut self, spec: NodeSpec, opener: StartId) -> Result<(), Refusal> {
        let name = spec.name.clone();
        if self.graph.place(&name).is_some() {
            return Err(Refusal::Exists { name });
        }
        let Some(parent) = name.parent() else { return Err(Refusal::NotAChild { name }) };
        let place = self.graph.place(&parent).ok_or_else(|| self.unknown(&parent))?;
        let opens = opener.replica.service == parent
            && self.current(&opener).is_some_and(|replica| replica.life == Life::Running);
        let parent_node = &self.nodes[place];
        if !opens || parent_node.closing.is_some() || parent_node.removing {
            return Err(Refusal::ParentNotRunning { parent });
        }
        let mut node = ServiceNode::new(spec);
        (node.wanted, node.known, node.opener) = (true, true, Some(opener));
        let mut nodes = self.nodes.clone();
        nodes.push(node);
        self.reorder(nodes).map_err(|error| dependency_refused(&name, error))?;
        self.actions.push(super::Action::Report(EventKind::Child { service: name, created: true }));
        Ok(())
    }

    /// A child goes with its own children and with what else depends on it.
    pub(super) fn remove_subtree(&mut self, place: usize) {
        let mut todo = vec![place];
        while let Some(place) = todo.pop() {
            self.nodes[place].removing = true;
            todo.extend(self.graph.dependents(place));
        }
    }
}

fn dependency_refused(name: &ServiceName, error: GraphError) -> Refusal {
    let (on, why) = match error {
        GraphError::Missing { on, .. } => (on, "it is not there".into()),
        error => (name.clone(), error.to_string()),
    };
    Refusal::Dependency { name: name.clone(), on, why }
}
