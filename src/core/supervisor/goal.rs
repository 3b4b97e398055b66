//! [`Goal`]: what a request was for, and whether it has come true. Every request settles: what can no longer come
//! true by itself is unmet, and says why.

use super::{Changes, Ending, Request, Supervisor};
use crate::manifest::Kind;
use crate::name::ServiceName;
use crate::report::{NotReloaded, Why};
use crate::service_node::ServiceNode;

/// What somebody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// These run, all their replicas; jobs have completed.
    Running(Vec<ServiceName>),
    /// These are closed, and so is what depends on them.
    Closed(Vec<ServiceName>),
    /// Every replica of these is as new as what was there when it was asked for, and runs.
    Reloaded(Vec<ServiceName>),
    /// This has as many replicas as it shall have, and they run if it shall run.
    Scaled(ServiceName),
    /// What differed does not differ any more.
    Applied(Box<Changes>),
    /// The project has ended.
    Finished,
}

/// Why a goal cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    /// A service does not run.
    #[error("{service} does not run: {why}")]
    Down {
        /// The service that is in the way.
        service: ServiceName,
        /// Why it is.
        why: Why,
    },
    /// A service runs on as it did.
    #[error("{service} runs on as it is, and is not reloaded: {why}")]
    Waiting {
        /// The service.
        service: ServiceName,
        /// Why.
        why: Why,
    },
    /// A service runs on as it did, or a part of it does, because its new start failed.
    #[error("{0}")]
    NotReloaded(NotReloaded),
}

impl Goal {
    /// What this request is for.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        match request {
            Request::Start(services) | Request::Restart(services) => Self::Running(services.clone()),
            Request::Reload(services) => Self::Reloaded(services.clone()),
            Request::Scale(service, _) => Self::Scaled(service.clone()),
            Request::Create { child, .. } => Self::Running(vec![child.name.clone()]),
            Request::Stop(services) => Self::Closed(services.clone()),
            Request::Remove(service) => Self::Closed(vec![service.clone()]),
            Request::Apply(changes) => Self::Applied(Box::new(changes.clone())),
            Request::Shutdown | Request::Kill => Self::Finished,
        }
    }
}

impl Supervisor {
    /// Whether a goal has been reached, or cannot be reached any more. None: it may still come true.
    #[must_use]
    pub fn settled(&self, goal: &Goal) -> Option<Result<(), Unmet>> {
        match goal {
            Goal::Finished => (self.ending == Ending::Over).then_some(Ok(())),
            Goal::Closed(services) => {
                let closed =
                    |name: &ServiceName| self.graph.place(name).is_none_or(|place| self.is_down(place));
                services.iter().all(closed).then_some(Ok(()))
            }
            Goal::Scaled(name) => {
                let node = self.graph.place(name).map(|place| &self.nodes[place]);
                let unmet = || self.out_of_reach(name).map(Err);
                match node {
                    None => Some(Ok(())),
                    Some(node) if node.replicas.len() != node.spec.replicas.get() as usize => None,
                    Some(node) if !node.wanted || self.has_reached(name) => Some(Ok(())),
                    Some(_) => unmet(),
                }
            }
            Goal::Running(services) => self.settled_running(services),
            Goal::Reloaded(services) => self.settled_reloaded(services),
            Goal::Applied(changes) => self.settled_applied(changes),
        }
    }

    fn settled_reloaded(&self, services: &[ServiceName]) -> Option<Result<(), Unmet>> {
        // One that failed does not keep the others from it.
        if services.iter().any(|name| self.may_be_reloaded(name)) {
            return None;
        }
        if let Some(unmet) = services.iter().find_map(|name| self.not_reloaded(name)) {
            return Some(Err(unmet));
        }
        match self.settled_running(services) {
            // Until then an old start may still accept connections.
            Some(Ok(())) if services.iter().any(|name| self.has_second_starts(name)) => None,
            settled => settled,
        }
    }

    /// What a person has stopped is not waited for.
    fn settled_applied(&self, changes: &Changes) -> Option<Result<(), Unmet>> {
        let wanted =
            |name: &&ServiceName| self.graph.place(name).is_some_and(|place| self.nodes[place].wanted);
        let those = |names: &[ServiceName]| names.iter().filter(wanted).cloned().collect::<Vec<_>>();
        let leaves =
            |name: &ServiceName| self.graph.place(name).is_some_and(|place| self.nodes[place].removing);
        let removed = !changes.removed.iter().any(leaves);
        let all = [
            self.settled_reloaded(&those(&changes.reloaded)),
            self.settled_running(&those(&changes.restarted)),
            self.settled_running(&those(&changes.started)),
            self.settled_running(&those(&changes.adjusted)),
            removed.then_some(Ok(())),
        ];
        // What cannot come true any more is told when the rest has been settled, too.
        if all.contains(&None) {
            None
        } else {
            all.into_iter().flatten().find(Result::is_err).or(Some(Ok(())))
        }
    }

    fn settled_running(&self, services: &[ServiceName]) -> Option<Result<(), Unmet>> {
        let unmet = services.iter().find_map(|name| self.out_of_reach(name));
        let reached = || services.iter().all(|name| self.has_reached(name));
        unmet.map(Err).or_else(|| reached().then_some(Ok(())))
    }

    /// A replica is being replaced, or will be by itself.
    fn may_be_reloaded(&self, name: &ServiceName) -> bool {
        let node = self.graph.place(name).map(|place| &self.nodes[place]);
        node.is_some_and(ServiceNode::is_reloading) && self.waits_for(name).is_none()
    }

    /// A start that was taken over from is still there.
    fn has_second_starts(&self, name: &ServiceName) -> bool {
        let node = self.graph.place(name).map(|place| &self.nodes[place]);
        node.is_some_and(|node| node.replicas.iter().any(|replica| replica.second.is_some()))
    }

    /// Why a service that runs is not reloaded.
    fn not_reloaded(&self, name: &ServiceName) -> Option<Unmet> {
        let node = self.graph.place(name).map(|place| &self.nodes[place])?;
        let failed = node.not_reloaded.clone().map(Unmet::NotReloaded);
        let waits = || {
            let service = self.waits_for(name).filter(|_| node.is_reloading())?;
            Some(Unmet::Waiting { service: name.clone(), why: Why::BlockedBy { service } })
        };
        failed.or_else(waits)
    }

    /// What a new start needs and will not have by itself. Those that run can do without where they ignore its crashes.
    fn waits_for(&self, name: &ServiceName) -> Option<ServiceName> {
        let (place, blocks) = (self.graph.place(name)?, self.blocks());
        let edges = self.graph.dependencies(place).iter();
        let missing = edges.filter(|edge| !self.nodes[edge.on].provides(edge.dependency.condition));
        let root = missing.filter_map(|edge| blocks[edge.on]).next()?;
        Some(self.graph.names()[root].clone())
    }

    fn is_down(&self, place: usize) -> bool {
        let mut all = std::iter::once(&place).chain(self.graph.dependents(place));
        all.all(|place| self.nodes[*place].is_closed())
    }

    fn has_reached(&self, name: &ServiceName) -> bool {
        let Some(node) = self.graph.place(name).map(|place| &self.nodes[place]) else { return false };
        let up = match node.spec.kind {
            Kind::Job => node.is_completed(),
            Kind::Service => {
                node.replicas.iter().all(|replica| replica.state() == crate::report::State::Running)
            }
        };
        up && node.closing.is_none() && !node.restarting
    }

    /// Why a service will not run by itself any more. A crash that is followed by a restart is none.
    fn out_of_reach(&self, name: &ServiceName) -> Option<Unmet> {
        let unmet = |why| Some(Unmet::Down { service: name.clone(), why });
        let Some(place) = self.graph.place(name) else { return unmet(Why::Stopped) };
        let node = &self.nodes[place];
        if self.ending != Ending::No || !node.wanted {
            return unmet(Why::Stopped);
        }
        if !node.is_closed() || node.restarting || self.has_reached(name) {
            return None;
        }
        match self.why_closed(place, &self.blocks()) {
            Why::WaitingFor { .. } | Why::BackingOff { .. } | Why::Restarting => None,
            why => unmet(why),
        }
    }
}
