//! Every manifest that people start from is right, and does what it says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{TestProject, missing};

fn manifests() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    let files = fs::read_dir(folder).expect("it is there").map(|file| file.expect("it can be read").path());
    let mut manifests: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|ending| ending == "yaml")).collect();
    manifests.sort();
    manifests
}

#[test]
fn every_sample_is_right() {
    let project = TestProject::new("");
    for manifest in manifests() {
        let check = project.run(&["check", &manifest.display().to_string()]);
        assert_eq!(check.code, Some(0), "{}: {check:?}", manifest.display());
    }
}

#[test]
fn every_sample_is_valid_by_an_independent_validator() {
    let libraries = Command::new("python3").args(["-c", "import jsonschema, yaml"]).output();
    if !libraries.is_ok_and(|output| output.status.success()) {
        println!("skipped: the independent schema validator needs python3 with jsonschema and yaml");
        return;
    }
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/manifest.schema.json");
    let program = "import json, sys, yaml, jsonschema\nschema = json.load(open(sys.argv[1]))\nfor name in sys.argv[2:]:\n    jsonschema.validate(yaml.safe_load(open(name)), schema)\n";
    let output = Command::new("python3")
        .args(["-c", program])
        .arg(schema)
        .args(manifests())
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn hello_greets_in_order_and_leaves_in_reverse() {
    let hello = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/hello.yaml");
    let project = TestProject::new("");
    let up = project.run(&["up", "-d", &hello.display().to_string()]);
    assert_eq!(up.code, Some(0), "{up:?}");
    assert_eq!(project.run(&["down", "-p", "hello"]).code, Some(0));
    let logs = project.run(&["logs", "-p", "hello"]).out;
    let who: Vec<&str> = logs.lines().map(|line| line.split('-').next().unwrap_or_default()).collect();
    assert_eq!(who, ["sun", "tree", "bird", "bird", "tree", "sun"], "{logs}");
}

fn sample(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests").join(name).display().to_string()
}

#[test]
fn polyglot_runs_four_languages_side_by_side() {
    if missing("node", "polyglot") || missing("python3", "polyglot") {
        return;
    }
    let project = TestProject::new("");
    let mut up = project.up_of(&sample("polyglot.yaml"));
    up.wait_for("all 4 services are up");
    up.interrupt();
    let (code, text) = up.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(place(&text, "shell running") < place(&text, "snake running"), "{text}");
    assert!(place(&text, "node running") < place(&text, "quick running"), "{text}");
}

#[test]
fn cascade_closes_the_furthest_first_and_gives_up_in_the_end() {
    let project = TestProject::new("");
    let mut up = project.up_of(&sample("cascade.yaml"));
    up.wait_for("db-1 gave up after 3 crashes within 60 s: Error: the disk is on fire");
    up.wait_for("api closed: blocked by db");
    up.interrupt();
    let (_, text) = up.end();
    assert!(place(&text, "web closing: closed by db") < place(&text, "api closing: closed by db"), "{text}");
    assert!(!text.contains("metrics closing: closed by"), "it does not mind: {text}");
    for service in ["db", "api", "web"] {
        let times = text.lines().filter(|line| *line == format!("{service} running")).count();
        assert_eq!(times, 3, "{service} comes back twice: {text}");
    }
}

#[test]
fn jobs_end_with_the_last_one() {
    let project = TestProject::new("");
    let (code, text) = project.up_of(&sample("jobs.yaml")).end();
    assert_eq!(code, Some(0), "{text}");
    let order =
        ["schema closed: completed", "seed closed: completed", "shop running", "report closed: completed"];
    let places = order.map(|line| place(&text, line));
    assert!(places.is_sorted(), "{text}");
}

#[test]
fn the_example_embeds_a_manager() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["run", "--quiet", "--example", "embed"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for line in
        ["greeter-1: hello from greeter\n", "visitor-1: here I am, and gone\n", "ended with exit code 0\n"]
    {
        assert!(text.contains(line), "{text}");
    }
}

/// Where a line is, in a text that has it.
fn place(text: &str, line: &str) -> usize {
    text.find(line).unwrap_or_else(|| panic!("no '{line}' in {text}"))
}

#[test]
fn a_fifth_language_is_one_folder() {
    if missing("perl", "a fifth language") {
        return;
    }
    let project = TestProject::new("  greeter: { code: ./greeter.pl }\n");
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/plugins/perl");
    for file in ["plugin.yaml", "host.pl"] {
        let text = fs::read_to_string(plugin.join(file)).expect("the example is there");
        project.write(&format!("plugins/perl/{file}"), &text);
    }
    project.write(
        "greeter.pl",
        "sub start { print \"perl is up\\n\"; }\nsub close { print \"perl is down\\n\"; }\n1;\n",
    );
    let mut up = project.up();
    up.wait_for("perl is up");
    up.interrupt();
    assert_eq!(up.end().0, Some(0));
}

#[test]
fn a_shared_resource_is_used_by_every_worker_and_loses_nothing() {
    let project = TestProject::new("");
    let mut up = project.begin(&["up", &sample("shared-resource.yaml")]);
    // A worker that becomes ready later than the others may have had none.
    let told = up.wait_for("200 deposits by ");
    assert!(told.ends_with(" workers: ann has 200"), "{told}");
    up.interrupt();
    let (code, text) = up.end();
    assert_eq!(code, Some(0), "{text}");
    for milestone in ["served 100 deposits", "served 200 deposits"] {
        assert_eq!(text.matches(milestone).count(), 1, "{text}");
    }
}
