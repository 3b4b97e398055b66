//! [`Graph`]: every acyclic graph of a few services, one of each shape, and how each looks the same from several sides.

use super::service;
use crate::service_node::NodeSpec;

/// Services s0, s1, ...: which earlier ones each depends on, and how.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Graph {
    /// `None`: does not depend on it. Else what stands behind the name, as for [`service`].
    edges: Vec<Vec<Option<&'static str>>>,
}

impl Graph {
    /// Every graph of `n` services whose edges are each of one of these kinds. Of those that differ only by the names
    /// of their services there is one.
    pub(super) fn all(n: usize, ways: &[&'static str]) -> Vec<Self> {
        let mut all = vec![Self { edges: vec![vec![None; n]; n] }];
        for (of, on) in (0..n).flat_map(|of| (0..of).map(move |on| (of, on))) {
            let with = |graph: &Self, way| {
                let mut graph = graph.clone();
                graph.edges[of][on] = Some(way);
                graph
            };
            let more: Vec<_> =
                all.iter().flat_map(|graph| ways.iter().map(|way| with(graph, *way))).collect();
            all.extend(more);
        }
        all.retain(Self::is_first_of_its_shape);
        all
    }

    /// This graph with these edges, from the dependent to what it depends on.
    pub(super) fn of(n: usize, edges: &[(usize, usize, &'static str)]) -> Self {
        let mut graph = Self { edges: vec![vec![None; n]; n] };
        for (of, on, way) in edges {
            graph.edges[*of][*on] = Some(way);
        }
        graph
    }

    pub(super) fn specs(&self) -> Vec<NodeSpec> {
        let spec = |(of, row): (usize, &Vec<Option<&str>>)| {
            let named = |(on, way): (usize, &Option<&str>)| way.map(|way| format!("s{on}{way}"));
            let on: Vec<_> = row.iter().enumerate().filter_map(named).collect();
            service(&format!("s{of}"), &on.iter().map(String::as_str).collect::<Vec<_>>())
        };
        self.edges.iter().enumerate().map(spec).collect()
    }

    /// The ways to exchange services that leave the graph as it is.
    pub(super) fn symmetries(&self) -> Vec<Vec<usize>> {
        let mut ways = permutations(self.edges.len());
        ways.retain(|way| self.renamed(way) == *self);
        ways
    }

    /// Every service is tied to every other one, however indirectly.
    pub(super) fn is_connected(&self) -> bool {
        let tied = |one: usize, other: usize| self.edges[one][other].is_some();
        let mut reached = vec![0];
        let mut at = 0;
        while let Some(one) = reached.get(at).copied() {
            let more = (0..self.edges.len()).filter(|other| tied(one, *other) || tied(*other, one));
            let more: Vec<_> = more.filter(|other| !reached.contains(other)).collect();
            reached.extend(more);
            at += 1;
        }
        reached.len() == self.edges.len()
    }

    fn is_first_of_its_shape(&self) -> bool {
        let images = permutations(self.edges.len()).into_iter().map(|way| self.renamed(&way));
        images.filter(Self::is_in_order).all(|image| *self <= image)
    }

    /// Services depend on earlier ones only.
    fn is_in_order(&self) -> bool {
        self.edges.iter().enumerate().all(|(of, row)| row[of..].iter().all(Option::is_none))
    }

    fn renamed(&self, way: &[usize]) -> Self {
        let mut edges = self.edges.clone();
        for (of, row) in self.edges.iter().enumerate() {
            for (on, edge) in row.iter().enumerate() {
                edges[way[of]][way[on]] = *edge;
            }
        }
        Self { edges }
    }
}

fn permutations(n: usize) -> Vec<Vec<usize>> {
    let Some(last) = n.checked_sub(1) else { return vec![Vec::new()] };
    let with_last = |shorter: Vec<usize>| {
        (0..n).map(move |at| {
            let mut longer = shorter.clone();
            longer.insert(at, last);
            longer
        })
    };
    permutations(last).into_iter().flat_map(with_last).collect()
}

#[test]
fn there_are_as_many_shapes_as_mathematics_knows() {
    let shapes: Vec<_> = (1..=4).map(|n| Graph::all(n, &[""]).len()).collect();
    assert_eq!(shapes, [1, 2, 6, 31]);
    assert_eq!(Graph::all(4, &[""]).iter().filter(|graph| graph.is_connected()).count(), 24);
}

#[test]
fn twins_can_be_exchanged_and_a_chain_cannot() {
    assert_eq!(Graph::of(3, &[]).symmetries().len(), 6);
    assert_eq!(Graph::of(3, &[(1, 0, ""), (2, 1, "")]).symmetries(), [vec![0, 1, 2]]);
    assert_eq!(Graph::of(3, &[(1, 0, ""), (2, 0, "")]).symmetries().len(), 2);
    assert_eq!(Graph::of(3, &[(1, 0, ""), (2, 0, "?")]).symmetries().len(), 1, "kinds of edges count");
}
