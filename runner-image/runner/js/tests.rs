//! The limits of a js service, with a watchdog that waits less long than the real one.

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;

use serde_json::Value;
use tempfile::TempDir;

use super::*;

/// Runs a job with this code to its end; returns how it ended and the last that it said.
fn run(code: &str, turn_limit: Duration) -> (Exit, Value) {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("main.js"), code).unwrap();
    let (host, mut runner) = UnixStream::pair().unwrap();
    let start = Start {
        socket: host.into(),
        asking: None,
        listening: None,
        secrets: BTreeMap::new(),
        folder: folder.path().into(),
        code: "main.js".into(),
        service: "test".into(),
        replica: 1,
        kind: Kind::Job,
        turn_limit,
    };
    let exit = start.load().and_then(Loaded::run).unwrap();
    // The engine is left as it is at the end, its end of the channel with it: so there is no end of file to wait for.
    runner.set_nonblocking(true).unwrap();
    let mut said = Vec::new();
    let _ = runner.read_to_end(&mut said);
    let last = said.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()).unwrap();
    (exit, serde_json::from_slice(last).unwrap())
}

/// The name and message of what a job ended with.
fn error(code: &str, turn_limit: Duration) -> String {
    let (exit, last) = run(code, turn_limit);
    assert_eq!(exit, Exit(1), "{last}");
    let part = |key| last["error"][key].as_str().unwrap();
    format!("{} {}: {}", last["type"].as_str().unwrap(), part("name"), part("message"))
}

#[test]
fn whatever_does_not_come_back_is_stopped() {
    for code in [
        "for (;;);",
        "try { for (;;); } finally { for (;;); }",
        "(function again() { Promise.resolve().then(again); })();",
        "setTimeout(() => { for (;;); });",
        "export function close() { for (;;); }",
        "throw { toString() { return 'no' }, toJSON() { for (;;); } };",
        "/^(a+)+$/.test('a'.repeat(64) + 'b');",
    ] {
        let error = error(code, Duration::from_millis(50));
        let stopped = "exception WatchdogError: a turn of the event loop took longer than 0.05 s";
        // What is stopped only while it is described keeps its own kind.
        assert!(
            error == stopped || code.starts_with("throw") && error.starts_with("failed Error: "),
            "{code}: {error}"
        );
    }
}

#[test]
fn what_takes_too_much_is_an_ordinary_exception() {
    let limit = Duration::from_secs(60);
    for (code, expected) in [
        (
            "(function deeper() { return 1 + deeper(); })();",
            "failed RangeError: Maximum call stack size exceeded",
        ),
        ("for (;;) setTimeout(() => {}, 1e6);", "failed RangeError: more than 100000 timers"),
        (
            "const all = []; for (;;) all.push('x'.repeat(1e6) + all.length);",
            "failed MemoryLimitError: out of memory: the heap reached its limit of 64 MiB",
        ),
        (
            "const all = []; async function more() { for (;;) all.push({}); }\nexport const start = () => more();",
            "failed MemoryLimitError: out of memory: the heap reached its limit of 64 MiB",
        ),
    ] {
        assert_eq!(error(code, limit), expected, "{code}");
    }
}

#[test]
fn out_of_memory_can_be_survived() {
    let code = "export function start() {\n  const all = [];\n  try { for (;;) all.push(new Array(1000).fill(0)); } catch { all.length = 0; }\n}";
    let (exit, last) = run(code, Duration::from_secs(60));
    assert_eq!((exit, &last["type"]), (Exit(0), &Value::from("started")));
}
