//! The same manifest in containers: a real engine makes them, they live as services do, and nothing of them is left.
//! Where no engine answers, each test says by name that it was skipped.

use std::fs;

use serde_json::Value;

use crate::support::engine::{
    containers, docker, in_containers, inspect, wait_until_no_container_is_left, without_engine,
    without_image,
};
use crate::support::{TestProject, is_root, kill, wait_for};

/// A chain of services that say when they come and go.
const CHAIN: &str = "  a: { runtime: js, code: \"export function start() { console.log('a up') }\\nexport function close() { console.log('a down') }\\n\" }
  b: { runtime: js, depends_on: [a], code: \"export function start() { console.log('b up') }\\nexport function close() { console.log('b down') }\\n\" }
  c: { runtime: js, depends_on: [b], code: \"export function start() { console.log('c up') }\\nexport function close() { console.log('c down') }\\n\" }
";

fn texts(project: &TestProject) -> Vec<String> {
    let logs = project.run(&["logs", "--json"]).out;
    let records = logs.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    records.map(|record| record["text"].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn services_start_in_order_and_close_in_reverse() {
    if without_engine("services start in order") {
        return;
    }
    let project = in_containers(CHAIN);
    let mut up = project.up();
    up.wait_for("all 3 services are up");
    assert_eq!(containers(&project).len(), 3);
    up.interrupt();
    let (code, text) = up.end();
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(texts(&project), ["a up", "b up", "c up", "c down", "b down", "a down"]);
    wait_until_no_container_is_left(&project);
}

#[test]
fn processes_and_containers_depend_on_each_other() {
    if without_engine("a mixed project") {
        return;
    }
    let project = TestProject::new(&CHAIN.replace("  b: {", "  b: { isolation: docker,"));
    let mut up = project.up();
    up.wait_for("all 3 services are up");
    assert_eq!(containers(&project).len(), 1);
    kill(project.pid_of("a"), "KILL");
    up.wait_for("a-1 crashed: killed by SIGKILL");
    up.wait_for("c running");
    up.interrupt();
    let (code, text) = up.end();
    assert_eq!(code, Some(0), "{text}");
    let texts = texts(&project);
    let after_crash =
        ["a up", "b up", "c up", "c down", "b down", "a up", "b up", "c up", "c down", "b down", "a down"];
    assert_eq!(texts, after_crash);
    wait_until_no_container_is_left(&project);
}

#[test]
fn a_crash_closes_the_furthest_first_and_all_comes_back() {
    if without_engine("a crash") {
        return;
    }
    let project = in_containers(CHAIN);
    let mut up = project.up();
    up.wait_for("all 3 services are up");
    // The service itself, then its whole container.
    kill(project.pid_of("a"), "KILL");
    up.wait_for("a-1 crashed: killed by SIGKILL");
    up.wait_for("c running");
    let first = inspect(&containers_of(&project, "a-1"))["State"]["Pid"].as_u64().expect("a process id");
    kill(u32::try_from(first).expect("a process id"), "KILL");
    up.wait_for("a-1 crashed: lost its connection");
    up.wait_for("c running");
    let closing = texts(&project);
    assert_eq!(closing[3..5], ["c down", "b down"], "{closing:?}");
    assert_eq!(project.run(&["down"]).code, Some(0));
    wait_until_no_container_is_left(&project);
}

/// The container of a replica.
fn containers_of(project: &TestProject, replica: &str) -> String {
    let mut ids = containers(project);
    ids.retain(|id| inspect(id)["Config"]["Labels"]["orchestrator.service"] == replica);
    assert_eq!(ids.len(), 1, "{ids:?}");
    ids.remove(0)
}

#[test]
fn after_kill_9_of_the_orchestrator_nothing_is_left() {
    if without_engine("kill -9 of the orchestrator") {
        return;
    }
    let project = in_containers(CHAIN);
    let mut up = project.up();
    up.wait_for("all 3 services are up");
    kill(up.pid(), "KILL");
    wait_until_no_container_is_left(&project);
    let mut up = project.up();
    up.wait_for("all 3 services are up");
    assert_eq!(project.run(&["down"]).code, Some(0));
    wait_until_no_container_is_left(&project);
}

#[test]
fn a_container_that_a_killed_orchestrator_left_is_swept_and_nobody_elses() {
    if without_engine("the sweep") {
        return;
    }
    let project = in_containers(CHAIN);
    let mut up = project.up();
    up.wait_for("all 3 services are up");
    // One that cannot end by itself, and one that is not ours.
    let image = inspect(&containers(&project)[0])["Image"].as_str().expect("an image").to_owned();
    let lock = project.path().join("state/orchestrator/test/lock").display().to_string();
    let label = format!("orchestrator.lock={lock}");
    let left = docker(&["create", "--label", &label, &image, "/orchestrator/runner"]);
    let foreign = docker(&["create", "--label", "orchestrator.x=1", &image, "/orchestrator/runner"]);
    assert_eq!(project.run(&["gc"]).code, Some(0));
    assert_eq!(containers(&project).len(), 4, "what runs, and what may, is not swept by others");
    kill(up.pid(), "KILL");
    wait_for("its own containers to end", || {
        let there = containers(&project);
        if there == [left.clone()] { Ok(()) } else { Err(format!("{there:?}")) }
    });
    project.wait_until_nothing_is_left();
    let swept = project.run(&["gc"]);
    assert_eq!(swept.code, Some(0), "{swept:?}");
    wait_until_no_container_is_left(&project);
    assert_eq!(inspect(&foreign)["Id"], foreign.as_str());
    docker(&["rm", &foreign]);
}

#[test]
fn a_container_is_made_as_hard_as_it_can_be() {
    if without_engine("the container's settings") {
        return;
    }
    let project = in_containers(
        "  web: { runtime: js, permissions: { limits: { memory: 64MiB, cpu: 0.5, pids: 40 } }, code: \"export function start() {}\\n\" }\n",
    );
    let mut up = project.up();
    up.wait_for("1 service is up");
    let made = inspect(&containers(&project)[0]);
    let host = &made["HostConfig"];
    for (field, expected) in [
        ("Privileged", "false"),
        ("ReadonlyRootfs", "true"),
        ("NetworkMode", "\"none\""),
        ("IpcMode", "\"private\""),
        ("CgroupnsMode", "\"private\""),
        ("PidMode", "\"\""),
        ("UTSMode", "\"\""),
        ("UsernsMode", "\"\""),
        ("CapAdd", "null"),
        ("CapDrop", "[\"ALL\"]"),
        ("SecurityOpt", "[\"no-new-privileges\"]"),
        ("Memory", "67108864"),
        ("MemorySwap", "67108864"),
        ("NanoCpus", "500000000"),
        ("PidsLimit", "41"),
        ("PortBindings", "{}"),
        ("PublishAllPorts", "false"),
        ("Binds", "null"),
        ("VolumesFrom", "null"),
        ("Devices", "[]"),
        ("RestartPolicy", "{\"MaximumRetryCount\":0,\"Name\":\"no\"}"),
        ("AutoRemove", "true"),
    ] {
        let shown = host[field].to_string();
        // An engine says "nothing" in several ways.
        let nothing = |text: &str| matches!(text, "null" | "[]" | "{}" | "\"\"");
        assert!(shown == expected || (nothing(&shown) && nothing(expected)), "{field} is {shown}");
    }
    assert_eq!(host["LogConfig"]["Type"], "none");
    let user = made["Config"]["User"].as_str().expect("a user");
    assert!(!user.is_empty() && !user.starts_with('0') && !user.starts_with("root"), "{user}");
    let env = made["Config"]["Env"].as_array().map_or(0, Vec::len);
    assert_eq!(env, 0, "{}", made["Config"]["Env"]);
    let mounts = made["Mounts"].as_array().expect("a list");
    assert_eq!(mounts.len(), 1, "{mounts:?}");
    assert_eq!((&mounts[0]["RW"], &mounts[0]["Destination"]), (&false.into(), &"/orchestrator/start".into()));
    let shown = made.to_string();
    assert!(!shown.contains("docker.sock"), "{shown}");
    is_as_hard_as_it_says(&project, &made);
    let checks = project.service("web")["replicas"][0]["checks"].as_array().expect("a list").len();
    assert_eq!(checks, 13);
    assert_eq!(project.run(&["down"]).code, Some(0));
}

/// That the kernel has made of it what the engine was asked for: for the runner, and for the service below it.
fn is_as_hard_as_it_says(project: &TestProject, made: &Value) {
    if !is_root() {
        println!("skipped: docker: what the kernel has made of it: only root may look");
        return;
    }
    let first = made["State"]["Pid"].as_u64().expect("a process id");
    let service = project.pid_of("web").into();
    let own = |pid: u64, of: &str| fs::read_link(format!("/proc/{pid}/ns/{of}"));
    for pid in [first, service] {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("it is there");
            line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let none = ["0000000000000000"];
        for capabilities in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(field(capabilities), none, "{capabilities} of {status}");
        }
        assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), (vec!["1".to_owned()], vec!["2".to_owned()]));
        assert!(field("Uid:").iter().chain(&field("Gid:")).all(|id| id != "0"), "{status}");
        assert!(!field("Groups:").contains(&"0".to_owned()), "{status}");
        for namespace in ["cgroup", "ipc", "mnt", "net", "pid", "uts"] {
            let (host, its) = (fs::read_link(format!("/proc/self/ns/{namespace}")), own(pid, namespace));
            assert_ne!(host.expect("it is there"), its.expect("root may look"), "the host's own {namespace}");
        }
    }
}

#[test]
fn who_uses_up_its_memory_is_told_so_with_the_limit() {
    if without_engine("the limit of memory") {
        return;
    }
    let project = in_containers(
        "  bomb:
    runtime: js
    restart: never
    permissions: { limits: { memory: 48MiB } }
    code: |
      const much = [];
      const eat = () => { for (;;) much.push(new Uint8Array(1 << 20).fill(1)); };
      export function start() { setTimeout(eat, 100); }
",
    );
    let (code, text) = project.up().end();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("bomb-1 crashed: out of memory, limit 48 MiB"), "{text}");
    wait_until_no_container_is_left(&project);
}

#[test]
fn who_has_as_many_processes_as_it_may_is_told_so_as_in_a_process() {
    if without_image("the limit of processes") {
        return;
    }
    let project = in_containers(
        "  bomb:
    { runtime: python, restart: never, permissions: { subprocess: true, limits: { pids: 20 } }, code: ./bomb.py }
",
    );
    project.write(
        "bomb.py",
        "import os, signal
children = 0
try:
    while True:
        if os.fork() == 0: signal.pause()
        children += 1
finally:
    print('stopped after', children)
",
    );
    let (code, text) = project.up().end();
    assert_eq!(code, Some(1), "{text}");
    let told = "bomb-1 may not have more than 20 processes and threads; to allow it: \
                services.bomb.permissions.limits.pids: MORE\n";
    let (_, after) = text.split_once(told).unwrap_or_else(|| panic!("it is not told: {text}"));
    assert!(
        after.contains("bomb-1 crashed: BlockingIOError: "),
        "what explains an end is told before it: {text}"
    );
    assert!(text.contains("stopped after 18\n"), "itself and its host's thread are of the 20: {text}");
    wait_until_no_container_is_left(&project);
}

#[test]
fn an_address_that_a_container_cannot_have_is_refused_before_anything_starts() {
    if without_engine("what a container cannot enforce") {
        return;
    }
    let project = in_containers(
        "  web: { runtime: js, permissions: { net: { connect: ['10.0.0.1:80'] } }, code: \"export function start() {}\\n\" }\n",
    );
    let refused = project.run(&["up"]);
    assert_eq!(refused.code, Some(78), "{refused:?}");
    let line = "E_UNENFORCEABLE service=web permission=net.connect backend=docker missing=\"the address of 10.0.0.1:80 \
                inside of a container\" fix=\"grant a name that stands for it, or write 'isolation: process'\"\n";
    assert!(refused.err.starts_with(line), "{refused:?}");
    assert_eq!(containers(&project), [""; 0]);
}

#[test]
fn services_in_containers_call_each_other_and_their_children_are_containers_too() {
    if without_engine("calls and children") {
        return;
    }
    let project = TestProject::new(
        r#"  parent:
    isolation: docker
    runtime: js
    permissions:
      services: [{ name: stock, call: [level] }]
      children: { max: 1 }
    code: |
      import { children, services } from "orchestrator";
      export const level = () => services.stock.level("apple");
      export const open = async () => {
        const kid = await children.create({ name: "kid", code: "export const hi = (name) => `hi ${name}`;" });
        return kid.service.hi("mum");
      };
  stock: { runtime: js, code: "export const level = (sku) => `3 of ${sku}`;\n" }
"#,
    );
    let mut up = project.up();
    up.wait_for("all 2 services are up");
    assert_eq!(project.run(&["call", "parent", "level"]).out, "\"3 of apple\"\n");
    assert_eq!(project.run(&["call", "parent", "open"]).out, "\"hi mum\"\n");
    assert_eq!(containers(&project).len(), 2, "the parent's and the child's");
    up.interrupt();
    let (code, text) = up.end();
    assert_eq!(code, Some(0), "{text}");
    wait_until_no_container_is_left(&project);
}
