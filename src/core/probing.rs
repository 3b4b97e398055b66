//! [`Probing`]: when a started service counts as ready, and when a ready one counts as crashed. Decides which probe
//! goes out when; the ServiceController sends it and tells what came back.
//!
//! ```text
//!   Starting --started--> Readying --check succeeds--> Ready --fails `failures` times in a row--> unhealthy
//!                             |                          ^
//!                             +--- no check is wanted ---+
//! ```
//!
//! One probe is out at a time. Time is how long ago the start began, as the caller measures it.

use std::time::Duration;

use crate::manifest::{Kind, Liveness, Probe, Readiness, ReadyCheck};

/// How long one try of a readiness check may take.
const READY_TRY: Duration = Duration::from_secs(5);

/// The probes of one start.
#[derive(Debug)]
pub struct Probing {
    kind: Kind,
    ready: Option<Readiness>,
    alive: Liveness,
    /// Whether the service exports a `health()`; known once it has started.
    health: bool,
    stage: Stage,
    next: Next,
    /// The number of the last probe that went out.
    last: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting,
    /// Started; its readiness check has not succeeded yet.
    Readying,
    /// With how many failed rounds of health checks in a row.
    Ready {
        failures: u32,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// No probe is wanted.
    Nothing,
    /// A round begins then: its first check goes out.
    Round(Duration),
    /// This check of the round goes out at once.
    Check(Check),
    /// This check of the round is out.
    Out(Check),
}

/// What a round consists of, in this order; what there is not is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// The probe that the manifest names.
    Probe,
    /// The service's own `health()`.
    Health,
}

/// Something to try inside the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    /// Comes back with the answer.
    pub id: u64,
    /// What to try; None is the service's own `health()`.
    pub probe: Option<Probe>,
    /// How long the try may take.
    pub timeout: Duration,
}

/// What follows from what was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Wait,
    /// The service has become ready.
    Ready,
    /// The service is to be taken for crashed.
    Unhealthy {
        /// How many rounds failed in a row.
        failures: u32,
        /// What the last failure said.
        detail: String,
    },
}

impl Probing {
    /// The probes of a start that has just begun.
    #[must_use]
    pub fn new(kind: Kind, ready: Option<Readiness>, alive: Liveness) -> Self {
        let (stage, next) = (Stage::Starting, Next::Nothing);
        Self { kind, ready, alive, health: false, stage, next, last: 0 }
    }

    /// The process is there. A job is running from then on: its work may be its `start()`.
    pub fn process_runs(&mut self) -> Verdict {
        match self.kind {
            Kind::Job => self.become_ready(Duration::ZERO),
            Kind::Service => Verdict::Wait,
        }
    }

    /// The service's own `start()` has returned, or its process runs where it has none.
    pub fn started(&mut self, now: Duration, health: bool) -> Verdict {
        self.health = health;
        if self.stage != Stage::Starting {
            return Verdict::Wait;
        }
        self.stage = Stage::Readying;
        match &self.ready {
            None => self.become_ready(now),
            Some(Readiness { check: ReadyCheck::Probe(_), .. }) => {
                self.next = Next::Check(Check::Probe);
                Verdict::Wait
            }
            Some(Readiness { check: ReadyCheck::Log(_) | ReadyCheck::Notify, .. }) => Verdict::Wait,
        }
    }

    /// A line came that its readiness waits for. It may come before `start()` has returned, and counts all the same.
    pub fn line_matched(&mut self, now: Duration) -> Verdict {
        self.said_ready(now, |check| matches!(check, ReadyCheck::Log(_)))
    }

    /// The service said itself that it is ready.
    pub fn notified(&mut self, now: Duration) -> Verdict {
        self.said_ready(now, |check| matches!(check, ReadyCheck::Notify))
    }

    fn said_ready(&mut self, now: Duration, waits: impl Fn(&ReadyCheck) -> bool) -> Verdict {
        match (&self.ready, self.stage) {
            (Some(ready), Stage::Readying) if waits(&ready.check) => self.become_ready(now),
            // Said before the start was through: then the start alone is waited for.
            (Some(ready), Stage::Starting) if waits(&ready.check) => {
                self.ready = None;
                Verdict::Wait
            }
            _ => Verdict::Wait,
        }
    }

    /// When the next probe is due. None: none is, until something else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        match self.next {
            Next::Nothing | Next::Out(_) => None,
            Next::Check(_) => Some(Duration::ZERO),
            Next::Round(at) => Some(at),
        }
    }

    /// The probe that is due, if one is. It counts as out from then on.
    pub fn due(&mut self, now: Duration) -> Option<Try> {
        let check = match self.next {
            Next::Round(at) if at <= now => self.first_check()?,
            Next::Check(check) => check,
            _ => return None,
        };
        self.next = Next::Out(check);
        self.last += 1;
        let (probe, timeout) = match (self.stage, &self.ready, check) {
            (Stage::Readying, Some(Readiness { check: ReadyCheck::Probe(probe), .. }), _) => {
                (Some(probe.clone()), READY_TRY)
            }
            (_, _, Check::Probe) => (self.alive.probe.clone(), self.alive.timeout),
            (_, _, Check::Health) => (None, self.alive.timeout),
        };
        Some(Try { id: self.last, probe, timeout })
    }

    /// A probe came back. An answer to any but the one that is out is ignored.
    pub fn answered(&mut self, now: Duration, id: u64, failure: Option<String>) -> Verdict {
        let Next::Out(check) = self.next else { return Verdict::Wait };
        if id != self.last {
            return Verdict::Wait;
        }
        match (self.stage, failure) {
            (Stage::Ready { failures }, Some(detail)) => self.failed(now, failures + 1, detail),
            (Stage::Ready { .. }, None) if check == Check::Probe && self.health => {
                self.next = Next::Check(Check::Health);
                Verdict::Wait
            }
            (Stage::Ready { .. }, None) => {
                self.stage = Stage::Ready { failures: 0 };
                self.next = Next::Round(now + self.alive.interval);
                Verdict::Wait
            }
            (_, None) => self.become_ready(now),
            (_, Some(_)) => {
                let interval = self.ready.as_ref().map_or(READY_TRY, |ready| ready.interval);
                self.next = Next::Round(now + interval);
                Verdict::Wait
            }
        }
    }

    /// It is closing, or has crashed: no more probes.
    pub fn stop(&mut self) {
        self.next = Next::Nothing;
    }

    fn failed(&mut self, now: Duration, failures: u32, detail: String) -> Verdict {
        if failures >= self.alive.failures.get() {
            self.next = Next::Nothing;
            return Verdict::Unhealthy { failures, detail };
        }
        self.stage = Stage::Ready { failures };
        self.next = Next::Round(now + self.alive.interval);
        Verdict::Wait
    }

    fn become_ready(&mut self, now: Duration) -> Verdict {
        self.stage = Stage::Ready { failures: 0 };
        self.next = match (self.kind, self.first_check()) {
            (Kind::Service, Some(_)) => Next::Round(now + self.alive.interval),
            _ => Next::Nothing,
        };
        Verdict::Ready
    }

    /// The first check of a round in this stage. None where nothing is checked.
    fn first_check(&self) -> Option<Check> {
        match self.stage {
            Stage::Ready { .. } if self.alive.probe.is_some() => Some(Check::Probe),
            Stage::Ready { .. } => self.health.then_some(Check::Health),
            Stage::Starting | Stage::Readying => Some(Check::Probe),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn tcp(interval: u64) -> Readiness {
        Readiness { check: ReadyCheck::Probe(Probe::Tcp(80)), interval: MS(interval) }
    }

    fn alive(probe: Option<Probe>, failures: u32) -> Liveness {
        let failures = NonZeroU32::new(failures).unwrap();
        Liveness { probe, interval: MS(1000), timeout: MS(50), failures }
    }

    #[test]
    fn without_a_check_a_started_service_is_ready() {
        let mut probing = Probing::new(Kind::Service, None, Liveness::default());
        assert_eq!(probing.process_runs(), Verdict::Wait);
        assert_eq!(probing.started(MS(5), false), Verdict::Ready);
        assert_eq!(probing.deadline(), None);
    }

    #[test]
    fn a_readiness_probe_is_tried_until_it_succeeds() {
        let mut probing = Probing::new(Kind::Service, Some(tcp(100)), Liveness::default());
        assert_eq!(probing.started(MS(5), false), Verdict::Wait);
        let first = probing.due(MS(5)).unwrap();
        assert_eq!(first.probe, Some(Probe::Tcp(80)));
        assert_eq!(probing.due(MS(5)), None, "one at a time");
        assert_eq!(probing.answered(MS(6), first.id, Some("connection refused".into())), Verdict::Wait);
        assert_eq!(probing.deadline(), Some(MS(106)));
        assert_eq!(probing.due(MS(105)), None);
        let second = probing.due(MS(106)).unwrap();
        assert_eq!(probing.answered(MS(107), first.id, None), Verdict::Wait, "an old answer");
        assert_eq!(probing.answered(MS(107), second.id, None), Verdict::Ready);
        assert_eq!(probing.deadline(), None);
    }

    #[test]
    fn a_readiness_line_counts_before_and_after_the_start() {
        let log = || Some(Readiness { check: ReadyCheck::Log("up".into()), interval: MS(1) });
        let mut early = Probing::new(Kind::Service, log(), Liveness::default());
        assert_eq!(early.line_matched(MS(1)), Verdict::Wait);
        assert_eq!(early.started(MS(2), false), Verdict::Ready);
        let mut late = Probing::new(Kind::Service, log(), Liveness::default());
        assert_eq!(late.started(MS(2), false), Verdict::Wait);
        assert_eq!(late.notified(MS(3)), Verdict::Wait, "a line is waited for, not a word");
        assert_eq!(late.line_matched(MS(3)), Verdict::Ready);
        assert_eq!(late.line_matched(MS(4)), Verdict::Wait, "ready once");
    }

    #[test]
    fn failures_in_a_row_are_a_crash_and_a_success_forgives() {
        let mut probing = Probing::new(Kind::Service, None, alive(None, 2));
        assert_eq!(probing.started(MS(0), true), Verdict::Ready);
        let mut verdicts = Vec::new();
        for (at, failure) in [(1000, Some("a")), (2000, None), (3000, Some("b")), (4000, Some("c"))] {
            let health = probing.due(MS(at)).unwrap();
            assert_eq!((health.probe, health.timeout), (None, MS(50)));
            verdicts.push(probing.answered(MS(at), health.id, failure.map(String::from)));
        }
        let crash = Verdict::Unhealthy { failures: 2, detail: "c".into() };
        assert_eq!(verdicts, [Verdict::Wait, Verdict::Wait, Verdict::Wait, crash]);
        assert_eq!(probing.deadline(), None, "a crashed service is not probed");
    }

    #[test]
    fn a_round_is_the_probe_and_then_the_services_own_health() {
        let mut probing = Probing::new(Kind::Service, None, alive(Some(Probe::Tcp(1)), 1));
        assert_eq!(probing.started(MS(0), true), Verdict::Ready);
        let probe = probing.due(MS(1000)).unwrap();
        assert_eq!(probe.probe, Some(Probe::Tcp(1)));
        assert_eq!(probing.answered(MS(1001), probe.id, None), Verdict::Wait);
        let health = probing.due(MS(1001)).unwrap();
        assert_eq!(health.probe, None);
        assert_eq!(probing.answered(MS(1002), health.id, None), Verdict::Wait);
        assert_eq!(probing.deadline(), Some(MS(2002)));
    }

    #[test]
    fn a_job_is_running_as_soon_as_its_process_is() {
        let mut probing = Probing::new(Kind::Job, None, alive(Some(Probe::Tcp(1)), 1));
        assert_eq!(probing.process_runs(), Verdict::Ready);
        assert_eq!(probing.started(MS(9), true), Verdict::Wait);
        assert_eq!(probing.deadline(), None);
    }
}
