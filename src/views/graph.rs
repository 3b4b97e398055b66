//! Who depends on whom, as a text tree and as Mermaid.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use orchestrator_core::ServiceName;
use orchestrator_core::report::State;
use serde::Serialize;

/// One service of the graph.
#[derive(Clone, Debug, Serialize)]
pub struct Node {
    /// Its name.
    pub name: ServiceName,
    /// What it depends on.
    pub depends_on: Vec<ServiceName>,
    /// Its state, where the project runs.
    pub state: Option<State>,
}

/// The graph as a tree: what nothing depends on at the top, below each what it depends on. What has been shown with
/// its own dependencies already is marked, not repeated.
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
        let _ = writeln!(text, "{indent}{branch}{}{}", label(on), if again { " (see above)" } else { "" });
        if !again {
            seen.push(&on.name);
            below(on, nodes, &format!("{indent}{deeper}"), seen, text);
        }
    }
}

fn label(node: &Node) -> String {
    node.state.map_or_else(|| node.name.to_string(), |state| format!("{} ({state})", node.name))
}

/// The graph as a Mermaid flow chart: an arrow from each service to what it depends on.
#[must_use]
pub fn mermaid(nodes: &[Node]) -> String {
    let mut text = String::from("flowchart TD\n");
    for (i, node) in nodes.iter().enumerate() {
        let _ = writeln!(text, "    n{i}[\"{}\"]", label(node));
    }
    let place = |name: &ServiceName| nodes.iter().position(|node| node.name == *name);
    for (i, node) in nodes.iter().enumerate() {
        for on in node.depends_on.iter().filter_map(place) {
            let _ = writeln!(text, "    n{i} --> n{on}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_and_a_chart() {
        let name = |text: &str| ServiceName::parse(text).unwrap();
        let node = |of: &str, on: &[&str]| Node {
            name: name(of),
            depends_on: on.iter().map(|on| name(on)).collect(),
            state: None,
        };
        let nodes =
            [node("db", &[]), node("api", &["db"]), node("web", &["api", "db"]), node("admin", &["api"])];
        assert_eq!(tree(&nodes), "web\n├── api\n│   └── db\n└── db\nadmin\n└── api (see above)\n");
        let chart = mermaid(&nodes[..2]);
        assert_eq!(chart, "flowchart TD\n    n0[\"db\"]\n    n1[\"api\"]\n    n1 --> n0\n");
    }
}
