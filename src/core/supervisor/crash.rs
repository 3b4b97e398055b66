//! What a crash does to the replica itself: its environment is destroyed at once, and it is restarted after a wait, as
//! its policy and its budget say (lifecycle rules 5, 10, 12). What it does to others is decided in `close.rs`.

use std::time::Duration;

use super::{Action, Moment, Supervisor, Timer};
use crate::manifest::{Kind, Restart, RestartPolicy};
use crate::name::StartId;
use crate::replica::{Life, Progress, Replica, Rest, Second, SecondLife};
use crate::report::{CrashReason, EventKind, Why};

impl Supervisor {
    pub(super) fn take_crash(&mut self, now: Moment, start: &StartId, reason: CrashReason) {
        self.second_left(now, start, &reason);
        if !self.current(start).is_some_and(|replica| replica.is_live()) {
            return;
        }
        let (replica, generation) = (start.replica.clone(), start.generation);
        self.actions.push(Action::Report(EventKind::Crash { replica, generation, reason: reason.clone() }));
        if self.successor_steps_in(start, Why::Crashed { last: reason.clone() }) {
            return;
        }
        let then = self.after_crash(now, start, reason.clone());
        self.destroy(start, Why::Crashed { last: reason }, then);
    }

    /// The code has ended by itself, with exit code 0: for a job that is its purpose, for a service it is unasked.
    pub(super) fn take_completed(&mut self, now: Moment, start: &StartId) {
        self.second_left(now, start, &CrashReason::Exit { code: 0 });
        if !self.current(start).is_some_and(|replica| replica.is_live()) {
            return;
        }
        let Some(place) = self.graph.place(&start.replica.service) else { return };
        let spec = &self.nodes[place].spec;
        match (spec.kind, spec.restart.policy) {
            (Kind::Service, RestartPolicy::Always) => {
                self.take_crash(now, start, CrashReason::Exit { code: 0 });
            }
            _ if self.successor_steps_in(start, Why::Completed) => {}
            _ => self.destroy(start, Why::Completed, Rest::Completed),
        }
    }

    pub(super) fn start_is_late(&mut self, now: Moment, start: &StartId) {
        let Some(place) = self.graph.place(&start.replica.service) else { return };
        let after = self.nodes[place].spec.start_timeout;
        let progress = match self.replica(&start.replica) {
            Some(Replica { generation, life: Life::Starting(progress), .. })
                if *generation == start.generation =>
            {
                progress
            }
            Some(Replica {
                second: Some(Second { generation, life: SecondLife::Starting { progress, .. } }),
                ..
            }) if *generation == start.generation => progress,
            _ => return,
        };
        let Progress { phase, detail } = progress.clone();
        self.take_crash(now, start, CrashReason::StartTimeout { after, phase, detail });
    }

    pub(super) fn back_off_is_over(&mut self, start: &StartId) {
        let Some(replica) = self.current(start) else { return };
        if let Life::Closed(rest @ Rest::BackingOff { .. })
        | Life::Closing { then: rest @ Rest::BackingOff { .. }, .. } = &mut replica.life
        {
            *rest = Rest::Idle;
        }
    }

    fn destroy(&mut self, start: &StartId, why: Why, then: Rest) {
        let Some(replica) = self.current(start) else { return };
        replica.life = Life::Closing { why, destroyed: true, then };
        // Whatever runs next begins after what was asked for.
        replica.stale = None;
        self.timers.cancel(start, Timer::Start);
        self.actions.push(Action::Destroy(start.clone()));
    }

    /// Counts the crash, and says what follows it.
    fn after_crash(&mut self, now: Moment, start: &StartId, last: CrashReason) -> Rest {
        let Some(place) = self.graph.place(&start.replica.service) else { return Rest::Idle };
        let node = &mut self.nodes[place];
        let Restart { policy, backoff_min, backoff_max, max, within } = node.spec.restart;
        let Some(replica) = node.replicas.iter_mut().find(|replica| replica.id == start.replica) else {
            return Rest::Idle;
        };
        if policy == RestartPolicy::Never {
            return Rest::Failed { last };
        }
        replica.crashes.retain(|crash| now.since(*crash) < within);
        replica.crashes.push(now);
        let crashes = u32::try_from(replica.crashes.len()).unwrap_or(u32::MAX);
        if crashes > max {
            let (replica, reason) = (start.replica.clone(), last.clone());
            self.actions.push(Action::Report(EventKind::GaveUp { replica, crashes, within, last: reason }));
            return Rest::GaveUp { crashes, last };
        }
        let wait = back_off(crashes, backoff_min, backoff_max);
        self.timers.set(start, Timer::BackOff, now.after(wait));
        Rest::BackingOff { wait, last }
    }
}

/// The wait before the restart after the n-th crash: the shortest one, doubled at each further crash.
fn back_off(crashes: u32, min: Duration, max: Duration) -> Duration {
    let doublings = crashes.saturating_sub(1).min(31);
    min.saturating_mul(1 << doublings).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_limit() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(1));
        let waits: Vec<_> = (1..=6).map(|n| back_off(n, min, max).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(back_off(u32::MAX, min, max), max);
    }
}
