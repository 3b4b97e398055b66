//! How a service gets more replicas while it runs, or fewer. One more is started as any other. One fewer closes alone: the
//! others serve on, and nothing that depends on the service is closed for it (lifecycle rule 13).

use std::num::NonZeroU32;
use std::sync::Arc;

use super::{Moment, Refusal, Supervisor, Timer};
use crate::manifest::Kind;
use crate::name::{ReplicaId, ServiceName};
use crate::replica::{Life, Replica, Rest};
use crate::report::Why;

impl Supervisor {
    /// From now on a service has so many replicas.
    pub(super) fn scale(&mut self, name: &ServiceName, replicas: NonZeroU32) -> Result<(), Refusal> {
        let place = self.places(std::slice::from_ref(name))?[0];
        let node = &mut self.nodes[place];
        if node.spec.kind == Kind::Job {
            return Err(Refusal::JobScaled { name: name.clone() });
        }
        let (before, there, has) = (node.spec.replicas.get(), node.replicas.len() as u32, replicas.get());
        Arc::make_mut(&mut node.spec).replicas = replicas;
        let generation = node.retired;
        let new = |index| {
            let id = ReplicaId { service: name.clone(), index };
            Replica { generation, newest: generation, ..Replica::new(id) }
        };
        node.replicas.extend((there + 1..=has).map(new));
        // What has come or goes begins with a clean record.
        for replica in node.replicas.iter_mut().skip(before.min(has) as usize) {
            replica.crashes.clear();
        }
        // Those that were on their way out stay.
        for replica in node.replicas.iter_mut().take(has as usize) {
            if let Life::Closed(rest @ Rest::Retired) | Life::Closing { then: rest @ Rest::Retired, .. } =
                &mut replica.life
            {
                *rest = Rest::Idle;
            }
        }
        Ok(())
    }

    /// Closes the replicas that are too many, the last ones, and forgets them. Where none of those that stay serves yet,
    /// the others go on until one does. True if there was one.
    pub(super) fn retire_what_may(&mut self, now: Moment) -> bool {
        let mut changed = false;
        for place in 0..self.nodes.len() {
            let node = &self.nodes[place];
            let stay = node.spec.replicas.get() as usize;
            if node.replicas.len() <= stay {
                continue;
            }
            let serves = |replicas: &[Replica]| replicas.iter().any(|replica| replica.life == Life::Running);
            let free = (serves(&node.replicas[..stay]) || !node.is_running()) && node.closing.is_none();
            for index in stay..node.replicas.len() {
                changed |= self.retire(now, place, index, free);
            }
            changed |= self.forget_retired(place, stay);
        }
        changed
    }

    /// Closes a replica for good; one that is live only where it is `free` to go. True if that is news.
    fn retire(&mut self, now: Moment, place: usize, index: usize, free: bool) -> bool {
        let replica = &mut self.nodes[place].replicas[index];
        match &mut replica.life {
            Life::Closed(Rest::Retired) | Life::Closing { then: Rest::Retired, .. } => false,
            Life::Closed(rest) => {
                *rest = Rest::Retired;
                self.timers.cancel(&replica.start(), Timer::BackOff);
                true
            }
            Life::Closing { then, .. } => {
                *then = Rest::Retired;
                true
            }
            Life::Starting(_) | Life::Running => {
                free && self.close_replica(now, place, index, &Why::Stopped, Rest::Retired)
            }
        }
    }

    /// Forgets the last replicas of which nothing is left. True if there was one.
    fn forget_retired(&mut self, place: usize, stay: usize) -> bool {
        let node = &mut self.nodes[place];
        let gone = |replica: &Replica| replica.life == Life::Closed(Rest::Retired) && replica.is_gone();
        let mut changed = false;
        while node.replicas.len() > stay && node.replicas.last().is_some_and(gone) {
            let newest = node.replicas.pop().map(|replica| replica.newest).unwrap_or_default();
            node.retired = node.retired.max(newest);
            changed = true;
        }
        changed
    }
}
