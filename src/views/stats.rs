//! The table of `orchestrator stats`.

use orchestrator_core::ReplicaId;
use orchestrator_core::report::{Snapshot, State};
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

/// What every running replica uses, a line each, then the host. `now` is in milliseconds since 1970-01-01 UTC.
#[must_use]
pub fn stats(snapshot: &Snapshot, host: HostTotals, now: u64, palette: Palette) -> String {
    let mut table = Table::new(&["REPLICA", "CPU", "MEMORY", "CPU TIME", "PROCESSES", "RESTARTS", "UPTIME"]);
    for service in &snapshot.services {
        for replica in service.replicas.iter().filter(|replica| replica.state == State::Running) {
            let id = ReplicaId { service: service.name.clone(), index: replica.index }.to_string();
            let used = replica.resources.unwrap_or_default();
            let painted = palette.service(&service.name, &id);
            let cells = [
                format!("{:.1}%", used.cpu * 100.0),
                spoken_bytes(used.memory),
                format!("{}.{:02}s", used.cpu_time / 1000, used.cpu_time % 1000 / 10),
                used.processes.to_string(),
                replica.restarts.to_string(),
                age(now.saturating_sub(replica.since)),
            ];
            let rest = cells.into_iter().map(|cell| (cell, None));
            table.row(std::iter::once((id, Some(painted))).chain(rest).collect());
        }
    }
    let HostTotals { cpus, memory, memory_used } = host;
    let (used, all) = (spoken_bytes(memory_used), spoken_bytes(memory));
    format!("{}host: {cpus} processors, {used} of {all} memory used\n", table.render())
}
