//! Random projects of up to 300 services and random events, checked by the same rules as the small ones, and at the
//! end against a second, simpler model: what runs at rest follows from who has failed for good and who needs whom.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::world::{Step, World};
use super::{job, service};
use crate::manifest::{Kind, OnCrash, RestartPolicy};
use crate::name::ServiceName;
use crate::report::{State, Why};
use crate::service_node::NodeSpec;
use crate::supervisor::{Event, Request, Timer};

/// A project: each service depends on some of those before it.
fn project() -> impl Strategy<Value = Vec<NodeSpec>> {
    let services = prop::collection::vec(
        (0..10_u8, prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..4)),
        2..300,
    );
    (any::<bool>(), services).prop_map(|(jobs, services)| {
        let mut specs: Vec<NodeSpec> = Vec::new();
        for (number, (kind, on)) in services.into_iter().enumerate() {
            let name = format!("s{number}");
            let edge = |(index, ignore): (prop::sample::Index, bool)| {
                let on = &specs[index.index(specs.len())];
                let how = match (on.kind, ignore) {
                    (Kind::Job, _) => "!",
                    (Kind::Service, true) => "?",
                    (Kind::Service, false) => "",
                };
                format!("{}{how}", on.name)
            };
            let on: Vec<_> = if specs.is_empty() { Vec::new() } else { on.into_iter().map(edge).collect() };
            let on: Vec<_> = on.iter().map(String::as_str).collect();
            specs.push(if jobs && kind == 0 { job(&name, &on) } else { service(&name, &on) });
        }
        specs
    })
}

/// What a random number does to the world as it is.
fn step(world: &World, choice: u32) -> Option<Step> {
    let names = world.names();
    let chosen = |n: usize| vec![names[n % names.len()].clone()];
    let number = (choice / 16) as usize;
    let request = match choice % 64 {
        0 => Some(Request::Stop(chosen(number))),
        1 => Some(Request::Restart(chosen(number))),
        2 => Some(Request::Start(chosen(number))),
        4 => Some(Request::Reload(chosen(number))),
        _ => None,
    };
    if let Some(request) = request {
        return Some(Step::Event(Event::Request(request)));
    }
    // Mostly things go well, else nothing would ever come up.
    if choice % 8 != 3 {
        return world.calm_step();
    }
    let steps = world.steps();
    (!steps.is_empty()).then(|| steps[number % steps.len()].clone())
}

/// The simpler model: who has failed for good, who is not wanted, and which jobs have completed.
struct Model {
    specs: Vec<NodeSpec>,
    crashes: BTreeMap<ServiceName, u32>,
    unwanted: BTreeSet<ServiceName>,
    completed: BTreeSet<ServiceName>,
}

impl Model {
    fn new(specs: Vec<NodeSpec>) -> Self {
        let (crashes, unwanted, completed) = Default::default();
        Self { specs, crashes, unwanted, completed }
    }

    /// What the model has to know of a step that the world is about to take.
    fn note(&mut self, world: &World, step: &Step) {
        match step {
            // What is replaced runs on where the new one fails, and has its place taken where it fails itself.
            Step::Event(Event::Crashed(start, _)) | Step::Timer(start, Timer::Start)
                if world.is_being_replaced(&start.replica) => {}
            Step::Event(Event::Crashed(start, _)) => self.crashed(&start.replica.service),
            Step::Timer(start, Timer::Start) if world.is_starting(start) => {
                self.crashed(&start.replica.service);
            }
            Step::Event(Event::Completed(start)) => self.completed.extend([start.replica.service.clone()]),
            Step::Event(Event::Request(Request::Stop(names))) => self.unwanted.extend(names.iter().cloned()),
            Step::Event(Event::Request(Request::Start(names))) => self.want(names),
            Step::Event(Event::Request(Request::Reload(names))) if !self.has_job(names) => self.want(names),
            Step::Event(Event::Request(Request::Restart(names))) => {
                self.want(names);
                self.completed.retain(|job| !names.contains(job));
            }
            _ => {}
        }
    }

    fn has_job(&self, names: &[ServiceName]) -> bool {
        self.specs.iter().any(|spec| spec.kind == Kind::Job && names.contains(&spec.name))
    }

    fn crashed(&mut self, service: &ServiceName) {
        *self.crashes.entry(service.clone()).or_default() += 1;
    }

    /// These and what they depend on are wanted, and forgiven.
    fn want(&mut self, names: &[ServiceName]) {
        let mut wanted: BTreeSet<_> = names.iter().cloned().collect();
        // Dependents stand after their dependencies.
        for spec in self.specs.iter().rev() {
            if wanted.contains(&spec.name) {
                self.unwanted.remove(&spec.name);
                self.crashes.remove(&spec.name);
                wanted.extend(spec.depends_on.keys().cloned());
            }
        }
    }

    /// It will not run by itself, whatever else does.
    fn is_out(&self, spec: &NodeSpec) -> bool {
        let allowed = if spec.restart.policy == RestartPolicy::Never { 0 } else { spec.restart.max };
        let crashes = self.crashes.get(&spec.name).copied().unwrap_or_default();
        crashes > allowed || self.unwanted.contains(&spec.name)
    }

    /// A job is up when it has completed, whatever happened since; anything else unless it is out or lacks what it
    /// needs. Who ignores a crash may have started before it: `ignorant` tells whether such arrows count.
    fn up(&self, ignorant: bool) -> BTreeSet<ServiceName> {
        let mut up = BTreeSet::new();
        for spec in &self.specs {
            let mut counted =
                spec.depends_on.iter().filter(|(_, edge)| ignorant || edge.on_crash == OnCrash::Close);
            let may = !self.is_out(spec) && counted.all(|(on, _)| up.contains(on));
            if may || self.completed.contains(&spec.name) {
                up.insert(spec.name.clone());
            }
        }
        up
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn random_projects_keep_the_rules_and_end_as_the_simpler_model_says(
        specs in project(),
        choices in prop::collection::vec(any::<u32>(), 50..400),
    ) {
        let (mut world, mut model) = (World::new(specs.clone()), Model::new(specs));
        world.take(&Step::Event(Event::Request(Request::Start(world.names()))));
        let mut choices = choices.into_iter();
        while let Some(step) = choices.next().and_then(|choice| step(&world, choice)).or_else(|| world.calm_step()) {
            model.note(&world, &step);
            world.take(&step);
            if world.finished.is_some() {
                break;
            }
        }
        world.rests_well();
        let (surely, possibly) = (model.up(true), model.up(false));
        for view in world.supervisor.view() {
            let up = view.state == State::Running || view.why == Some(Why::Completed);
            prop_assert!(!up || possibly.contains(&view.name), "'{}' is up, and cannot", view.name);
            prop_assert!(up || !surely.contains(&view.name), "'{}' could be up: {:?}", view.name, view.why);
        }
    }
}
