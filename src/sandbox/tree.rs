//! Process trees, as `/proc` shows them: who is below whom, and how nobody is left.
//!
//! A tree is ended by who is its *subreaper*: whoever loses its parent becomes the subreaper's child, so no
//! descendant ever gets out of its sight. It kills what is there, reaps, and begins again until no child is left:
//! what is forked meanwhile is met in the next round.

use std::collections::HashSet;
use std::io;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, pidfd_open, pidfd_send_signal, set_child_subreaper, wait,
};

/// A child that has ended and was reaped. Exactly one of the two is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Who it was.
    pub pid: Pid,
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

/// What [`reap`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// This one had ended.
    Ended(Ended),
    /// All children that are left run.
    NoneEnded,
    /// There is no child at all.
    NoneLeft,
}

/// Makes the calling process the new parent of its descendants' orphans.
///
/// # Errors
/// Where the system refuses.
pub fn become_subreaper() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// The children of a process, those of all its threads. Empty where it is gone.
#[must_use]
pub fn children(pid: Pid) -> Vec<Pid> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())) else {
        return Vec::new();
    };
    let lists =
        threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| ids(&list)).collect()
}

/// Everything below a process, parents before their children. It may have changed before it is read.
#[must_use]
pub fn descendants(pid: Pid) -> Vec<Pid> {
    let mut found = children(pid);
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(children(parent));
        next += 1;
    }
    found
}

/// The process below `ancestor` that calls itself `inner` in the pid namespace that it lives in.
#[must_use]
pub fn called(ancestor: Pid, inner: u32) -> Option<Pid> {
    let calls_itself = |pid: &Pid| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
        // From the outermost namespace to its own.
        let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
        ids.split_ascii_whitespace().next_back()?.parse::<u32>().ok()
    };
    descendants(ancestor).into_iter().find(|pid| calls_itself(pid) == Some(inner))
}

/// Sends SIGKILL to everything that is below a process now. The caller, being the subreaper, reaps and repeats.
pub fn kill_descendants(pid: Pid) {
    let found = descendants(pid);
    let mut parents: HashSet<_> = found.iter().copied().collect();
    // The orphans of those that are killed first become children of one of these two.
    parents.extend([pid, getpid()]);
    for process in found {
        kill_child_of(process, &parents);
    }
}

/// Sends SIGKILL to a child of the calling process and to everything below it.
pub fn kill_tree(child: Pid) {
    kill_descendants(child);
    kill_child_of(child, &HashSet::from([getpid()]));
}

/// Reaps one child that has ended, without waiting for any.
///
/// # Errors
/// Where the system refuses.
pub fn reap() -> io::Result<Reaped> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                let (code, signal) = (status.exit_status(), status.terminating_signal());
                return Ok(Reaped::Ended(Ended { pid, code, signal }));
            }
            Ok(None) => return Ok(Reaped::NoneEnded),
            Err(Errno::CHILD) => return Ok(Reaped::NoneLeft),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The ids in a `children` file.
fn ids(list: &str) -> Vec<Pid> {
    list.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

/// Kills a process if it is the child of one of these. Its id could have become another process's since it was read:
/// the descriptor holds on to one process, and then its parent is looked at.
fn kill_child_of(pid: Pid, parents: &HashSet<Pid>) {
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    if parent(pid).is_some_and(|parent| parents.contains(&parent)) {
        // It may have ended already.
        let _ = pidfd_send_signal(&process, Signal::KILL);
    }
}

fn parent(pid: Pid) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name, in parentheses, may hold anything; the state and the parent's id follow it.
    let (_, fields) = stat.rsplit_once(')')?;
    Pid::from_raw(fields.split_ascii_whitespace().nth(1)?.parse().ok()?)
}
