//! [`Replica`]: one replica of a service, by its present start, and by a second one while it is replaced.

use std::time::Duration;

use crate::name::{Generation, ReplicaId, StartId};
use crate::report::{CrashReason, Phase, ReloadCause, State, Why};
use crate::supervisor::Moment;

/// One replica of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Replica {
    pub(crate) id: ReplicaId,
    /// Its present start, or its last one: whoever speaks of the replica means this one.
    pub(crate) generation: Generation,
    /// Its newest start. Not the present one where that has not taken over, or never did.
    pub(crate) newest: Generation,
    /// How many of its starts followed a crash.
    pub(crate) restarts: u32,
    /// When it crashed, as far as that counts for its budget.
    pub(crate) crashes: Vec<Moment>,
    pub(crate) life: Life,
    /// It has begun too early, or for too long: a new start is to replace it, for this cause.
    pub(crate) stale: Option<ReloadCause>,
    /// A start beside the present one, on its way in or on its way out.
    pub(crate) second: Option<Second>,
    /// What was last reported of it.
    pub(crate) reported: (State, Option<Why>),
}

/// What a replica is doing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Life {
    /// Nothing of it is there.
    Closed(Rest),
    /// Its environment is being made, its code started.
    Starting(Progress),
    /// It is ready.
    Running,
    /// It was told to close, or its environment is being destroyed.
    Closing {
        /// Why.
        why: Why,
        /// Its environment is being destroyed, so there is nothing more to do about it.
        destroyed: bool,
        /// What it will be when nothing of it is left.
        then: Rest,
    },
}

/// How a start comes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Progress {
    /// How far it has come.
    pub(crate) phase: Phase,
    /// What its readiness check said last.
    pub(crate) detail: Option<String>,
}

/// The other start of a replica that has two.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Second {
    pub(crate) generation: Generation,
    pub(crate) life: SecondLife,
}

/// What the other start is doing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SecondLife {
    /// It is brought up, to take over when it is ready. There is one only beside a start that runs.
    Starting { progress: Progress, cause: ReloadCause },
    /// It was taken over from: it finishes what it has, and is told to close when the children that it has opened are gone.
    Retiring,
    /// It was told to close, or its environment is being destroyed.
    Leaving { why: Why, destroyed: bool },
}

/// What a closed replica waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rest {
    /// To be wanted, and for its dependencies.
    Idle,
    /// For its back-off to be over.
    BackingOff { wait: Duration, last: CrashReason },
    /// For nothing: it crashed more often than its budget allows.
    GaveUp { crashes: u32, last: CrashReason },
    /// For nothing: it crashed, and is not to be restarted.
    Failed { last: CrashReason },
    /// For nothing: it ran to completion.
    Completed,
    /// For nothing: its service has fewer replicas now.
    Retired,
}

impl Replica {
    pub(crate) fn new(id: ReplicaId) -> Self {
        Self {
            id,
            generation: Generation::default(),
            newest: Generation::default(),
            restarts: 0,
            crashes: Vec::new(),
            life: Life::Closed(Rest::Idle),
            stale: None,
            second: None,
            reported: (State::Closed, None),
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self.life, Life::Starting(_) | Life::Running)
    }

    /// Nothing of it is there.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.life, Life::Closed(_)) && self.second.is_none()
    }

    /// Its present start.
    pub(crate) fn start(&self) -> StartId {
        self.start_of(self.generation)
    }

    /// Its start of this generation.
    pub(crate) fn start_of(&self, generation: Generation) -> StartId {
        StartId { replica: self.id.clone(), generation }
    }

    /// The number of the next start.
    pub(crate) fn begin(&mut self) -> Generation {
        self.newest = self.newest.next();
        self.newest
    }

    /// Why it is being replaced, while the start that is to do so is brought up.
    pub(crate) fn successor(&self) -> Option<&ReloadCause> {
        match self.second.as_ref().map(|second| &second.life) {
            Some(SecondLife::Starting { cause, .. }) => Some(cause),
            _ => None,
        }
    }

    /// The start that is brought up to take its place.
    pub(crate) fn successor_start(&self) -> Option<StartId> {
        self.successor()?;
        self.second.as_ref().map(|second| self.start_of(second.generation))
    }

    /// The start that was taken over from and has not been told to close.
    pub(crate) fn retiring(&self) -> Option<StartId> {
        let second = self.second.as_ref().filter(|second| second.life == SecondLife::Retiring)?;
        Some(self.start_of(second.generation))
    }

    /// A new start is to replace the present one, and nothing is in its way.
    pub(crate) fn is_due(&self) -> bool {
        self.stale.is_some() && self.second.is_none() && self.life == Life::Running
    }

    /// Begins to close its second start, for this reason, unless that is leaving already: then None.
    pub(crate) fn close_second(&mut self, why: &Why) -> Option<StartId> {
        let second =
            self.second.as_mut().filter(|second| !matches!(second.life, SecondLife::Leaving { .. }))?;
        second.life = SecondLife::Leaving { why: why.clone(), destroyed: false };
        let generation = second.generation;
        Some(self.start_of(generation))
    }

    /// Begins to destroy its second start, for this reason, unless that is so already: then None.
    pub(crate) fn destroy_second(&mut self, why: Why) -> Option<StartId> {
        let destroyed = |life: &SecondLife| matches!(life, SecondLife::Leaving { destroyed: true, .. });
        let second = self.second.as_mut().filter(|second| !destroyed(&second.life))?;
        second.life = SecondLife::Leaving { why, destroyed: true };
        let generation = second.generation;
        Some(self.start_of(generation))
    }

    pub(crate) fn state(&self) -> State {
        match self.life {
            Life::Closed(_) if self.second.is_some() => State::Closing,
            Life::Closed(_) => State::Closed,
            Life::Starting(_) => State::Starting,
            Life::Running => State::Running,
            Life::Closing { .. } => State::Closing,
        }
    }

    /// Past crashes are forgotten: it starts again as soon as it may. What has run to completion stays so.
    pub(crate) fn forgive(&mut self) {
        self.crashes.clear();
        let forgiven = |rest: &mut Rest| {
            if !matches!(rest, Rest::Completed | Rest::Retired) {
                *rest = Rest::Idle;
            }
        };
        match &mut self.life {
            Life::Closed(rest) | Life::Closing { then: rest, .. } => forgiven(rest),
            Life::Starting(_) | Life::Running => {}
        }
    }
}
