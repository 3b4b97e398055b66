//! When a replica gives up, who is named in `on_give_up` is told, once, outside of the project.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::thread;

use serde_json::{Value, json};

use crate::support::{TestProject, kill, wait_for};

/// A service that crashes until it gives up, at its second crash.
fn failing(on_give_up: &str) -> String {
    format!(
        "  web: {{ runtime: js, restart: {{ max: 1, backoff: 1ms }}, on_give_up: {on_give_up}, \
         code: \"throw new Error('no disk');\\n\" }}\n"
    )
}

/// A server that answers one request with this status; what it was sent, when it has.
fn server(status: &'static str) -> (u16, thread::JoinHandle<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let served = thread::spawn(move || {
        let (connection, _) = listener.accept().expect("somebody comes");
        answer(connection, status)
    });
    (port, served)
}

fn answer(connection: TcpStream, status: &str) -> (String, Value) {
    let mut connection = BufReader::new(connection);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).expect("a line");
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().expect("a number");
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).expect("a body");
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    connection.get_mut().write_all(text.as_bytes()).expect("it listens");
    (head, serde_json::from_slice(&body).expect("JSON"))
}

#[test]
fn a_command_is_run_once_as_the_user_and_knows_what_happened() {
    let project = TestProject::new(&failing("{ exec: [./tell.sh, one, two words] }"));
    project.write(
        "tell.sh",
        "#!/bin/sh
( echo \"$ORCHESTRATOR_PROJECT $ORCHESTRATOR_SERVICE $ORCHESTRATOR_REPLICA\"
  echo \"$ORCHESTRATOR_REASON\"
  echo \"$# $1 $2\"
  [ \"$(cut -d ' ' -f 6 /proc/$$/stat)\" = $$ ] && echo 'a session of its own'
  ls /proc/$$/fd | grep -c '^.$'
) >>told\n",
    );
    let (code, text) = project.up().end();
    assert_eq!(code, Some(1), "{text}");
    // The project ends when its only service has given up; the command is waited for.
    let told = fs::read_to_string(project.path().join("told")).expect("it was run");
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(
        lines,
        [
            "test web 1",
            "gave up after 2 crashes within 60 s: Error: no disk",
            "2 one two words",
            "a session of its own",
            "3"
        ],
        "{text}"
    );
    let own = fs::metadata("/proc/self").expect("it is there").uid();
    assert_eq!(fs::metadata(project.path().join("told")).expect("it is there").uid(), own);
    assert!(!text.contains("on_give_up"), "{text}");
}

#[test]
fn a_webhook_is_sent_what_happened() {
    let (port, served) = server("204 No Content");
    let project =
        TestProject::new(&failing(&format!("{{ webhook: 'http://127.0.0.1:{port}/alarm?of=shop' }}")));
    let (code, text) = project.up().end();
    assert_eq!(code, Some(1), "{text}");
    let (head, body) = served.join().expect("it was served");
    assert!(head.starts_with("POST /alarm?of=shop HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{head}");
    assert!(head.contains("content-type: application/json\r\n"), "{head}");
    let reason = "gave up after 2 crashes within 60 s: Error: no disk";
    assert_eq!(body, json!({ "project": "test", "service": "web", "replica": 1, "reason": reason }));
    assert!(!text.contains("on_give_up"), "{text}");
}

#[test]
fn what_fails_is_seen_and_harms_nobody() {
    let (port, served) = server("500 Internal Server Error");
    let services = failing(&format!("{{ exec: [sh, -c, exit 3], webhook: 'http://127.0.0.1:{port}/' }}"));
    let project = TestProject::new(&format!(
        "{services}  other: {{ runtime: js, code: \"export const greet = () => 'hello';\\n\" }}\n"
    ));
    let mut up = project.up();
    // Which of the two is over first is not known.
    let mut lines = [0, 1].map(|_| up.wait_for("web-1 gave up, and its 'on_give_up' failed: "));
    lines.sort_by_key(|line| line.contains("http://"));
    assert!(lines[0].ends_with("failed: sh exited with code 3"), "{lines:?}");
    let answered = format!("failed: http://127.0.0.1:{port}/ answered 500 Internal Server Error");
    assert!(lines[1].ends_with(&answered), "{lines:?}");
    served.join().expect("it was served");
    assert_eq!(project.run(&["call", "other", "greet"]).out, "\"hello\"\n");
    up.interrupt();
    up.end();
}

#[test]
fn a_service_that_says_nothing_of_it_does_what_the_top_says() {
    let service = "runtime: js, restart: { max: 0 }, code: \"throw new Error('no');\\n\"";
    let project = TestProject::new("");
    project.write(
        "manifest.yaml",
        &format!(
            "name: test\non_give_up: {{ exec: [sh, -c, 'echo $ORCHESTRATOR_SERVICE >>told-top'] }}\nservices:\n  \
             one: {{ {service} }}\n  two: {{ {service}, on_give_up: {{ exec: [sh, -c, 'echo two >>told-own'] }} }}\n"
        ),
    );
    let (code, text) = project.up().end();
    assert_eq!(code, Some(1), "{text}");
    let told = |file| fs::read_to_string(project.path().join(file)).unwrap_or_default();
    assert_eq!((told("told-top").as_str(), told("told-own").as_str()), ("one\n", "two\n"), "{text}");
}

#[test]
fn who_wants_the_end_at_once_does_not_wait_for_a_command() {
    let project = TestProject::new(&failing("{ exec: [sh, -c, 'echo $$$$ >pid; exec sleep 1000'] }"));
    let up = project.up();
    let pid = wait_for("the command", || {
        let pid = fs::read_to_string(project.path().join("pid")).unwrap_or_default();
        pid.trim().parse::<u32>().map_err(|_| pid)
    });
    // The second one: at once.
    up.interrupt();
    kill(up.pid(), "TERM");
    let (_, text) = up.end();
    assert!(!text.contains("took longer"), "{text}");
    wait_for("the command to be killed", || {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if command.is_empty() { Ok(()) } else { Err(String::from_utf8_lossy(&command).into_owned()) }
    });
}

#[test]
fn a_child_cannot_have_programs_of_the_host_run() {
    let project = TestProject::new(
        "  web:
    runtime: js
    permissions: { children: { max: 1 } }
    code: |
      import { children } from \"orchestrator\";
      const child = { name: \"c\", code: \"throw 1\", restart: { max: 0 }, on_give_up: { exec: [\"touch\", \"told\"] } };
      export const open = () => children.create(child);
",
    );
    let mut up = project.up();
    up.wait_for("web running");
    let said = project.run(&["call", "web", "open"]);
    assert!(said.err.contains("'on_give_up' is not for children"), "{said:?}");
    up.interrupt();
    up.end();
    assert!(!project.path().join("told").exists());
}
