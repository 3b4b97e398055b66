//! How far the start of a project has come: a table that is short enough to be painted over, again and again.

use orchestrator_core::manifest::Kind;
use orchestrator_core::report::{ServiceView, Snapshot, State, Why};

use crate::escape::neutralise;
use crate::human::age;
use crate::table::Table;

/// How many of the wanted services are up, and of how many.
#[must_use]
pub fn up_of_wanted(snapshot: &Snapshot) -> (usize, usize) {
    let wanted = || snapshot.services.iter().filter(|service| service.why != Some(Why::NotStarted));
    (wanted().filter(|service| is_up(service)).count(), wanted().count())
}

/// A line for each service that is still on its way up: its state, for how long, and what it waits for. Nothing where
/// there is none; what will not come up by itself is none of them. At most `height` lines of at most `width`
/// characters; the last tells how many there are no lines for. `now` is in milliseconds since 1970-01-01 UTC.
#[must_use]
pub fn progress(snapshot: &Snapshot, now: u64, height: usize, width: usize) -> Vec<String> {
    let coming: Vec<_> = snapshot.services.iter().filter(|service| is_coming(service)).collect();
    if coming.is_empty() {
        return Vec::new();
    }
    let (up, wanted) = up_of_wanted(snapshot);
    let mut table = Table::new(&[&format!("{up} of {wanted} up"), "STATE", "FOR", "WHY"]);
    let room = height.saturating_sub(1);
    let shown = if coming.len() <= room { room } else { room.saturating_sub(1) };
    for service in coming.iter().take(shown) {
        table.row(row(service, now).map(|cell| (cell, None)).into());
    }
    let table = table.render();
    let more = coming.len().saturating_sub(shown);
    let more = (more > 0 && room > 0).then(|| format!("... and {more} more"));
    let lines = table.lines().map(str::to_owned).chain(more);
    lines.map(|line| line.chars().take(width).collect::<String>().trim_end().to_owned()).collect()
}

fn row(service: &ServiceView, now: u64) -> [String; 4] {
    // Of several replicas, the one that the service waits for.
    let replica = service.replicas.iter().find(|replica| replica.state != State::Running);
    let why = service.why.as_ref().or(replica.and_then(|replica| replica.why.as_ref()));
    let why = why.map(ToString::to_string).or(replica.map(|replica| replica.phase.to_string()));
    let since = replica.or(service.replicas.first()).map_or(now, |replica| replica.since);
    [
        service.name.to_string(),
        service.state.to_string(),
        age(now.saturating_sub(since)),
        neutralise(&why.unwrap_or_default()).into_owned(),
    ]
}

fn is_up(service: &ServiceView) -> bool {
    match service.kind {
        Kind::Service => service.state == State::Running && service.why.is_none(),
        Kind::Job => service.state == State::Closed && service.why == Some(Why::Completed),
    }
}

fn is_coming(service: &ServiceView) -> bool {
    match (service.state, &service.why) {
        (State::Starting, _) => true,
        // A job that runs is on its way to completion.
        (State::Running, why) => service.kind == Kind::Job || why.is_some(),
        (State::Closing, why) => !matches!(why, Some(Why::Stopped)),
        (State::Closed, why) => {
            matches!(why, Some(Why::WaitingFor { .. } | Why::BackingOff { .. } | Why::Restarting))
        }
    }
}

#[cfg(test)]
mod tests {
    use orchestrator_core::report::{CrashReason, ReplicaView};

    use super::*;
    use crate::testing::{name, replica, service, snapshot};

    fn waiting(text: &str) -> ServiceView {
        service(text, replica(State::Closed, Some(Why::WaitingFor { services: vec![name("db")] })))
    }

    #[test]
    fn a_line_for_each_that_is_on_its_way() {
        let failed = Some(Why::Failed { last: CrashReason::Exit { code: 3 } });
        let job = ServiceView { kind: Kind::Job, ..service("seed", replica(State::Running, None)) };
        let done = ServiceView {
            kind: Kind::Job,
            ..service("schema", replica(State::Closed, Some(Why::Completed)))
        };
        let running = ReplicaView { index: 2, ..replica(State::Running, None) };
        let mut two = service("db", replica(State::Starting, None));
        two.replicas.insert(0, running);
        let snapshot = snapshot(vec![
            done,
            service("sun", replica(State::Running, None)),
            job,
            two,
            waiting("api"),
            service("bad", replica(State::Closed, failed)),
            service("spare", replica(State::Closed, Some(Why::NotStarted))),
        ]);
        assert_eq!(
            progress(&snapshot, 4000, 24, 80),
            [
                "2 of 6 up  STATE     FOR  WHY",
                "seed       running   3s",
                "db         starting  3s   starting its code",
                "api        closed    3s   waiting for db",
            ]
        );
    }

    #[test]
    fn it_fits_into_the_terminal() {
        let snapshot = snapshot((0..30).map(|i| waiting(&format!("s{i}"))).collect());
        let lines = progress(&snapshot, 1000, 5, 20);
        assert_eq!(
            lines,
            [
                "0 of 30 up  STATE",
                "s0          closed",
                "s1          closed",
                "s2          closed",
                "... and 27 more"
            ]
        );
        assert_eq!(progress(&snapshot, 1000, 31, 80).len(), 31);
        assert_eq!(progress(&snapshot, 1000, 1, 80).len(), 1);
    }

    #[test]
    fn nothing_is_shown_when_nothing_is_coming() {
        let blocked = replica(State::Closed, Some(Why::BlockedBy { service: name("db") }));
        let services = vec![service("db", replica(State::Running, None)), service("web", blocked)];
        assert_eq!(progress(&snapshot(services), 0, 24, 80), [""; 0]);
    }
}
