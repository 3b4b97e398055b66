//! The table of `orchestrator ps`.

use orchestrator_core::ReplicaId;
use orchestrator_core::report::{Calls, ReplicaView, ServiceView, Snapshot, State};

use crate::escape::neutralise;
use crate::human::age;
use crate::palette::Palette;
use crate::table::Table;

/// Every replica, a line each: its state, the reason for it, and since when. `now` is in milliseconds since
/// 1970-01-01 UTC.
#[must_use]
pub fn ps(snapshot: &Snapshot, now: u64, palette: Palette) -> String {
    let mut table = Table::new(&["REPLICA", "RUNTIME", "STATE", "SINCE", "RESTARTS", "CALLS", "PID", "WHY"]);
    for service in &snapshot.services {
        for replica in &service.replicas {
            table.row(row(service, replica, now, palette));
        }
    }
    table.render()
}

/// What holds each replica, and what runs in it.
#[must_use]
pub fn security(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for service in &snapshot.services {
        for replica in &service.replicas {
            let id = ReplicaId { service: service.name.clone(), index: replica.index };
            let held = match (&*replica.checks, replica.pid) {
                ([], Some(_)) => "not confined".to_owned(),
                ([], None) => "not checked yet".to_owned(),
                (checks, _) => format!("checked from inside: {}", checks.join(", ")),
            };
            let code = replica.code_sha256.as_deref().unwrap_or("none was sent");
            text.push_str(&format!(
                "{id}\n  {held}\n  code    {code}\n  runner  {}\n",
                snapshot.runner_sha256
            ));
        }
    }
    text
}

fn row(
    service: &ServiceView,
    replica: &ReplicaView,
    now: u64,
    palette: Palette,
) -> Vec<(String, Option<String>)> {
    let id = ReplicaId { service: service.name.clone(), index: replica.index }.to_string();
    let state = replica.state.to_string();
    let painted = match replica.state {
        State::Running => palette.good(&state),
        State::Closed => palette.dim(&state),
        State::Starting | State::Closing => state.clone(),
    };
    let why = match (&replica.why, replica.state) {
        (Some(why), _) => why.to_string(),
        (None, State::Starting) => replica.phase.to_string(),
        (None, _) => String::new(),
    };
    let pid = replica.pid.map_or_else(|| "-".into(), |pid| pid.to_string());
    vec![
        (id.clone(), Some(palette.service(&service.name, &id))),
        (service.runtime.clone(), None),
        (state, Some(painted)),
        (age(now.saturating_sub(replica.since)), None),
        (replica.restarts.to_string(), None),
        (replica.calls.map_or_else(|| "-".into(), calls), None),
        (pid, None),
        (neutralise(&why).into_owned(), None),
    ]
}

/// Those under way, by which replicas are balanced, of all that it was given.
fn calls(calls: Calls) -> String {
    format!("{}/{}", calls.in_flight, calls.served + u64::from(calls.in_flight))
}

#[cfg(test)]
mod tests {
    use orchestrator_core::report::Why;

    use super::*;
    use crate::testing::{name, replica, service, snapshot};

    #[test]
    fn a_line_a_replica() {
        let calls = Some(Calls { in_flight: 2, served: 40, lost_events: 0 });
        let running = ReplicaView { pid: Some(77), calls, ..replica(State::Running, None) };
        let blocked = replica(State::Closed, Some(Why::BlockedBy { service: name("db") }));
        let snapshot = snapshot(vec![
            service("db", replica(State::Starting, None)),
            service("catalog", running),
            service("web", blocked),
        ]);
        assert_eq!(
            ps(&snapshot, 63_000, Palette::new(false)),
            "REPLICA    RUNTIME  STATE     SINCE  RESTARTS  CALLS  PID  WHY\n\
             db-1       js       starting  1m 2s  1         -      -    starting its code\n\
             catalog-1  js       running   1m 2s  1         2/42   77\n\
             web-1      js       closed    1m 2s  1         -      -    blocked by db\n"
        );
    }
}
