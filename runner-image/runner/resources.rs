//! What a service's process tree uses, measured about once a second and sent when it has changed.
//!
//! From the control group where the runner has one to itself; else from `/proc`, summed over everything below the
//! runner. There the files of known processes stay open, and the tree is walked again only when one of them has worked
//! or has gone, or [`WALK_AT_LEAST`] measurements have passed: an idle service costs a few reads a second.
//!
//! Processor time is counted for those who have ended, too: the kernel adds a child's time to its parent's when the
//! parent reaps it, and orphans are reaped by the runner.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use bytes::Bytes;
use orchestrator_port::message::control::{FromRemote, Usage};
use orchestrator_port::{Frame, PortSender};
use orchestrator_sandbox::{Pid, tree};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::getpid;
use tokio::time::{MissedTickBehavior, interval};

use crate::cgroup::Cgroup;

/// How often it is measured.
const EVERY: Duration = Duration::from_secs(1);

/// After how many measurements the tree is walked even if nobody seems to have worked.
const WALK_AT_LEAST: u32 = 10;

/// Measures and sends until the connection ends.
pub(crate) async fn report(port: PortSender) {
    let Ok(mut meter) = Meter::new() else { return };
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = None;
    loop {
        ticks.tick().await;
        let usage = meter.usage();
        if last.replace(usage) == Some(usage) {
            continue;
        }
        if port.send(Frame::control(&FromRemote::Usage(usage), Bytes::new())).await.is_err() {
            return;
        }
    }
}

/// Measures everything below this process.
struct Meter {
    /// The control group, where that is this process's own.
    cgroup: Option<Cgroup>,
    tree: TreeMeter,
    /// The most that was ever measured: who ends between two reads is seen in neither.
    cpu_time: u64,
}

impl Meter {
    fn new() -> io::Result<Self> {
        Ok(Self { cgroup: Cgroup::own(), tree: TreeMeter::new()?, cpu_time: 0 })
    }

    fn usage(&mut self) -> Usage {
        let measured = self.cgroup.as_ref().and_then(Cgroup::usage);
        let measured = measured.unwrap_or_else(|| self.tree.usage());
        self.cpu_time = self.cpu_time.max(measured.cpu_time);
        Usage { cpu_time: self.cpu_time, ..measured }
    }
}

/// Measures by `/proc`.
struct TreeMeter {
    own: File,
    known: HashMap<Pid, Known>,
    /// Measurements since the tree was walked.
    since_walk: u32,
}

/// A process below this one. Its file is bound to it: it cannot become another process's.
struct Known {
    file: File,
    stat: Stat,
}

/// The part of `/proc/PID/stat` that is asked for, in the kernel's units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stat {
    own_ticks: u64,
    reaped_ticks: u64,
    threads: u64,
    pages: u64,
}

impl TreeMeter {
    fn new() -> io::Result<Self> {
        Ok(Self { own: File::open("/proc/self/stat")?, known: HashMap::new(), since_walk: WALK_AT_LEAST })
    }

    fn usage(&mut self) -> Usage {
        self.since_walk += 1;
        if self.refresh() || self.since_walk >= WALK_AT_LEAST {
            self.walk();
        }
        let reaped = Stat::read(&self.own).map_or(0, |stat| stat.reaped_ticks);
        let living = self.known.values().map(|known| known.stat.own_ticks + known.stat.reaped_ticks);
        let ticks = reaped + living.sum::<u64>();
        let pages: u64 = self.known.values().map(|known| known.stat.pages).sum();
        Usage {
            cpu_time: ticks.saturating_mul(1_000_000) / clock_ticks_per_second(),
            memory: pages.saturating_mul(page_size() as u64),
            processes: u32::try_from(self.known.len()).unwrap_or(u32::MAX),
        }
    }

    /// Reads the known ones again; answers whether there may be others now.
    fn refresh(&mut self) -> bool {
        let count = self.known.len();
        let mut worked = false;
        self.known.retain(|_, known| {
            let Some(stat) = Stat::read(&known.file) else { return false };
            worked |= (stat.own_ticks, stat.threads) != (known.stat.own_ticks, known.stat.threads);
            known.stat = stat;
            true
        });
        worked || self.known.len() < count
    }

    fn walk(&mut self) {
        self.since_walk = 0;
        for pid in tree::descendants(getpid()) {
            if self.known.contains_key(&pid) {
                continue;
            }
            let file = File::open(format!("/proc/{}/stat", pid.as_raw_nonzero()));
            if let Some((file, stat)) = file.ok().and_then(|file| Stat::read(&file).map(|stat| (file, stat)))
            {
                self.known.insert(pid, Known { file, stat });
            }
        }
    }
}

impl Stat {
    /// None where the process is gone.
    fn read(file: &File) -> Option<Self> {
        let mut buffer = [0; 1024];
        let count = file.read_at(&mut buffer, 0).ok()?;
        Self::parse(&String::from_utf8_lossy(&buffer[..count]))
    }

    fn parse(text: &str) -> Option<Self> {
        // The name, in parentheses, may hold anything. What follows it begins with the third field.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<_> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            own_ticks: field(14)? + field(15)?,
            reaped_ticks: field(16)? + field(17)?,
            threads: field(20)?,
            pages: field(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_program_is_called() {
        let line = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 7 8 9 10 20 0 3 0 100 1000000 250 184";
        assert_eq!(Stat::parse(line), Some(Stat { own_ticks: 15, reaped_ticks: 19, threads: 3, pages: 250 }));
        assert_eq!(Stat::parse("42 (a) S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn a_tree_is_measured_with_those_who_have_ended() {
        let mut meter = TreeMeter::new().unwrap();
        let script = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo; read nothing";
        let mut child = std::process::Command::new("sh")
            .args(["-c", script])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let running = meter.usage();
        // It reads the end of its input.
        child.wait().unwrap();
        assert!(running.cpu_time > 0 && running.memory > 0 && running.processes >= 1, "{running:?}");
        let ended = meter.usage();
        assert!(ended.cpu_time >= running.cpu_time, "{ended:?} after {running:?}");
        assert!(ended.processes < running.processes, "{ended:?} after {running:?}");
    }
}
