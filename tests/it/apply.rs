//! A running project becomes what its manifest says now; what does not differ is not touched.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use crate::support::{TestProject, wait_for};

const THREE: &str = "  db: { runtime: js, code: \"export const version = () => 'db';\\n\" }
  api: { runtime: js, code: ./api.js, depends_on: [db] }
  web: { runtime: js, depends_on: [api], code: \"export function start() {}\\n\" }
";

const API: &str = "export const version = () => 'VERSION';\n";

/// A project of three services, in the background.
fn three() -> TestProject {
    let project = TestProject::new(THREE);
    project.write("api.js", &API.replace("VERSION", "v1"));
    let up = project.run(&["up", "-d"]);
    assert_eq!(up.code, Some(0), "{up:?}");
    project
}

/// The manifest says this from now on.
fn becomes(project: &TestProject, services: &str) {
    project.write("manifest.yaml", &format!("name: test\nservices:\n{services}"));
}

fn generations(project: &TestProject) -> Vec<(String, u64)> {
    let snapshot = project.snapshot();
    let services = snapshot["services"].as_array().expect("a list");
    let generation =
        |service: &serde_json::Value| service["replicas"][0]["generation"].as_u64().expect("a number");
    services
        .iter()
        .map(|service| (service["name"].as_str().expect("a name").into(), generation(service)))
        .collect()
}

fn are(project: &TestProject, expected: &[(&str, u64)]) {
    let expected: Vec<_> =
        expected.iter().map(|(name, generation)| ((*name).to_owned(), *generation)).collect();
    assert_eq!(generations(project), expected);
}

#[test]
fn what_does_not_differ_is_not_touched() {
    let project = three();
    let same = project.run(&["apply"]);
    assert_eq!((same.code, same.out.as_str(), same.err.as_str()), (Some(0), "", "nothing has changed\n"));
    project.write("api.js", &API.replace("VERSION", "v2"));
    let dry = project.run(&["apply", "--dry-run"]);
    assert_eq!(dry.out, "api: reload (code)\n");
    assert_eq!(dry.err, "nothing was done: this is what would be\n");
    are(&project, &[("db", 1), ("api", 1), ("web", 1)]);
    let done = project.run(&["apply"]);
    assert_eq!(
        (done.code, done.out.as_str(), done.err.as_str()),
        (Some(0), "api: reload (code)\n", "done\n")
    );
    are(&project, &[("db", 1), ("api", 2), ("web", 1)]);
    assert_eq!(project.run(&["call", "api", "version"]).out, "\"v2\"\n");
    assert_eq!(project.run(&["apply"]).err, "nothing has changed\n");
    assert!(project.run(&["events"]).out.contains("the manifest has changed: api: reload (code)\n"));
}

#[test]
fn what_is_new_starts_what_is_gone_closes_and_rules_change_without_a_restart() {
    let project = three();
    becomes(
        &project,
        "  db: { runtime: js, code: \"export const version = () => 'db';\\n\", replicas: 2, restart: never }
  api: { runtime: js, code: ./api.js, depends_on: [db], close_timeout: 3s }
  shop: { runtime: js, depends_on: [db], code: \"export const hello = () => 'hello';\\n\" }
  job: { runtime: js, kind: job, code: \"console.log('the job ran');\\n\" }
",
    );
    let done = project.run(&["up"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(
        done.out,
        "web: remove\napi: adjust, nothing is restarted (close_timeout)\ndb: scale from 1 to 2 (replicas, restart)\n\
         job: start\nshop: start\n"
    );
    assert_eq!(done.err, "project 'test' runs already: it becomes what its manifest says now\ndone\n");
    are(&project, &[("db", 1), ("api", 1), ("job", 1), ("shop", 1)]);
    assert_eq!(project.run(&["call", "shop", "hello"]).out, "\"hello\"\n");
    assert!(project.run(&["logs"]).out.contains("job-1 | the job ran\n"));
    assert_eq!(project.run(&["apply"]).err, "nothing has changed\n");
    becomes(
        &project,
        "  db: { runtime: js, code: \"export const version = () => 'db';\\n\", replicas: 2, restart: never }
  job: { runtime: js, kind: job, depends_on: [db], code: \"console.log('it ran again');\\n\" }
",
    );
    let done = project.run(&["apply"]);
    assert_eq!(done.out, "api: remove\nshop: remove\njob: restart (code, depends_on)\n", "{done:?}");
    assert!(project.run(&["logs"]).out.contains("job-1 | it ran again\n"));
    let down = project.run(&["down"]);
    assert_eq!(down.code, Some(0), "{down:?}");
    project.wait_until_nothing_is_left();
}

#[test]
fn new_permissions_and_arguments_hold_from_the_next_start_on() {
    let project = TestProject::new(
        "  web: { runtime: js, code: ./web.js }
  db: { runtime: js, code: \"export const version = () => 'db';\\n\" }
",
    );
    project.write(
        "web.js",
        "import { services } from 'orchestrator';
         export const ask = () => services.db.version().catch((error) => error.code);
         export const size = () => process.env.SIZE;",
    );
    assert_eq!(project.run(&["up", "-d"]).code, Some(0));
    assert_eq!(project.run(&["call", "web", "ask"]).out, "\"denied\"\n");
    becomes(
        &project,
        "  web:
    runtime: js
    code: ./web.js
    permissions: { services: [{ name: db, call: [version] }] }
  db: { runtime: js, code: \"export const version = () => 'db';\\n\" }
",
    );
    assert_eq!(project.run(&["apply"]).out, "web: reload (permissions)\n");
    assert_eq!(project.run(&["call", "web", "ask"]).out, "\"db\"\n");
}

#[test]
fn what_cannot_be_had_is_told_and_nothing_is_changed() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a port");
    let port = taken.local_addr().expect("it is bound").port();
    let project = three();
    project.write("api.js", &API.replace("VERSION", "v2"));
    for (services, said) in [
        ("  db: { rntime: js }\n".to_owned(), "unknown key 'rntime'"),
        (
            format!("{THREE}  shop: {{ runtime: js, code: ./no.js }}\n"),
            "the code of service 'shop' is not there",
        ),
        (
            format!(
                "{THREE}  shop: {{ runtime: js, code: ./api.js, listen: {{ http: \"127.0.0.1:{port}\" }} }}\n"
            ),
            "service 'shop' cannot listen on",
        ),
        (
            format!("{THREE}  box: {{ runtime: js, code: ./api.js, isolation: docker }}\n"),
            "error: box wants a container, which is seen to only when the project starts: 'orchestrator down', then \
             'up'\n",
        ),
        (format!("{THREE}sandbox: none\n"), "'sandbox: none' lets api, db, web do whatever you may"),
    ] {
        becomes(&project, &services);
        let refused = project.run(&["apply"]);
        assert_ne!(refused.code, Some(0), "{refused:?}");
        assert!(refused.err.contains(said), "{said}: {refused:?}");
        becomes(&project, THREE);
        are(&project, &[("db", 1), ("api", 1), ("web", 1)]);
    }
    let other = tempfile::tempdir().expect("there is room");
    let elsewhere = other.path().join("manifest.yaml");
    std::fs::write(&elsewhere, "name: test\nservices: { web: { runtime: js, code: \"export {}\\n\" } }\n")
        .expect("it is written");
    let refused = project.run(&["apply", elsewhere.to_str().expect("it is text")]);
    assert!(refused.err.starts_with("error: the project was started from "), "{refused:?}");
    assert!(
        refused.err.ends_with(": use that one, or end it first with 'orchestrator down'\n"),
        "{refused:?}"
    );
    let down = TestProject::new(THREE);
    down.write("api.js", "");
    let refused = down.run(&["apply"]);
    assert_eq!(
        (refused.code, refused.err.as_str()),
        (Some(3), "error: project 'test' is not running\n  fix: start it with 'orchestrator up'\n")
    );
}

#[test]
fn what_does_not_start_is_told_and_what_ran_before_runs_on() {
    let project = three();
    project.write("api.js", "export function start() { throw new Error('v2 is broken'); }");
    let failed = project.run(&["apply"]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    let why = "api-1 was not reloaded: Error: v2 is broken; what ran before runs on";
    assert!(failed.err.contains(why), "{failed:?}");
    assert_eq!(project.run(&["call", "api", "version"]).out, "\"v1\"\n");
    project.write("api.js", &API.replace("VERSION", "v1"));
    assert_eq!(project.run(&["apply"]).out, "api: reload (code)\n", "it is not what was asked for");
    let other = project.run(&["-p", "shop", "apply"]);
    let said = "error: the manifest's project is 'test', and 'shop' was asked for\n  fix: name the right manifest, or leave out \
                --project\n";
    assert_eq!((other.code, other.err.as_str()), (Some(2), said));
}

/// What a server says to who asks for nothing in particular.
fn get(port: u16) -> Option<String> {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    connection.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    answer.rsplit("\r\n").next().map(str::to_owned)
}

#[test]
fn sockets_come_and_go_and_those_that_stay_refuse_nobody() {
    let ports: Vec<u16> = (0..2)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|bound| bound.local_addr()))
        .map(|address| address.expect("there is a port").port())
        .collect();
    let manifest = |listen: &str| {
        format!(
            "  web: {{ runtime: js, listen: {{ {listen} }}, code: \"export const fetch = () => new Response('hello');\\n\" }}\n"
        )
    };
    let (one, two) =
        (format!("http: \"127.0.0.1:{}\"", ports[0]), format!("http-b: \"127.0.0.1:{}\"", ports[1]));
    let project = TestProject::new(&manifest(&one));
    assert_eq!(project.run(&["up", "-d"]).code, Some(0));
    assert_eq!(get(ports[0]).as_deref(), Some("hello"));
    becomes(&project, &manifest(&format!("{one}, {two}")));
    assert_eq!(project.run(&["apply"]).out, "web: reload (listen)\n");
    assert_eq!((get(ports[0]).as_deref(), get(ports[1]).as_deref()), (Some("hello"), Some("hello")));
    becomes(&project, &manifest(&two));
    assert_eq!(project.run(&["apply"]).out, "web: reload (listen)\n");
    assert_eq!((get(ports[0]), get(ports[1]).as_deref()), (None, Some("hello")));
}

#[test]
fn who_follows_the_files_needs_to_ask_for_nothing() {
    let project = TestProject::new("  api: { runtime: js, code: ./api.js }\n");
    project.write("api.js", &API.replace("VERSION", "v1"));
    let mut up = project.begin(&["up", "--watch"]);
    up.wait_for("1 service is up");
    let is = |version: &str| {
        wait_for("the new code", || {
            let said = project.run(&["-p", "test", "call", "api", "version"]).out;
            (said == format!("\"{version}\"\n")).then_some(()).ok_or(said)
        });
    };
    project.write("api.js", &API.replace("VERSION", "v2"));
    up.wait_for("the manifest has changed: api: reload (code)");
    is("v2");
    becomes(&project, "  api: { rntime: js }\n");
    up.wait_for("error: unknown key 'rntime'");
    is("v2");
    project.write("manifest.yaml", "name: other\nservices: { api: { runtime: js, code: ./api.js } }\n");
    up.wait_for("error: the manifest's project is 'other', and 'test' runs");
    is("v2");
    becomes(&project, "  api: { runtime: js, code: ./api.js }\n  shop: { runtime: js, code: ./api.js }\n");
    up.wait_for("shop running");
    up.interrupt();
    assert_eq!(up.end().0, Some(0));
    project.wait_until_nothing_is_left();

    assert_eq!(project.run(&["up", "-d"]).code, Some(0));
    let mut follows = project.begin(&["apply", "--watch"]);
    follows.wait_for("nothing has changed");
    project.write("api.js", &API.replace("VERSION", "v3"));
    follows.wait_for("api: reload (code)");
    is("v3");
    assert_eq!(project.run(&["down"]).code, Some(0));
}
