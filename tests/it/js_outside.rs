//! A js service reaches files, hosts and secrets as far as its manifest grants them, and who watches reads what it may not.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use crate::support::TestProject;

/// A server on the host's own loopback that answers every request with its first line; answers with its port.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    thread::spawn(move || {
        for mut caller in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let count = caller.read(&mut request).unwrap_or_default();
            let line = request[..count].split(|&byte| byte == b'\r').next().unwrap_or_default();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", line.len());
            let _ = caller.write_all(&[head.as_bytes(), line].concat());
        }
    });
    port
}

#[test]
fn what_is_granted_works_by_the_names_that_the_manifest_uses() {
    let port = echo();
    let project = TestProject::new(&format!(
        "  web:
    runtime: js
    kind: job
    permissions:
      fs: {{ read: [./assets], write: [./shared] }}
      net: {{ connect: ['127.0.0.1:{port}'] }}
      secrets: [{{ name: pw, file: ./secret/pw }}]
    code: |
      import {{ fs, secrets }} from 'orchestrator';
      const greeting = await fs.readText('./assets/greeting');
      await fs.writeText('./shared/copy', greeting);
      const answer = await fetch('http://127.0.0.1:{port}/hello');
      console.log(answer.status, await answer.text(), secrets.get('pw').length);
"
    ));
    project.write("assets/greeting", "good day");
    project.write("secret/pw", "canary-pw");
    let (code, text) = project.up().end();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("web-1 | 200 GET /hello HTTP/1.1 9\n"), "{text}");
    assert_eq!(fs::read_to_string(project.path().join("shared/copy")).expect("it is there"), "good day");
}

#[test]
fn what_is_denied_is_told_with_its_line_caught_or_not() {
    let project = TestProject::new(
        "  web:
    runtime: js
    restart: never
    permissions: { fs: { read: [./assets] } }
    code: |
      import { fs, fetch, secrets } from 'orchestrator';
      export async function start() {
        await fs.writeText('./assets/new', 'x').catch((error) => console.log('caught', error.code));
        await fetch('https://api.example.com/v1').catch((error) => console.log('caught', error.code));
        console.log(typeof globalThis.fetch);
        secrets.get('token');
      }
",
    );
    project.write("assets/greeting", "good day");
    let (code, text) = project.up().end();
    assert_eq!(code, Some(1), "{text}");
    let assets = project.path().canonicalize().expect("it is there").join("assets/new");
    let assets = assets.display();
    for line in [
        "web-1 | caught denied\n",
        "web-1 | undefined\n",
        &format!(
            "web-1 may not write {assets}; to allow it: services.web.permissions.fs.write: [\"{assets}\"]\n"
        ),
        "web-1 may not connect to api.example.com:443; to allow it: services.web.permissions.net.connect: \
         [\"api.example.com:443\"]\n",
        "web-1 crashed: Error: web may not read the secret 'token'; to allow it: services.web.permissions.secrets: \
         [{ name: token, file: PATH }]\n",
    ] {
        assert!(text.contains(line), "no '{line}' in {text}");
    }
}

#[test]
fn a_turn_that_never_ends_is_a_crash_that_names_the_limit() {
    let project = TestProject::new(
        "  web: { runtime: js, restart: never, code: \"setTimeout(() => { for (;;); }, 1);\\n\" }\n",
    );
    let (code, text) = project.up().end();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("WatchdogError: a turn of the event loop took longer than 10 s"), "{text}");
}

#[test]
fn every_global_works_in_the_sandbox_as_it_does_without() {
    let project = TestProject::new("  web: { runtime: js, kind: job, code: ./globals.js }\n");
    project.write("globals.js", include_str!("../../runner-image/runner/tests/conformance/globals.js"));
    let (code, text) = project.up().end();
    assert_eq!(code, Some(0), "{text}");
    let said: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("web-1 | ")).collect();
    let meant = include_str!("../../runner-image/runner/tests/conformance/globals.txt");
    assert_eq!(said.join("\n"), meant.trim_end());
}
