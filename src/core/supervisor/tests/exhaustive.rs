//! Every graph of up to four services, every order of events: each reachable state is visited once, and every rule
//! is checked at every step into it.
//!
//! What bounds the states: each replica may crash once and is restarted, a second crash makes it give up; and people
//! ask for as many things as each case says. Timers run out at any time, or never. States that differ only by an
//! exchange of services that leaves the graph as it is are one state.

use std::collections::{HashMap, HashSet};

use super::graphs::Graph;
use super::world::{Step, World};
use super::{job, name, replicated, service};
use crate::report::State;
use crate::service_node::NodeSpec;
use crate::supervisor::{Event, Request};

/// What a state is known by: its world, and how much may still be asked of it.
type Key = (u64, u32);

/// Visits every state that can be reached from the start of everything, checks what must hold in each, and answers
/// how many there are. `asked` tells what may happen besides crashes and time, as often as `requests` allows.
fn explore(
    specs: Vec<NodeSpec>,
    symmetries: &[Vec<usize>],
    requests: u32,
    asked: impl Fn(&World) -> Vec<World>,
) -> usize {
    let mut world = World::new(specs);
    let all = world.names();
    world.take(&Step::Event(Event::Request(Request::Start(all))));
    let mut seen = HashSet::from([(world.key(symmetries), requests)]);
    // Where each state goes if nothing goes wrong.
    let mut calm = HashMap::new();
    let mut todo = vec![(world, requests)];
    while let Some((world, left)) = todo.pop() {
        world.rule_08_what_an_older_start_says_changes_nothing();
        let steps = world.steps();
        let mut nexts: Vec<_> = steps.iter().map(|step| (after(&world, step), left)).collect();
        match world.calm_step().and_then(|calm| steps.iter().position(|step| *step == calm)) {
            Some(at) => {
                calm.insert((world.key(symmetries), left), (nexts[at].0.key(symmetries), left));
            }
            None => world.rests_well(),
        }
        if left > 0 {
            nexts.extend(asked(&world).into_iter().map(|next| (next, left - 1)));
        }
        for (next, left) in nexts {
            if seen.insert((next.key(symmetries), left)) {
                todo.push((next, left));
            }
        }
    }
    every_way_comes_to_rest(&calm);
    seen.len()
}

fn after(world: &World, step: &Step) -> World {
    let mut next = world.clone();
    next.take(step);
    next
}

/// Following the calm steps never leads round in a circle. What it leads to has been checked already.
fn every_way_comes_to_rest(calm: &HashMap<Key, Key>) {
    let mut resting = HashSet::new();
    for start in calm.keys() {
        let (mut at, mut way) = (*start, HashSet::new());
        while let Some(next) = calm.get(&at).filter(|_| !resting.contains(&at)) {
            assert!(way.insert(at), "it never comes to rest");
            at = *next;
        }
        resting.extend(way);
    }
}

/// What people and services can ask for.
fn requests(world: &World) -> Vec<World> {
    let each = world.names().into_iter().flat_map(|name| {
        [Request::Stop(vec![name.clone()]), Request::Restart(vec![name.clone()]), Request::Start(vec![name])]
    });
    let closings = world.supervisor.view().into_iter().filter(|view| view.state == State::Running);
    let closings = closings.map(|view| {
        let replica = crate::name::ReplicaId { service: view.name, index: view.replicas[0].index };
        Event::CloseRequested(crate::name::StartId { replica, generation: view.replicas[0].generation })
    });
    let requests = each.chain([Request::Shutdown, Request::Kill]).map(Event::Request);
    requests.chain(closings).map(|event| after(world, &Step::Event(event))).collect()
}

fn explore_graphs(graphs: &[Graph], left: u32) {
    let of = |graph: &Graph| explore(graph.specs(), &graph.symmetries(), left, requests);
    let states: usize = graphs.iter().map(of).sum();
    assert!(states > 4 * graphs.len(), "{} graphs have only {states} states", graphs.len());
}

#[test]
fn every_graph_of_up_to_three_services_with_two_requests() {
    for n in 1..=2 {
        explore_graphs(&Graph::all(n, &["", "?"]), 2);
    }
    explore_graphs(&Graph::all(3, &["", "?"]), 1);
}

#[test]
fn every_graph_of_four_services() {
    explore_graphs(&Graph::all(4, &[""]), 0);
}

/// Parts that do not depend on each other have only the project's end in common: three services show that.
fn connected_graphs_of_four() -> Vec<Graph> {
    Graph::all(4, &[""]).into_iter().filter(Graph::is_connected).collect()
}

// In two tests, for two cores.
#[test]
fn every_connected_graph_of_four_services_with_one_request_one_half() {
    let graphs: Vec<_> = connected_graphs_of_four().into_iter().step_by(2).collect();
    explore_graphs(&graphs, 1);
}

#[test]
fn every_connected_graph_of_four_services_with_one_request_other_half() {
    let graphs: Vec<_> = connected_graphs_of_four().into_iter().skip(1).step_by(2).collect();
    explore_graphs(&graphs, 1);
}

#[test]
fn chains_and_diamonds_of_four_in_which_crashes_are_ignored() {
    // Every choice of which edges ignore crashes.
    for code in 0..16_usize {
        let way = |edge: usize| if code >> edge & 1 == 1 { "?" } else { "" };
        let chain = Graph::of(4, &[(1, 0, way(0)), (2, 1, way(1)), (3, 2, way(2))]);
        let diamond = Graph::of(4, &[(1, 0, way(0)), (2, 0, way(1)), (3, 1, way(2)), (3, 2, way(3))]);
        explore_graphs(&[chain, diamond], 0);
    }
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
    for case in cases {
        let states = explore(case, &[], 1, requests);
        assert!(states > 100, "only {states} states");
    }
}

/// A reload of each service, and each start that has done enough, besides what else can be asked for.
fn reloads(world: &World) -> Vec<World> {
    let each = world.names().into_iter().map(|name| Event::Request(Request::Reload(vec![name])));
    let recycled = world.environments.keys().map(|start| {
        let cause = crate::report::ReloadCause::Requests { answered: 1 };
        Event::Recycle(start.clone(), cause)
    });
    let closings = world.environments.keys().cloned().map(Event::CloseRequested);
    let reloads = each.chain(recycled).chain(closings).map(|event| after(world, &Step::Event(event)));
    requests(world).into_iter().chain(reloads).collect()
}

#[test]
fn services_are_replaced_at_any_moment() {
    let graphs = Graph::all(2, &["", "?"]);
    let of = |graph: &Graph| explore(graph.specs(), &graph.symmetries(), 2, reloads);
    let states: usize = graphs.iter().map(of).sum();
    assert!(states > 10_000, "only {states} states");
    let chain = Graph::of(3, &[(1, 0, ""), (2, 1, "")]);
    explore(chain.specs(), &[], 1, reloads);
}

#[test]
fn replicas_are_replaced_at_any_moment() {
    for surge in [1, 2] {
        let scaled = |world: &World| {
            let to = |replicas: u32| Request::Scale(name("b"), replicas.try_into().unwrap());
            let scales = [1, 2].map(|replicas| after(world, &Step::Event(Event::Request(to(replicas)))));
            reloads(world).into_iter().chain(scales).collect()
        };
        let b = NodeSpec { max_surge: surge.try_into().unwrap(), ..replicated("b", &[], 2) };
        let states = explore(vec![b, service("a", &["b"])], &[], 1, scaled);
        assert!(states > 1000, "only {states} states");
    }
}

#[test]
fn a_parent_with_children_in_every_order() {
    // The child is asked for in every state in which the parent can have one, and removed in every state.
    let children = |world: &World| {
        let removal = Step::Event(Event::Request(Request::Remove(name("web/worker"))));
        let (mut child, mut grandchild) = (world.clone(), world.clone());
        child.add_child(service("web/worker", &[]));
        grandchild.add_child(service("web/worker/part", &[]));
        let reload = Step::Event(Event::Request(Request::Reload(vec![name("web")])));
        vec![after(world, &removal), after(world, &reload), child, grandchild]
    };
    let states = explore(vec![service("db", &[]), service("web", &["db"])], &[], 3, children);
    assert!(states > 100, "only {states} states");
}

/// One replica more or fewer, at any moment, twice: besides what else can be asked for.
#[test]
fn replicas_come_and_go_at_any_moment() {
    let scaled = |world: &World| {
        let to = |replicas: u32| Request::Scale(name("b"), replicas.try_into().unwrap());
        let scales =
            [1, 2, 3].map(to).into_iter().map(|request| after(world, &Step::Event(Event::Request(request))));
        requests(world).into_iter().chain(scales).collect()
    };
    let specs = vec![replicated("b", &[], 2), service("a", &["b"])];
    assert!(explore(specs, &[], 2, scaled) > 1000);
}
