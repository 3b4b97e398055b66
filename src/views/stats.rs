//! The table of `orchestrator stats`.

use orchestrator_core::ReplicaId;
use orchestrator_core::report::{Resources, Snapshot, State};
use serde::Serialize;

use crate::human::{age, spoken_bytes};
use crate::palette::Palette;
use crate::table::Table;

/// What the whole host has and uses.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct HostTotals {
    /// How many processors there are.
    pub cpus: usize,
    /// All memory, in bytes.
    pub memory: u64,
    /// The part of it that is used, in bytes.
    pub memory_used: u64,
}

/// What every running replica uses, a line each, then all of them together, then the host. `now` is in milliseconds
/// since 1970-01-01 UTC.
#[must_use]
pub fn stats(snapshot: &Snapshot, host: HostTotals, now: u64, palette: Palette) -> String {
    let mut table = Table::new(&["REPLICA", "CPU", "MEMORY", "CPU TIME", "PROCESSES", "RESTARTS", "UPTIME"]);
    let (mut total, mut restarts) = (Resources::default(), 0);
    for service in &snapshot.services {
        for replica in service.replicas.iter().filter(|replica| replica.state == State::Running) {
            let id = ReplicaId { service: service.name.clone(), index: replica.index }.to_string();
            let used = replica.resources.unwrap_or_default();
            let painted = palette.service(&service.name, &id);
            let uptime = age(now.saturating_sub(replica.since));
            table.row(row((id, Some(painted)), &used, replica.restarts, uptime));
            total = sum(&total, &used);
            restarts += replica.restarts;
        }
    }
    let name = "total".to_owned();
    let painted = palette.bold(&name);
    table.row(row((name, Some(painted)), &total, restarts, String::new()));
    let HostTotals { cpus, memory, memory_used } = host;
    let (used, all) = (spoken_bytes(memory_used), spoken_bytes(memory));
    format!("{}host: {cpus} processors, {used} of {all} memory used\n", table.render())
}

type Cell = (String, Option<String>);

fn row(name: Cell, used: &Resources, restarts: u32, uptime: String) -> Vec<Cell> {
    let cells = [
        format!("{:.1}%", used.cpu * 100.0),
        spoken_bytes(used.memory),
        format!("{}.{:02}s", used.cpu_time / 1000, used.cpu_time % 1000 / 10),
        used.processes.to_string(),
        restarts.to_string(),
        uptime,
    ];
    std::iter::once(name).chain(cells.into_iter().map(|cell| (cell, None))).collect()
}

fn sum(a: &Resources, b: &Resources) -> Resources {
    Resources {
        cpu: a.cpu + b.cpu,
        cpu_time: a.cpu_time + b.cpu_time,
        memory: a.memory + b.memory,
        processes: a.processes + b.processes,
    }
}

#[cfg(test)]
mod tests {
    use orchestrator_core::report::ReplicaView;

    use super::*;
    use crate::testing::{replica, service, snapshot};

    #[test]
    fn what_runs_then_all_of_it_then_the_host() {
        let using = |cpu, memory, restarts| ReplicaView {
            restarts,
            since: 1000,
            resources: Some(Resources { cpu, cpu_time: 1250, memory, processes: 2 }),
            ..replica(State::Running, None)
        };
        let snapshot = snapshot(vec![
            service("db", using(0.25, 3 << 20, 1)),
            service("web", using(0.5, 1 << 20, 2)),
            service("idle", replica(State::Closed, None)),
        ]);
        let host = HostTotals { cpus: 2, memory: 8 << 30, memory_used: 1 << 30 };
        assert_eq!(
            stats(&snapshot, host, 63_000, Palette::new(false)),
            "\
REPLICA  CPU    MEMORY   CPU TIME  PROCESSES  RESTARTS  UPTIME
db-1     25.0%  3.0 MiB  1.25s     2          1         1m 2s
web-1    50.0%  1.0 MiB  1.25s     2          2         1m 2s
total    75.0%  4.0 MiB  2.50s     4          3
host: 2 processors, 1.0 GiB of 8.0 GiB memory used
"
        );
    }
}
