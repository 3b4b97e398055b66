//! [`World`]: the environments that there would be if the Supervisor's actions were carried out. It is told only what a
//! ServicesManager would be told, and holds every rule of `rules.rs` after every event.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::discriminant;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::plan::Plan;
use crate::manifest::{Condition, Kind};
use crate::name::{ReplicaId, ServiceName, StartId};
use crate::replica::{Life, Replica, SecondLife};
use crate::report::{CrashReason, EventKind, Finish};
use crate::service_node::{NodeSpec, ServiceNode};
use crate::supervisor::{Action, Event, Moment, Request, Supervisor, Timer};

/// What exists of one start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Place {
    Starting,
    Running,
    /// A newer start of the same replica has become ready.
    Replaced,
    /// Told to close; `bool`: it was destroyed, or died by itself.
    Leaving(bool),
}

/// Something that may happen next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Event(Event),
    Timer(StartId, Timer),
}

/// It is always now: every crash falls into the window, and timers run out when the explorer says so.
pub(super) const NOW: Moment = Moment(0);

/// A Supervisor and the environments that it has asked for.
#[derive(Clone)]
pub(super) struct World {
    pub(super) supervisor: Supervisor,
    /// Shared, as worlds are copied by the million.
    pub(super) plan: Arc<Plan>,
    /// What is to run, as far as its dependencies let it.
    pub(super) wanted: BTreeSet<ServiceName>,
    pub(super) environments: BTreeMap<StartId, Place>,
    /// What must close, since what it depends on has left running unasked, until it has.
    pub(super) doomed: BTreeSet<ServiceName>,
    /// Jobs that have run to completion since they were last created.
    pub(super) completed: BTreeSet<ServiceName>,
    /// How often each replica has crashed since it was last forgiven.
    pub(super) crashes: BTreeMap<ReplicaId, u32>,
    /// The newest start of each replica.
    pub(super) last: BTreeMap<ReplicaId, StartId>,
    /// Who has opened each child.
    pub(super) openers: BTreeMap<ServiceName, StartId>,
    pub(super) finished: Option<Finish>,
}

impl World {
    pub(super) fn new(specs: Vec<NodeSpec>) -> Self {
        let supervisor = Supervisor::new(specs.clone()).unwrap();
        Self {
            supervisor,
            plan: Arc::new(Plan::new(specs)),
            wanted: BTreeSet::new(),
            environments: BTreeMap::new(),
            doomed: BTreeSet::new(),
            completed: BTreeSet::new(),
            crashes: BTreeMap::new(),
            last: BTreeMap::new(),
            openers: BTreeMap::new(),
            finished: None,
        }
    }

    pub(super) fn names(&self) -> Vec<ServiceName> {
        self.plan.specs.keys().cloned().collect()
    }

    /// Two worlds with the same key go on in the same ways. So have two that these ways to exchange services, given
    /// by the places of their names in the alphabet, make the same.
    pub(super) fn key(&self, symmetries: &[Vec<usize>]) -> u64 {
        let mut parts: Vec<_> = self.supervisor.nodes.iter().map(|node| self.part_of(node)).collect();
        parts.sort_unstable_by_key(|(name, _)| *name);
        let of = |parts: Vec<u64>| {
            let names = self.plan.specs.keys();
            hash(&(parts, discriminant(&self.supervisor.ending), names.collect::<Vec<_>>()))
        };
        let exchanged = |way: &Vec<usize>| of(way.iter().map(|place| parts[*place].1).collect());
        let same = symmetries.iter().map(exchanged).min();
        same.unwrap_or_else(|| of(parts.iter().map(|(_, part)| *part).collect()))
    }

    /// What one service adds to the key. How often something was started, what was last told of it, and the reasons
    /// that are given for its state decide nothing.
    fn part_of<'a>(&self, node: &'a ServiceNode) -> (&'a ServiceName, u64) {
        let name = &node.spec.name;
        let flags = (node.wanted, node.held, node.known, node.restarting, node.removing, node.spec.replicas);
        let replicas: Vec<_> = node.replicas.iter().map(|replica| self.part_of_replica(replica)).collect();
        let sets = [&self.wanted, &self.doomed, &self.completed].map(|set| set.contains(name));
        let opener = node.opener.as_ref().map(|opener| hash(&self.part_of_opener(opener)));
        (name, hash(&(flags, node.closing.is_some(), node.failed_at, replicas, sets, opener)))
    }

    fn part_of_replica(&self, replica: &Replica) -> impl Hash {
        let then = match &replica.life {
            Life::Closed(then) | Life::Closing { then, .. } => Some(discriminant(then)),
            Life::Starting(_) | Life::Running => None,
        };
        let destroyed = matches!(replica.life, Life::Closing { destroyed: true, .. });
        let life = (discriminant(&replica.life), then, destroyed, replica.crashes.len());
        let second = replica.second.as_ref().map(|second| {
            let destroyed = matches!(second.life, SecondLife::Leaving { destroyed: true, .. });
            let start = replica.start_of(second.generation);
            (discriminant(&second.life), destroyed, self.part_of_start(&start))
        });
        let present = self.part_of_start(&replica.start());
        (life, present, second, replica.stale.is_some(), self.crashes_of(&replica.id))
    }

    fn part_of_start(&self, start: &StartId) -> (Option<Place>, [bool; 3]) {
        let timers = [Timer::Start, Timer::Close, Timer::BackOff].map(|timer| self.is_armed(start, timer));
        (self.environments.get(start).copied(), timers)
    }

    /// Which of its parent's starts has opened a child: the present one, the other one, or one that is gone.
    fn part_of_opener(&self, opener: &StartId) -> impl Hash {
        let replicas = self.supervisor.nodes.iter().flat_map(|node| &node.replicas);
        let parent = replicas.into_iter().find(|replica| replica.id == opener.replica);
        parent.map(|replica| {
            let second = replica.second.as_ref().map(|second| second.generation);
            (replica.generation == opener.generation, second == Some(opener.generation), &replica.id)
        })
    }

    pub(super) fn is_armed(&self, start: &StartId, timer: Timer) -> bool {
        self.supervisor.armed().any(|armed| armed == (start, timer))
    }

    pub(super) fn crashes_of(&self, replica: &ReplicaId) -> u32 {
        self.crashes.get(replica).copied().unwrap_or_default()
    }

    /// What environments and time may do next.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (start, place) in self.environments.clone() {
            let crash = Event::Crashed(start.clone(), CrashReason::Exit { code: 1 });
            let job = self.is_job(&start.replica.service);
            match place {
                Place::Starting => steps.extend([Event::Ready(start), crash]),
                Place::Replaced => steps.push(crash),
                Place::Running if job => steps.extend([Event::Completed(start), crash]),
                Place::Running => steps.push(crash),
                Place::Leaving(_) => steps.push(Event::Ended(start)),
            }
        }
        let timers = self.supervisor.armed().map(|(start, timer)| Step::Timer(start.clone(), timer));
        steps.into_iter().map(Step::Event).chain(timers).collect()
    }

    /// What brings everything to rest without anything going wrong.
    pub(super) fn calm_step(&self) -> Option<Step> {
        let ready = |step: &Step| match step {
            Step::Event(Event::Crashed(..)) => false,
            Step::Event(_) => true,
            Step::Timer(_, timer) => *timer == Timer::BackOff,
        };
        self.steps().into_iter().find(ready)
    }

    /// Lets something happen, carries out what the Supervisor answers, and checks every rule.
    pub(super) fn take(&mut self, step: &Step) -> Vec<Action> {
        let crashing = self.live_that_crashes(step);
        let actions = match step {
            Step::Timer(start, timer) => self.supervisor.handle_timeout(NOW, start, *timer),
            Step::Event(event) => {
                self.note(event);
                self.supervisor.handle(NOW, event.clone()).unwrap_or_default()
            }
        };
        for action in &actions {
            self.carry_out(action);
        }
        self.rule_05_who_crashes_is_destroyed_at_once(crashing, &actions);
        self.rule_05_a_crash_closes_what_depends_on_it();
        self.rule_10_a_start_has_a_limit();
        self.rule_11_a_close_that_hangs_is_forced(step);
        self.rule_13_a_node_runs_while_one_replica_does();
        actions
    }

    /// What the event itself changes in the world.
    fn note(&mut self, event: &Event) {
        match event {
            Event::Ready(start) => self.note_ready(start),
            Event::Completed(start) => {
                self.completed.insert(start.replica.service.clone());
                self.set(start, Place::Leaving(true));
            }
            Event::Crashed(start, _) => self.set(start, Place::Leaving(true)),
            Event::Ended(start) => {
                let gone = self.environments.remove(start);
                assert!(gone.is_some(), "an environment ends once");
                if self.of(&start.replica.service).count() == 0 {
                    self.doomed.remove(&start.replica.service);
                }
            }
            Event::CloseRequested(start) => {
                if matches!(self.environments.get(start), Some(Place::Starting | Place::Running)) {
                    self.wanted.remove(&start.replica.service);
                }
            }
            Event::Request(request) => self.note_request(request),
            _ => {}
        }
    }

    fn note_request(&mut self, request: &Request) {
        match request {
            Request::Reload(names) if names.iter().any(|name| self.is_job(name)) => {}
            Request::Start(names) | Request::Restart(names) | Request::Reload(names) => {
                for name in self.plan.with_dependencies(names) {
                    self.crashes.retain(|replica, _| replica.service != name);
                    self.wanted.insert(name);
                }
            }
            Request::Stop(names) => self.wanted.retain(|name| !names.contains(name)),
            Request::Create { child, opener } => {
                self.wanted.insert(child.name.clone());
                self.openers.insert(child.name.clone(), opener.clone());
            }
            Request::Scale(name, replicas) => self.note_scale(name, *replicas),
            Request::Remove(_) => {}
            Request::Shutdown | Request::Kill => self.wanted.clear(),
            Request::Apply(_) => unreachable!("projects that become others are told of in apply.rs"),
        }
    }

    /// What has come or goes begins with a clean record.
    fn note_scale(&mut self, name: &ServiceName, replicas: NonZeroU32) {
        if self.supervisor.ending != crate::supervisor::Ending::No {
            return;
        }
        let Some(spec) = Arc::make_mut(&mut self.plan).specs.get_mut(name) else { return };
        let stay = spec.replicas.min(replicas).get();
        spec.replicas = replicas;
        self.crashes.retain(|replica, _| replica.service != *name || replica.index <= stay);
    }

    fn is_job(&self, service: &ServiceName) -> bool {
        self.plan.specs.get(service).is_some_and(|spec| spec.kind == Kind::Job)
    }

    /// A crash counts for a replica's budget where a restart may follow from it, not where a successor steps in.
    fn note_crash(&mut self, crashed: &StartId) {
        let steps_in = |(start, place): (&StartId, &Place)| {
            start.replica == crashed.replica && start != crashed && *place == Place::Starting
        };
        if !self.environments.iter().any(steps_in) {
            *self.crashes.entry(crashed.replica.clone()).or_default() += 1;
        }
    }

    fn note_ready(&mut self, start: &StartId) {
        if self.environments.get(start) != Some(&Place::Starting) {
            return;
        }
        for (other, place) in &mut self.environments {
            if other.replica == start.replica && *place == Place::Running {
                *place = Place::Replaced;
            }
        }
        self.set(start, Place::Running);
    }

    fn set(&mut self, start: &StartId, place: Place) {
        let at = self.environments.get_mut(start).filter(|at| !matches!(at, Place::Leaving(_)));
        if let Some(at) = at {
            *at = place;
        }
    }

    fn carry_out(&mut self, action: &Action) {
        match action {
            Action::Create(start) => self.create(start),
            Action::Close(start) => {
                self.rule_04_closes_after_its_dependents(start);
                self.leave(start, false);
            }
            Action::Destroy(start) => self.leave(start, true),
            Action::Forget(service) => self.rule_06_a_child_is_forgotten_after_it_has_closed(service),
            Action::Report(EventKind::Crash { replica, generation, .. }) => {
                self.note_crash(&StartId { replica: replica.clone(), generation: *generation });
            }
            Action::Report(_) => {}
            Action::Finish(finish) => {
                assert!(self.environments.is_empty(), "finished with environments left");
                assert_eq!(self.finished.replace(finish.clone()), None, "finished twice");
            }
        }
    }

    fn create(&mut self, start: &StartId) {
        assert_eq!(self.finished, None, "a start after the end");
        self.rule_03_starts_after_its_dependencies(start);
        self.rule_06_a_parent_starts_without_its_old_children(start);
        self.rule_08_generations_only_grow(start);
        self.rule_12_restarts_stay_within_their_budget(start);
        self.rule_13_a_second_start_is_one_that_replaces(start);
        self.completed.remove(&start.replica.service);
        self.environments.insert(start.clone(), Place::Starting);
        self.last.insert(start.replica.clone(), start.clone());
    }

    fn leave(&mut self, start: &StartId, destroyed: bool) {
        let environment = self.environments.get_mut(start);
        let place = environment.unwrap_or_else(|| panic!("{start} is told to end, and is not there"));
        *place = Place::Leaving(destroyed || *place == Place::Leaving(true));
    }

    pub(super) fn is_starting(&self, start: &StartId) -> bool {
        self.environments.get(start) == Some(&Place::Starting)
    }

    /// It runs, and a newer start of the same replica is being brought up.
    pub(super) fn is_being_replaced(&self, replica: &ReplicaId) -> bool {
        let has = |place| self.starts_of(replica).any(|at| at == place);
        has(Place::Starting) && has(Place::Running)
    }

    pub(super) fn starts_of(&self, replica: &ReplicaId) -> impl Iterator<Item = Place> {
        let starts = self.environments.iter().filter(move |(start, _)| start.replica == *replica);
        starts.map(|(_, place)| *place)
    }

    pub(super) fn is_running(&self, service: &ServiceName) -> bool {
        self.of(service).any(|place| place == Place::Running)
    }

    /// What is replaced goes anyway.
    pub(super) fn is_live(&self, service: &ServiceName) -> bool {
        self.of(service).any(|place| matches!(place, Place::Starting | Place::Running))
    }

    pub(super) fn provides(&self, on: &ServiceName, condition: Condition) -> bool {
        match condition {
            Condition::Ready => self.is_running(on),
            Condition::Completed => self.completed.contains(on),
        }
    }

    pub(super) fn of(&self, service: &ServiceName) -> impl Iterator<Item = Place> {
        let environments =
            self.environments.iter().filter(move |(start, _)| start.replica.service == *service);
        environments.map(|(_, place)| *place)
    }

    /// A child that a running start of its parent, if there is one, has asked for.
    pub(super) fn add_child(&mut self, child: NodeSpec) -> Vec<Action> {
        let opens = |(start, place): &(&StartId, &Place)| {
            Some(&start.replica.service) == child.name.parent().as_ref() && **place == Place::Running
        };
        let Some(opener) = self.environments.iter().find(opens).map(|(start, _)| start.clone()) else {
            return Vec::new();
        };
        let request = Event::Request(Request::Create { child: child.clone(), opener });
        if self.supervisor.clone().handle(NOW, request.clone()).is_err() {
            return Vec::new();
        }
        Arc::make_mut(&mut self.plan).add(child);
        self.take(&Step::Event(request))
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
