//! What services offer, for editors: [`typescript`] and [`python`]. Methods are known by their names; what they take and
//! give is not.

use std::collections::BTreeMap;
use std::fmt::Write;

use orchestrator_core::report::{ServiceView, Snapshot};

/// The names below a name; none below a method.
#[derive(Debug, Default)]
struct Names(BTreeMap<String, Names>);

impl Names {
    fn of(service: &ServiceView) -> Self {
        let mut names = Self::default();
        let methods = service.replicas.iter().flat_map(|replica| &replica.methods);
        for method in methods {
            method.split('.').fold(&mut names, |place, part| place.0.entry(part.to_owned()).or_default());
        }
        names
    }
}

/// A declaration that adds the services of a project to the module `orchestrator` of Node's runtime.
#[must_use]
pub fn typescript(snapshot: &Snapshot) -> String {
    let mut text = format!(
        "// The services of {}, as they run. Written by 'orchestrator types typescript'.\n\
         import type {{ Method, Service }} from \"orchestrator\";\n\n\
         declare module \"orchestrator\" {{\n  interface Services {{\n",
        snapshot.project
    );
    for service in &snapshot.services {
        let names = Names::of(service);
        let _ = write!(text, "    \"{}\": Service", service.name);
        if !names.0.is_empty() {
            text.push_str(" & {\n");
            typescript_names(&names, 3, &mut text);
            text.push_str("    }");
        }
        text.push_str(";\n");
    }
    text.push_str("  }\n}\n");
    text
}

fn typescript_names(names: &Names, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    for (name, below) in &names.0 {
        if below.0.is_empty() {
            let _ = writeln!(text, "{indent}\"{name}\": Method;");
        } else {
            let _ = writeln!(text, "{indent}\"{name}\": {{");
            typescript_names(below, depth + 1, text);
            let _ = writeln!(text, "{indent}}};");
        }
    }
}

/// A stub that says what `orchestrator.services` has. To be placed where the type checker looks for stubs, as
/// `orchestrator_services.pyi`; a service annotates with `services: orchestrator_services.Services`.
#[must_use]
pub fn python(snapshot: &Snapshot) -> String {
    let mut text = format!(
        "\"\"\"The services of {}, as they run. Written by 'orchestrator types python'.\"\"\"\n\n\
         from typing import Any, AsyncIterator, Generator\n\n\n\
         class Result:\n    def __await__(self) -> Generator[Any, Any, Any]: ...\n    def __aiter__(self) -> AsyncIterator[Any]: ...\n\n\n\
         class Method:\n    def __call__(self, *values: Any) -> Result: ...\n    def options(self, *, timeout: float | str | None = None, \
         retries: int | None = None, attempt: float | str | None = None, key: str | None = None) -> Method: ...\n    async def \
         send(self, *values: Any) -> None: ...\n",
        snapshot.project
    );
    let mut services = String::from("\n\nclass Services:\n");
    for service in &snapshot.services {
        // A child's name is no word: it is had by `services["parent/child"]`.
        let word = service.name.as_str().replace('-', "_");
        if word.contains('/') {
            continue;
        }
        let class = format!("_{word}");
        python_class(&class, &Names::of(service), &mut text);
        let _ = writeln!(services, "    {word}: {class}");
    }
    services.push_str("    def __getitem__(self, name: str) -> Any: ...\n");
    text + &services
}

fn python_class(class: &str, names: &Names, text: &mut String) {
    let mut members = String::new();
    for (name, below) in &names.0 {
        if below.0.is_empty() {
            let _ = writeln!(members, "    {name}: Method");
        } else {
            let inner = format!("{class}_{name}");
            python_class(&inner, below, text);
            let _ = writeln!(members, "    {name}: {inner}");
        }
    }
    let _ =
        write!(text, "\n\nclass {class}:\n{}", if members.is_empty() { "    ...\n".into() } else { members });
}

#[cfg(test)]
mod tests {
    use orchestrator_core::report::{ReplicaView, State};

    use super::*;
    use crate::testing::{replica, service, snapshot};

    fn shop() -> Snapshot {
        let with = |methods: &[&str]| ReplicaView {
            methods: methods.iter().map(|&method| method.into()).collect(),
            ..replica(State::Running, None)
        };
        snapshot(vec![
            service("stock", with(&["admin.deep.reset", "admin.size", "level"])),
            service("web-site", with(&[])),
        ])
    }

    #[test]
    fn methods_are_declared_for_typescript() {
        let text = typescript(&shop());
        let (_, declared) = text.split_once("declare module").unwrap();
        assert_eq!(
            declared,
            " \"orchestrator\" {
  interface Services {
    \"stock\": Service & {
      \"admin\": {
        \"deep\": {
          \"reset\": Method;
        };
        \"size\": Method;
      };
      \"level\": Method;
    };
    \"web-site\": Service;
  }
}
"
        );
    }

    #[test]
    fn methods_are_declared_for_python() {
        let text = python(&shop());
        let (_, declared) = text.split_once("-> None: ...\n").unwrap();
        assert_eq!(
            declared,
            "

class _stock_admin_deep:
    reset: Method


class _stock_admin:
    deep: _stock_admin_deep
    size: Method


class _stock:
    admin: _stock_admin
    level: Method


class _web_site:
    ...


class Services:
    stock: _stock
    web_site: _web_site
    def __getitem__(self, name: str) -> Any: ...
"
        );
    }
}
