//! Containers with files of an image: code runs in them, and stock images run as they are, held like any other service.

use std::fs;

use crate::support::TestProject;
use crate::support::engine::{
    DEBIAN, TestImage, containers, docker, in_containers, inspect, wait_until_no_container_is_left,
    without_engine, without_image,
};

/// What waits for a job to have said this, and ends.
fn says_and_closes(project: &TestProject, lines: &[&str]) -> String {
    let mut up = project.up();
    up.wait_for(" closed: completed");
    up.interrupt();
    let (code, text) = up.end();
    assert_eq!(code, Some(0), "{text}");
    for line in lines {
        assert!(text.contains(line), "no '{line}' in {text}");
    }
    wait_until_no_container_is_left(project);
    text
}

#[test]
fn code_of_every_language_runs_in_the_image_that_the_manifest_names() {
    if without_image("code in an image") {
        return;
    }
    let project = in_containers(
        "  py: { runtime: python, code: \"def start(): print('python here')\\n\" }
  node: { runtime: node, depends_on: [py], code: \"export function start() { console.log('node here') }\\n\" }
  sh: { runtime: exec, kind: job, depends_on: [node], code: \"#!/bin/sh\\necho shell here\\n\" }
",
    );
    says_and_closes(&project, &["py-1   | python here", "node-1 | node here", "sh-1   | shell here"]);
}

/// Connects and prints what it is told.
const CALLER: &str = "
      import socket
      def call(to):
          host, port = to.rsplit(':', 1)
          try:
              with socket.create_connection((host, int(port)), 10) as s:
                  s.sendall(b'PING\\r\\n')
                  print(to, s.recv(99).decode().strip() or 'nothing')
          except Exception as error: print(to, type(error).__name__)
";

#[test]
fn a_stock_image_runs_as_it_is_and_is_reached_across_both_kinds_of_environment() {
    if without_image("a stock image") {
        return;
    }
    let redis = TestImage::new(
        "redis",
        &[
            "ENTRYPOINT [\"redis-server\"]",
            "CMD [\"--save\", \"\", \"--dir\", \"/data\"]",
            "VOLUME /data",
            "WORKDIR /data",
            "USER redis",
            "HEALTHCHECK CMD false",
        ],
    );
    let project = TestProject::new(&format!(
        "  db:
    image: {}
    ready: {{ tcp: 6379 }}
    permissions: {{ limits: {{ memory: 64MiB, pids: 40 }} }}
  inside:
    isolation: docker
    runtime: python
    runtime_image: {DEBIAN}
    kind: job
    depends_on: [db]
    permissions: {{ net: {{ connect: ['db:6379', 'nobody.invalid:80'] }} }}
    code: |{CALLER}
      for to in ['db:6379', 'db:6380', '127.0.0.1:6379', '10.0.0.1:80', 'nobody.invalid:80']: call(to)
  outside:
    runtime: python
    kind: job
    depends_on: [inside]
    permissions: {{ net: {{ connect: ['db:6379'] }} }}
    code: |{CALLER}
      call('db:6379')
",
        redis.name
    ));
    let mut up = project.up();
    up.wait_for("outside closed: completed");
    let made = inspect(&containers(&project)[0]);
    assert_eq!(made["Config"]["User"], "redis");
    assert_eq!(made["State"]["Health"], serde_json::Value::Null, "its own health check is not run");
    let mounts = made["Mounts"].as_array().expect("a list");
    assert!(mounts.iter().all(|mount| mount["Type"] == "bind"), "no volume: {mounts:?}");
    assert!(project.service("db")["replicas"][0]["resources"]["memory"].as_u64().is_some());
    up.interrupt();
    let (code, text) = up.end();
    assert_eq!(code, Some(0), "{text}");
    for line in [
        "inside-1  | db:6379 +PONG",
        "inside-1  | db:6380 ConnectionRefusedError",
        "inside-1  | 127.0.0.1:6379 ConnectionRefusedError",
        "inside-1  | 10.0.0.1:80 OSError",
        "inside-1  | nobody.invalid:80 ConnectionResetError",
        "outside-1 | db:6379 +PONG",
        "Ready to accept connections",
        "User requested shutdown",
    ] {
        assert!(text.contains(line), "no '{line}' in {text}");
    }
    wait_until_no_container_is_left(&project);
}

#[test]
fn an_image_that_wants_to_write_where_the_kernel_or_the_runner_is_is_refused() {
    if without_image("an image's volumes") {
        return;
    }
    for (number, place) in ["/proc", "/orchestrator/start"].into_iter().enumerate() {
        let image =
            TestImage::new(&format!("volume{number}"), &[&format!("VOLUME {place}"), "CMD [\"true\"]"]);
        let project = TestProject::new(&format!("  a: {{ image: '{}', kind: job }}\n", image.name));
        let refused = project.run(&["up"]);
        assert_eq!(refused.code, Some(78), "{refused:?}");
        let line = format!(
            "error: the image '{}' wants a volume at {place}, which is no place of its own; nothing was started\n  fix: name \
             another image, or make one of it that has no such VOLUME\n",
            image.name
        );
        assert_eq!(refused.err, line);
    }
}

#[test]
fn an_image_that_wants_to_be_root_is_not() {
    if without_image("an image of root") {
        return;
    }
    let image = TestImage::new(
        "root",
        &["ENTRYPOINT [\"/bin/sh\", \"-c\"]", "CMD [\"id -u; echo $WHO\"]", "ENV WHO=me"],
    );
    let project = TestProject::new(&format!(
        "  who: {{ image: '{}', kind: job, permissions: {{ subprocess: true }} }}\n",
        image.name
    ));
    let text = says_and_closes(&project, &["who-1 | me"]);
    assert!(!text.contains("who-1 | 0\n"), "{text}");
}

#[test]
fn what_is_granted_of_the_host_is_there_as_it_is_granted() {
    if without_image("files in a container") {
        return;
    }
    let project = TestProject::new("");
    let folder = project.path().canonicalize().expect("it is there").display().to_string();
    project.write("shared/assets/read.txt", "to be read");
    project.write("shared/state/old.txt", "old");
    project.write("secret.txt", "to be kept");
    for open in ["shared", "shared/assets", "shared/state"] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(project.path().join(open), mode).expect("it is ours");
    }
    // The folders above are nobody else's business, and need not be entered by the service.
    let manifest = format!(
        "name: test
isolation: docker
services:
  web:
    runtime: python
    runtime_image: {DEBIAN}
    kind: job
    permissions:
      fs: {{ read: [./shared/assets], write: [./shared/state], scratch: {{ size: 1MiB, inodes: 50 }} }}
      secrets: [{{ name: key, file: ./secret.txt }}]
    code: |
      import os
      def tried(what, call):
          try: print(what, call() or 'done')
          except OSError as error: print(what, type(error).__name__, error.errno)
      folder = '{folder}/shared'
      tried('read', lambda: open(folder + '/assets/read.txt').read())
      tried('secret', lambda: open('/run/secrets/key').read())
      tried('write', lambda: open(folder + '/state/new.txt', 'w').close())
      tried('write-read', lambda: open(folder + '/assets/new.txt', 'w').close())
      tried('write-root', lambda: open('/new.txt', 'w').close())
      tried('sys', lambda: open('/sys/kernel/mm/transparent_hugepage/enabled').read())
      tried('scratch', lambda: open('/tmp/full', 'wb').write(bytes(2 << 20)))
"
    );
    project.write("manifest.yaml", &manifest);
    let lines = [
        "web-1 | read to be read",
        "web-1 | secret [secret key]",
        "web-1 | write done",
        "web-1 | write-read OSError 30",
        "web-1 | write-root OSError 30",
        "web-1 | sys PermissionError 13",
        "web-1 | scratch OSError 28",
    ];
    says_and_closes(&project, &lines);
    assert!(project.path().join("shared/state/new.txt").exists());
}

#[test]
fn what_an_image_means_is_kept_and_another_meaning_is_refused() {
    if without_image("orchestrator.lock") {
        return;
    }
    let image = TestImage::new("drift", &["CMD [\"sleep\", \"1\"]"]);
    let project = TestProject::new(&format!("  a: {{ image: '{}', kind: job }}\n", image.name));
    let lock = || fs::read_to_string(project.path().join("orchestrator.lock")).expect("it is there");
    assert_eq!(project.run(&["lock"]).code, Some(0));
    let first = lock();
    assert!(first.contains(&format!("{} id sha256:", image.name)), "{first}");

    let other = TestImage::new("other", &["CMD [\"sleep\", \"2\"]"]);
    docker(&["tag", &other.name, &image.name]);
    let refused = project.run(&["up"]);
    assert_eq!(refused.code, Some(78), "{refused:?}");
    let text = format!("error: the image '{}' is not what it was: id sha256:", image.name);
    assert!(refused.err.starts_with(&text), "{refused:?}");
    assert!(refused.err.contains("where that is meant, run 'orchestrator lock --update'"), "{refused:?}");
    assert_eq!(lock(), first);

    assert_eq!(project.run(&["lock", "--update"]).code, Some(0));
    assert_ne!(lock(), first);
    assert_eq!(project.run(&["lock"]).code, Some(0));
}

#[test]
fn what_is_wrong_with_an_image_is_said_in_one_line() {
    if without_engine("wrong images") {
        return;
    }
    // No port of this machine is a registry.
    let project = TestProject::new("  a: { image: '127.0.0.1:1/nobody/nothing:1' }\n");
    let refused = project.run(&["up"]);
    assert_eq!(refused.code, Some(78), "{refused:?}");
    let text = "error: the image '127.0.0.1:1/nobody/nothing:1' is not there and cannot be pulled: ";
    assert!(refused.err.starts_with(text), "{refused:?}");
    assert!(refused.err.contains("connection refused; nothing was started\n"), "{refused:?}");
    assert_eq!(refused.err.lines().count(), 2, "{refused:?}");
    assert!(!project.path().join("orchestrator.lock").exists());
}

#[test]
fn the_runners_image_is_made_listed_and_removed() {
    if without_engine("the runner's image") {
        return;
    }
    let project = TestProject::new("");
    let built = project.run(&["image", "build"]);
    assert_eq!(built.code, Some(0), "{built:?}");
    let name = built.out.trim();
    assert!(name.starts_with("orchestrator/runner:"), "{built:?}");
    assert!(project.run(&["image", "ls"]).out.lines().any(|line| line == name));
    let id = docker(&["image", "inspect", "--format", "{{.Id}}", name]);
    assert_eq!(project.run(&["image", "build"]).out, built.out);
    assert_eq!(docker(&["image", "inspect", "--format", "{{.Id}}", name]), id, "it is made once");
}
