//! [`Group`]: a control group for one start, in each hierarchy that a limit of its needs; and which of them the calling
//! process may make ([`controllers`]).
//!
//! Version 1 has a hierarchy for each controller, version 2 has one for all. A host may have both: then each limit is set
//! where its controller is. Where anything is, is read from `/proc/self`, never taken for granted. A new group is a child of
//! the caller's own.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// The most that all processes of a group may use together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupLimits {
    /// Bytes of memory. Swap is not more memory.
    pub memory: Option<u64>,
    /// Thousandths of a processor core.
    pub cpu: Option<u32>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// Which groups can be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Controllers {
    /// Of memory.
    pub memory: bool,
    /// Of processor time.
    pub cpu: bool,
    /// Of processes.
    pub pids: bool,
}

/// A control group that was made here. It is not removed by itself: its processes have to be gone first.
#[derive(Debug)]
pub struct Group {
    folders: Vec<PathBuf>,
    /// Where it is counted how often somebody was killed for want of memory.
    out_of_memory: Option<PathBuf>,
}

/// The period in which processor time is shared out, in microseconds.
const PERIOD: u64 = 100_000;

/// What a group made here is called, before the number of its maker.
const PREFIX: &str = "orchestrator-";

impl GroupLimits {
    /// Whether there is no limit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Group {
    /// Makes a group with these limits, the number of the calling process in its name.
    ///
    /// # Errors
    /// Where a controller is not there, or may not be used. What was made of it is removed again.
    pub fn create(number: u64, limits: &GroupLimits) -> io::Result<Self> {
        let host = Host::read()?;
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let mut group = Self { folders: Vec::new(), out_of_memory: None };
        let set = group.set_all(&host, &name, limits);
        if set.is_err() {
            group.remove();
        }
        set.map(|()| group)
    }

    fn set_all(&mut self, host: &Host, name: &str, limits: &GroupLimits) -> io::Result<()> {
        if let Some(bytes) = limits.memory {
            let (version, folder) = self.join(host, "memory", name)?;
            match version {
                Version::One => {
                    fs::write(folder.join("memory.limit_in_bytes"), bytes.to_string())?;
                    // Not every kernel counts swap; without swap there is none to count.
                    if folder.join("memory.memsw.limit_in_bytes").exists() {
                        fs::write(folder.join("memory.memsw.limit_in_bytes"), bytes.to_string())?;
                    }
                    self.out_of_memory = Some(folder.join("memory.oom_control"));
                }
                Version::Two => {
                    fs::write(folder.join("memory.max"), bytes.to_string())?;
                    if folder.join("memory.swap.max").exists() {
                        fs::write(folder.join("memory.swap.max"), "0")?;
                    }
                    self.out_of_memory = Some(folder.join("memory.events"));
                }
            }
        }
        if let Some(share) = limits.cpu {
            let quota = u64::from(share) * PERIOD / 1000;
            let (version, folder) = self.join(host, "cpu", name)?;
            match version {
                Version::One => {
                    fs::write(folder.join("cpu.cfs_period_us"), PERIOD.to_string())?;
                    fs::write(folder.join("cpu.cfs_quota_us"), quota.to_string())?;
                }
                Version::Two => fs::write(folder.join("cpu.max"), format!("{quota} {PERIOD}"))?,
            }
        }
        if let Some(most) = limits.pids {
            let (_, folder) = self.join(host, "pids", name)?;
            fs::write(folder.join("pids.max"), most.to_string())?;
        }
        Ok(())
    }

    /// The group's folder in the hierarchy of this controller, made if it is not there.
    fn join(&mut self, host: &Host, controller: &str, name: &str) -> io::Result<(Version, PathBuf)> {
        let (version, parent) = host.own(controller).ok_or_else(|| {
            io::Error::new(io::ErrorKind::Unsupported, format!("there is no control group '{controller}'"))
        })?;
        if version == Version::Two {
            fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"))?;
        }
        let folder = parent.join(name);
        if !self.folders.contains(&folder) {
            fs::create_dir(&folder)?;
            self.folders.push(folder.clone());
        }
        Ok((version, folder))
    }

    /// What a new process writes `0` into to be in the group.
    ///
    /// # Errors
    /// Where the group is gone.
    pub fn entrances(&self) -> io::Result<Vec<File>> {
        self.folders
            .iter()
            .map(|folder| OpenOptions::new().write(true).open(folder.join("cgroup.procs")))
            .collect()
    }

    /// Whether one of its processes was killed because there was no memory left for it.
    #[must_use]
    pub fn was_out_of_memory(&self) -> bool {
        let counts = self.out_of_memory.as_ref().and_then(|file| fs::read_to_string(file).ok());
        counts.is_some_and(|counts| kills(&counts) > 0)
    }

    /// Removes it. Nothing happens where it still has processes.
    pub fn remove(&self) {
        for folder in &self.folders {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// How often somebody was refused, in a `pids.events`.
fn refusals(counts: &str) -> Option<u64> {
    counts.lines().find_map(|line| line.strip_prefix("max "))?.trim().parse().ok()
}

/// How often somebody was killed, in a `memory.oom_control` or a `memory.events`.
fn kills(counts: &str) -> u64 {
    let line = counts.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// Tries which groups the calling process may make.
#[must_use]
pub fn controllers() -> Controllers {
    let can = |limits: GroupLimits| Group::create(0, &limits).map(|group| group.remove()).is_ok();
    Controllers {
        memory: can(GroupLimits { memory: Some(1 << 30), ..GroupLimits::default() }),
        cpu: can(GroupLimits { cpu: Some(1000), ..GroupLimits::default() }),
        pids: can(GroupLimits { pids: Some(1000), ..GroupLimits::default() }),
    }
}

/// How often a process in the group of this one was refused another process or thread, because the group had as many as
/// it may have. None where nothing counts that, or the process is gone.
#[must_use]
pub fn refused_processes(pid: u32) -> Option<u64> {
    let (_, folder) = Host::of(&pid.to_string()).ok()?.own("pids")?;
    refusals(&fs::read_to_string(folder.join("pids.events")).ok()?)
}

/// Removes the groups of makers that have been killed.
pub fn remove_abandoned() {
    let Ok(host) = Host::read() else { return };
    for controller in ["memory", "cpu", "pids"] {
        let Some((_, parent)) = host.own(controller) else { continue };
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let maker = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
            if maker.is_some_and(|maker| !Path::new("/proc").join(maker).exists()) {
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The hierarchies of this host, and the groups in them that a process is in.
struct Host {
    groups: String,
    mounts: String,
}

impl Host {
    /// With the caller's own groups.
    fn read() -> io::Result<Self> {
        Self::of("self")
    }

    /// With the groups of the process that `/proc` calls so.
    fn of(process: &str) -> io::Result<Self> {
        let groups = fs::read_to_string(format!("/proc/{process}/cgroup"))?;
        Ok(Self { groups, mounts: fs::read_to_string("/proc/self/mountinfo")? })
    }

    /// The group of the process in the hierarchy that has this controller.
    fn own(&self, controller: &str) -> Option<(Version, PathBuf)> {
        let first = self.groups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, group) = rest.split_once(':')?;
            controllers.split(',').any(|one| one == controller).then_some(group)
        });
        if let Some(group) = first {
            let has = |kind: &str, options: &str| {
                kind == "cgroup" && options.split(',').any(|one| one == controller)
            };
            return Some((Version::One, mounted(&self.mounts, group, has)?));
        }
        let group = self.groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        let folder = mounted(&self.mounts, group, |kind, _| kind == "cgroup2")?;
        let there = fs::read_to_string(folder.join("cgroup.controllers")).ok()?;
        there.split_ascii_whitespace().any(|one| one == controller).then_some((Version::Two, folder))
    }
}

/// Where a group is, in the hierarchy whose file system type and options are as wanted.
fn mounted(mounts: &str, group: &str, wanted: impl Fn(&str, &str) -> bool) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (place, system) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        let mut system = system.split(' ');
        let (kind, options) = (system.next()?, system.nth(1)?);
        if !wanted(kind, options) {
            return None;
        }
        // A container may see a part of the hierarchy only: what lies above its root cannot be reached.
        let inner = Path::new(group).strip_prefix(root).ok()?;
        Some(Path::new(point).join(inner))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_controller_is_found_where_it_is() {
        let host = Host {
            groups: "5:cpu,cpuacct:/\n4:memory:/own/group\n3:name=systemd:/x\n0::/two\n".into(),
            mounts: "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                     32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
                     35 31 0:32 /own /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n\
                     41 31 0:38 / /no/such/unified rw - cgroup2 cgroup2 rw\n"
                .into(),
        };
        assert_eq!(host.own("cpu"), Some((Version::One, "/sys/fs/cgroup/cpu,cpuacct".into())));
        assert_eq!(host.own("memory"), Some((Version::One, "/sys/fs/cgroup/memory/group".into())));
        assert_eq!(host.own("pids"), None, "version 2 does not have it here");
        let whole = mounted(&host.mounts, "/two", |kind, _| kind == "cgroup2");
        assert_eq!(whole, Some("/no/such/unified/two".into()));
        assert_eq!(mounted("35 31 0:32 /else /m rw - cgroup c rw,memory\n", "/own", |_, _| true), None);
    }

    #[test]
    fn those_who_were_killed_are_counted() {
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"), 2);
        assert_eq!(kills("low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\n"), 1);
        assert_eq!(kills("low 0\n"), 0);
    }

    #[test]
    fn those_who_were_refused_are_counted() {
        assert_eq!(refusals("max 3\n"), Some(3));
        assert_eq!(refusals(""), None);
    }
}
