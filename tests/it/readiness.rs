//! A service counts as running when its check says so, and not before; a check that fails later is a crash.

use crate::support::{TestProject, missing};

/// A service with this check, and one that depends on it.
fn project(ready: &str, script: &str) -> TestProject {
    let project = TestProject::new(&format!(
        "  web: {{ runtime: exec, permissions: {{ subprocess: true, fs: {{ write: [./shared] }} }}, ready: {{ {ready}, interval: 20ms }}, code: ./web }}
  after: {{ runtime: js, depends_on: [web], code: \"export function start() {{}}\\n\" }}
"
    ));
    project.write("web", script);
    project
}

/// Nobody is up before the file `go` is there; everybody is after it.
fn becomes_ready_when_allowed(project: &TestProject) {
    let mut up = project.up();
    up.wait_for("| waiting");
    assert_eq!(project.service("web")["state"], "starting");
    assert_ne!(project.service("after")["state"], "running", "it waits for what it depends on");
    project.write("shared/go", "");
    up.wait_for("all 2 services are up");
    up.interrupt();
    assert_eq!(up.end().0, Some(0));
}

fn waits_for_go(project: &TestProject) -> String {
    format!("until test -e {}/shared/go; do sleep 0.02; done", project.path().display())
}

#[test]
fn a_line_of_its_output() {
    let project = project("log: \"listening on \\\\d+\"", "");
    let wait = waits_for_go(&project);
    project
        .write("web", &format!("#!/bin/sh\necho waiting\n{wait}\necho listening on 80\nexec sleep 1000\n"));
    becomes_ready_when_allowed(&project);
}

#[test]
fn a_command_that_succeeds() {
    let project = TestProject::new("");
    let go = project.path().join("shared/go").display().to_string();
    project.write(
        "manifest.yaml",
        &format!(
            "name: test\nservices:
  web: {{ runtime: exec, permissions: {{ subprocess: true, fs: {{ write: [./shared] }} }}, ready: {{ exec: [test, -e, {go}], interval: 20ms }}, code: ./web }}
  after: {{ runtime: js, depends_on: [web], code: \"export function start() {{}}\\n\" }}
"
        ),
    );
    project.write("web", "#!/bin/sh\necho waiting\nexec sleep 1000\n");
    becomes_ready_when_allowed(&project);
}

/// A server in Python on a port that was free a moment ago.
fn server(check: impl Fn(u16) -> String) {
    if missing("python3", "a readiness check over the network") {
        return;
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = free.local_addr().expect("it has an address").port();
    drop(free);
    let project = project(&check(port), "");
    let wait = waits_for_go(&project);
    let folder = project.path().join("shared");
    let folder = folder.display();
    let serve = format!("cd {folder}; exec python3 -m http.server --bind 127.0.0.1 {port}");
    project.write("web", &format!("#!/bin/sh\necho waiting\n{wait}\n{serve}\n"));
    becomes_ready_when_allowed(&project);
}

#[test]
fn a_port_that_accepts() {
    server(|port| format!("tcp: {port}"));
}

#[test]
fn a_page_that_answers() {
    server(|port| format!("http: {port}/go"));
}

#[test]
fn a_failing_liveness_command_is_a_crash() {
    let project = TestProject::new(
        "  web: { runtime: exec, restart: never, alive: { exec: [\"false\"], interval: 20ms, failures: 2 }, code: \"#!/bin/sh\\nexec sleep 1000\\n\" }
",
    );
    let (code, text) = project.up().end();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("web-1 crashed: unhealthy 2 times in a row: "), "{text}");
}

#[test]
fn its_own_notification() {
    let project = project("notify: true", "");
    let wait = waits_for_go(&project);
    let started = "echo '{\"type\":\"started\",\"methods\":[],\"health\":false}' >&3";
    project.write("web", &format!("#!/bin/sh\necho waiting\n{wait}\n{started}\nexec sleep 1000\n"));
    becomes_ready_when_allowed(&project);
}
