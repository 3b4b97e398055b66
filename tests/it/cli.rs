//! The verbs, as somebody at a terminal meets them.

use crate::support::TestProject;

const THREE: &str = "  db: { runtime: js, code: \"export function start() {}\\n\" }
  api: { runtime: js, depends_on: [db], code: \"export function start() {}\\n\" }
  web: { runtime: js, depends_on: [api], code: \"export function start() {}\\n\" }
";

#[test]
fn a_project_in_the_background() {
    let project = TestProject::new(THREE);
    let up = project.run(&["up", "-d"]);
    assert_eq!((up.code, up.out.matches(" running ").count()), (Some(0), 3), "{up:?}");
    let second = project.run(&["up", "-d"]);
    let said = "project 'test' runs already: it becomes what its manifest says now\nnothing has changed\n";
    assert_eq!((second.code, second.err.as_str()), (Some(0), said));
    let restart = project.run(&["restart", "api"]);
    assert_eq!((restart.code, restart.err.as_str()), (Some(0), "api: running\n"));
    assert_eq!(project.service("web")["replicas"][0]["generation"], 2, "what depends on it went with it");
    assert_eq!(project.service("db")["replicas"][0]["generation"], 1);
    assert_eq!(project.run(&["stop", "api"]).code, Some(0));
    assert_eq!(project.service("web")["why"]["why"], "blocked-by");
    assert_eq!(project.run(&["start", "web"]).code, Some(0));
    assert_eq!(project.service("web")["state"], "running");
    let unknown = project.run(&["stop", "wep"]);
    assert_eq!(
        (unknown.code, unknown.err.as_str()),
        (Some(2), "error: no service is named 'wep': did you mean 'web'?\n")
    );
    assert_eq!(
        project.run(&["graph"]).out,
        "web (running)\n└── ready: api (running)\n    └── ready: db (running)\n"
    );
    let stats = project.run(&["stats"]).out;
    assert!(
        stats.lines().count() == 6 && stats.contains("\ntotal ") && stats.contains("\nhost: "),
        "{stats}"
    );
    let down = project.run(&["down"]);
    assert_eq!(down.code, Some(0));
    assert!(down.err.ends_with("project 'test' is down\n"), "{down:?}");
    project.wait_until_nothing_is_left();
}

#[test]
fn what_does_not_run_says_so() {
    let project = TestProject::new(THREE);
    let ps = project.run(&["ps"]);
    assert_eq!(ps.code, Some(3));
    assert_eq!(ps.err, "error: project 'test' is not running\n  fix: start it with 'orchestrator up'\n");
    let logs = project.run(&["logs"]);
    assert_eq!(logs.code, Some(3));
    assert!(logs.err.starts_with("error: project 'test' has never run here: there is no log\n"), "{logs:?}");
}

#[test]
fn a_background_start_that_fails_says_why() {
    let project = TestProject::new(
        "  web: { runtime: exec, kind: job, code: \"#!/bin/sh\\nexit 9\\n\" }\n  rest: { runtime: js, code: \"export function start() {}\\n\" }\n",
    );
    let up = project.run(&["up", "-d"]);
    assert_eq!(up.code, Some(1), "{up:?}");
    assert!(up.err.contains("error: web: failed: exited with code 9\n"), "{up:?}");
    assert_eq!(project.run(&["down"]).code, Some(0));
}

#[test]
fn a_wait_has_a_limit() {
    let project = TestProject::new(
        "  web: { runtime: js, code: \"export const start = () => new Promise((done) => setTimeout(done, 1e9))\\n\" }\n",
    );
    let up = project.run(&["up", "-d", "--timeout", "3s"]);
    assert_eq!(up.code, Some(4), "{up:?}");
    assert!(up.err.starts_with("error: still waiting for web\n"), "{up:?}");
    assert_eq!(project.run(&["down"]).code, Some(0));
}

#[test]
fn a_missing_program_is_told_before_anything_starts() {
    let project = TestProject::new(
        "  web: { runtime: nope, code: ./web.nope }\n  first: { runtime: js, code: \"export function start() {}\\n\" }\n",
    );
    project.write("web.nope", "");
    project.write(
        "plugins/nope/plugin.yaml",
        "name: nope\nabout: Nothing\nruntime:\n  command: [no-such-program, \"{code}\"]\n  protocol: none\n  needs: install it\n",
    );
    let up = project.run(&["up"]);
    assert_eq!(up.code, Some(2), "{up:?}");
    assert_eq!(
        up.err,
        "error: service 'web' needs the program 'no-such-program', which is not on PATH: install it\n"
    );
}

#[test]
fn check_schema_plugins_and_completions() {
    let project = TestProject::new(THREE);
    assert_eq!(project.run(&["check"]).out, "manifest.yaml: 3 services, 0 jobs, no problems\n");
    let schema: serde_json::Value = serde_json::from_str(&project.run(&["schema"]).out).expect("JSON");
    let committed = include_str!("../../docs/manifest.schema.json");
    assert_eq!(schema, serde_json::from_str::<serde_json::Value>(committed).expect("JSON"));
    let plugins = project.run(&["plugin", "list"]).out;
    for name in ["exec", "js", "node", "python"] {
        assert!(plugins.lines().any(|line| line.starts_with(&format!("{name} "))), "{plugins}");
    }
    assert!(project.run(&["completions", "bash"]).out.contains("_orchestrator"));
    assert_eq!(project.run(&["plugin", "new", "tiny"]).code, Some(0));
    let script = "  tiny: { runtime: tiny, permissions: { subprocess: true }, code: ./main.tiny }\n";
    project.write("manifest.yaml", &format!("name: test\nservices:\n{script}"));
    project.write("main.tiny", "start() { echo tiny is up; }\nclose() { echo tiny is down; }\n");
    let mut up = project.up();
    up.wait_for("tiny is up");
    up.interrupt();
    let (code, text) = up.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("tiny is down"), "{text}");
}

#[test]
fn explain_shows_what_a_service_finds_and_may_do() {
    let project = TestProject::new(
        "  web:
    runtime: js
    code: \"export function start() {}\\n\"
    permissions:
      fs: { read: [./shared], scratch: { size: 2MiB } }
      net: { connect: ['db:80'] }
      services: [{ name: db, call: [get, 'user.*'] }]
      children: { max: 4 }
      limits: { memory: 64MiB, fds: 99, logs: 1MiB/s }
      env: { LOG_LEVEL: info }
  db: { runtime: js, permissions: { net: { listen: [80] } }, code: \"export function start() {}\\n\" }
",
    );
    let shared = project.path().join("shared").canonicalize().expect("it is there").display().to_string();
    let expected = format!(
        "web (js), sandbox: strict
  /service                     its code: read, execute
  /tmp                         read, write; in memory, 2.0 MiB in 4096 files
  {shared:<28} read
  /etc, /proc, /dev            its own: made for it
  connects to                  db:80
  listens on                   nothing
  calls                        db.get, db.user.*
  opens                        up to 4 children
  starts                       no process
  limits                       memory 64.0 MiB, fds 99, logs 1.0 MiB/s
  environment                  PATH= HOME TMPDIR LANG TZ LOG_LEVEL
"
    );
    assert_eq!(project.run(&["explain", "web"]).out, expected);
    let json: serde_json::Value =
        serde_json::from_str(&project.run(&["explain", "web", "--json"]).out).expect("JSON");
    assert_eq!(
        (&json["sandbox"], &json["permissions"]["net"]["connect"][0]),
        (&"strict".into(), &"db:80".into())
    );
    let unknown = project.run(&["explain", "wep"]);
    assert_eq!(
        (unknown.code, unknown.err.as_str()),
        (Some(2), "error: no service is named 'wep'\n  fix: there are: db, web\n")
    );
}

#[test]
fn a_file_that_cannot_be_read_is_told_in_one_line_with_the_fix() {
    let project = TestProject::new(THREE);
    std::fs::create_dir(project.path().join("empty")).expect("a folder can be made");
    project.write("odd/manifest.yaml", "services: {}\n");
    std::fs::create_dir(project.path().join("odd/.env")).expect("a folder can be made");
    let missing = "No such file or directory (os error 2)\n  fix: name a manifest that is there, or a folder with one in it\n";
    let expected = "expected orchestrator.yaml, orchestrator.yml or manifest.yaml, or name the file\n  fix: write one: see docs/manifest.md, or begin with manifests/hello.yaml\n";
    let cases = [
        ("nope.yaml", format!("error: cannot read nope.yaml: {missing}")),
        ("nope/manifest.yaml", format!("error: cannot read nope/manifest.yaml: {missing}")),
        ("empty", format!("error: no manifest in empty: {expected}")),
        (
            "odd",
            "error: cannot read odd/.env: Is a directory (os error 21)\n  fix: put a file in the place of odd/.env\n"
                .to_owned(),
        ),
    ];
    for (file, text) in cases {
        for verb in ["up", "check", "graph"] {
            let said = project.run(&[verb, file]);
            assert_eq!((said.code, said.err.as_str()), (Some(2), text.as_str()), "{verb} {file}");
        }
    }
    let here =
        project.command(&["check"]).current_dir(project.path().join("empty")).output().expect("it runs");
    assert_eq!(here.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&here.stderr),
        format!("error: no manifest in this folder: {expected}")
    );
}

#[test]
fn a_folder_stands_for_the_manifest_in_it_with_its_code_and_plugins() {
    let project = TestProject::new("");
    let service = "  tiny: { runtime: tiny, permissions: { subprocess: true }, code: ./main.tiny }\n";
    project.write("below/orchestrator.yaml", &format!("name: test\nservices:\n{service}"));
    project.write("below/main.tiny", "start() { echo tiny is up; }\n");
    let below = project.path().join("below");
    let made = project.command(&["plugin", "new", "tiny"]).current_dir(&below).status().expect("it runs");
    assert!(made.success());
    assert_eq!(project.run(&["check", "below"]).out, "orchestrator.yaml: 1 service, 0 jobs, no problems\n");
    assert!(project.run(&["plugin", "list", "--file", "below"]).out.contains("\ntiny "));
    let mut up = project.up_of("below");
    up.wait_for("tiny-1 | tiny is up");
    assert!(project.run(&["--file", "below", "ps"]).out.contains("tiny-1"));
    up.interrupt();
    assert_eq!(up.end().0, Some(0));
}

#[test]
fn the_examples_of_the_page_are_true() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/cli.md")).expect("it can be read");
    let blocks = page.split("```console\n").skip(1).filter_map(|block| block.split("```").next());
    let examples: Vec<_> = blocks.flat_map(|block| block.split("$ orchestrator ").skip(1)).collect();
    let project = TestProject::new("");
    let mut tried = 0;
    for example in examples {
        let (line, shown) = example.split_once('\n').expect("it has a command");
        let arguments: Vec<_> = line.split(' ').collect();
        // What the others say depends on the moment and the host.
        if ["check", "explain", "graph", "plugin"].contains(&arguments[0]) {
            let said = project.command(&arguments).current_dir(root).output().expect("it runs");
            assert_eq!(String::from_utf8_lossy(&said.stdout), shown, "{line}");
            tried += 1;
        }
    }
    assert_eq!(tried, 5);
}
