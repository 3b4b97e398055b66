//! What is told of services and replicas: their state and the reason for it.

use super::{Action, Supervisor};
use crate::replica::{Life, Progress, Replica, Rest, Second, SecondLife};
use crate::report::{EventKind, Phase, ReplicaView, ServiceView, State, Why};
use crate::service_node::ServiceNode;

impl Supervisor {
    /// Every service as it is now, dependencies first. What only the manager knows is left at its default.
    #[must_use]
    pub fn view(&self) -> Vec<ServiceView> {
        let blocks = self.blocks();
        (0..self.nodes.len()).map(|place| self.view_of(place, &blocks)).collect()
    }

    fn view_of(&self, place: usize, blocks: &[Option<usize>]) -> ServiceView {
        let node = &self.nodes[place];
        let (state, why) = self.state_of(place, blocks);
        let names = self.graph.names();
        ServiceView {
            name: node.spec.name.clone(),
            kind: node.spec.kind,
            runtime: String::new(),
            state,
            why,
            depends_on: self.graph.dependencies(place).iter().map(|edge| names[edge.on].clone()).collect(),
            replicas: node
                .replicas
                .iter()
                .map(|replica| self.view_of_replica(place, replica, blocks))
                .collect(),
        }
    }

    fn view_of_replica(&self, place: usize, replica: &Replica, blocks: &[Option<usize>]) -> ReplicaView {
        let (state, why) = self.state_of_replica(place, replica, blocks);
        let phase = match &replica.life {
            Life::Starting(Progress { phase, .. }) => *phase,
            Life::Running => Phase::Done,
            _ => Phase::default(),
        };
        ReplicaView {
            index: replica.id.index,
            state,
            why,
            generation: replica.generation,
            restarts: replica.restarts,
            phase,
            since: 0,
            pid: None,
            resources: None,
            code_sha256: None,
            checks: Vec::new(),
            calls: None,
            methods: Vec::new(),
        }
    }

    /// For every service that will not run by itself: the service at the root of it, which is itself where it was
    /// stopped, or has ended. One pass, dependencies first.
    pub(super) fn blocks(&self) -> Vec<Option<usize>> {
        let mut blocks: Vec<Option<usize>> = vec![None; self.nodes.len()];
        for (place, node) in self.nodes.iter().enumerate() {
            if !node.is_closed() {
                continue;
            }
            let by_dependency = || {
                let edges = self.graph.dependencies(place).iter();
                let missing = edges.filter(|edge| !self.nodes[edge.on].provides(edge.dependency.condition));
                missing.filter_map(|edge| blocks[edge.on]).next()
            };
            let own = !node.wanted || (node.has_ended() && !node.restarting);
            blocks[place] = if own { Some(place) } else { by_dependency() };
        }
        blocks
    }

    fn state_of(&self, place: usize, blocks: &[Option<usize>]) -> (State, Option<Why>) {
        let node = &self.nodes[place];
        let count = |state| node.replicas.iter().filter(|replica| replica.state() == state).count();
        let running = count(State::Running);
        if running > 0 {
            let (running, wanted) = (u32::try_from(running).unwrap_or(u32::MAX), node.spec.replicas.get());
            let degraded = (running < wanted).then_some(Why::Degraded { running, wanted });
            let reloading = || node.replicas.iter().find_map(Replica::why_reloading);
            return (State::Running, degraded.or_else(reloading));
        }
        if count(State::Starting) > 0 {
            return (State::Starting, None);
        }
        match node.replicas.iter().find_map(Replica::why_closing) {
            Some(why) => (State::Closing, Some(why)),
            None => (State::Closed, Some(self.why_closed(place, blocks))),
        }
    }

    fn state_of_replica(
        &self,
        place: usize,
        replica: &Replica,
        blocks: &[Option<usize>],
    ) -> (State, Option<Why>) {
        let why = match &replica.life {
            Life::Closed(rest) if replica.is_gone() => {
                let own = self.nodes[place].why_resting(rest);
                Some(own.unwrap_or_else(|| self.why_idle(place, blocks)))
            }
            Life::Running => replica.why_reloading(),
            _ => replica.why_closing(),
        };
        (replica.state(), why)
    }

    /// Why a service of which nothing is there does not run.
    pub(super) fn why_closed(&self, place: usize, blocks: &[Option<usize>]) -> Why {
        let node = &self.nodes[place];
        let resting = node.replicas.iter().find_map(|replica| match &replica.life {
            Life::Closed(rest) => node.why_resting(rest),
            _ => None,
        });
        resting.unwrap_or_else(|| self.why_idle(place, blocks))
    }

    fn why_idle(&self, place: usize, blocks: &[Option<usize>]) -> Why {
        let (node, names) = (&self.nodes[place], self.graph.names());
        if !node.wanted {
            return if node.known { Why::Stopped } else { Why::NotStarted };
        }
        if node.restarting {
            return Why::Restarting;
        }
        match blocks[place] {
            Some(root) if root != place => Why::BlockedBy { service: names[root].clone() },
            _ => {
                let edges = self.graph.dependencies(place).iter();
                let missing = edges.filter(|edge| !self.nodes[edge.on].provides(edge.dependency.condition));
                Why::WaitingFor { services: missing.map(|edge| names[edge.on].clone()).collect() }
            }
        }
    }

    /// Reports every change of a state, or of the reason for it, since it was last reported: what has closed first, as
    /// the rest may have followed from that.
    pub(super) fn report_changes(&mut self) {
        let blocks = self.blocks();
        let (closed, rest): (Vec<_>, Vec<_>) =
            (0..self.nodes.len()).partition(|place| self.nodes[*place].is_closed());
        for place in closed.into_iter().rev().chain(rest) {
            for index in 0..self.nodes[place].replicas.len() {
                self.report_replica(place, index, &blocks);
            }
            self.report_service(place, &blocks);
        }
    }

    fn report_service(&mut self, place: usize, blocks: &[Option<usize>]) {
        let now = self.state_of(place, blocks);
        let node = &mut self.nodes[place];
        // What was never wanted has nothing to tell.
        if node.reported != now && node.known {
            node.reported.clone_from(&now);
            let (service, (state, why)) = (node.spec.name.clone(), now);
            self.actions.push(Action::Report(EventKind::Service { service, state, why }));
        }
    }

    fn report_replica(&mut self, place: usize, index: usize, blocks: &[Option<usize>]) {
        let now = self.state_of_replica(place, &self.nodes[place].replicas[index], blocks);
        let replica = &mut self.nodes[place].replicas[index];
        if replica.reported == now {
            return;
        }
        replica.reported.clone_from(&now);
        // A replica that was never started has nothing to tell that its service does not.
        if replica.generation.0 > 0 {
            let (id, generation, (state, why)) = (replica.id.clone(), replica.generation, now);
            self.actions.push(Action::Report(EventKind::Replica { replica: id, generation, state, why }));
        }
    }
}

impl ServiceNode {
    /// Why a closed replica rests; None where it only waits to be wanted, or for others.
    fn why_resting(&self, rest: &Rest) -> Option<Why> {
        let within = self.spec.restart.within;
        match rest.clone() {
            Rest::Idle => None,
            Rest::BackingOff { wait, last } => Some(Why::BackingOff { wait, last }),
            Rest::GaveUp { crashes, last } => Some(Why::GaveUp { crashes, within, last }),
            Rest::Failed { last } => Some(Why::Failed { last }),
            Rest::Completed => Some(Why::Completed),
            Rest::Retired => Some(Why::Stopped),
        }
    }
}

impl Replica {
    fn why_closing(&self) -> Option<Why> {
        match (&self.life, &self.second) {
            (Life::Closing { why, .. }, _)
            | (Life::Closed(_), Some(Second { life: SecondLife::Leaving { why, .. }, .. })) => {
                Some(why.clone())
            }
            (Life::Closed(_), Some(_)) => Some(Why::Replaced),
            _ => None,
        }
    }

    fn why_reloading(&self) -> Option<Why> {
        self.successor().map(|cause| Why::Reloading { cause: *cause })
    }
}
