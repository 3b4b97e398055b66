//! When a start has run for long enough: a plain comparison of what it was used for with what its manifest says. Who may go
//! when is the Supervisor's matter; here replicas only differ in their age, so that those that began together do not all
//! want to go together.

use std::time::Duration;

use crate::manifest::Recycle;
use crate::name::{ReplicaId, StartId};
use crate::report::{ReloadCause, ReplicaView, ServiceView, State};

/// The part of its age, one in so many, over which the replicas of a service are spread.
const SPREAD: u32 = 10;

/// The starts of a service that are to be replaced by these limits, and why. `now` is in milliseconds since 1970-01-01 UTC.
#[must_use]
pub fn due(limits: &Recycle, service: &ServiceView, now: u64) -> Vec<(StartId, ReloadCause)> {
    let of = u32::try_from(service.replicas.len()).unwrap_or(u32::MAX);
    let running = service.replicas.iter().filter(|replica| replica.state == State::Running);
    let due = running.filter_map(|view| {
        let replica = ReplicaId { service: service.name.clone(), index: view.index };
        let start = StartId { replica, generation: view.generation };
        Some((start, cause(limits, view, of, now)?))
    });
    due.collect()
}

fn cause(limits: &Recycle, view: &ReplicaView, of: u32, now: u64) -> Option<ReloadCause> {
    let answered = view.calls.map_or(0, |calls| calls.served);
    let requests = limits.requests.filter(|most| answered >= u64::from(most.get()));
    let used = view.resources.map_or(0, |resources| resources.memory);
    let memory = limits.memory.filter(|most| used > *most);
    let age = Duration::from_millis(now.saturating_sub(view.since));
    let too_old = limits.age.filter(|most| age >= spread(*most, view.index, of));
    let requests = requests.map(|_| ReloadCause::Requests { answered });
    let memory = memory.map(|most| ReloadCause::Memory { used, most });
    requests.or(memory).or(too_old.map(|most| ReloadCause::Age { most }))
}

/// The age of one of so many replicas: the first one's is the whole, each further one's a little less.
fn spread(most: Duration, index: u32, of: u32) -> Duration {
    let share = most / SPREAD;
    most - share.mul_f64(f64::from(index.saturating_sub(1).min(of)) / f64::from(of.max(1)))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::manifest::Kind;
    use crate::name::{Generation, ServiceName};
    use crate::report::{Calls, Phase, Resources};

    const HOUR: u64 = 3_600_000;

    fn replica(index: u32, state: State, served: u64, memory: u64) -> ReplicaView {
        ReplicaView {
            index,
            state,
            why: None,
            generation: Generation(3),
            restarts: 0,
            phase: Phase::Done,
            since: 0,
            pid: None,
            resources: Some(Resources { memory, ..Resources::default() }),
            code_sha256: None,
            checks: Vec::new(),
            calls: Some(Calls { served, ..Calls::default() }),
            methods: Vec::new(),
        }
    }

    fn told(limits: Recycle, replicas: Vec<ReplicaView>, now: u64) -> Vec<String> {
        let service = ServiceView {
            name: ServiceName::parse("web").unwrap(),
            kind: Kind::Service,
            runtime: String::new(),
            state: State::Running,
            why: None,
            depends_on: Vec::new(),
            replicas,
        };
        due(&limits, &service, now).into_iter().map(|(start, cause)| format!("{start} {cause}")).collect()
    }

    #[test]
    fn who_has_answered_enough_goes_and_who_does_not_run_stays() {
        let limits = Recycle { requests: NonZeroU32::new(10), ..Recycle::default() };
        let replicas = vec![
            replica(1, State::Running, 9, 0),
            replica(2, State::Running, 12, 0),
            replica(3, State::Closing, 12, 0),
        ];
        assert_eq!(told(limits, replicas, HOUR), ["web-2#3 12 calls answered"]);
    }

    #[test]
    fn who_uses_more_than_its_memory_goes() {
        let limits = Recycle { memory: Some(64 << 20), ..Recycle::default() };
        let replicas = vec![replica(1, State::Running, 0, 64 << 20), replica(2, State::Running, 0, 65 << 20)];
        assert_eq!(told(limits, replicas, HOUR), ["web-2#3 65 MiB of memory, over 64 MiB"]);
    }

    #[test]
    fn those_that_began_together_grow_old_one_after_the_other() {
        let limits = Recycle { age: Some(Duration::from_millis(10 * HOUR)), ..Recycle::default() };
        let old = |now| {
            let replicas = [1, 2, 3, 4].map(|index| replica(index, State::Running, 0, 0)).to_vec();
            told(limits, replicas, now).len()
        };
        let quarter = HOUR / 4;
        let by_time: Vec<_> = (0..=4).map(|quarters| old(9 * HOUR + quarters * quarter)).collect();
        assert_eq!(by_time, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn without_a_limit_nobody_ever_goes() {
        let replicas = vec![replica(1, State::Running, u64::MAX, u64::MAX)];
        assert_eq!(told(Recycle::default(), replicas, u64::MAX), [""; 0]);
    }
}
