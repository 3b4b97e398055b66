//! Under load, no request is lost: whatever is done to the replicas of a service, and whatever happens to one of them.

use serde_json::Value;

use crate::backends::on_both;
use crate::support::http::{Load, free_port, get};
use crate::support::{Backend, TestProject, kill, missing, wait_for};

on_both![
    embedded_javascript_is_reloaded_and_scaled_without_a_request_less,
    node_is_reloaded_and_scaled_without_a_request_less,
    embedded_javascript_is_recycled_without_a_request_less,
    node_is_recycled_without_a_request_less,
    a_killed_replica_of_embedded_javascript_loses_nothing_but_what_it_was_doing,
    a_killed_replica_of_node_loses_nothing_but_what_it_was_doing,
];

/// A server whose answers take a moment and say which version of which replica has given them.
struct Server {
    runtime: &'static str,
    file: &'static str,
    code: &'static str,
}

const JS: Server = Server {
    runtime: "js",
    file: "web.js",
    code: "import { replica } from 'orchestrator';
export async function fetch() {
  await new Promise((done) => setTimeout(done, 2));
  return new Response(`VERSION of ${replica}`);
}
",
};

const NODE: Server = Server {
    runtime: "node",
    file: "web.mjs",
    code: "import http from 'node:http';
import { replica } from 'orchestrator';
const server = http.createServer((request, response) => setTimeout(() => response.end(`VERSION of ${replica}`), 2));
server.listen(process.env.PORT);
",
};

impl Server {
    /// A project with two replicas of it, running; and the port. None where what runs it is not here.
    fn up(&self, backend: Backend, more: &str) -> Option<(TestProject, u16)> {
        if backend == Backend::Process && self.runtime == "node" && missing("node", "a server in it") {
            return None;
        }
        let (Self { runtime, file, .. }, port) = (self, free_port());
        let project = TestProject::on(
            backend,
            &format!(
                "  web: {{ runtime: {runtime}, code: ./{file}, replicas: 2, listen: {{ http: \"127.0.0.1:{port}\" }}{more} }}\n"
            ),
        );
        self.write(&project, "v0");
        let said = project.run(&["up", "-d", "manifest.yaml"]);
        assert_eq!(said.code, Some(0), "{said:?}");
        wait_for("both replicas to run", || {
            let run = (0..2).all(|index| replica(&project, index)["state"] == "running");
            run.then_some(()).ok_or_else(|| project.snapshot().to_string())
        });
        Some((project, port))
    }

    fn write(&self, project: &TestProject, version: &str) {
        project.write(self.file, &self.code.replace("VERSION", version));
    }
}

fn embedded_javascript_is_reloaded_and_scaled_without_a_request_less(backend: Backend) {
    is_reloaded_and_scaled(backend, &JS);
}

fn node_is_reloaded_and_scaled_without_a_request_less(backend: Backend) {
    is_reloaded_and_scaled(backend, &NODE);
}

fn is_reloaded_and_scaled(backend: Backend, server: &Server) {
    let Some((project, port)) = server.up(backend, "") else { return };
    let load = Load::start(port);
    for version in ["v1", "v2", "v3"] {
        server.write(&project, version);
        let reloaded = project.run(&["reload", "web"]);
        assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
        let (status, body) = get(port);
        assert_eq!((status, &body[..2]), (200, version), "nobody meets what was replaced");
        load.go_on();
    }
    for replicas in ["web=4", "web=1", "web=2"] {
        let scaled = project.run(&["scale", replicas]);
        assert_eq!(scaled.code, Some(0), "{scaled:?}");
        load.go_on();
    }
    loses_nothing(load);
    assert_eq!(project.run(&["down"]).code, Some(0));
}

fn embedded_javascript_is_recycled_without_a_request_less(backend: Backend) {
    is_recycled(backend, &JS);
}

fn node_is_recycled_without_a_request_less(backend: Backend) {
    is_recycled(backend, &NODE);
}

fn is_recycled(backend: Backend, server: &Server) {
    let Some((project, port)) = server.up(backend, ", recycle: { age: 1s }") else { return };
    let load = Load::start(port);
    wait_for("both replicas to be replaced", || {
        let starts: Vec<u64> = (0..2).map(|index| number(&replica(&project, index)["generation"])).collect();
        starts.iter().all(|generation| *generation > 1).then_some(()).ok_or(format!("{starts:?}"))
    });
    load.go_on();
    loses_nothing(load);
    assert_eq!(project.run(&["down"]).code, Some(0));
}

fn loses_nothing(load: Load) {
    let (asked, failed) = load.end();
    assert!(failed.is_empty(), "{} of {asked}: {failed:#?}", failed.len());
}

fn a_killed_replica_of_embedded_javascript_loses_nothing_but_what_it_was_doing(backend: Backend) {
    is_killed(backend, &JS);
}

fn a_killed_replica_of_node_loses_nothing_but_what_it_was_doing(backend: Backend) {
    is_killed(backend, &NODE);
}

fn is_killed(backend: Backend, server: &Server) {
    let restart = ", restart: { backoff: 50ms, max: 50 }";
    let Some((project, port)) = server.up(backend, restart) else { return };
    let load = Load::start(port);
    for index in [0, 1, 0] {
        load.go_on();
        let before = replica(&project, index);
        let pid = before["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        kill(pid.unwrap_or_else(|| panic!("it does not run: {before}")), "KILL");
        wait_for("it to run again", || {
            let now = replica(&project, index);
            let again = now["generation"] != before["generation"] && now["state"] == "running";
            again.then_some(()).ok_or(now.to_string())
        });
        load.go_on();
        let failed = load.failures();
        let own = format!("v0 of {}", index + 1);
        for failure in &failed {
            assert!(failure.connected, "refused: {failed:#?}");
            assert!(failure.last.as_ref().is_none_or(|last| *last == own), "not of {own}: {failed:#?}");
            let of_client = failed.iter().filter(|other| other.client == failure.client);
            assert_eq!(of_client.count(), 1, "who connects again is served: {failed:#?}");
        }
    }
    loses_nothing(load);
    assert_eq!(project.run(&["down"]).code, Some(0));
}

fn replica(project: &TestProject, index: usize) -> Value {
    project.service("web")["replicas"][index].clone()
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}
