//! [`Cgroup`]: what the kernel counts for all processes of a control group together, where the runner has one to
//! itself: as a container's first process. In any other group strangers would be counted too.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use orchestrator_port::message::control::Usage;
use orchestrator_sandbox::{Pid, tree};
use rustix::process::getpid;

/// The files of the runner's own control group.
#[derive(Debug)]
pub(crate) struct Cgroup {
    processes: PathBuf,
    memory: PathBuf,
    processor: Processor,
    /// What the runner itself had used before it was asked first, in microseconds.
    before: u64,
}

/// Where processor time is counted, and how.
#[derive(Debug)]
enum Processor {
    /// Version 2: `cpu.stat`, with a line in microseconds.
    Stat(PathBuf),
    /// Version 1: `cpuacct.usage`, in nanoseconds.
    Account(PathBuf),
}

impl Cgroup {
    /// The runner's group, if nobody else is in it.
    pub(crate) fn own() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let mut cgroup = Self::version_2(&groups, &mounts).or_else(|| Self::version_1(&groups, &mounts))?;
        let mut ours: HashSet<_> = tree::descendants(getpid()).into_iter().collect();
        ours.insert(getpid());
        if !cgroup.members()?.iter().all(|member| ours.contains(member)) {
            return None;
        }
        cgroup.before = cgroup.cpu_time()?;
        Some(cgroup)
    }

    /// What the group uses, the runner's own part included, which is small.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let processes = self.members()?.len().saturating_sub(1);
        Some(Usage {
            cpu_time: self.cpu_time()?.saturating_sub(self.before),
            memory: number(&self.memory)?,
            processes: u32::try_from(processes).unwrap_or(u32::MAX),
        })
    }

    fn version_2(groups: &str, mounts: &str) -> Option<Self> {
        let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        let folder = mounted(mounts, group, |kind, _| kind == "cgroup2")?;
        let memory = folder.join("memory.current");
        memory.exists().then(|| Self {
            processes: folder.join("cgroup.procs"),
            memory,
            processor: Processor::Stat(folder.join("cpu.stat")),
            before: 0,
        })
    }

    fn version_1(groups: &str, mounts: &str) -> Option<Self> {
        let folder = |controller: &str| {
            let has = |list: &str| list.split(',').any(|name| name == controller);
            let fields = groups.lines().map(|line| line.splitn(3, ':').collect::<Vec<_>>());
            let group = fields.into_iter().find(|fields| fields.len() == 3 && has(fields[1]))?[2];
            mounted(mounts, group, |kind, options| kind == "cgroup" && has(options))
        };
        let (memory, processor) = (folder("memory")?, folder("cpuacct")?);
        Some(Self {
            processes: memory.join("cgroup.procs"),
            memory: memory.join("memory.usage_in_bytes"),
            processor: Processor::Account(processor.join("cpuacct.usage")),
            before: 0,
        })
    }

    fn members(&self) -> Option<Vec<Pid>> {
        let list = fs::read_to_string(&self.processes).ok()?;
        Some(list.lines().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect())
    }

    fn cpu_time(&self) -> Option<u64> {
        match &self.processor {
            Processor::Stat(file) => {
                let stat = fs::read_to_string(file).ok()?;
                stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?.parse().ok()
            }
            Processor::Account(file) => Some(number(file)? / 1000),
        }
    }
}

/// The folder of a group, below the first mount that fits by its type and options.
fn mounted(mounts: &str, group: &str, fits: impl Fn(&str, &str) -> bool) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let kind: Vec<_> = kind.split(' ').collect();
        let place: Vec<_> = place.split(' ').collect();
        let (root, point) = (place.get(3)?, place.get(4)?);
        if !fits(kind.first()?, kind.get(2)?) {
            return None;
        }
        // Only what is below the mount's root is there to be seen.
        let below = Path::new(group).strip_prefix(root).ok()?;
        Some(Path::new(point).join(below))
    })
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mount table with this folder as the only mount.
    fn mount(folder: &Path, root: &str, kind: &str) -> String {
        format!(
            "30 1 0:2 / /proc rw - proc proc rw\n36 30 0:30 {root} {} rw shared:1 - {kind}\n",
            folder.display()
        )
    }

    fn group(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn version_2_is_read() {
        let folder = group(&[
            ("a/cgroup.procs", "10\n11\n12\n"),
            ("a/memory.current", "4096\n"),
            ("a/cpu.stat", "usage_usec 1234\nuser_usec 1000\n"),
        ]);
        let mounts = mount(folder.path(), "/docker/x", "cgroup2 cgroup2 rw");
        let cgroup = Cgroup::version_2("0::/docker/x/a\n", &mounts).unwrap();
        assert_eq!(cgroup.usage(), Some(Usage { cpu_time: 1234, memory: 4096, processes: 2 }));
        assert!(Cgroup::version_2("0::/elsewhere\n", &mounts).is_none());
        assert!(Cgroup::version_2("0::/docker/x\n", &mounts).is_none(), "without a memory controller");
    }

    #[test]
    fn version_1_is_read() {
        let folder = group(&[
            ("cgroup.procs", "10\n"),
            ("memory.usage_in_bytes", "8192\n"),
            ("cpuacct.usage", "5000999\n"),
        ]);
        let mounts = mount(folder.path(), "/x", "cgroup cgroup rw,memory,cpu,cpuacct");
        let cgroup = Cgroup::version_1("5:cpu,cpuacct:/x\n4:memory:/x\n0::/x\n", &mounts).unwrap();
        assert_eq!(cgroup.usage(), Some(Usage { cpu_time: 5000, memory: 8192, processes: 0 }));
        assert!(Cgroup::version_1("4:memory:/x\n", &mounts).is_none());
    }
}
