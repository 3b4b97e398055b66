//! Services start after what they depend on, close before it, and close when it crashes.

use std::process::{Child, Stdio};

use crate::backends::on_both;
use crate::support::{Backend, TestProject, Up, kill, missing, wait_for};

on_both![
    four_languages_start_in_order_and_close_in_reverse,
    independent_services_start_together,
    a_crash_closes_the_furthest_first_and_all_comes_back,
    over_its_budget_a_service_gives_up_and_what_depends_on_it_says_why,
    jobs_complete_before_what_waits_for_them_and_an_essential_end_ends_all,
    a_start_that_takes_too_long_says_how_far_it_came,
    an_unhealthy_service_is_a_crash_with_its_reason,
    an_exception_is_shown_with_the_services_own_files_and_lines,
];

fn place(states: &[(String, String)], service: &str, state: &str) -> usize {
    let found = states.iter().position(|(s, t)| s == service && t == state);
    found.unwrap_or_else(|| panic!("'{service}' was never {state}: {states:?}"))
}

fn four_languages_start_in_order_and_close_in_reverse(backend: Backend) {
    if backend == Backend::Process
        && (missing("node", "four languages") || missing("python3", "four languages"))
    {
        return;
    }
    let project = TestProject::on(backend,
        "  a: { runtime: exec, permissions: { subprocess: true }, code: \"#!/bin/sh\\necho a up; trap 'echo a down; exit 0' TERM; while :; do sleep 0.05; done\\n\" }
  b: { runtime: python, depends_on: [a], code: \"def start(): print('b up')\\ndef close(): print('b down')\\n\" }
  c: { runtime: node, depends_on: [b], code: \"export function start() { console.log('c up') }\\nexport function close() { console.log('c down') }\\n\" }
  d: { runtime: js, depends_on: [c], code: \"export function start() { console.log('d up') }\\nexport function close() { console.log('d down') }\\n\" }
",
    );
    let mut up = project.up();
    up.wait_for("all 4 services are up");
    up.interrupt();
    let (code, _) = up.end();
    assert_eq!(code, Some(0));
    let logs = project.run(&["logs", "--json"]).out;
    let texts: Vec<String> = logs
        .lines()
        .map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
            record["text"].as_str().expect("a text").to_owned()
        })
        // The shell tells that its sleep was ended along with it.
        .filter(|text| text != "Terminated")
        .collect();
    assert_eq!(texts, ["a up", "b up", "c up", "d up", "d down", "c down", "b down", "a down"]);
}

fn independent_services_start_together(backend: Backend) {
    // Each waits in its start for the other one's file: one after the other, neither would ever be up.
    let project = TestProject::on(backend,
        "  one: { runtime: exec, permissions: { subprocess: true, fs: { write: [{ path: ./shared, shared: true }] } }, ready: { log: met }, args: [one, two], code: ./wait }
  two: { runtime: exec, permissions: { subprocess: true, fs: { write: [{ path: ./shared, shared: true }] } }, ready: { log: met }, args: [two, one], code: ./wait }
",
    );
    let folder = project.path().join("shared").display().to_string();
    project.write("wait", &format!("#!/bin/sh\ntouch {folder}/$1; until test -e {folder}/$2; do sleep 0.02; done; echo met; exec sleep 1000\n"));
    let mut up = project.up();
    up.wait_for("all 2 services are up");
}

fn a_crash_closes_the_furthest_first_and_all_comes_back(backend: Backend) {
    let project = TestProject::on(backend, "");
    let flag = project.path().join("shared/crash").display().to_string();
    let chain = format!(
        "  b: {{ runtime: exec, permissions: {{ subprocess: true, fs: {{ write: [./shared] }} }}, code: \"#!/bin/sh\\nuntil rm {flag} 2>/dev/null; do sleep 0.02; done; exit 3\\n\", restart: {{ policy: on-failure, backoff: 10ms..1s, max: 5, within: 60s }} }}
  a: {{ runtime: js, depends_on: [b], code: \"export function start() {{}}\\n\" }}
  c: {{ runtime: js, depends_on: [a], code: \"export function start() {{}}\\n\" }}
  x: {{ runtime: js, depends_on: {{ b: {{ on_crash: ignore }} }}, code: \"export function start() {{}}\\n\" }}
"
    );
    project.write_manifest(&chain);
    let mut up = project.up();
    up.wait_for("all 4 services are up");
    let before = project.states().len();
    project.write("shared/crash", "");
    up.wait_for("b-1 crashed: exited with code 3");
    up.wait_for("c running");
    let states = project.states().split_off(before);
    assert!(place(&states, "c", "closed") < place(&states, "a", "closing"), "{states:?}");
    assert!(place(&states, "b", "running") < place(&states, "a", "running"), "{states:?}");
    assert!(!states.iter().any(|(service, _)| service == "x"), "x ignores the crash: {states:?}");
}

fn over_its_budget_a_service_gives_up_and_what_depends_on_it_says_why(backend: Backend) {
    let project = TestProject::on(backend,
        "  db: { runtime: exec, code: \"#!/bin/sh\\nexit 3\\n\", ready: { log: never }, restart: { policy: on-failure, backoff: 10ms..20ms, max: 2, within: 60s } }
  api: { runtime: js, depends_on: [db], code: \"export function start() {}\\n\" }
",
    );
    let (code, text) = project.up().end();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("db-1 gave up after 3 crashes within 60 s: exited with code 3"), "{text}");
    assert!(text.contains("api closed: blocked by db"), "{text}");
    assert!(text.contains("ended with exit code 1: nothing is left to run"), "{text}");
}

fn jobs_complete_before_what_waits_for_them_and_an_essential_end_ends_all(backend: Backend) {
    let project = TestProject::on(
        backend,
        "  migrate: { runtime: exec, kind: job, code: \"#!/bin/sh\\necho migrated\\n\" }
  api: { runtime: js, depends_on: [migrate], code: \"export function start() { console.log('serving') }\\n\" }
  main: { runtime: exec, kind: job, essential: true, depends_on: [api], code: \"#!/bin/sh\\nexit 7\\n\" }
",
    );
    let (code, text) = project.up().end();
    assert_eq!(code, Some(7), "{text}");
    assert!(text.contains("migrate closed: completed"), "{text}");
    assert!(text.contains("closing in order: the essential service main has ended"), "{text}");
    let logs = project.run(&["logs"]).out;
    assert!(logs.find("migrated") < logs.find("serving"), "{logs}");
}

fn a_start_that_takes_too_long_says_how_far_it_came(backend: Backend) {
    // Long enough that a container is there before, on a busy machine too.
    let project = TestProject::on(backend,
        "  web: { runtime: exec, code: \"#!/bin/sh\\nexec sleep 1000\\n\", ready: { tcp: 1 }, start_timeout: 5s, restart: never }
",
    );
    let (code, text) = project.up().end();
    assert_eq!(code, Some(1), "{text}");
    let told =
        "web-1 crashed: not ready after 5 s, while waiting for its readiness check: connection refused";
    assert!(text.contains(told), "{text}");
}

fn an_unhealthy_service_is_a_crash_with_its_reason(backend: Backend) {
    let project = TestProject::on(backend,
        "  web: { runtime: js, restart: never, alive: { interval: 20ms, failures: 2 }, code: \"export function health() { throw new Error('out of ink') }\\n\" }
",
    );
    let (code, text) = project.up().end();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("web-1 crashed: unhealthy 2 times in a row: "), "{text}");
    assert!(text.contains("out of ink"), "{text}");
}

fn an_exception_is_shown_with_the_services_own_files_and_lines(backend: Backend) {
    let project = TestProject::on(backend, "  web: { code: ./web.js, restart: never }\n");
    project.write("web.js", "export function start() {\n  setTimeout(() => { undefined.x; }, 1);\n}\n");
    let (code, text) = project.up().end();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("web-1 threw TypeError: "), "{text}");
    assert!(text.contains("web.js:2"), "{text}");
}

/// Writes more than pipes and queues hold, at once and at the end.
const LOUD: &str = "  web:
    runtime: js
    code: |
      const much = () => { for (let i = 0; i < 5000; i++) console.log('x'.repeat(200)); };
      export function start() { much(); }
      export function close() { much(); console.log('the last word'); }
";

/// Runs it, in a terminal that stands still; returns when the service runs.
fn run_unread(project: &TestProject) -> Child {
    let up = project.command(&["up"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    wait_for("web to run", || {
        let ps = project.run(&["ps"]).out;
        if ps.contains(" running ") { Ok(()) } else { Err(ps) }
    });
    up.expect("the orchestrator can be run")
}

fn ends_well(project: &TestProject, mut up: Child) {
    let ended = || up.try_wait().expect("it can be waited for").ok_or("it runs".to_owned());
    assert_eq!(wait_for("the end", ended).code(), Some(0));
    project.wait_until_nothing_is_left();
    let logs = project.run(&["logs", "--tail", "1"]).out;
    assert_eq!(logs, "web-1 | the last word\n", "it closed in order, and what was not shown is not lost");
}

#[test]
fn a_terminal_that_stands_still_holds_up_neither_signals_nor_the_end() {
    let project = TestProject::new(LOUD);
    let up = run_unread(&project);
    kill(up.id(), "TERM");
    ends_well(&project, up);
}

#[test]
fn everything_closes_in_order_when_nobody_reads_any_more() {
    let project = TestProject::new(LOUD);
    let mut up = run_unread(&project);
    drop(up.stdout.take());
    ends_well(&project, up);
}

#[test]
fn as_many_replicas_run_as_the_orchestrator_has_cores() {
    let project = TestProject::new(
        "  web: { runtime: js, replicas: cores, code: \"export const greet = () => 1;\\n\" }\n",
    );
    let status = std::fs::read_to_string("/proc/self/status").expect("it is there");
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("a list");
    let first = allowed.trim().split(['-', ',']).next().expect("a core");
    let all = std::thread::available_parallelism().expect("it is known").get();
    for (launcher, cores) in [(&[][..], all), (&["taskset", "-c", first], 1)] {
        if cores == 1 && missing("taskset", "one core") {
            continue;
        }
        let mut up = Up::begin(&mut project.command_through(launcher, &["up"]));
        up.wait_for("1 service is up");
        let replicas = project.service("web")["replicas"].as_array().expect("a list").len();
        assert_eq!(replicas, cores);
        up.interrupt();
        up.end();
    }
}
