//! Every graph of up to four services, every order of events: each reachable state is visited once, and every rule
//! is checked at every step into it.
//!
//! What bounds the states: each replica may crash once and is restarted, a second crash makes it give up; and people
//! ask for as many things as each case says. Timers run out at any time, or never.

use std::collections::HashSet;

use super::world::{Step, World};
use super::{job, name, replicated, service};
use crate::service_node::NodeSpec;
use crate::supervisor::{Event, Request};

/// Visits every state that can be reached from the start of everything with so many requests. Answers how many.
fn explore(specs: Vec<NodeSpec>, requests: u32) -> usize {
    let mut world = World::new(specs);
    let all = world.names();
    world.take(&Step::Event(Event::Request(Request::Start(all))));
    let mut seen = HashSet::from([(world.key(), requests)]);
    let mut todo = vec![(world, requests)];
    while let Some((world, left)) = todo.pop() {
        world.comes_to_rest();
        let asked = if left > 0 { asked(&world) } else { Vec::new() };
        let steps = world.steps().into_iter().map(|step| (step, left));
        for (step, left) in steps.chain(asked.into_iter().map(|step| (step, left - 1))) {
            let mut next = world.clone();
            next.take(&step);
            if seen.insert((next.key(), left)) {
                todo.push((next, left));
            }
        }
    }
    seen.len()
}

fn asked(world: &World) -> Vec<Step> {
    let each = world.names().into_iter().flat_map(|name| {
        [Request::Stop(vec![name.clone()]), Request::Restart(vec![name.clone()]), Request::Start(vec![name])]
    });
    let closings =
        world.supervisor.view().into_iter().filter(|view| view.state == crate::report::State::Running);
    let closings = closings.map(|view| {
        let replica = crate::name::ReplicaId { service: view.name, index: view.replicas[0].index };
        Event::CloseRequested(crate::name::StartId { replica, generation: view.replicas[0].generation })
    });
    let requests = each.chain([Request::Shutdown, Request::Kill]).map(Event::Request);
    requests.chain(closings).map(Step::Event).collect()
}

/// Every acyclic graph of `n` services, up to renaming: the later ones depend on some of the earlier ones, in each
/// of the given ways.
fn graphs(n: usize, ways: &[&str]) -> Vec<Vec<NodeSpec>> {
    let pairs: Vec<_> = (0..n).flat_map(|of| (0..of).map(move |on| (of, on))).collect();
    let choices = ways.len() + 1;
    (0..choices.pow(u32::try_from(pairs.len()).unwrap()))
        .map(|mut code| {
            let mut on = vec![Vec::new(); n];
            for (of, to) in &pairs {
                if code % choices > 0 {
                    on[*of].push(format!("s{to}{}", ways[code % choices - 1]));
                }
                code /= choices;
            }
            let spec = |of: usize| {
                service(&format!("s{of}"), &on[of].iter().map(String::as_str).collect::<Vec<_>>())
            };
            (0..n).map(spec).collect()
        })
        .collect()
}

fn explore_all(graphs: Vec<Vec<NodeSpec>>, requests: u32) {
    let count = graphs.len();
    let states: usize = graphs.into_iter().map(|graph| explore(graph, requests)).sum();
    assert!(states > count, "{count} graphs have only {states} states");
}

#[test]
fn every_graph_of_up_to_three_services_with_two_requests() {
    for n in 1..=2 {
        explore_all(graphs(n, &["", "?"]), 2);
    }
    explore_all(graphs(3, &["", "?"]), 1);
}

#[test]
fn every_graph_of_four_services() {
    explore_all(graphs(4, &[""]), 0);
}

#[test]
fn jobs_replicas_and_essential_services() {
    let cases = vec![
        vec![service("db", &[]), job("migrate", &["db"]), service("api", &["db", "migrate!"])],
        vec![job("a", &[]), job("b", &["a!"]), service("c", &["b!"])],
        vec![replicated("db", &[], 2), service("api", &["db"])],
        vec![service("db", &[]), replicated("api", &["db"], 2), service("web", &["api?"])],
        vec![service("db", &[]), NodeSpec { essential: true, ..service("api", &["db"]) }],
        vec![service("db", &[]), NodeSpec { essential: true, ..job("main", &["db"]) }],
    ];
    explore_all(cases, 1);
}

#[test]
fn a_parent_with_children_in_every_order() {
    // The child is asked for in every state in which the parent can have one.
    let mut world = World::new(vec![service("db", &[]), service("web", &["db"])]);
    let all = world.names();
    world.take(&Step::Event(Event::Request(Request::Start(all))));
    let mut seen = HashSet::from([(world.key(), 0)]);
    let mut todo = vec![(world, 0_u32)];
    while let Some((world, children)) = todo.pop() {
        world.comes_to_rest();
        let mut nexts: Vec<_> =
            world.steps().iter().map(|step| after(&world, step)).map(|next| (next, children)).collect();
        let removal = Step::Event(Event::Request(Request::Remove(name("web/worker"))));
        nexts.push((after(&world, &removal), children));
        if children < 2 {
            let (mut child, mut grandchild) = (world.clone(), world.clone());
            child.add_child(service("web/worker", &[]));
            grandchild.add_child(service("web/worker/part", &[]));
            nexts.extend([(child, children + 1), (grandchild, children + 1)]);
        }
        for (next, children) in nexts {
            if seen.insert((next.key(), children)) {
                todo.push((next, children));
            }
        }
    }
    assert!(seen.len() > 100, "only {} states", seen.len());
}

fn after(world: &World, step: &Step) -> World {
    let mut next = world.clone();
    next.take(step);
    next
}
