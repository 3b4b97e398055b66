//! Programs that attach to the control socket: what they may have, what they call, and what is left of them.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::TestProject;

const WEB: &str = "
  web:
    runtime: js
    code: |
      import { services, on, emit, config } from 'orchestrator';
      const said = async (call) => { try { return await call; } catch (e) { return `${e.code}: ${e.message}`; } };
      on('bill.*', (data, { from }) => console.log(`heard ${JSON.stringify(data)} of ${from}`));
      export const pay = (x) => said(services.billing.charge(x));
      export const hello = (who) => `hello ${who}`;
      export const tell = () => emit('web.told', 1);
      export const limit = () => config.get('limit');
    permissions:
      services: [{ name: billing, call: [charge], hear: ['*'] }]
";

/// A program in the test's own hands.
struct Program(BufReader<UnixStream>);

impl Program {
    fn attach(project: &TestProject) -> Self {
        let socket = project.path().join("run/orchestrator/test/control.sock");
        let stream = UnixStream::connect(socket).expect("it is served");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time can be set");
        let mut program = Self(BufReader::new(stream));
        let request = "GET /v1/attach HTTP/1.1\r\nHost: orchestrator\r\nConnection: Upgrade\r\n\
                       Upgrade: orchestrator-link\r\n\r\n";
        program.0.get_mut().write_all(request.as_bytes()).expect("it can be written");
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(program.0.read_line(&mut head).expect("it answers"), 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        program
    }

    fn say(&mut self, message: &Value, payload: &str) {
        let mut message = message.clone();
        if !payload.is_empty() {
            message["payload"] = payload.len().into();
        }
        let text = format!("{message}\n{payload}");
        self.0.get_mut().write_all(text.as_bytes()).expect("it can be written");
    }

    /// The next message, and its payload; none at the end.
    fn hear(&mut self) -> Option<(Value, String)> {
        let mut line = String::new();
        if self.0.read_line(&mut line).expect("it can be read") == 0 {
            return None;
        }
        let message: Value = serde_json::from_str(&line).expect("JSON");
        let length = message["payload"].as_u64().unwrap_or_default();
        let mut payload = vec![0; usize::try_from(length).expect("a length")];
        self.0.read_exact(&mut payload).expect("all of it comes");
        Some((message, String::from_utf8(payload).expect("text")))
    }

    /// Says something, and what it was answered.
    fn ask(&mut self, message: &Value, payload: &str) -> (Value, String) {
        self.say(message, payload);
        self.hear().expect("there is an answer")
    }

    fn offer(&mut self, rev: u64, services: &[&str]) -> (Value, String) {
        let services = services.iter().map(|name| json!({ "name": name, "methods": ["charge"] }));
        let services: Value = services.collect();
        self.ask(&json!({ "type": "offer", "v": 1, "rev": rev, "name": "reports", "services": services }), "")
    }
}

fn project() -> TestProject {
    let project = TestProject::new("");
    project.write("manifest.yaml", &format!("name: test\nelsewhere: [billing]\nservices:\n{WEB}"));
    project
}

#[test]
fn a_program_calls_and_is_called_hears_and_is_heard() {
    let project = project();
    let mut up = project.up();
    up.wait_for("web running");
    let pay = |x: u32| project.run(&["call", "web", "pay", &x.to_string()]).out.trim().to_owned();
    let nobody = "\"unavailable: billing.charge: billing runs nowhere: no member of the fabric and no program offers it\"";
    assert_eq!(pay(1), nobody);

    let mut program = Program::attach(&project);
    assert_eq!(program.offer(1, &["billing"]).0, json!({ "type": "accepted", "rev": 1, "name": "test" }));
    let call = json!({ "type": "call", "id": 1, "service": "web", "method": "hello" });
    assert_eq!(
        program.ask(&call, "[\"you\"]"),
        (json!({ "type": "reply", "id": 1, "payload": 11 }), "\"hello you\"".into())
    );
    assert_eq!(
        program.ask(&json!({ "type": "subscribe", "id": 2, "event": "web.*" }), "").0["type"],
        "reply"
    );
    let emitted = program.ask(&json!({ "type": "emit", "id": 3, "event": "bill.sent" }), "{\"n\":7}");
    assert_eq!(emitted.1, "1");
    up.wait_for("heard {\"n\":7} of @program@reports");

    let mut paying =
        project.command(&["call", "web", "pay", "5"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let (invoke, arguments) = program.hear().expect("it is called");
    assert_eq!(
        (&invoke["type"], &invoke["service"], &invoke["method"]),
        (&json!("invoke"), &json!("billing"), &json!("charge"))
    );
    assert_eq!((&invoke["from"], arguments.as_str()), (&json!("web"), "[5]"));
    program.say(&json!({ "type": "reply", "id": invoke["id"] }), "{\"paid\":5}");
    let mut said = String::new();
    paying.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said.trim(), "{\"paid\":5}");
    paying.wait().unwrap();

    project.run(&["call", "web", "tell"]);
    let (event, data) = program.hear().expect("it hears");
    assert_eq!(
        (&event["type"], &event["event"], &event["from"], data.as_str()),
        (&json!("event"), &json!("web.told"), &json!("web"), "1")
    );
    program.say(&json!({ "type": "taken", "events": 1 }), "");

    assert_eq!(
        program.ask(&json!({ "type": "watch-config", "id": 4, "service": "web" }), "").0["type"],
        "reply"
    );
    program.say(&json!({ "type": "set-config", "id": 5, "service": "web", "name": "limit" }), "9");
    let mut heard = [program.hear().unwrap(), program.hear().unwrap()];
    heard.sort_by_key(|(message, _)| message["type"].to_string());
    assert_eq!(
        (&heard[0].0["type"], &heard[0].0["service"], heard[0].1.as_str()),
        (&json!("config"), &json!("web"), "9")
    );
    assert_eq!(heard[1].0["type"], "reply");
    assert_eq!(project.run(&["call", "web", "limit"]).out.trim(), "9");
    assert_eq!(
        program.ask(&json!({ "type": "get-config", "id": 6, "service": "web", "name": "limit" }), "").1,
        "9"
    );

    // With its connection, everything that came of it is over.
    let paying =
        project.command(&["call", "web", "pay", "6"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    program.hear().expect("it is called");
    drop(program);
    let said = paying.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&said.stdout).trim(),
        "\"unavailable: billing.charge: reports was lost before it answered\""
    );
    assert_eq!(pay(7), nobody);
}

#[test]
fn a_program_may_have_what_the_manifest_expects_and_nothing_else() {
    let project = project();
    let mut up = project.up();
    up.wait_for("web running");
    let mut program = Program::attach(&project);
    let refused = program.offer(1, &["ledger"]).0;
    assert_eq!(
        refused["error"]["message"],
        "test does not expect a service 'ledger' of a program; to allow it: elsewhere: [ledger]"
    );
    assert_eq!((&refused["type"], &refused["error"]["code"]), (&json!("refused"), &json!("denied")));
    assert_eq!(
        program.offer(2, &["web"]).0["type"],
        "refused",
        "nobody takes the place of a service of the manifest"
    );
    assert_eq!(program.offer(3, &["billing"]).0["type"], "accepted");
    let call = json!({ "type": "call", "id": 1, "service": "web", "method": "nope" });
    assert_eq!(program.ask(&call, "").0["error"]["message"], "web has no method 'nope'");
    // Who does not keep to the protocol is not heard any more.
    program.0.get_mut().write_all(b"nonsense\n").unwrap();
    assert!(program.hear().is_none());
    up.wait_for("the program does not keep to the protocol");
    let mut nameless = Program::attach(&project);
    nameless.say(&json!({ "type": "offer", "rev": 1, "name": "No Name" }), "");
    let refused = nameless.hear().expect("it is told").0;
    assert_eq!(
        refused["error"]["message"],
        "'No Name' is no name of a program: write lower-case letters, digits and hyphens"
    );
    assert!(nameless.hear().is_none());
    let mut rude = Program::attach(&project);
    rude.say(&json!({ "type": "who" }), "");
    assert!(rude.hear().is_none());
    // An end of the project is an end of the link.
    let mut last = Program::attach(&project);
    assert_eq!(last.offer(1, &[]).0["type"], "accepted");
    up.interrupt();
    assert!(last.hear().is_none());
    assert_eq!(up.end().0, Some(0));
    project.wait_until_nothing_is_left();
}

#[test]
fn who_does_not_ask_for_a_link_is_told_how() {
    let project = project();
    let mut up = project.up();
    up.wait_for("web running");
    let socket = project.path().join("run/orchestrator/test/control.sock");
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(b"GET /v1/attach HTTP/1.1\r\nHost: orchestrator\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    assert!(
        answer.contains("add the headers 'connection: upgrade' and 'upgrade: orchestrator-link'"),
        "{answer}"
    );
}
