//! [`World`]: the environments that there would be if the Supervisor's actions were carried out, and the rules that
//! must hold of them after every event. It is told only what a ServicesManager would be told.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::manifest::{Condition, Kind, OnCrash};
use crate::name::{Generation, ReplicaId, ServiceName, StartId};
use crate::report::{CrashReason, EventKind, Finish, State, Why};
use crate::service_node::NodeSpec;
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
    specs: BTreeMap<ServiceName, NodeSpec>,
    environments: BTreeMap<ReplicaId, (StartId, Place)>,
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
            specs: specs.into_iter().map(|spec| (spec.name.clone(), spec)).collect(),
            environments: BTreeMap::new(),
            completed: BTreeSet::new(),
            crashes: BTreeMap::new(),
            last: BTreeMap::new(),
            finished: None,
        }
    }

    pub(super) fn names(&self) -> Vec<ServiceName> {
        self.specs.keys().cloned().collect()
    }

    /// Two worlds with the same key go on in the same ways.
    pub(super) fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let timers: Vec<_> = self.supervisor.armed().collect();
        // How often something was started, and what was last told of it, decides nothing.
        let mut nodes = self.supervisor.nodes.clone();
        for node in &mut nodes {
            node.reported = Default::default();
            for replica in &mut node.replicas {
                replica.reported = Default::default();
                (replica.generation, replica.restarts) = (Generation(0), 0);
            }
        }
        (nodes, &self.supervisor.ending, timers).hash(&mut hasher);
        let places: Vec<_> = self.environments.iter().map(|(replica, (_, place))| (replica, place)).collect();
        (places, &self.completed, &self.crashes).hash(&mut hasher);
        hasher.finish()
    }

    /// What environments and time may do next.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (start, place) in self.environments.values() {
            let start = start.clone();
            let crash = Event::Crashed(start.clone(), CrashReason::Exit { code: 1 });
            let job = self.specs.get(&start.replica.service).is_some_and(|spec| spec.kind == Kind::Job);
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
        let before = self.last.clone();
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
        self.rule_05_a_crash_closes_what_depends_on_it();
        self.rule_08_generations_only_grow(&before);
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
            }
            Event::Request(Request::Start(_) | Request::Restart(_)) => self.crashes.clear(),
            _ => {}
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

    fn of(&self, service: &ServiceName) -> impl Iterator<Item = Place> {
        let environments = self.environments.iter().filter(move |(replica, _)| replica.service == *service);
        environments.map(|(_, (_, place))| *place)
    }

    /// Every arrow of the graph, parents included: who, on whom, how.
    fn edges(&self) -> Vec<(ServiceName, ServiceName, Condition, OnCrash)> {
        let mut edges = Vec::new();
        for spec in self.specs.values() {
            let declared =
                spec.depends_on.iter().map(|(on, edge)| (on.clone(), edge.condition, edge.on_crash));
            let parent = spec.name.parent().map(|parent| (parent, Condition::Ready, OnCrash::Close));
            edges.extend(
                declared
                    .chain(parent)
                    .map(|(on, condition, crash)| (spec.name.clone(), on, condition, crash)),
            );
        }
        edges
    }

    fn rule_03_starts_after_its_dependencies(&self, start: &StartId) {
        for (_, on, condition, _) in self.edges().iter().filter(|edge| edge.0 == start.replica.service) {
            let there = match condition {
                Condition::Ready => self.is_running(on),
                Condition::Completed => self.completed.contains(on),
            };
            assert!(there, "{start} is created while '{on}' is not {condition:?}");
        }
    }

    fn rule_04_closes_after_its_dependents(&self, start: &StartId) {
        for (dependent, ..) in self.edges().iter().filter(|edge| edge.1 == start.replica.service) {
            assert_eq!(self.of(dependent).count(), 0, "{start} is closed while '{dependent}' is there");
        }
    }

    /// What lives on after everything that follows from an event has been decided has its dependencies, or waits to
    /// close until what depends on it has closed.
    fn rule_05_a_crash_closes_what_depends_on_it(&self) {
        let edges = self.edges();
        for (dependent, on, ..) in
            edges.iter().filter(|edge| (edge.2, edge.3) == (Condition::Ready, OnCrash::Close))
        {
            let lives = self.of(dependent).any(|place| !matches!(place, Place::Leaving(_)));
            let waits =
                edges.iter().any(|(behind, this, ..)| this == dependent && self.of(behind).count() > 0);
            assert!(!lives || self.is_running(on) || waits, "'{dependent}' lives on without '{on}'");
        }
    }

    fn rule_06_a_child_is_forgotten_after_it_has_closed(&mut self, service: &ServiceName) {
        assert_eq!(self.of(service).count(), 0, "'{service}' is forgotten while it is there");
        assert!(service.parent().is_some(), "'{service}' is no child");
        self.specs.remove(service);
        self.last.retain(|replica, _| replica.service != *service);
        self.crashes.retain(|replica, _| replica.service != *service);
    }

    fn rule_08_generations_only_grow(&self, before: &BTreeMap<ReplicaId, StartId>) {
        for (replica, start) in &self.last {
            let old = before.get(replica).map_or(0, |start| start.generation.0);
            assert!(
                start.generation.0 == old || start.generation.0 == old + 1,
                "{replica} went from {old} to {start}"
            );
        }
    }

    fn rule_12_restarts_stay_within_their_budget(&self, start: &StartId) {
        let spec = &self.specs[&start.replica.service];
        let crashes = self.crashes.get(&start.replica).copied().unwrap_or_default();
        let allowed =
            if spec.restart.policy == crate::manifest::RestartPolicy::Never { 0 } else { spec.restart.max };
        assert!(crashes <= allowed, "{start} after {crashes} crashes, {allowed} are allowed");
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
        let name = spec.name.clone();
        let accepted = self.supervisor.clone().handle(NOW, Event::Request(Request::Create(spec.clone())));
        if accepted.is_err() {
            return Vec::new();
        }
        self.specs.insert(name, spec.clone());
        self.take(&Step::Event(Event::Request(Request::Create(spec))))
    }

    /// Nothing that was wanted is left waiting for something that is already there (no deadlock), and what rests says
    /// why.
    pub(super) fn comes_to_rest(&self) {
        let mut world = self.clone();
        let mut steps = 0;
        while let Some(step) = world.calm_step() {
            world.take(&step);
            steps += 1;
            assert!(steps < 100_000, "it never comes to rest");
        }
        for view in world.supervisor.view() {
            assert!(
                matches!(view.state, State::Running | State::Closed),
                "'{}' is stuck {}",
                view.name,
                view.state
            );
            let waits =
                matches!(view.why, Some(Why::WaitingFor { .. } | Why::BackingOff { .. } | Why::Restarting));
            assert!(
                view.state == State::Running || !waits,
                "'{}' is {} for ever: {:?}",
                view.name,
                view.state,
                view.why
            );
        }
    }
}
