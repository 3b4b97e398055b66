//! Deadlines as data: the Supervisor says until when it waits for what; the shell asks for the next one and sleeps.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::name::StartId;

/// A point in time, in milliseconds since some beginning that the caller has chosen and keeps to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// So long after this.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The time from an earlier moment to this one.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The start has taken too long.
    Start,
    /// The graceful close has taken too long.
    Close,
    /// The wait before a restart is over.
    BackOff,
}

/// The deadlines that are set. One start has at most one for each purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Timers {
    set: BTreeMap<(StartId, Timer), Moment>,
}

impl Timers {
    pub(super) fn set(&mut self, start: &StartId, timer: Timer, at: Moment) {
        self.set.insert((start.clone(), timer), at);
    }

    pub(super) fn cancel(&mut self, start: &StartId, timer: Timer) {
        self.set.remove(&(start.clone(), timer));
    }

    pub(super) fn next(&self) -> Option<Moment> {
        self.set.values().min().copied()
    }

    pub(super) fn armed(&self) -> impl Iterator<Item = (&StartId, Timer)> {
        self.set.keys().map(|(start, timer)| (start, *timer))
    }

    /// Takes a timer away, if it is set.
    pub(super) fn take(&mut self, start: &StartId, timer: Timer) -> bool {
        self.set.remove(&(start.clone(), timer)).is_some()
    }

    /// What is due now, the longest overdue first.
    pub(super) fn due(&self, now: Moment) -> Vec<(StartId, Timer)> {
        let mut due: Vec<_> = self.set.iter().filter(|(_, at)| **at <= now).collect();
        due.sort_by_key(|(_, at)| **at);
        due.into_iter().map(|(key, _)| key.clone()).collect()
    }
}
