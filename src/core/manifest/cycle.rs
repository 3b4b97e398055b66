//! Circles of dependencies, with the whole way round, for the message that refuses them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use petgraph::algo::tarjan_scc;
use petgraph::graph::DiGraph;

use super::problem::Place;
use crate::name::ServiceName;

/// Who depends on whom, each with the place where that is written.
pub(crate) type Arrows = BTreeMap<ServiceName, BTreeMap<ServiceName, Place>>;

/// A circle.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cycle {
    /// The whole way round; the first is the last.
    pub(crate) path: Vec<ServiceName>,
    /// Where the first arrow of it is written.
    pub(crate) place: Place,
}

/// One circle of each set of services that all depend on each other: the shortest through the first of them by name.
/// Arrows from a service to itself do not count.
pub(crate) fn cycles(arrows: &Arrows) -> Vec<Cycle> {
    let mut graph = DiGraph::<&ServiceName, ()>::new();
    let mut nodes = BTreeMap::new();
    for (from, targets) in arrows {
        for to in targets.keys().filter(|to| *to != from) {
            let [from, to] =
                [from, to].map(|name| *nodes.entry(name).or_insert_with(|| graph.add_node(name)));
            graph.add_edge(from, to, ());
        }
    }
    let knots = tarjan_scc(&graph).into_iter().filter(|knot| knot.len() > 1);
    let names = |knot: Vec<_>| knot.into_iter().map(|node| graph[node]).collect();
    let mut found: Vec<_> = knots.filter_map(|knot| shortest(&names(knot), arrows)).collect();
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// The shortest way from the first of a knot back to it.
fn shortest(knot: &BTreeSet<&ServiceName>, arrows: &Arrows) -> Option<Cycle> {
    let start = *knot.first()?;
    let mut reached_from: BTreeMap<&ServiceName, &ServiceName> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for to in arrows.get(at)?.keys().filter(|to| *to != at && knot.contains(to)) {
            if reached_from.contains_key(to) {
                continue;
            }
            reached_from.insert(to, at);
            if to == start {
                return Some(retraced(start, &reached_from, arrows));
            }
            queue.push_back(to);
        }
    }
    None
}

fn retraced(
    start: &ServiceName,
    reached_from: &BTreeMap<&ServiceName, &ServiceName>,
    arrows: &Arrows,
) -> Cycle {
    let mut path = vec![start.clone()];
    let mut at = reached_from[start];
    while at != start {
        path.push(at.clone());
        at = reached_from[at];
    }
    path.push(start.clone());
    path.reverse();
    let place = arrows[&path[0]][&path[1]].clone();
    Cycle { path, place }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cycles of a graph written as `a>b`, each as its path.
    fn of(graph: &str) -> Vec<String> {
        let name = |text| ServiceName::parse(text).unwrap();
        let mut arrows = Arrows::new();
        for (from, to) in graph.split(' ').filter_map(|arrow| arrow.split_once('>')) {
            arrows.entry(name(from)).or_default().insert(name(to), Place::default());
        }
        let path = |cycle: &Cycle| cycle.path.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(">");
        cycles(&arrows).iter().map(path).collect()
    }

    #[test]
    fn the_whole_way_round_is_found() {
        assert_eq!(of("a>b b>c c>a"), ["a>b>c>a"]);
        assert_eq!(of("x>b b>c c>b c>d"), ["b>c>b"]);
        assert_eq!(of("a>b b>a c>d d>c"), ["a>b>a", "c>d>c"]);
        assert_eq!(of("a>b b>c c>a b>a"), ["a>b>a"]);
    }

    #[test]
    fn without_a_circle_there_is_nothing() {
        assert_eq!(of("a>b a>c b>d c>d"), [""; 0]);
        assert_eq!(of("a>a"), [""; 0]);
    }
}
