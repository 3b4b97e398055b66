//! A sandbox has no network but what was granted: another service's port, an exact address; and what is not granted is
//! not there.

use std::io::Read;
use std::net::TcpStream;

use crate::support::{TestProject, greeter, missing};

/// A service that connects to each of these and prints what it is told.
fn caller(to: &[&str]) -> String {
    let calls: String = to.iter().map(|to| format!("      call('{to}')\n")).collect();
    format!(
        "    code: |\n      import socket\n      def call(to):\n          host, port = to.rsplit(':', 1)\n          try:\n              \
         with socket.create_connection((host.strip('[]'), int(port)), 10) as s: print(to, s.recv(99).decode().strip() or 'nothing')\n          \
         except Exception as error: print(to, type(error).__name__)\n{calls}"
    )
}

#[test]
fn what_is_granted_is_reached_and_nothing_else_is_there() {
    if missing("python3", "the network of a sandbox") {
        return;
    }
    let port = greeter();
    let granted = format!("127.0.0.1:{port}");
    let caller =
        caller(&["db:80", &granted, "127.0.0.1:80", "10.0.0.1:80", "example.com:80", "nobody.invalid:80"]);
    let project = TestProject::new(&format!(
        "  db:
    runtime: python
    ready: {{ tcp: 80 }}
    code: |
      import socket, threading
      server = socket.create_server(('127.0.0.1', 80))
      def serve():
          while True:
              caller, _ = server.accept()
              with caller: caller.sendall(b'hello from db')
      def start(): threading.Thread(target=serve, daemon=True).start()
  web:
    runtime: python
    kind: job
    depends_on: [db]
    permissions: {{ net: {{ connect: ['db:80', '{granted}', 'nobody.invalid:80'] }} }}
{caller}"
    ));
    let mut up = project.up();
    up.wait_for("web closed: completed");
    up.interrupt();
    let (code, text) = up.end();
    assert_eq!(code, Some(0), "{text}");
    for line in [
        "web-1 | db:80 hello from db",
        &format!("web-1 | {granted} hello from the host"),
        "web-1 | 127.0.0.1:80 ConnectionRefusedError",
        "web-1 | 10.0.0.1:80 OSError",
        "web-1 | example.com:80 gaierror",
        "web-1 | nobody.invalid:80 ConnectionResetError",
        "web-1 cannot reach nobody.invalid:80: ",
    ] {
        assert!(text.contains(line), "no '{line}' in {text}");
    }
}

#[test]
fn a_service_without_a_grant_has_no_sockets_and_what_it_listens_on_is_its_own() {
    if missing("python3", "the network of a sandbox") {
        return;
    }
    let port = greeter();
    let none = caller(&[&format!("127.0.0.1:{port}")]);
    let project = TestProject::new(&format!(
        "  none:
    runtime: python
    kind: job
{none}  own:
    runtime: python
    depends_on: [none]
    permissions: {{ net: {{ listen: [{port}] }} }}
    code: |
      import socket
      server = socket.create_server(('127.0.0.1', {port}))
      def start(): print('listens')
"
    ));
    let mut up = project.up();
    up.wait_for("listens");
    let mut told = String::new();
    TcpStream::connect(("127.0.0.1", port))
        .expect("it listens")
        .read_to_string(&mut told)
        .expect("it is text");
    assert_eq!(told, "hello from the host\n", "the service's port is not the host's");
    up.interrupt();
    let (_, text) = up.end();
    assert!(text.contains(&format!("none-1 | 127.0.0.1:{port} PermissionError")), "{text}");
}

#[test]
fn a_grant_that_no_service_listens_on_is_refused() {
    let project = TestProject::new(
        "  db: { runtime: js, code: \"export function start() {}\\n\" }
  web: { runtime: js, permissions: { net: { connect: ['db:80'] } }, code: \"export function start() {}\\n\" }
",
    );
    let check = project.run(&["check"]);
    assert_eq!(check.code, Some(2), "{check:?}");
    assert!(
        check
            .err
            .starts_with("error: service 'web' may connect to 'db:80', but 'db' does not listen there\n"),
        "{check:?}"
    );
    assert!(check.err.contains("fix: add 'permissions: { net: { listen: [80] } }' to 'db'\n"), "{check:?}");
}

#[test]
fn a_denial_names_the_line_that_would_allow_it() {
    if missing("node", "denials") || missing("python3", "denials") {
        return;
    }
    let project = TestProject::new(
        "  files: { runtime: python, restart: never, code: \"def start(): open('FOLDER/secret')\\n\" }
  names: { runtime: node, restart: never, code: \"import { lookup } from 'node:dns/promises';\\nexport const start = () => lookup('api.example.com');\\n\", permissions: { net: { listen: [1] } } }
",
    );
    let folder = project.path().join("shared").canonicalize().expect("it is there").display().to_string();
    project.write("shared/secret", "");
    let manifest = std::fs::read_to_string(project.path().join("manifest.yaml")).expect("it is there");
    project.write("manifest.yaml", &manifest.replace("FOLDER", &folder));
    let (code, text) = project.up().end();
    assert_eq!(code, Some(1), "{text}");
    for line in [
        format!(
            "files-1 may not read {folder}/secret; to allow it: services.files.permissions.fs.read: [\"{folder}/secret\"]"
        ),
        "names-1 may not find api.example.com; to allow it: services.names.permissions.net.connect: \
         [\"api.example.com:PORT\"]"
            .to_owned(),
    ] {
        assert!(text.contains(&line), "no '{line}' in {text}");
    }
}
