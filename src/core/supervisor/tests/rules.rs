//! The rules that must hold of a [`World`], by their numbers: of single actions, of every state, and of rest.

use std::sync::Arc;

use super::plan::Edge;
use super::world::{NOW, Place, Step, World};
use crate::manifest::{Condition, OnCrash};
use crate::name::{Generation, ReplicaId, ServiceName, StartId};
use crate::report::{CrashReason, Phase, ReloadCause, State, Why};
use crate::supervisor::{Action, Event, Request, Timer};

impl World {
    pub(super) fn rule_03_starts_after_its_dependencies(&self, start: &StartId) {
        for (_, on, condition, _) in self.plan.edges.iter().filter(|edge| edge.0 == start.replica.service) {
            assert!(self.provides(on, *condition), "{start} is created while '{on}' is not {condition:?}");
        }
    }

    /// One replica too many closes alone, as long as another one serves or none does (lifecycle rule 13).
    fn is_retired(&self, start: &StartId) -> bool {
        let stay = self.plan.specs.get(&start.replica.service).map_or(0, |spec| spec.replicas.get());
        let serves = self.environments.iter().any(|(StartId { replica, .. }, place)| {
            replica.service == start.replica.service && replica.index <= stay && *place == Place::Running
        });
        start.replica.index > stay && (serves || !self.is_running(&start.replica.service))
    }

    pub(super) fn rule_04_closes_after_its_dependents(&self, start: &StartId) {
        if self.is_retired(start) || self.environments[start] == Place::Replaced {
            let mut children = self.openers.iter().filter(|(_, opener)| *opener == start);
            let left = children.find(|(child, _)| self.of(child).count() > 0);
            assert_eq!(left, None, "{start} is closed while a child of it is there");
            return;
        }
        for (dependent, ..) in self.plan.edges.iter().filter(|edge| edge.1 == start.replica.service) {
            assert_eq!(self.of(dependent).count(), 0, "{start} is closed while '{dependent}' is there");
        }
    }

    /// The start that this step ends by a crash.
    pub(super) fn live_that_crashes(&self, step: &Step) -> Option<StartId> {
        let is_live = |start: &StartId| {
            self.environments.get(start).is_some_and(|place| !matches!(place, Place::Leaving(_)))
        };
        let start = match step {
            Step::Event(Event::Crashed(start, _)) => Some(start),
            Step::Timer(start, Timer::Start) => Some(start),
            _ => None,
        };
        start.filter(|start| is_live(start)).cloned()
    }

    pub(super) fn rule_05_who_crashes_is_destroyed_at_once(
        &self,
        crashed: Option<StartId>,
        actions: &[Action],
    ) {
        let Some(start) = crashed else { return };
        assert!(actions.contains(&Action::Destroy(start.clone())), "{start} crashed, and is not destroyed");
    }

    /// Who has lost a dependency closes, and so does what depends on it, even if the dependency is back by then. Each
    /// waits with it only until what depends on it has closed.
    pub(super) fn rule_05_a_crash_closes_what_depends_on_it(&mut self) {
        let plan = Arc::clone(&self.plan);
        while let Some((dependent, ..)) = plan.edges.iter().find(|edge| self.dooms(edge)) {
            self.doomed.insert(dependent.clone());
        }
        for service in &self.doomed {
            let mut behind = plan.edges.iter().filter(|edge| edge.1 == *service);
            let waits = behind.any(|(behind, ..)| self.of(behind).count() > 0);
            assert!(!self.is_live(service) || waits, "'{service}' lives on after a crash of what it needs");
        }
    }

    fn dooms(&self, (dependent, on, condition, on_crash): &Edge) -> bool {
        let needs = (*condition, *on_crash) == (Condition::Ready, OnCrash::Close);
        let lost = needs && !self.is_running(on);
        let closes = self.doomed.contains(on) && self.of(on).count() > 0;
        (lost || closes) && self.is_live(dependent) && !self.doomed.contains(dependent)
    }

    pub(super) fn rule_06_a_parent_starts_without_its_old_children(&self, start: &StartId) {
        let parent = &start.replica.service;
        let old = self.plan.specs.keys().find(|name| name.parent().as_ref() == Some(parent));
        assert!(self.is_running(parent) || old.is_none(), "{start} is created while it has old children");
    }

    pub(super) fn rule_06_a_child_is_forgotten_after_it_has_closed(&mut self, service: &ServiceName) {
        assert_eq!(self.of(service).count(), 0, "'{service}' is forgotten while it is there");
        assert!(service.parent().is_some(), "'{service}' is no child");
        Arc::make_mut(&mut self.plan).remove(service);
        self.wanted.remove(service);
        self.last.retain(|replica, _| replica.service != *service);
        self.openers.remove(service);
        self.crashes.retain(|replica, _| replica.service != *service);
    }

    pub(super) fn rule_08_generations_only_grow(&self, start: &StartId) {
        let last = self.last.get(&start.replica).map_or(Generation(0), |start| start.generation);
        assert!(start.generation > last, "{start} follows generation {}", last.0);
    }

    /// Whatever an older start of whichever replica still says, in whatever state: nothing changes, nothing is done.
    pub(super) fn rule_08_what_an_older_start_says_changes_nothing(&self) {
        let mut supervisor = self.supervisor.clone();
        for start in self.last.values() {
            let older = (0..=start.generation.0).rev().map(Generation);
            let older = older.map(|generation| StartId { replica: start.replica.clone(), generation });
            let Some(gone) = older.into_iter().find(|start| !self.environments.contains_key(start)) else {
                continue;
            };
            let old = || gone.clone();
            for event in [
                Event::Phase(old(), Phase::Creating),
                Event::NotReady(old(), "not yet".into()),
                Event::Ready(old()),
                Event::Completed(old()),
                Event::Crashed(old(), CrashReason::Exit { code: 9 }),
                Event::Recycle(old(), ReloadCause::Requests { answered: 1 }),
                Event::CloseRequested(old()),
                Event::Ended(old()),
            ] {
                let actions = supervisor.handle(NOW, event.clone()).unwrap();
                assert_eq!(actions, [], "{event:?} of before {start} has effects");
            }
        }
        let same = supervisor.nodes == self.supervisor.nodes
            && supervisor.timers == self.supervisor.timers
            && supervisor.ending == self.supervisor.ending;
        assert!(same, "what older starts said has changed the state");
    }

    pub(super) fn rule_10_a_start_has_a_limit(&self) {
        for (start, _) in self.environments.iter().filter(|(_, place)| **place == Place::Starting) {
            assert!(self.is_armed(start, Timer::Start), "{start} may take for ever");
        }
    }

    pub(super) fn rule_11_a_close_that_hangs_is_forced(&self, step: &Step) {
        for (start, place) in &self.environments {
            let forced = match step {
                Step::Event(Event::Request(Request::Kill)) => true,
                Step::Timer(late, Timer::Close) => late == start,
                _ => false,
            };
            assert!(!forced || *place == Place::Leaving(true), "{start} is not forced to close");
            let waits = *place == Place::Leaving(false);
            assert!(!waits || self.is_armed(start, Timer::Close), "{start} may close for ever");
        }
    }

    pub(super) fn rule_12_restarts_stay_within_their_budget(&self, start: &StartId) {
        let (crashes, allowed) = (self.crashes_of(&start.replica), self.plan.allowed(&start.replica.service));
        assert!(crashes <= allowed, "{start} after {crashes} crashes, {allowed} are allowed");
    }

    /// What is wanted, has what it needs and has crashed no more than it may runs: what has crashed, what a crash has
    /// closed and what a restart has closed is back. Jobs have completed.
    pub(super) fn rule_12_what_may_run_runs_again(&self) {
        for spec in self.wanted.iter().map(|name| &self.plan.specs[name]) {
            let mut needs = self.plan.edges.iter().filter(|edge| edge.0 == spec.name);
            let may = needs.all(|(_, on, condition, _)| self.provides(on, *condition));
            if !may || self.completed.contains(&spec.name) {
                continue;
            }
            for index in 1..=spec.replicas.get() {
                let replica = ReplicaId { service: spec.name.clone(), index };
                let running = self.starts_of(&replica).any(|place| place == Place::Running);
                let spent = self.crashes_of(&replica) > self.plan.allowed(&spec.name);
                assert!(running || spent, "'{replica}' rests, and might run");
            }
        }
    }

    pub(super) fn rule_13_a_node_runs_while_one_replica_does(&self) {
        for view in self.supervisor.view() {
            assert_eq!(
                view.state == State::Running,
                self.is_running(&view.name),
                "'{}' is {}",
                view.name,
                view.state
            );
        }
    }

    /// A replica has a second start only while it is replaced, or while what was replaced goes; and of each service only
    /// so many of its replicas at a time.
    pub(super) fn rule_13_a_second_start_is_one_that_replaces(&self, start: &StartId) {
        let beside: Vec<_> = self.starts_of(&start.replica).collect();
        assert!(beside.len() <= 1, "{start} is a third start");
        let replaces = beside == [Place::Running];
        let goes = matches!(beside[..], [] | [Place::Replaced | Place::Leaving(_)]);
        assert!(replaces || goes, "{start} is created beside one that is {beside:?}");
        let spec = &self.plan.specs[&start.replica.service];
        let replicas = (1..=1000).map(|index| ReplicaId { service: spec.name.clone(), index });
        let seconds = replicas.take_while(|replica| self.last.contains_key(replica));
        let seconds = seconds.filter(|replica| self.starts_of(replica).count() > 1).count();
        let most = spec.max_surge.get() as usize;
        assert!(!replaces || seconds < most, "{start} is one more than {most} second starts");
    }

    /// Nothing that was wanted is left waiting for something that is already there (no deadlock), and what rests says
    /// why. For a world without a calm step.
    pub(super) fn rests_well(&self) {
        for view in self.supervisor.view() {
            let (name, state, why) = (&view.name, view.state, &view.why);
            assert!(matches!(state, State::Running | State::Closed), "'{name}' is stuck {state}");
            let waits =
                matches!(why, Some(Why::WaitingFor { .. } | Why::BackingOff { .. } | Why::Restarting));
            assert!(state == State::Running || !waits, "'{name}' is {state} for ever: {why:?}");
        }
        if self.finished.is_none() {
            self.rule_12_what_may_run_runs_again();
        }
    }
}
