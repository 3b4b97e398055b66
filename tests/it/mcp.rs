//! What an assistant can see and do, by what it says over standard input.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{TestProject, missing};

const PROJECT: &str =
    "  db: { runtime: js, code: \"export const get = (key) => ({ key });\\nconsole.log('db is here');\\n\" }
  web: { runtime: js, depends_on: [db], restart: never, code: \"throw new Error('no luck');\\n\" }
";

/// One that an assistant has started.
struct Assistant {
    server: Child,
    says: ChildStdin,
    hears: BufReader<ChildStdout>,
    asked: u64,
}

impl Assistant {
    fn of(project: &TestProject, arguments: &[&str]) -> Self {
        let mut command = project.command(&[&["mcp"], arguments].concat());
        let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it can be run");
        let (says, hears) = (server.stdin.take().expect("a pipe"), server.stdout.take().expect("a pipe"));
        let mut assistant = Self { server, says, hears: BufReader::new(hears), asked: 0 };
        let hello = assistant.ask(
            "initialize",
            &json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } }),
        );
        assert_eq!(hello["serverInfo"]["name"], "orchestrator");
        assert!(
            hello["instructions"].as_str().is_some_and(|text| text.contains("Begin with 'ps'")),
            "{hello}"
        );
        assistant.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        assistant
    }

    fn say(&mut self, message: &Value) {
        writeln!(self.says, "{message}").expect("it listens");
    }

    fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        self.asked += 1;
        self.say(&json!({ "jsonrpc": "2.0", "id": self.asked, "method": method, "params": parameters }));
        let mut line = String::new();
        self.hears.read_line(&mut line).expect("it answers");
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line:?}"));
        assert_eq!(answer["id"], self.asked, "{answer}");
        answer.get("result").unwrap_or(&answer["error"]).clone()
    }

    fn tools(&mut self) -> Vec<String> {
        let tools = self.ask("tools/list", &json!({}))["tools"].clone();
        let tools = tools.as_array().expect("a list").clone();
        tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
    }

    /// What a tool says, and whether that is an error.
    fn call(&mut self, tool: &str, arguments: &Value) -> (String, bool) {
        let said = self.ask("tools/call", &json!({ "name": tool, "arguments": arguments }));
        let text =
            said["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {said}")).to_owned();
        (text, said["isError"] == true)
    }

    fn end(mut self) {
        drop(self.says);
        assert!(self.server.wait().expect("it ends").success());
    }
}

#[test]
fn an_assistant_reads_what_a_person_would_read() {
    let project = TestProject::new(PROJECT);
    let mut assistant = Assistant::of(&project, &[]);
    let reading = ["ps", "logs", "events", "stats", "graph", "check", "explain", "call"];
    assert_eq!(assistant.tools(), reading);
    let down = "error: project 'test' is not running\n  fix: start it with 'orchestrator up'\n";
    assert_eq!(assistant.call("ps", &json!({})), (down.into(), true));
    assert_eq!(project.run(&["up", "-d"]).code, Some(1));
    let (ps, failed) = assistant.call("ps", &json!({}));
    assert!(!failed && ps.contains("Error: no luck"), "{ps}");
    assert_eq!(assistant.call("logs", &json!({ "services": ["db"] })).0, "db-1 | db is here\n");
    assert!(assistant.call("events", &json!({})).0.contains("web-1 crashed: Error: no luck"));
    assert!(assistant.call("graph", &json!({})).0.contains("ready: db (running)"));
    assert_eq!(assistant.call("check", &json!({})).0, "manifest.yaml: 2 services, 0 jobs, no problems\n");
    assert!(!assistant.call("stats", &json!({})).1);
    assert!(!assistant.call("explain", &json!({ "service": "db" })).1);
    let called = json!({ "service": "db", "method": "get", "arguments": ["a"] });
    assert_eq!(assistant.call("call", &called), ("{\"key\":\"a\"}\n".into(), false));
    let wrong = json!({ "service": "db", "method": "got" });
    assert!(assistant.call("call", &wrong).0.contains("did you mean 'get'?"));
    assistant.end();
    assert_eq!(project.run(&["down"]).code, Some(0));
}

#[test]
fn it_starts_and_stops_only_what_it_was_allowed_to() {
    let project = TestProject::new("  db: { runtime: js, code: \"export const get = () => 1;\\n\" }\n");
    let mut reader = Assistant::of(&project, &[]);
    let refused = "'up' changes what runs: start 'orchestrator mcp' with --allow-changes";
    assert_eq!(reader.call("up", &json!({})), (refused.into(), true));
    let wrong = reader.call("explain", &json!({ "servce": "db" }));
    assert_eq!(
        wrong,
        ("the arguments of 'explain' are wrong: unknown field `servce`, expected `service`".into(), true)
    );
    assert_eq!(reader.ask("tools/call", &json!({ "name": "nope" }))["message"], "there is no tool 'nope'");
    reader.end();
    let mut writer = Assistant::of(&project, &["--allow-changes"]);
    assert!(writer.tools().contains(&"apply".into()));
    let (up, failed) = writer.call("up", &json!({}));
    assert!(!failed && up.contains("db-1"), "{up}");
    assert_eq!(
        writer.call("scale", &json!({ "service": "db", "replicas": 2 })),
        ("db: 2 replicas\n".into(), false)
    );
    assert_eq!(writer.call("apply", &json!({ "dry_run": true })), ("nothing has changed\n".into(), false));
    assert_eq!(writer.call("stop", &json!({ "services": ["db"] })), ("db: closed\n".into(), false));
    let (down, failed) = writer.call("down", &json!({}));
    assert!(!failed && down.ends_with("project 'test' is down\n"), "{down}");
    writer.end();
    project.wait_until_nothing_is_left();
}

/// The inspector of the protocol's makers, installed once for all runs; none where that cannot be had.
fn inspector() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("mcp-inspector");
    let program = folder.join("node_modules/.bin/mcp-inspector");
    if !program.exists() {
        std::fs::create_dir_all(&folder).expect("there is room");
        let install = ["install", "--silent", "--no-audit", "--no-fund", "@modelcontextprotocol/inspector@0"];
        let installed = Command::new("npm").args(install).current_dir(&folder).output();
        if !installed.is_ok_and(|installed| installed.status.success()) {
            println!("skipped: the protocol's inspector, because npm cannot install it here");
            return None;
        }
    }
    Some(program)
}

#[test]
fn the_inspector_of_the_protocol_finds_its_way() {
    if missing("node", "the protocol's inspector") || missing("npm", "the protocol's inspector") {
        return;
    }
    let Some(inspector) = inspector() else { return };
    let project = TestProject::new("  db: { runtime: js, code: \"export const get = () => 1;\\n\" }\n");
    let ask = |arguments: &[&str]| {
        let server = project.command(&["mcp"]);
        let mut command = Command::new(&inspector);
        command.arg("--cli").arg(server.get_program()).args(server.get_args()).args(arguments);
        command.envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(folder) = server.get_current_dir() {
            command.current_dir(folder);
        }
        let said = command.output().expect("it can be run");
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        serde_json::from_str::<Value>(&text).unwrap_or_else(|_| panic!("no JSON: {said:?}"))
    };
    let tools = ask(&["--method", "tools/list"]);
    assert_eq!(tools["tools"].as_array().map(Vec::len), Some(8), "{tools}");
    let said = ask(&["--method", "tools/call", "--tool-name", "check"]);
    assert_eq!(said["content"][0]["text"], "manifest.yaml: 1 service, 0 jobs, no problems\n", "{said}");
}
