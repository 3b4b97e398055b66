//! Who depends on whom and for what, as a text tree and as Mermaid.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use orchestrator_core::ServiceName;
use orchestrator_core::manifest::Kind;
use orchestrator_core::report::State;
use serde::Serialize;

/// One service of the graph.
#[derive(Clone, Debug, Serialize)]
pub struct Node {
    /// Its name.
    pub name: ServiceName,
    /// Whether it runs on or runs to completion. What depends on it waits for it to be ready, or to have completed.
    pub kind: Kind,
    /// What it depends on.
    pub depends_on: Vec<ServiceName>,
    /// Its state, where the project runs.
    pub state: Option<State>,
}

/// The graph as a tree: what nothing depends on at the top, below each what it depends on, behind what it waits for.
/// What has been shown with its own dependencies already is marked, not repeated.
#[must_use]
pub fn tree(nodes: &[Node]) -> String {
    let by_name: BTreeMap<_, _> = nodes.iter().map(|node| (&node.name, node)).collect();
    let mut seen = Vec::new();
    let mut text = String::new();
    let needed = |name: &ServiceName| nodes.iter().any(|node| node.depends_on.contains(name));
    for root in nodes.iter().filter(|node| !needed(&node.name)) {
        text.push_str(&label(root));
        text.push('\n');
        below(root, &by_name, "", &mut seen, &mut text);
    }
    text
}

fn below<'a>(
    node: &'a Node,
    nodes: &BTreeMap<&'a ServiceName, &'a Node>,
    indent: &str,
    seen: &mut Vec<&'a ServiceName>,
    text: &mut String,
) {
    for (i, on) in node.depends_on.iter().filter_map(|on| nodes.get(on)).enumerate() {
        let last = i + 1 == node.depends_on.len();
        let again = seen.contains(&&on.name) && !on.depends_on.is_empty();
        let (branch, deeper) = if last { ("└── ", "    ") } else { ("├── ", "│   ") };
        let above = if again { " (see above)" } else { "" };
        let _ = writeln!(text, "{indent}{branch}{}: {}{above}", awaited(on), label(on));
        if !again {
            seen.push(&on.name);
            below(on, nodes, &format!("{indent}{deeper}"), seen, text);
        }
    }
}

fn label(node: &Node) -> String {
    let state = node.state.map(|state| state.to_string());
    let job = (node.kind == Kind::Job).then(|| "job".to_owned());
    let said: Vec<_> = job.into_iter().chain(state).collect();
    if said.is_empty() { node.name.to_string() } else { format!("{} ({})", node.name, said.join(", ")) }
}

/// What must be true of it before what depends on it starts: there is one condition for a service and one for a job.
fn awaited(node: &Node) -> &'static str {
    match node.kind {
        Kind::Service => "ready",
        Kind::Job => "completed",
    }
}

/// The graph as a Mermaid flow chart: an arrow from each service to what it depends on, with what it waits for. Jobs
/// have round ends.
#[must_use]
pub fn mermaid(nodes: &[Node]) -> String {
    let mut text = String::from("flowchart TD\n");
    for (i, node) in nodes.iter().enumerate() {
        let (open, close) = if node.kind == Kind::Job { ("([", "])") } else { ("[", "]") };
        let _ = writeln!(text, "    n{i}{open}\"{}\"{close}", label(node));
    }
    let place = |name: &ServiceName| nodes.iter().position(|node| node.name == *name);
    for (i, node) in nodes.iter().enumerate() {
        for on in node.depends_on.iter().filter_map(place) {
            let _ = writeln!(text, "    n{i} -->|{}| n{on}", awaited(&nodes[on]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, kind: Kind, on: &[&str], state: Option<State>) -> Node {
        let parse = |text: &str| ServiceName::parse(text).unwrap();
        Node { name: parse(name), kind, depends_on: on.iter().map(|on| parse(on)).collect(), state }
    }

    #[test]
    fn a_tree_tells_what_is_waited_for_and_shows_nothing_twice() {
        let service = |name, on: &[&str]| node(name, Kind::Service, on, None);
        let nodes = [
            node("schema", Kind::Job, &[], None),
            service("db", &["schema"]),
            service("api", &["db"]),
            service("web", &["api", "db"]),
            service("admin", &["api"]),
        ];
        assert_eq!(
            tree(&nodes),
            "\
web
├── ready: api
│   └── ready: db
│       └── completed: schema (job)
└── ready: db (see above)
admin
└── ready: api (see above)
"
        );
    }

    #[test]
    fn a_chart_has_round_jobs_and_arrows_with_conditions() {
        let nodes = [
            node("seed", Kind::Job, &[], Some(State::Closed)),
            node("db", Kind::Service, &["seed"], Some(State::Running)),
            node("web", Kind::Service, &["db"], Some(State::Starting)),
        ];
        assert_eq!(
            mermaid(&nodes),
            "\
flowchart TD
    n0([\"seed (job, closed)\"])
    n1[\"db (running)\"]
    n2[\"web (starting)\"]
    n1 -->|completed| n0
    n2 -->|ready| n1
"
        );
    }
}
