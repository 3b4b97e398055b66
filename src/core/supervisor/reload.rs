//! How a replica is replaced by a new start of itself while it runs: the new one is ready before the old one goes, so that
//! nothing that depends on the service closes (lifecycle rule 13).
//!
//! ```text
//!   present   beside it
//!   Running
//!   Running   Starting  -- Ready --> they change places:  Running   Retiring -- no children --> Leaving -- Ended --> Running
//!                |
//!                +- Crashed, too late --> Leaving -- Ended --> Running: the reload ends, and nothing has changed
//! ```
//!
//! The present start may crash, or be told to close, at any of these moments. If it crashes while its successor starts,
//! the successor has its place at once, and the crash is not counted: no restart follows from it.

use super::{Action, Moment, Refusal, Supervisor, Timer};
use crate::manifest::Kind;
use crate::name::{ServiceName, StartId};
use crate::replica::{Life, Progress, Replica, Second, SecondLife};
use crate::report::{CrashReason, EventKind, NotReloaded, ReloadCause, Why};

impl Supervisor {
    /// Somebody wants these to run what is there now. What does not run is started.
    pub(super) fn reload(&mut self, names: &[ServiceName]) -> Result<(), Refusal> {
        let places = self.places(names)?;
        let job = |place: &&usize| self.nodes[**place].spec.kind == Kind::Job;
        if let Some(job) = places.iter().find(job) {
            return Err(Refusal::JobReloaded { name: self.nodes[*job].spec.name.clone() });
        }
        self.want(&places);
        for place in places {
            self.nodes[place].outdate();
        }
        Ok(())
    }

    /// This start has run for long enough. It is replaced when nothing else of its service is, and after a new start that
    /// failed only when the longest wait before a restart is over: whoever says so will say so again.
    pub(super) fn recycle(&mut self, now: Moment, start: &StartId, cause: ReloadCause) {
        let Some(place) = self.graph.place(&start.replica.service) else { return };
        let node = &self.nodes[place];
        let wait = node.spec.restart.backoff_max;
        let waits = node.failed_at.is_some_and(|failed| now.since(failed) < wait);
        let replaced = |replica: &Replica| replica.stale.is_some() || replica.second.is_some();
        if waits || node.replicas.iter().any(replaced) {
            return;
        }
        if let Some(replica) = self.current(start).filter(|replica| replica.life == Life::Running) {
            replica.stale = Some(cause);
            self.nodes[place].reloaded = 0;
        }
    }

    /// Begins the successors that may begin now. True if there was one.
    pub(super) fn reload_what_may(&mut self, now: Moment) -> bool {
        let mut begun = false;
        for place in 0..self.nodes.len() {
            if self.may_start(place) {
                begun |= self.create_successors(now, place);
            }
        }
        begun
    }

    fn create_successors(&mut self, now: Moment, place: usize) -> bool {
        let node = &mut self.nodes[place];
        let deadline = now.after(node.spec.start_timeout);
        let surge = node.spec.max_surge.get() as usize;
        let there = node.replicas.iter().filter(|replica| replica.second.is_some()).count();
        let due = node.replicas.iter_mut().filter(|replica| replica.is_due());
        let mut begun = false;
        for replica in due.take(surge.saturating_sub(there)) {
            let Some(cause) = replica.stale.take() else { continue };
            let (generation, progress) = (replica.begin(), Progress::default());
            replica.second = Some(Second { generation, life: SecondLife::Starting { progress, cause } });
            let start = replica.start_of(generation);
            self.timers.set(&start, Timer::Start, deadline);
            self.actions.push(Action::Create(start));
            begun = true;
        }
        begun
    }

    /// The successor is ready: from now on it is the replica's start.
    pub(super) fn take_over(&mut self, start: &StartId) {
        let Some(replica) = self.with_second(start) else { return };
        if replica.successor().is_none() {
            return;
        }
        let old = replica.start();
        replica.second = Some(Second { generation: old.generation, life: SecondLife::Retiring });
        replica.generation = start.generation;
        self.timers.cancel(start, Timer::Start);
        if let Some(place) = self.graph.place(&start.replica.service) {
            self.nodes[place].reloaded += 1;
        }
        let StartId { replica, generation } = start.clone();
        let before = old.generation;
        self.actions.push(Action::Report(EventKind::Reloaded { replica, generation, before }));
        self.remove_children_of(&old);
    }

    /// Children belong to the start that has opened them.
    fn remove_children_of(&mut self, opener: &StartId) {
        let opened = |place: &usize| self.nodes[*place].opener.as_ref() == Some(opener);
        for child in (0..self.nodes.len()).filter(opened).collect::<Vec<_>>() {
            self.remove_subtree(child);
        }
    }

    /// Closes the starts that were taken over from and of whose children nothing is left. True if there was one.
    pub(super) fn close_retiring(&mut self, now: Moment) -> bool {
        let mut closed = false;
        for place in 0..self.nodes.len() {
            let deadline = now.after(self.nodes[place].spec.close_timeout);
            for index in 0..self.nodes[place].replicas.len() {
                let Some(start) = self.nodes[place].replicas[index].retiring() else { continue };
                if self.nodes.iter().any(|node| node.opener.as_ref() == Some(&start)) {
                    continue;
                }
                self.nodes[place].replicas[index].close_second(&Why::Replaced);
                self.tell_to_close(&start, deadline);
                closed = true;
            }
        }
        closed
    }

    /// A second start left by itself, or could not be brought up. Nothing happens where it was on its way out.
    pub(super) fn second_left(&mut self, now: Moment, start: &StartId, reason: &CrashReason) {
        let Some(replica) = self.with_second(start) else { return };
        let began = replica.successor().is_some();
        if !began && replica.retiring().is_none() {
            return;
        }
        self.destroy_second(start, Why::Crashed { last: reason.clone() });
        if began {
            self.end_reload(now, start, reason.clone());
        }
    }

    fn destroy_second(&mut self, start: &StartId, why: Why) {
        if self.with_second(start).and_then(|replica| replica.destroy_second(why)).is_some() {
            self.timers.cancel(start, Timer::Start);
            self.actions.push(Action::Destroy(start.clone()));
        }
    }

    /// What is not replaced yet stays. Unless it was asked for again meanwhile: what is there now may be better.
    fn end_reload(&mut self, now: Moment, failed: &StartId, reason: CrashReason) {
        let again = self.with_second(failed).is_some_and(|replica| replica.stale.is_some());
        let replica = failed.replica.clone();
        let Some(place) = self.graph.place(&replica.service) else { return };
        let node = &mut self.nodes[place];
        node.failed_at = Some(now);
        let failed = NotReloaded { replica, reason, reloaded: node.reloaded, of: node.spec.replicas };
        self.actions.push(Action::Report(EventKind::NotReloaded(failed.clone())));
        if again {
            return;
        }
        node.not_reloaded = Some(failed);
        node.replicas.iter_mut().for_each(|replica| replica.stale = None);
        let others: Vec<_> = node.replicas.iter().filter_map(Replica::successor_start).collect();
        others.iter().for_each(|other| self.destroy_second(other, Why::Stopped));
    }

    /// The start of a replica has left while its successor starts, which has its place now. False if there is none.
    pub(super) fn successor_steps_in(&mut self, start: &StartId, why: Why) -> bool {
        let Some(replica) = self.current(start) else { return false };
        let Some(Second { generation, life: SecondLife::Starting { progress, .. } }) = replica.second.clone()
        else {
            return false;
        };
        let life = SecondLife::Leaving { why, destroyed: true };
        replica.second = Some(Second { generation: replica.generation, life });
        (replica.generation, replica.life) = (generation, Life::Starting(progress));
        self.actions.push(Action::Destroy(start.clone()));
        true
    }
}
