//! The control API, as any program meets it: bytes on a Unix socket, wrong ones too, and the end of a project.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::support::TestProject;

const TALKER: &str = "  web:
    runtime: js
    code: |
      import { log } from \"orchestrator\";
      export function start() { log.info(\"the first word\"); }
      export function close() { log.info(\"the last word\"); }
";

fn connect(project: &TestProject) -> UnixStream {
    UnixStream::connect(project.path().join("run/orchestrator/test/control.sock")).expect("it listens")
}

/// The status and the body that the control API answers to bytes.
fn call(project: &TestProject, request: &str) -> (u16, Value) {
    let mut socket = connect(project);
    socket.write_all(request.replace('\n', "\r\n").as_bytes()).expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("it has a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("it has a status");
    (status, serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {answer}")))
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\nhost: x\nconnection: close\n\n")
}

fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\nhost: x\nconnection: close\n{headers}content-length: {length}\n\n{body}")
}

#[test]
fn every_wrong_call_is_answered_in_one_form_with_what_would_be_right() {
    let project = TestProject::new(TALKER);
    assert_eq!(project.run(&["up", "-d"]).code, Some(0));
    let json = "content-type: application/json\n";
    let not_json = "the body does not say that it is JSON: add the header 'content-type: application/json'";
    let paths = "there is nothing at this path: use /v1/snapshot, /v1/snapshots, /v1/events, /v1/logs, /v1/services/VERB, /v1/services/SERVICE/METHOD, /v1/events/EVENT, /v1/reload, /v1/scale, /v1/apply, /v1/attach or /v1/shutdown";
    let verbs = "services have no such verb: use start, stop or restart";
    let cases = [
        (get("/v1/nope"), 404, paths),
        (get("/"), 404, paths),
        (get("/v1/shutdown"), 405, "this path has another method: use POST"),
        (get("/v1/services/stop"), 405, "this path has another method: use POST"),
        (post("/v1/snapshot", json, "{}"), 405, "this path has another method: use GET"),
        (
            get("/v1/events?from=3"),
            400,
            "the query is wrong: from: unknown field `from`, expected `after` or `follow`",
        ),
        (get("/v1/events?after=x"), 400, "the query is wrong: after: invalid digit found in string"),
        (
            get("/v1/logs?follow=yes"),
            400,
            "the query is wrong: follow: provided string was not `true` or `false`",
        ),
        (
            get("/v1/logs?service=web"),
            400,
            "the query is wrong: service: unknown field `service`, expected one of `services`, `since`, `tail`, `follow`",
        ),
        (
            post("/v1/shutdown", json, "{"),
            400,
            "the body is wrong: EOF while parsing an object at line 1 column 1",
        ),
        (
            post("/v1/shutdown", json, ""),
            400,
            "the body is wrong: EOF while parsing a value at line 1 column 0",
        ),
        (post("/v1/shutdown", "", "{}"), 415, not_json),
        (
            post("/v1/services/stop", json, "{\"service\":[]}"),
            422,
            "the body is wrong: service: unknown field `service`, expected `services` or `wait` at line 1 column 10",
        ),
        (post("/v1/services/stopp", json, "{}"), 404, verbs),
        (post("/v1/services/%ff", json, "{}"), 404, verbs),
    ];
    for (request, status, message) in cases {
        let (answered, body) = call(&project, &request);
        assert_eq!(
            (answered, body),
            (status, serde_json::json!({"error": {"kind": "bad-request", "message": message}})),
            "{request}"
        );
    }
    let (status, unknown) = call(&project, &post("/v1/services/stop", json, "{\"services\":[\"wep\"]}"));
    assert_eq!((status, &unknown["error"]["kind"]), (404, &"unknown-service".into()));
    assert_eq!(project.service("web")["state"], "running", "none of these did anything");
    assert_eq!(project.run(&["down"]).code, Some(0));
}

#[test]
fn who_follows_hears_the_last_of_it() {
    let project = TestProject::new(TALKER);
    assert_eq!(project.run(&["up", "-d"]).code, Some(0));
    let mut logs = project.begin(&["logs", "-f"]);
    let mut events = project.begin(&["events", "-f"]);
    let mut stats = project.begin(&["stats", "-f", "--json"]);
    // Each has been answered, so each follows.
    logs.wait_for("the first word");
    events.wait_for("web running");
    stats.wait_for("\"running\"");
    assert_eq!(project.run(&["down"]).code, Some(0));
    let (code, text) = logs.end();
    assert_eq!((code, text.lines().last()), (Some(0), Some("web-1 | INFO the last word")), "{text}");
    let (code, text) = events.end();
    assert_eq!((code, text.lines().last()), (Some(0), Some("ended with exit code 0: as asked")), "{text}");
    let (code, text) = stats.end();
    let last: Value = serde_json::from_str(text.lines().last().expect("there is one")).expect("it is JSON");
    assert_eq!((code, &last["services"][0]["state"]), (Some(0), &"closed".into()), "{text}");
}

#[test]
fn who_does_not_listen_holds_nobody_up() {
    let project = TestProject::new(
        "  web: { runtime: js, code: \"export function start() { for (let i = 0; i < 20000; i++) console.log('x'.repeat(200)); }\\n\" }\n",
    );
    assert_eq!(project.run(&["up", "-d"]).code, Some(0));
    // One is told more than its socket holds and reads none of it; another has nothing to say.
    let mut deaf = connect(&project);
    deaf.write_all(get("/v1/logs?follow=true").replace('\n', "\r\n").as_bytes()).expect("it reads");
    let idle = connect(&project);
    let down = project.run(&["down", "--timeout", "30s"]);
    assert_eq!(down.code, Some(0), "{down:?}");
    project.wait_until_nothing_is_left();
    drop((deaf, idle));
}
