//! How services start: dependencies first, in parallel where they do not depend on each other (lifecycle rules 2, 3).

use super::{Action, Ending, Moment, Supervisor, Timer};
use crate::name::StartId;
use crate::replica::{Life, Progress, Rest, SecondLife};

impl Supervisor {
    /// Creates every replica that may start now. True if there was one.
    pub(super) fn start_what_may(&mut self, now: Moment) -> bool {
        let mut started = false;
        for place in 0..self.nodes.len() {
            if self.may_start(place) {
                started |= self.create_idle(now, place);
            }
        }
        started
    }

    /// It is wanted, nothing closes it, and everything that it depends on is there and stays.
    pub(super) fn may_start(&self, place: usize) -> bool {
        let node = &self.nodes[place];
        let free = self.ending == Ending::No && node.wanted && !node.restarting && node.closing.is_none();
        free && !node.removing && !self.has_leaving_children(place) && self.has_dependencies(place)
    }

    fn has_dependencies(&self, place: usize) -> bool {
        self.graph.dependencies(place).iter().all(|edge| {
            let on = &self.nodes[edge.on];
            on.provides(edge.dependency.condition) && on.closing.is_none() && !on.restarting
        })
    }

    /// Children of an earlier life are forgotten before their parent lives again (lifecycle rule 6).
    fn has_leaving_children(&self, place: usize) -> bool {
        !self.nodes[place].is_running()
            && self.graph.dependents(place).iter().any(|child| self.is_child(*child, place))
    }

    fn create_idle(&mut self, now: Moment, place: usize) -> bool {
        let node = &mut self.nodes[place];
        let deadline = now.after(node.spec.start_timeout);
        let mut created = false;
        for replica in node.replicas.iter_mut().filter(|replica| replica.life == Life::Closed(Rest::Idle)) {
            created = true;
            replica.restarts += u32::from(!replica.crashes.is_empty());
            replica.generation = replica.begin();
            replica.life = Life::Starting(Progress::default());
            // What is there now is what it runs.
            replica.stale = None;
            self.timers.set(&replica.start(), Timer::Start, deadline);
            self.actions.push(Action::Create(replica.start()));
        }
        created
    }

    /// A start has come further.
    pub(super) fn progress(&mut self, start: &StartId, note: impl FnOnce(&mut Progress)) {
        if let Some(Life::Starting(progress)) = self.current(start).map(|replica| &mut replica.life) {
            return note(progress);
        }
        let second = self.with_second(start).and_then(|replica| replica.second.as_mut());
        if let Some(SecondLife::Starting { progress, .. }) = second.map(|second| &mut second.life) {
            note(progress);
        }
    }

    pub(super) fn take_ready(&mut self, start: &StartId) {
        self.take_over(start);
        let Some(replica) = self.current(start) else { return };
        if matches!(replica.life, Life::Starting(_)) {
            replica.life = Life::Running;
            self.timers.cancel(start, Timer::Start);
        }
    }
}
