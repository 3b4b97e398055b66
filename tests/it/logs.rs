//! What a service writes is kept, whole and in order, whatever it is.

use serde_json::Value;

use crate::support::{TestProject, kill};

fn job(script: &str) -> TestProject {
    let project = TestProject::new(
        "  job: { runtime: exec, permissions: { subprocess: true }, kind: job, code: ./job }\n",
    );
    project.write("job", &format!("#!/bin/sh\n{script}"));
    project
}

fn records(project: &TestProject) -> Vec<Value> {
    let logs = project.run(&["logs", "--json"]);
    logs.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn the_first_line_of_a_short_life_is_always_there() {
    for _ in 0..20 {
        let project = job("echo first\n");
        let (code, text) = project.up().end();
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("job-1 | first"), "{text}");
    }
}

#[test]
fn long_lines_strange_bytes_and_a_last_line_without_its_end() {
    let project = job(
        "head -c 1000000 /dev/zero | tr '\\0' x; echo; printf 'a\\377b\\n'; printf '\\033[2Jc\\n'; printf last\n",
    );
    assert_eq!(project.up().end().0, Some(0));
    let records = records(&project);
    let texts: Vec<&str> = records.iter().map(|record| record["text"].as_str().unwrap()).collect();
    let (long, rest) = texts.split_at(texts.len() - 3);
    assert_eq!(long.concat(), "x".repeat(1_000_000));
    assert!(records[0]["partial"].as_bool().unwrap());
    assert_eq!(rest, ["a\u{fffd}b", "\u{1b}[2Jc", "last"]);
    let numbers: Vec<u64> = records.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=records.len() as u64).collect::<Vec<_>>());
    let shown = project.run(&["logs", "--tail", "2"]).out;
    assert_eq!(shown, "job-1 | ^[[2Jc\njob-1 | last\n", "a person's terminal is not at the service's mercy");
}

#[test]
fn both_streams_are_told_apart() {
    let project = job("echo out; echo err >&2\n");
    assert_eq!(project.up().end().0, Some(0));
    let mut streams: Vec<_> =
        records(&project).iter().map(|r| format!("{}:{}", r["stream"], r["text"])).collect();
    streams.sort();
    assert_eq!(streams, ["\"stderr\":\"err\"", "\"stdout\":\"out\""]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let project = job("seq 1 20000\n");
    assert_eq!(project.up().end().0, Some(0));
    let mut command = project.command(&["logs"]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn escapes_are_shown_and_not_obeyed() {
    let project = job("printf 'a\\033]0;title\\007b\\n'\n");
    assert_eq!(project.up().end().0, Some(0));
    let logs = project.run(&["logs"]).out;
    assert!(logs.contains("title") && !logs.contains("\u{1b}]") && !logs.contains('\u{7}'), "{logs:?}");
    assert_eq!(records(&project)[0]["text"], "a\u{1b}]0;title\u{7}b", "a program is given all of it");
}

#[test]
fn what_was_written_outlives_kill_9_of_the_orchestrator() {
    let project = TestProject::new(
        "  web: { runtime: exec, code: \"#!/bin/sh\\necho before the end\\nexec sleep 1000\\n\" }\n",
    );
    let mut up = project.up();
    up.wait_for("web-1 | before the end");
    kill(up.pid(), "KILL");
    project.wait_until_nothing_is_left();
    let logs = project.run(&["logs"]);
    assert_eq!(logs.code, Some(0), "{logs:?}");
    assert!(logs.out.contains("before the end"), "{logs:?}");
}

#[test]
fn since_takes_a_while_or_a_time() {
    let project = job("echo said\n");
    assert_eq!(project.up().end().0, Some(0));
    let since = |when| project.run(&["logs", "--since", when]);
    for (when, shown) in [
        ("10m", "job-1 | said\n"),
        ("2026-01-01T00:00:00Z", "job-1 | said\n"),
        ("2999-01-01T00:00:00+01:00", ""),
    ] {
        assert_eq!(since(when).out, shown, "{when}");
    }
    let wrong = since("2026-01-01T00:00:00");
    assert_eq!(wrong.code, Some(2));
    let expected = "error: invalid value '2026-01-01T00:00:00' for '--since <WHEN>': write a while, such as 10m, or a time with its offset, such as 2026-11-20T10:00:00Z\n";
    assert!(wrong.err.starts_with(expected), "{wrong:?}");
}

#[test]
fn output_can_be_opened_by_its_path() {
    // As many programs do whose log is a file.
    let project = job("echo out > /dev/stdout\necho err > /dev/stderr\necho again >> /proc/self/fd/1\n");
    let (code, text) = project.up().end();
    assert_eq!(code, Some(0), "{text}");
    for said in ["job-1 | out", "job-1 | err", "job-1 | again"] {
        assert!(text.contains(said), "{text}");
    }
}
