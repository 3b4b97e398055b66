//! Random projects of up to 300 services and random events, checked by the same rules as the small ones, and at the
//! end against a second, simpler model: what runs at rest follows from who has failed for good and who needs whom.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::world::{Step, World};
use super::{job, service};
use crate::manifest::{Kind, OnCrash, RestartPolicy};
use crate::name::ServiceName;
use crate::report::State;
use crate::service_node::NodeSpec;
use crate::supervisor::{Event, Request};

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

/// The simpler model: a service is up unless it has failed for good, is not wanted, or lacks what it needs. Who ignores
/// a crash may have started before it: `ignorant` tells whether such arrows count.
fn up_by_definition(
    specs: &[NodeSpec],
    out: &BTreeSet<ServiceName>,
    ignorant: bool,
) -> BTreeSet<ServiceName> {
    let mut up = BTreeSet::new();
    // Dependencies stand before their dependents.
    for spec in specs {
        let mut counted =
            spec.depends_on.iter().filter(|(_, edge)| ignorant || edge.on_crash == OnCrash::Close);
        if !out.contains(&spec.name) && counted.all(|(on, _)| up.contains(on)) {
            up.insert(spec.name.clone());
        }
    }
    up
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn random_projects_keep_the_rules_and_end_as_the_simpler_model_says(
        specs in project(),
        choices in prop::collection::vec(any::<u32>(), 50..400),
    ) {
        let mut world = World::new(specs.clone());
        world.take(&Step::Event(Event::Request(Request::Start(world.names()))));
        let mut crashes: BTreeMap<ServiceName, u32> = BTreeMap::new();
        let mut unwanted: BTreeSet<ServiceName> = BTreeSet::new();
        let mut completed: BTreeSet<ServiceName> = BTreeSet::new();
        for choice in choices {
            let Some(step) = step(&world, choice) else { break };
            note(&specs, &world, &step, &mut crashes, &mut unwanted, &mut completed);
            world.take(&step);
        }
        world.comes_to_rest();
        while let Some(step) = world.calm_step() {
            world.take(&step);
        }
        if world.finished.is_some() {
            return Ok(());
        }
        let gave_up = |spec: &&NodeSpec| {
            let allowed = if spec.restart.policy == RestartPolicy::Never { 0 } else { spec.restart.max };
            crashes.get(&spec.name).copied().unwrap_or_default() > allowed
        };
        let failed = specs.iter().filter(gave_up).map(|spec| spec.name.clone());
        let out: BTreeSet<_> = failed.chain(unwanted).collect();
        // Jobs that completed before what they needed failed are beyond so simple a model.
        if !completed.is_empty() {
            return Ok(());
        }
        let surely = up_by_definition(&specs, &out, true);
        let possibly = up_by_definition(&specs, &out, false);
        for view in world.supervisor.view().iter().filter(|view| view.kind == Kind::Service) {
            let running = view.state == State::Running;
            prop_assert!(!running || possibly.contains(&view.name), "'{}' runs, and cannot", view.name);
            prop_assert!(running || !surely.contains(&view.name), "'{}' could run: {:?}", view.name, view.why);
        }
    }
}

/// What the model has to know of a step.
fn note(
    specs: &[NodeSpec],
    world: &World,
    step: &Step,
    crashes: &mut BTreeMap<ServiceName, u32>,
    unwanted: &mut BTreeSet<ServiceName>,
    completed: &mut BTreeSet<ServiceName>,
) {
    match step {
        Step::Event(Event::Crashed(start, _)) => {
            *crashes.entry(start.replica.service.clone()).or_default() += 1;
        }
        Step::Event(Event::Completed(start)) => {
            completed.insert(start.replica.service.clone());
        }
        Step::Timer(replica, crate::supervisor::Timer::Start) if world.is_starting(replica) => {
            *crashes.entry(replica.service.clone()).or_default() += 1;
        }
        Step::Event(Event::Request(Request::Stop(names))) => unwanted.extend(names.iter().cloned()),
        Step::Event(Event::Request(Request::Start(names) | Request::Restart(names))) => {
            let mut todo = names.clone();
            while let Some(name) = todo.pop() {
                unwanted.remove(&name);
                crashes.remove(&name);
                if let Some(spec) = specs.iter().find(|spec| spec.name == name) {
                    todo.extend(spec.depends_on.keys().cloned());
                }
            }
        }
        _ => {}
    }
}
