//! [`World`]: the environments that there would be if the Supervisor's actions were carried out, and the rules that
//! must hold of them after every event. It is told only what a ServicesManager would be told.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::discriminant;
use std::sync::Arc;

use crate::manifest::{Condition, Kind, OnCrash, RestartPolicy};
use crate::name::{Generation, ReplicaId, ServiceName, StartId};
use crate::report::{CrashReason, EventKind, Finish, Phase, State, Why};
use crate::service_node::{Life, NodeSpec, Replica, ServiceNode};
use crate::supervisor::{Action, Event, Moment, Request, Supervisor, Timer};

/// What exists of one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Place {
    Starting,
    Running,
    /// Told to close; `bool`: it was destroyed, or died by itself.
    Leaving(bool),
}

/// Something that may happen next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Event(Event),
    Timer(ReplicaId, Timer),
}

/// It is always now: every crash falls into the window, and timers run out when the explorer says so.
const NOW: Moment = Moment(0);

/// A Supervisor and the environments that it has asked for.
#[derive(Clone)]
pub(super) struct World {
    pub(super) supervisor: Supervisor,
    /// Shared, as worlds are copied by the million.
    plan: Arc<Plan>,
    /// What is to run, as far as its dependencies let it.
    wanted: BTreeSet<ServiceName>,
    environments: BTreeMap<ReplicaId, (StartId, Place)>,
    /// What must close, since what it depends on has left running unasked, until it has.
    doomed: BTreeSet<ServiceName>,
    /// Jobs that have run to completion since they were last created.
    completed: BTreeSet<ServiceName>,
    /// How often each replica has crashed since it was last forgiven.
    crashes: BTreeMap<ReplicaId, u32>,
    last: BTreeMap<ReplicaId, StartId>,
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
        let flags = (node.wanted, node.held, node.known, node.restarting, node.removing);
        let replicas: Vec<_> = node.replicas.iter().map(|replica| self.part_of_replica(replica)).collect();
        let sets = [&self.wanted, &self.doomed, &self.completed].map(|set| set.contains(name));
        (name, hash(&(flags, node.closing.is_some(), replicas, sets)))
    }

    fn part_of_replica(&self, replica: &Replica) -> impl Hash {
        let then = match &replica.life {
            Life::Closed(then) | Life::Closing { then, .. } => Some(discriminant(then)),
            Life::Starting { .. } | Life::Running => None,
        };
        let destroyed = matches!(replica.life, Life::Closing { destroyed: true, .. });
        let life = (discriminant(&replica.life), then, destroyed, replica.crashes.len());
        let place = self.environments.get(&replica.id).map(|(_, place)| *place);
        let timers =
            [Timer::Start, Timer::Close, Timer::BackOff].map(|timer| self.is_armed(&replica.id, timer));
        (life, place, timers, self.crashes_of(&replica.id))
    }

    fn is_armed(&self, replica: &ReplicaId, timer: Timer) -> bool {
        self.supervisor.armed().any(|armed| armed == (replica, timer))
    }

    fn crashes_of(&self, replica: &ReplicaId) -> u32 {
        self.crashes.get(replica).copied().unwrap_or_default()
    }

    /// What environments and time may do next.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (start, place) in self.environments.values() {
            let start = start.clone();
            let crash = Event::Crashed(start.clone(), CrashReason::Exit { code: 1 });
            let job = self.plan.specs.get(&start.replica.service).is_some_and(|spec| spec.kind == Kind::Job);
            match place {
                Place::Starting => steps.extend([Event::Ready(start), crash]),
                Place::Running if job => steps.extend([Event::Completed(start), crash]),
                Place::Running => steps.push(crash),
                Place::Leaving(_) => steps.push(Event::Ended(start)),
            }
        }
        let timers = self.supervisor.armed().map(|(replica, timer)| Step::Timer(replica.clone(), timer));
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
            Step::Timer(replica, timer) => self.supervisor.handle_timeout(NOW, replica, *timer),
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
            Event::Ready(start) => self.set(start, Place::Running),
            Event::Completed(start) => {
                self.completed.insert(start.replica.service.clone());
                self.set(start, Place::Leaving(true));
            }
            Event::Crashed(start, _) => self.set(start, Place::Leaving(true)),
            Event::Ended(start) => {
                let gone = self.environments.remove(&start.replica);
                assert!(gone.is_some_and(|(of, _)| of == *start), "an environment ends once");
                if self.of(&start.replica.service).count() == 0 {
                    self.doomed.remove(&start.replica.service);
                }
            }
            Event::CloseRequested(start) => {
                self.wanted.remove(&start.replica.service);
            }
            Event::Request(request) => self.note_request(request),
            _ => {}
        }
    }

    fn note_request(&mut self, request: &Request) {
        match request {
            Request::Start(names) | Request::Restart(names) => {
                for name in self.plan.with_dependencies(names) {
                    self.crashes.retain(|replica, _| replica.service != name);
                    self.wanted.insert(name);
                }
            }
            Request::Stop(names) => self.wanted.retain(|name| !names.contains(name)),
            Request::Create(spec) => {
                self.wanted.insert(spec.name.clone());
            }
            Request::Remove(_) => {}
            Request::Shutdown | Request::Kill => self.wanted.clear(),
        }
    }

    fn set(&mut self, start: &StartId, place: Place) {
        if let Some((of, at)) = self.environments.get_mut(&start.replica)
            && of == start
            && !matches!(at, Place::Leaving(_))
        {
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
            Action::Report(EventKind::Crash { replica, .. }) => {
                *self.crashes.entry(replica.clone()).or_default() += 1;
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
        self.completed.remove(&start.replica.service);
        let old = self.environments.insert(start.replica.clone(), (start.clone(), Place::Starting));
        assert_eq!(old, None, "{start} while the start before it is not gone");
        self.last.insert(start.replica.clone(), start.clone());
    }

    fn leave(&mut self, start: &StartId, destroyed: bool) {
        let environment = self.environments.get_mut(&start.replica);
        let (of, place) = environment.unwrap_or_else(|| panic!("{start} is told to end, and is not there"));
        assert_eq!(of, start, "an old start is told to end");
        *place = Place::Leaving(destroyed || *place == Place::Leaving(true));
    }

    pub(super) fn is_starting(&self, replica: &ReplicaId) -> bool {
        self.environments.get(replica).is_some_and(|(_, place)| *place == Place::Starting)
    }

    fn is_running(&self, service: &ServiceName) -> bool {
        self.of(service).any(|place| place == Place::Running)
    }

    fn is_live(&self, service: &ServiceName) -> bool {
        self.of(service).any(|place| !matches!(place, Place::Leaving(_)))
    }

    fn provides(&self, on: &ServiceName, condition: Condition) -> bool {
        match condition {
            Condition::Ready => self.is_running(on),
            Condition::Completed => self.completed.contains(on),
        }
    }

    fn of(&self, service: &ServiceName) -> impl Iterator<Item = Place> {
        let environments = self.environments.iter().filter(move |(replica, _)| replica.service == *service);
        environments.map(|(_, (_, place))| *place)
    }

    fn rule_03_starts_after_its_dependencies(&self, start: &StartId) {
        for (_, on, condition, _) in self.plan.edges.iter().filter(|edge| edge.0 == start.replica.service) {
            assert!(self.provides(on, *condition), "{start} is created while '{on}' is not {condition:?}");
        }
    }

    fn rule_04_closes_after_its_dependents(&self, start: &StartId) {
        for (dependent, ..) in self.plan.edges.iter().filter(|edge| edge.1 == start.replica.service) {
            assert_eq!(self.of(dependent).count(), 0, "{start} is closed while '{dependent}' is there");
        }
    }

    /// The start that this step ends by a crash.
    fn live_that_crashes(&self, step: &Step) -> Option<StartId> {
        let is_live = |start: &StartId| {
            let live = |place| !matches!(place, Place::Leaving(_));
            self.environments.get(&start.replica).is_some_and(|(of, place)| of == start && live(*place))
        };
        let start = match step {
            Step::Event(Event::Crashed(start, _)) => Some(start),
            Step::Timer(replica, Timer::Start) => self.last.get(replica),
            _ => None,
        };
        start.filter(|start| is_live(start)).cloned()
    }

    fn rule_05_who_crashes_is_destroyed_at_once(&self, crashed: Option<StartId>, actions: &[Action]) {
        let Some(start) = crashed else { return };
        assert!(actions.contains(&Action::Destroy(start.clone())), "{start} crashed, and is not destroyed");
    }

    /// Who has lost a dependency closes, and so does what depends on it, even if the dependency is back by then. Each
    /// waits with it only until what depends on it has closed.
    fn rule_05_a_crash_closes_what_depends_on_it(&mut self) {
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

    fn rule_06_a_parent_starts_without_its_old_children(&self, start: &StartId) {
        let parent = &start.replica.service;
        let old = self.plan.specs.keys().find(|name| name.parent().as_ref() == Some(parent));
        assert!(self.is_running(parent) || old.is_none(), "{start} is created while it has old children");
    }

    fn rule_06_a_child_is_forgotten_after_it_has_closed(&mut self, service: &ServiceName) {
        assert_eq!(self.of(service).count(), 0, "'{service}' is forgotten while it is there");
        assert!(service.parent().is_some(), "'{service}' is no child");
        Arc::make_mut(&mut self.plan).remove(service);
        self.wanted.remove(service);
        self.last.retain(|replica, _| replica.service != *service);
        self.crashes.retain(|replica, _| replica.service != *service);
    }

    fn rule_08_generations_only_grow(&self, start: &StartId) {
        let old = self.last.get(&start.replica).map_or(0, |start| start.generation.0);
        assert_eq!(start.generation.0, old + 1, "{start} follows generation {old}");
    }

    /// Whatever an older start of whichever replica still says, in whatever state: nothing changes, nothing is done.
    pub(super) fn rule_08_what_an_older_start_says_changes_nothing(&self) {
        let mut supervisor = self.supervisor.clone();
        for start in self.last.values() {
            let generation = Generation(start.generation.0 - 1);
            let old = || StartId { replica: start.replica.clone(), generation };
            for event in [
                Event::Phase(old(), Phase::Creating),
                Event::NotReady(old(), "not yet".into()),
                Event::Ready(old()),
                Event::Completed(old()),
                Event::Crashed(old(), CrashReason::Exit { code: 9 }),
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

    fn rule_10_a_start_has_a_limit(&self) {
        for (start, _) in self.environments.values().filter(|(_, place)| *place == Place::Starting) {
            assert!(self.is_armed(&start.replica, Timer::Start), "{start} may take for ever");
        }
    }

    fn rule_11_a_close_that_hangs_is_forced(&self, step: &Step) {
        for (start, place) in self.environments.values() {
            let forced = match step {
                Step::Event(Event::Request(Request::Kill)) => true,
                Step::Timer(replica, Timer::Close) => *replica == start.replica,
                _ => false,
            };
            assert!(!forced || *place == Place::Leaving(true), "{start} is not forced to close");
            let waits = *place == Place::Leaving(false);
            assert!(!waits || self.is_armed(&start.replica, Timer::Close), "{start} may close for ever");
        }
    }

    fn rule_12_restarts_stay_within_their_budget(&self, start: &StartId) {
        let (crashes, allowed) = (self.crashes_of(&start.replica), self.plan.allowed(&start.replica.service));
        assert!(crashes <= allowed, "{start} after {crashes} crashes, {allowed} are allowed");
    }

    /// What is wanted, has what it needs and has crashed no more than it may runs: what has crashed, what a crash has
    /// closed and what a restart has closed is back. Jobs have completed.
    fn rule_12_what_may_run_runs_again(&self) {
        for spec in self.wanted.iter().map(|name| &self.plan.specs[name]) {
            let mut needs = self.plan.edges.iter().filter(|edge| edge.0 == spec.name);
            let may = needs.all(|(_, on, condition, _)| self.provides(on, *condition));
            if !may || self.completed.contains(&spec.name) {
                continue;
            }
            for index in 1..=spec.replicas.get() {
                let replica = ReplicaId { service: spec.name.clone(), index };
                let running = matches!(self.environments.get(&replica), Some((_, Place::Running)));
                let spent = self.crashes_of(&replica) > self.plan.allowed(&spec.name);
                assert!(running || spent, "'{replica}' rests, and might run");
            }
        }
    }

    fn rule_13_a_node_runs_while_one_replica_does(&self) {
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

    /// A child that somebody has asked for.
    pub(super) fn add_child(&mut self, spec: NodeSpec) -> Vec<Action> {
        let accepted = self.supervisor.clone().handle(NOW, Event::Request(Request::Create(spec.clone())));
        if accepted.is_err() {
            return Vec::new();
        }
        Arc::make_mut(&mut self.plan).add(spec.clone());
        self.take(&Step::Event(Event::Request(Request::Create(spec))))
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

/// What was declared: the services there are, and who depends on whom.
#[derive(Clone)]
struct Plan {
    specs: BTreeMap<ServiceName, NodeSpec>,
    /// Parents included.
    edges: Vec<Edge>,
}

/// An arrow of the graph: who, on whom, how.
type Edge = (ServiceName, ServiceName, Condition, OnCrash);

impl Plan {
    fn new(specs: Vec<NodeSpec>) -> Self {
        let mut plan = Self { specs: BTreeMap::new(), edges: Vec::new() };
        specs.into_iter().for_each(|spec| plan.add(spec));
        plan
    }

    fn add(&mut self, spec: NodeSpec) {
        let declared = spec.depends_on.iter().map(|(on, edge)| (on.clone(), edge.condition, edge.on_crash));
        let parent = spec.name.parent().map(|parent| (parent, Condition::Ready, OnCrash::Close));
        let edges =
            declared.chain(parent).map(|(on, condition, crash)| (spec.name.clone(), on, condition, crash));
        self.edges.extend(edges);
        self.specs.insert(spec.name.clone(), spec);
    }

    fn remove(&mut self, service: &ServiceName) {
        self.specs.remove(service);
        self.edges.retain(|(of, ..)| of != service);
    }

    fn with_dependencies(&self, names: &[ServiceName]) -> BTreeSet<ServiceName> {
        let mut found = BTreeSet::new();
        let mut todo = names.to_vec();
        while let Some(name) = todo.pop() {
            let edges = self.edges.iter().filter(|edge| edge.0 == name);
            todo.extend(edges.map(|(_, on, ..)| on.clone()).filter(|on| !found.contains(on)));
            found.insert(name);
        }
        found
    }

    /// How many crashes are followed by a restart.
    fn allowed(&self, service: &ServiceName) -> u32 {
        let restart = self.specs[service].restart;
        if restart.policy == RestartPolicy::Never { 0 } else { restart.max }
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
