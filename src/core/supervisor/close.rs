//! How services close: what depends on a service closes before it does (lifecycle rules 4, 5, 6).
//!
//! That a service closes is decided at once for everything that depends on it, and stays decided until it has closed,
//! even if the cause has gone by then. When it closes, it is told so only after everything that depends on it is closed.

use std::time::Duration;

use super::{Action, Ending, Moment, Supervisor, Timer};
use crate::manifest::{Condition, OnCrash};
use crate::name::{ServiceName, StartId};
use crate::replica::{Life, Rest};
use crate::report::{EventKind, State, Why};
use crate::service_graph::Edge;

impl Supervisor {
    /// Decides which services close. Dependencies come first, so one pass reaches everything behind them.
    pub(super) fn decide_closing(&mut self) {
        for place in 0..self.nodes.len() {
            if self.nodes[place].closing.is_none() {
                self.nodes[place].closing = self.reason_to_close(place);
            }
        }
    }

    fn reason_to_close(&self, place: usize) -> Option<Why> {
        let node = &self.nodes[place];
        let restarts = node.restarting.then_some(Why::Restarting);
        if !node.is_live() {
            // A closed service has nothing to close; but what depends on it may, before it starts again.
            return restarts;
        }
        let asked = self.ending != Ending::No || !node.wanted || node.removing;
        let own = asked.then_some(Why::Stopped).or(restarts);
        own.or_else(|| {
            let edges = self.graph.dependencies(place).iter();
            edges.filter_map(|edge| self.closed_by(*edge)).next().map(|service| Why::ClosedBy { service })
        })
    }

    /// What closes a live service that depends on another one this way: the service at the root of it.
    fn closed_by(&self, edge: Edge) -> Option<ServiceName> {
        let on = &self.nodes[edge.on];
        match &on.closing {
            Some(Why::ClosedBy { service }) => return Some(service.clone()),
            Some(_) => return Some(on.spec.name.clone()),
            None => {}
        }
        let crashed = edge.dependency.condition == Condition::Ready
            && edge.dependency.on_crash == OnCrash::Close
            && !on.is_running();
        crashed.then(|| on.spec.name.clone())
    }

    /// Closes every replica that must close and on which nothing depends any more. True if there was one.
    pub(super) fn close_what_must(&mut self, now: Moment) -> bool {
        let mut closed = false;
        for place in (0..self.nodes.len()).rev() {
            let free =
                self.graph.dependents(place).iter().all(|dependent| self.nodes[*dependent].is_closed());
            if free && self.nodes[place].closing.is_some() {
                closed |= self.close_live(now, place);
            }
        }
        closed
    }

    fn close_live(&mut self, now: Moment, place: usize) -> bool {
        let Some(why) = self.nodes[place].closing.clone() else { return false };
        let mut closed = false;
        for index in 0..self.nodes[place].replicas.len() {
            closed |= self.close_replica(now, place, index, &why, Rest::Idle);
        }
        closed
    }

    /// Tells every start of a replica to close that is not closing already. True if there was one.
    pub(super) fn close_replica(
        &mut self,
        now: Moment,
        place: usize,
        index: usize,
        why: &Why,
        then: Rest,
    ) -> bool {
        let node = &mut self.nodes[place];
        let deadline = now.after(node.spec.close_timeout);
        let replica = &mut node.replicas[index];
        let second = replica.close_second(why);
        let present = replica.is_live().then(|| {
            replica.life = Life::Closing { why: why.clone(), destroyed: false, then };
            // Nothing of it runs on that could be replaced.
            replica.stale = None;
            replica.start()
        });
        let closed = second.is_some() || present.is_some();
        for start in second.into_iter().chain(present) {
            self.tell_to_close(&start, deadline);
        }
        closed
    }

    pub(super) fn tell_to_close(&mut self, start: &StartId, deadline: Moment) {
        self.timers.cancel(start, Timer::Start);
        self.timers.set(start, Timer::Close, deadline);
        self.actions.push(Action::Close(start.clone()));
    }

    /// Lifts what was decided about services that have closed by now. True if anything may follow from that.
    pub(super) fn settle_closed(&mut self) -> bool {
        let mut changed = false;
        for place in (0..self.nodes.len()).rev() {
            let free =
                self.graph.dependents(place).iter().all(|dependent| self.nodes[*dependent].is_closed());
            let node = &mut self.nodes[place];
            if !node.is_closed() || node.closing.is_none() || (node.restarting && !free) {
                continue;
            }
            changed = true;
            node.closing = None;
            if std::mem::take(&mut node.restarting) {
                let stay =
                    node.replicas.iter_mut().filter(|replica| replica.life != Life::Closed(Rest::Retired));
                stay.for_each(|replica| replica.life = Life::Closed(Rest::Idle));
            }
        }
        changed | self.forget_what_is_gone()
    }

    /// Forgets the closed children of parents that no longer run (lifecycle rule 6), and whatever was removed.
    fn forget_what_is_gone(&mut self) -> bool {
        let leaves = |place: &usize| {
            let node = &self.nodes[*place];
            let orphaned = match node.spec.name.parent().and_then(|parent| self.graph.place(&parent)) {
                Some(parent) => !self.nodes[parent].is_running() || self.nodes[parent].closing.is_some(),
                None => false,
            };
            let last = self.graph.dependents(*place).is_empty();
            node.is_closed() && last && (node.removing || orphaned)
        };
        let Some(place) = (0..self.nodes.len()).rev().find(leaves) else { return false };
        let mut nodes = std::mem::take(&mut self.nodes);
        let gone = nodes.remove(place);
        for replica in &gone.replicas {
            self.timers.cancel(&replica.start(), Timer::BackOff);
        }
        let service = gone.spec.name.clone();
        self.actions.push(Action::Forget(service.clone()));
        if service.parent().is_some() {
            self.actions.push(Action::Report(EventKind::Child { service, created: false }));
        }
        // Taking away what nothing depends on leaves a graph a graph.
        self.reorder(nodes).is_ok()
    }

    pub(super) fn is_child(&self, child: usize, parent: usize) -> bool {
        self.graph.names()[child].parent().as_ref() == Some(&self.graph.names()[parent])
    }

    pub(super) fn take_close_request(&mut self, start: &StartId) {
        let succeeds = self.with_second(start).is_some_and(|replica| replica.successor().is_some());
        if !succeeds && !self.current(start).is_some_and(|replica| replica.is_live()) {
            return;
        }
        if let Some(place) = self.graph.place(&start.replica.service) {
            self.nodes[place].wanted = false;
        }
    }

    pub(super) fn take_ended(&mut self, now: Moment, start: &StartId) {
        // Nothing happens here where it has said before that it would end, or was told to.
        let detail = "its environment has gone".into();
        self.take_crash(now, start, crate::report::CrashReason::ConnectionLost { detail });
        if let Some(replica) = self.with_second(start) {
            replica.second = None;
        } else if let Some(replica) = self.current(start)
            && let Some(then) = replica.life.closing_then().cloned()
        {
            replica.life = Life::Closed(then);
        }
        self.timers.cancel(start, Timer::Close);
    }

    /// It had time to close, and has not (lifecycle rule 11).
    pub(super) fn close_is_late(&mut self, start: &StartId) {
        let Some(place) = self.graph.place(&start.replica.service) else { return };
        let after = self.nodes[place].spec.close_timeout;
        if let Some(replica) = self.with_second(start) {
            if replica.destroy_second(Why::Forced { after }).is_some() {
                self.actions.push(Action::Destroy(start.clone()));
                self.report_forced(start, after);
            }
            return;
        }
        let Some(replica) = self.current(start) else { return };
        if let Life::Closing { why, destroyed: destroyed @ false, .. } = &mut replica.life {
            *why = Why::Forced { after };
            *destroyed = true;
            self.actions.push(Action::Destroy(start.clone()));
        }
    }

    /// What is told of a replica is its present start's, so this has to be told by itself.
    fn report_forced(&mut self, start: &StartId, after: Duration) {
        let StartId { replica, generation } = start.clone();
        let (state, why) = (State::Closing, Some(Why::Forced { after }));
        self.actions.push(Action::Report(EventKind::Replica { replica, generation, state, why }));
    }

    /// Destroys everything that is there, in no order.
    pub(super) fn destroy_all(&mut self) {
        for replica in self.nodes.iter_mut().flat_map(|node| &mut node.replicas) {
            let second = replica.destroy_second(Why::Stopped);
            let start = replica.start();
            let there = match &mut replica.life {
                Life::Closed(_) | Life::Closing { destroyed: true, .. } => false,
                Life::Closing { destroyed, .. } => !std::mem::replace(destroyed, true),
                Life::Starting(_) | Life::Running => {
                    replica.life = Life::Closing { why: Why::Stopped, destroyed: true, then: Rest::Idle };
                    true
                }
            };
            for start in there.then_some(start).into_iter().chain(second) {
                self.timers.cancel(&start, Timer::Start);
                self.timers.cancel(&start, Timer::Close);
                self.actions.push(Action::Destroy(start));
            }
        }
    }
}
