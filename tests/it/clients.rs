//! The clients for programs in Node and Python: their own tests, the example, and the two of them with a real orchestrator.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::redis::{KEY, OwnRedis};
use crate::support::{Said, TestProject, Up, missing};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether the Node client can be run.
fn no_node_client(test: &str) -> bool {
    missing("redis-server", test) || missing("node", test)
}

/// Whether the Python client can be run, with what it needs.
fn no_python_client(test: &str) -> bool {
    if missing("redis-server", test) || missing("python3", test) {
        return true;
    }
    let there = Command::new("python3").args(["-c", "import redis"]).output();
    let there = there.is_ok_and(|said| said.status.success());
    if !there {
        println!("skipped: {test} needs redis-py, which tests/setup.sh could not install");
    }
    !there
}

/// A folder in which the examples find the clients as installed packages.
fn installed() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let modules = folder.path().join("node_modules");
    fs::create_dir(&modules).expect("it is ours");
    symlink(root().join("clients/node"), modules.join("orchestrator-client")).expect("it is ours");
    for file in fs::read_dir(root().join("examples/fabric")).expect("it is there").flatten() {
        fs::copy(file.path(), folder.path().join(file.file_name())).expect("it can be copied");
    }
    folder
}

/// A program that uses a client.
fn program(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(folder);
    command.env("PYTHONPATH", root().join("clients/python/src")).env("ORCHESTRATOR_FABRIC_KEY", KEY);
    command
}

#[test]
fn the_node_client_keeps_its_word() {
    let test = "the_node_client_keeps_its_word";
    if no_node_client(test) || missing("npm", test) {
        return;
    }
    let said = Said::of(Command::new("npm").arg("test").current_dir(root().join("clients/node")));
    assert_eq!(said.code, Some(0), "{}\n{}", said.out, said.err);
}

#[test]
fn the_python_client_keeps_its_word() {
    if no_python_client("the_python_client_keeps_its_word") {
        return;
    }
    let mut command = Command::new("python3");
    command.args(["-W", "error::ResourceWarning", "-m", "unittest", "discover", "-s", "tests"]);
    let said = Said::of(command.current_dir(root().join("clients/python")));
    assert_eq!(said.code, Some(0), "{}\n{}", said.out, said.err);
}

#[test]
fn the_example_has_three_processes_on_one_redis() {
    let test = "the_example_has_three_processes_on_one_redis";
    if no_node_client(test) || no_python_client(test) {
        return;
    }
    let redis = OwnRedis::start();
    let folder = installed();
    let port = redis.port().to_string();
    let begin = |words: &[&str]| {
        let mut up = Up::begin(program(folder.path(), words).env("REDIS_PORT", &port));
        up.wait_for("ready");
        up
    };
    let mut node = begin(&["node", "hello.mjs"]);
    let mut python = begin(&["python3", "hello.py"]);
    let said = Said::of(program(folder.path(), &["node", "client.mjs"]).env("REDIS_PORT", &port));
    let answers = ["here is node\n"; 4].concat();
    assert_eq!(
        (said.out.as_str(), said.err.as_str()),
        (
            &*format!(
                "the greeting is good morning\ngood morning guest 0\nanswered by node and python\ntold to 2\n{answers}"
            ),
            ""
        )
    );
    node.wait_for("everybody was greeted");
    python.wait_for("everybody was greeted");
    for up in [node, python] {
        crate::support::kill(up.pid(), "TERM");
        assert_eq!(up.end().0, Some(0));
    }
}

/// A program in a language that attaches to the project `test`, has the service `billing`, and uses `web`.
fn talk(language: &str, with: &str) -> (&'static str, String) {
    match language {
        "node" => (
            "talk.mjs",
            format!(
                r#"
import {{ connect }} from "orchestrator-client";
const all = await connect({with});
let off = await all.on("web.*", (data, {{ from }}) => console.log(`heard ${{data}} of ${{from}}`));
await all.register("billing", {{
  charge: (x, bytes) => ({{ x, bytes: bytes.length }}),
  fails: () => {{ throw new TypeError("no money"); }},
  async *count(to) {{ for (let i = 0; i < to; i++) yield i; }},
}});
const patient = all.services.web.options({{ retries: -1 }});
console.log(await patient.hello("you"));
console.log(JSON.stringify(await all.services.web.options({{ retries: -1 }}).pay()));
try {{ await all.services.web.nope(); }} catch (error) {{ console.log(error.code); }}
console.log(await all.emit("bill.sent", {{ n: 7 }}));
await all.config("web").set("limit", 5);
console.log(await all.services.web.limit());
const stopped = new Promise((done) => process.once("SIGTERM", done));
await all.services.web.tell();
await stopped;
await all.close();
"#
            ),
        ),
        _ => (
            "talk.py",
            format!(
                r#"
import asyncio, json, signal
from orchestrator_client import connect, CallError
async def main():
    async with connect({with}) as all:
        await all.on("web.*", lambda data, about: print(f"heard {{data}} of {{about['from']}}", flush=True))
        def fails(): raise TypeError("no money")
        async def count(to):
            for i in range(to): yield i
        await all.register("billing", {{
            "charge": lambda x, b: {{"x": x, "bytes": len(b)}}, "fails": fails, "count": count,
        }})
        patient = all.services.web.options(retries=-1)
        print(await patient.hello("you"))
        print(json.dumps(await patient.pay(), separators=(",", ":")))
        try: await all.services.web.nope()
        except CallError as error: print(error.code)
        print(await all.emit("bill.sent", {{"n": 7}}))
        await all.config("web").set("limit", 5)
        print(await all.services.web.limit())
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        await all.services.web.tell()
        await stopped.wait()
asyncio.run(main())
"#
            ),
        ),
    }
}

const WEB: &str = "
  web:
    runtime: js
    code: |
      import { services, on, emit, config } from 'orchestrator';
      on('bill.*', (data, { from }) => console.log(`web heard ${JSON.stringify(data)} of ${from}`));
      export const hello = (who) => `hello ${who}`;
      export async function pay() {
        const billing = services.billing.options({ retries: -1 });
        const paid = await billing.charge(3, new Uint8Array(1000));
        const counted = [];
        for await (const item of billing.count(12)) counted.push(item);
        let failed;
        try { await services.billing.fails(); } catch (error) { failed = `${error.code} ${error.message}`; }
        return [paid, counted.length, failed];
      }
      export const tell = () => emit('web.told', 1);
      export const limit = () => config.get('limit');
    permissions:
      services: [{ name: billing, call: ['*'], hear: ['*'] }]
";

/// What such a program says, and what the project says of it.
fn check_talk(language: &str, with: &str, project: &TestProject, up: &mut Up, from: &str) {
    let folder = installed();
    let (file, text) = talk(language, with);
    fs::write(folder.path().join(file), text).expect("it is ours");
    let interpreter = if language == "node" { "node" } else { "python3" };
    let runtime: PathBuf = project.path().join("run");
    let mut talking = Up::begin(program(folder.path(), &[interpreter, file]).env("XDG_RUNTIME_DIR", runtime));
    talking.wait_for("heard 1 of web");
    up.wait_for(&format!("web heard {{\"n\":7}} of {from}"));
    crate::support::kill(talking.pid(), "TERM");
    let (code, said) = talking.end();
    let expected = "hello you\n[{\"x\":3,\"bytes\":1000},12,\"service-error billing.fails: no money\"]\nnot-found\n1\n5\nheard 1 of web";
    assert!(said.starts_with(expected), "{language}: {said}");
    assert_eq!(code, Some(0), "{language}: {said}");
}

#[test]
fn a_program_attaches_to_a_project_with_either_client() {
    let test = "a_program_attaches_to_a_project_with_either_client";
    if no_node_client(test) || no_python_client(test) {
        return;
    }
    let project = TestProject::new("");
    project.write("manifest.yaml", &format!("name: test\nelsewhere: [billing]\nservices:\n{WEB}"));
    let mut up = project.up();
    up.wait_for("web running");
    let from = "@program@reports";
    check_talk("node", "{ project: \"test\", name: \"reports\" }", &project, &mut up, from);
    check_talk("python", "project=\"test\", name=\"reports\"", &project, &mut up, from);
}

#[test]
fn a_program_is_a_member_beside_a_project_with_either_client() {
    let test = "a_program_is_a_member_beside_a_project_with_either_client";
    if no_node_client(test) || no_python_client(test) {
        return;
    }
    let redis = OwnRedis::start();
    let project = TestProject::new("");
    let fabric = format!("fabric: {{ redis: '{}', key: '{KEY}' }}", redis.url());
    project.write("manifest.yaml", &format!("name: test\n{fabric}\nelsewhere: [billing]\nservices:\n{WEB}"));
    let mut up = project.up();
    up.wait_for("web running");
    let url = redis.url();
    let from = "@program@reports";
    let node = format!("{{ redis: \"{url}\", key: \"{KEY}\", name: \"reports\" }}");
    check_talk("node", &node, &project, &mut up, from);
    up.wait_for("fabric: reports@");
    let python = format!("redis=\"{url}\", key=\"{KEY}\", name=\"reports\"");
    check_talk("python", &python, &project, &mut up, from);
}
