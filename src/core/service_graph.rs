//! [`ServiceGraph`]: who depends on whom. Acyclic; a child depends on its parent always (lifecycle rule 6).
//!
//! The graph is a value: it is made anew when a child comes or goes. Services are known by their place in its order,
//! dependencies first, so that one pass forwards or backwards visits everything after what it needs.

use std::collections::BTreeMap;

use petgraph::algo::{tarjan_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};

use crate::manifest::{Condition, Dependency, OnCrash};
use crate::name::ServiceName;

/// Who depends on whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServiceGraph {
    names: Vec<ServiceName>,
    places: BTreeMap<ServiceName, usize>,
    dependencies: Vec<Vec<Edge>>,
    dependents: Vec<Vec<usize>>,
}

/// What a service needs of one other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Edge {
    /// The place of what is depended on.
    pub on: usize,
    /// What is needed of it.
    pub dependency: Dependency,
}

/// Why services do not form a graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// A name is there twice.
    #[error("'{0}' is there twice")]
    Duplicate(ServiceName),
    /// A dependency is no service.
    #[error("'{service}' depends on '{on}', which is not there")]
    Missing {
        /// The dependent.
        service: ServiceName,
        /// What it depends on.
        on: ServiceName,
    },
    /// Services depend on themselves; the whole way round, the first one again at the end.
    #[error("services depend on themselves: {}", path(.0))]
    Cycle(Vec<ServiceName>),
}

fn path(names: &[ServiceName]) -> String {
    names.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(" -> ")
}

impl ServiceGraph {
    /// The graph of these services and what each depends on; parents are added.
    ///
    /// # Errors
    /// Where they form no acyclic graph.
    pub fn new<'a>(
        services: impl IntoIterator<Item = (&'a ServiceName, &'a BTreeMap<ServiceName, Dependency>)>,
    ) -> Result<Self, GraphError> {
        let mut wanted = BTreeMap::new();
        for (name, dependencies) in services {
            if wanted.insert(name.clone(), with_parent(name, dependencies)).is_some() {
                return Err(GraphError::Duplicate(name.clone()));
            }
        }
        let names = in_order(&wanted)?;
        let places: BTreeMap<_, _> = names.iter().cloned().zip(0..).collect();
        let edges = |name: &ServiceName| {
            let edges =
                wanted[name].iter().map(|(on, dependency)| Edge { on: places[on], dependency: *dependency });
            edges.collect::<Vec<_>>()
        };
        let dependencies: Vec<_> = names.iter().map(edges).collect();
        let mut dependents = vec![Vec::new(); names.len()];
        for (place, edges) in dependencies.iter().enumerate() {
            for edge in edges {
                dependents[edge.on].push(place);
            }
        }
        Ok(Self { names, places, dependencies, dependents })
    }

    /// The services, dependencies first.
    #[must_use]
    pub fn names(&self) -> &[ServiceName] {
        &self.names
    }

    /// Where a service stands in the order.
    #[must_use]
    pub fn place(&self, name: &ServiceName) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// What the service at this place depends on directly, its parent included.
    #[must_use]
    pub fn dependencies(&self, place: usize) -> &[Edge] {
        &self.dependencies[place]
    }

    /// What depends on the service at this place directly, its children included.
    #[must_use]
    pub fn dependents(&self, place: usize) -> &[usize] {
        &self.dependents[place]
    }

    /// These services and everything that they depend on, however indirectly.
    #[must_use]
    pub fn with_dependencies(&self, places: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let mut found = vec![false; self.names.len()];
        let mut todo: Vec<usize> = places.into_iter().collect();
        while let Some(place) = todo.pop() {
            if !std::mem::replace(&mut found[place], true) {
                todo.extend(self.dependencies[place].iter().map(|edge| edge.on));
            }
        }
        (0..found.len()).filter(|place| found[*place]).collect()
    }
}

fn with_parent(
    name: &ServiceName,
    dependencies: &BTreeMap<ServiceName, Dependency>,
) -> BTreeMap<ServiceName, Dependency> {
    let mut all = dependencies.clone();
    if let Some(parent) = name.parent() {
        all.insert(parent, Dependency { condition: Condition::Ready, on_crash: OnCrash::Close });
    }
    all
}

/// The names, dependencies first; between equals, the order of the alphabet decides, so it is always the same.
fn in_order(
    wanted: &BTreeMap<ServiceName, BTreeMap<ServiceName, Dependency>>,
) -> Result<Vec<ServiceName>, GraphError> {
    let mut graph = DiGraph::<&ServiceName, ()>::new();
    // The last one added comes first out of petgraph's sort, so they are added from the end of the alphabet.
    let nodes: BTreeMap<_, NodeIndex> =
        wanted.keys().rev().map(|name| (name, graph.add_node(name))).collect();
    for (service, dependencies) in wanted {
        for on in dependencies.keys() {
            let missing = || GraphError::Missing { service: service.clone(), on: on.clone() };
            let from = nodes.get(on).ok_or_else(missing)?;
            graph.add_edge(*from, nodes[service], ());
        }
    }
    match toposort(&graph, None) {
        Ok(order) => Ok(order.into_iter().map(|node| graph[node].clone()).collect()),
        Err(_) => Err(GraphError::Cycle(cycle(&graph))),
    }
}

/// One way round a cycle, in the direction of "depends on".
fn cycle(graph: &DiGraph<&ServiceName, ()>) -> Vec<ServiceName> {
    let knots = tarjan_scc(graph);
    let knot = knots.iter().find(|knot| knot.len() > 1 || graph.contains_edge(knot[0], knot[0]));
    let Some(knot) = knot else { return Vec::new() };
    let mut way = vec![knot[0]];
    loop {
        let here = way[way.len() - 1];
        let next = graph
            .neighbors_directed(here, petgraph::Direction::Incoming)
            .find(|next| knot.contains(next))
            .unwrap_or(here);
        if let Some(start) = way.iter().position(|seen| *seen == next) {
            way.push(next);
            return way[start..].iter().map(|node| graph[*node].clone()).collect();
        }
        way.push(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Kind;

    fn graph(text: &str) -> Result<ServiceGraph, GraphError> {
        let name = |text: &str| ServiceName::parse(text).unwrap();
        let services: Vec<_> = text
            .split(';')
            .map(|service| {
                let (service, on) = service.split_once(':').unwrap();
                let on = on.split_whitespace().map(|on| (name(on), Dependency::on(Kind::Service))).collect();
                (name(service.trim()), on)
            })
            .collect();
        ServiceGraph::new(services.iter().map(|(service, on)| (service, on)))
    }

    #[test]
    fn dependencies_come_first_and_equals_by_name() {
        let graph = graph("web: api cache; api: db; cache:; db:; alone:").unwrap();
        let names: Vec<_> = graph.names().iter().map(ServiceName::as_str).collect();
        let place = |name| names.iter().position(|n| *n == name).unwrap();
        assert!(place("db") < place("api") && place("api") < place("web") && place("cache") < place("web"));
        let web = graph.place(&ServiceName::parse("web").unwrap()).unwrap();
        assert_eq!(graph.with_dependencies([web]).len(), 4);
    }

    #[test]
    fn a_child_depends_on_its_parent() {
        let graph = graph("web/worker:; web:").unwrap();
        assert_eq!(graph.names()[0].as_str(), "web");
        assert_eq!(graph.dependents(0), [1]);
    }

    #[test]
    fn what_is_no_graph_is_refused_with_the_whole_cycle() {
        let text = |refused: Result<ServiceGraph, GraphError>| refused.unwrap_err().to_string();
        assert_eq!(text(graph("a: b")), "'a' depends on 'b', which is not there");
        assert_eq!(text(graph("a:; a:")), "'a' is there twice");
        assert_eq!(text(graph("a: a")), "services depend on themselves: a -> a");
        let round = text(graph("a: b; b: c; c: a; d: a"));
        assert!(round.starts_with("services depend on themselves: "), "{round}");
        assert_eq!(round.matches(" -> ").count(), 3, "{round}");
    }
}
