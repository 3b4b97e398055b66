//! A service is replaced by what its files are now, and nobody who uses it notices.

use serde_json::{Value, json};

use crate::backends::on_both;
use crate::support::{Backend, TestProject, kill, wait_for};

on_both![
    calls_go_on_while_what_answers_them_is_replaced,
    a_call_that_is_under_way_is_answered_by_the_start_that_has_it,
    what_fails_to_start_leaves_the_old_start_serving_and_says_why,
];

/// Calls `web` from eight places, again and again, and notes what it hears.
const CALLER: &str = "
import { services } from 'orchestrator';
const heard = { calls: 0, failed: [], versions: [] };
async function go_on() {
  for (;;) {
    try {
      const version = await services.web.version();
      heard.calls += 1;
      if (!heard.versions.includes(version)) heard.versions.push(version);
    } catch (error) { heard.failed.push(String(error)); }
  }
}
export function start() { for (let i = 0; i < 8; i++) go_on(); }
export const report = () => heard;
";

const PROJECT: &str = "  web: { runtime: js, code: ./web.js }
  caller: { runtime: js, code: ./caller.js, depends_on: [web], permissions: { services: [{ name: web, call: ['*'] }] } }
";

/// A service that takes a moment to answer with this version.
fn write_version(project: &TestProject, version: &str) {
    let code = format!(
        "export const version = async () => {{ await new Promise((done) => setTimeout(done, 2)); return '{version}'; }};"
    );
    project.write("web.js", &code);
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("no JSON: {text}"))
}

fn generation(project: &TestProject, service: &str) -> u64 {
    project.service(service)["replicas"][0]["generation"].as_u64().expect("a number")
}

fn up(project: &TestProject) {
    let said = project.run(&["up", "-d", "manifest.yaml"]);
    assert_eq!(said.code, Some(0), "{said:?}");
}

fn report(project: &TestProject) -> Value {
    json_of(&project.run(&["call", "caller", "report"]).out)
}

fn calls_go_on_while_what_answers_them_is_replaced(backend: Backend) {
    let project = TestProject::on(backend, PROJECT);
    project.write("caller.js", CALLER);
    write_version(&project, "v1");
    up(&project);
    for version in ["v2", "v3", "v4", "v5", "v6"] {
        let before = report(&project)["calls"].as_u64().expect("a number");
        wait_for("it to be called", || {
            let report = report(&project);
            (report["calls"].as_u64() > Some(before)).then_some(()).ok_or(report.to_string())
        });
        write_version(&project, version);
        let said = project.run(&["reload", "web"]);
        assert_eq!((said.code, said.err.as_str()), (Some(0), "web: reloaded\n"));
        assert_eq!(project.run(&["call", "web", "version"]).out, format!("\"{version}\"\n"));
    }
    let report = wait_for("the last version to be heard", || {
        let report = report(&project);
        let heard = report["versions"].as_array().is_some_and(|versions| versions.len() == 6);
        heard.then_some(report.clone()).ok_or(report.to_string())
    });
    assert_eq!(report["failed"], json!([]));
    assert_eq!(report["versions"], json!(["v1", "v2", "v3", "v4", "v5", "v6"]));
    assert_eq!((generation(&project, "web"), generation(&project, "caller")), (6, 1));
    assert_eq!(project.run(&["down"]).code, Some(0));
    project.wait_until_nothing_is_left();
}

fn a_call_that_is_under_way_is_answered_by_the_start_that_has_it(backend: Backend) {
    let services = "  web: { runtime: js, code: ./web.js, permissions: { fs: { read: [./shared] } } }\n";
    let project = TestProject::on(backend, services);
    let code = |version: &str| {
        format!(
            "import {{ fs, log }} from 'orchestrator';
             const here = () => fs.stat('./shared/go').then(() => true, () => false);
             export async function slow() {{
               log.info('it has begun');
               while (!await here()) await new Promise((done) => setTimeout(done, 5));
               return '{version}';
             }}
             export const version = () => '{version}';"
        )
    };
    project.write("web.js", &code("old"));
    up(&project);
    let mut slow = project.begin(&["call", "web", "slow"]);
    let begun = || project.run(&["logs", "web"]).out;
    wait_for("the call to begin", || begun().contains("it has begun").then_some(()).ok_or_else(begun));
    project.write("web.js", &code("new"));
    let reload = project.begin(&["reload", "web"]);
    wait_for("the new start to be asked", || {
        let version = project.run(&["call", "web", "version"]).out;
        (version == "\"new\"\n").then_some(()).ok_or(version)
    });
    project.write("shared/go", "");
    slow.wait_for("\"old\"");
    assert_eq!(slow.end().0, Some(0));
    assert_eq!(reload.end(), (Some(0), "web: reloaded".to_owned()));
}

fn what_fails_to_start_leaves_the_old_start_serving_and_says_why(backend: Backend) {
    let project = TestProject::on(backend, PROJECT);
    project.write("caller.js", CALLER);
    write_version(&project, "v1");
    up(&project);
    project.write("web.js", "export function start() { throw new Error('v2 is broken'); }");
    let said = project.run(&["reload", "web"]);
    let why = "web-1 was not reloaded: Error: v2 is broken; what ran before runs on";
    assert_eq!((said.code, said.err), (Some(1), format!("error: {why}\n")));
    let events = project.run(&["events"]).out;
    assert!(events.contains("web-1 running: reloading\n"), "{events}");
    assert!(events.contains(why), "{events}");
    assert_eq!(project.run(&["call", "web", "version"]).out, "\"v1\"\n");
    assert_eq!((generation(&project, "web"), generation(&project, "caller")), (1, 1));
    assert_eq!(report(&project)["failed"], json!([]));
    write_version(&project, "v3");
    assert_eq!(project.run(&["reload", "web"]).code, Some(0), "and what is right then is taken");
    assert_eq!(project.run(&["call", "web", "version"]).out, "\"v3\"\n");
}

#[test]
fn a_signal_reloads_everything_that_runs_and_only_that() {
    let project = TestProject::new(
        "  web: { runtime: js, code: ./web.js }
  stopped: { runtime: js, code: ./web.js }
  job: { runtime: js, kind: job, code: \"export function start() {}\\n\" }
",
    );
    write_version(&project, "v1");
    let mut up = project.up();
    up.wait_for("all 3 services are up");
    assert_eq!(project.run(&["stop", "stopped"]).code, Some(0));
    write_version(&project, "v2");
    kill(up.pid(), "USR1");
    up.wait_for("reloading everything that runs");
    up.wait_for("web-1 reloaded");
    assert_eq!(project.run(&["call", "web", "version"]).out, "\"v2\"\n");
    assert_eq!((generation(&project, "stopped"), generation(&project, "job")), (1, 1));
    write_version(&project, "v3");
    let said = project.run(&["reload"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), "web: reloaded\n"));
    let said = project.run(&["reload", "stopped"]);
    assert_eq!(said.code, Some(0), "what does not run is started: {said:?}");
    assert_eq!(project.run(&["call", "stopped", "version"]).out, "\"v3\"\n");
    up.interrupt();
    assert_eq!(up.end().0, Some(0));
}

#[test]
fn what_cannot_be_reloaded_is_refused_in_one_line() {
    let project = TestProject::new(
        "  web: { runtime: js, code: ./web.js }
  seed: { runtime: js, kind: job, code: \"export function start() {}\\n\" }
",
    );
    write_version(&project, "v1");
    up(&project);
    for (services, error) in [
        (&["seed"][..], "error: 'seed' is a job, which runs to its end: use restart to run it again\n"),
        (&["web", "wep"][..], "error: no service is named 'wep': did you mean 'web'?\n"),
    ] {
        let said = project.run(&[&["reload"], services].concat());
        assert_eq!(said.err, error);
        assert_eq!(said.out, "");
    }
    assert_eq!(generation(&project, "web"), 1, "and nothing was done");
    assert_eq!(project.run(&["stop", "web"]).code, Some(0));
    assert_eq!(project.run(&["reload"]).err, "nothing runs that could be reloaded\n");
}

#[test]
fn a_replica_that_has_answered_enough_is_replaced_and_nobody_who_calls_notices() {
    let services = PROJECT.replace("code: ./web.js }", "code: ./web.js, recycle: { requests: 100 } }");
    let project = TestProject::new(&services);
    project.write("caller.js", CALLER);
    write_version(&project, "v1");
    up(&project);
    wait_for("it to be replaced twice", || {
        let generation = generation(&project, "web");
        (generation > 2).then_some(()).ok_or(generation.to_string())
    });
    assert_eq!(report(&project)["failed"], json!([]));
    assert_eq!(generation(&project, "caller"), 1);
    let events = project.run(&["events"]).out;
    let why = events.lines().find(|line| line.starts_with("web-1 running: reloading: "));
    assert!(why.is_some_and(|line| line.ends_with(" calls answered")), "{events}");
}

#[test]
fn a_replica_that_has_grown_too_large_or_too_old_is_replaced() {
    let project = TestProject::new(
        "  large: { runtime: js, code: ./large.js, recycle: { memory: 20MiB } }
  old: { runtime: js, code: ./web.js, recycle: { age: 1s } }
",
    );
    write_version(&project, "v1");
    let large =
        "let kept; export function grow() { kept = new Uint8Array(40 << 20).fill(1); return kept.length; }";
    project.write("large.js", large);
    up(&project);
    assert_eq!(project.run(&["call", "large", "grow"]).out, "41943040\n");
    let said = |why: &str| {
        wait_for(why, || {
            let events = project.run(&["events"]).out;
            events.contains(why).then_some(()).ok_or(events)
        });
    };
    said("old-1 running: reloading: has run for 1 s");
    said(" of memory, over 20 MiB");
    said("large-1 reloaded");
}
