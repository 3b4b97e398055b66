//! A secret reaches its service as a file, and nothing else: no argument, environment, state, log or answer has it.

use std::fs;
use std::path::Path;

use crate::support::{TestProject, missing};

const CANARY: &str = "canary-7f3a9c2e";

/// The files below a folder that have the canary in them.
fn with_canary(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            with_canary(&path, found);
        } else if fs::read(&path).is_ok_and(|bytes| contains(&bytes)) {
            found.push(path.display().to_string());
        }
    }
}

fn contains(bytes: &[u8]) -> bool {
    bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes())
}

/// The processes that show the canary to whoever looks.
fn shown_by_processes() -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        for file in ["cmdline", "environ"] {
            let path = entry.path().join(file);
            if fs::read(&path).is_ok_and(|bytes| contains(&bytes)) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn a_secret_is_in_its_file_and_nowhere_else() {
    if missing("python3", "secrets") {
        return;
    }
    let project = TestProject::new(
        "  web:
    runtime: python
    restart: never
    permissions: { secrets: [{ name: db_pw, file: ./shared/pw }] }
    code: |
      import os, threading
      text = open(os.environ['CREDENTIALS_DIRECTORY'] + '/db_pw').read()
      def start():
          print('read', len(text), 'and said', text)
          threading.Timer(0.2, fail).start()
      def fail(): raise ValueError('the password is ' + text)
",
    );
    project.write("shared/pw", &format!("{CANARY}\n"));
    let up = project.command(&["up", "-v"]).env("RUST_LOG", "trace").output().expect("it runs");
    let (out, err) = (String::from_utf8_lossy(&up.stdout), String::from_utf8_lossy(&up.stderr));
    assert!(out.contains("web-1 | read 16 and said [secret db_pw]"), "{out}{err}");
    assert!(err.contains("ValueError: the password is [secret db_pw]"), "{err}");
    assert!(!contains(&up.stdout) && !contains(&up.stderr), "{out}{err}");
    let mut found = Vec::new();
    for folder in ["run", "state", "home"] {
        with_canary(&project.path().join(folder), &mut found);
    }
    assert_eq!(found, [""; 0]);
}

#[test]
fn while_it_runs_no_process_and_no_answer_shows_it() {
    let project = TestProject::new(
        "  web: { runtime: js, permissions: { secrets: [{ name: pw, file: ./shared/pw }] }, code: \"export function start() {}\\n\" }\n",
    );
    project.write("shared/pw", CANARY);
    assert_eq!(project.run(&["up", "-d"]).code, Some(0));
    assert_eq!(shown_by_processes(), [""; 0]);
    for question in
        [&["ps", "--json"][..], &["events", "--json"], &["logs", "--json"], &["explain", "web", "--json"]]
    {
        assert!(!project.run(question).out.contains(CANARY), "{question:?}");
    }
    let mut found = Vec::new();
    for folder in ["run", "state"] {
        with_canary(&project.path().join(folder), &mut found);
    }
    assert_eq!(found, [""; 0]);
    assert_eq!(project.run(&["down"]).code, Some(0));
}

#[test]
fn a_secret_that_is_not_there_is_told_before_anything_starts() {
    let project = TestProject::new(
        "  web: { runtime: js, permissions: { secrets: [{ name: pw, env: NO_SUCH_VARIABLE }] }, code: \"export function start() {}\\n\" }\n",
    );
    let up = project.run(&["up"]);
    assert_eq!(up.code, Some(2), "{up:?}");
    assert_eq!(
        up.err,
        "error: service 'web' cannot be given what it is granted: the secret 'pw' is kept in the variable NO_SUCH_VARIABLE, \
         which is not set\n"
    );
}
