//! What is wrong with the container engine is said in one line, with what to do about it; and an engine that comes back is
//! used again.

use std::os::unix::net::UnixListener;
use std::process::Command;

use crate::support::engine::{docker, in_containers, wait_until_no_container_is_left, without_engine};
use crate::support::fake_engine::{Answer, FakeEngine};
use crate::support::own_engine::OwnEngine;
use crate::support::{Said, TestProject, Up, User, kill};

const ONE: &str =
    "  web: { isolation: docker, runtime: js, restart: never, code: \"export function start() {}\\n\" }\n";

/// What `up` says with an engine at this address.
fn up(project: &TestProject, host: &str) -> Said {
    Said::of(project.command(&["up"]).env("DOCKER_HOST", host))
}

/// That `up` has started nothing, and has said why and what to do.
fn refuses(said: &Said, why: &str, fix: &str) {
    assert_eq!(said.code, Some(78), "{said:?}");
    assert_eq!(said.err, format!("error: {why}; nothing was started\n  fix: {fix}\n"));
}

#[test]
fn an_engine_that_is_not_there_or_elsewhere_is_said_to_be() {
    let project = TestProject::new(ONE);
    refuses(
        &up(&project, "unix:///nowhere/docker.sock"),
        "no container engine is there: not at /nowhere/docker.sock",
        "install and start Docker, or say where it is with DOCKER_HOST, or write 'isolation: process'",
    );
    refuses(
        &up(&project, "tcp://127.0.0.1:1"),
        "the container engine at tcp://127.0.0.1:1 may be on another machine: one with a Unix socket is needed, on \
         this one",
        "name a Unix socket of this machine with DOCKER_HOST, or write 'isolation: process'",
    );
    refuses(
        &Said::of(project.command(&["up"]).env_remove("DOCKER_HOST").env("DOCKER_CONTEXT", "far")),
        "cannot read the Docker context 'far': No such file or directory (os error 2)",
        "see 'docker context ls', or name another one with DOCKER_CONTEXT",
    );
}

#[test]
fn an_engine_that_is_stopped_is_said_to_be() {
    let project = TestProject::new(ONE);
    let socket = project.path().join("dead.sock");
    drop(UnixListener::bind(&socket).expect("a socket can be made"));
    refuses(
        &up(&project, &format!("unix://{}", socket.display())),
        &format!("no container engine answers at {}: it is stopped", socket.display()),
        "start it, as with 'systemctl start docker', or write 'isolation: process'",
    );
    let host = format!("unix://{}", socket.display());
    for other in [&["gc"][..], &["image", "ls"], &["image", "build"]] {
        let said = Said::of(project.command(other).env("DOCKER_HOST", &host));
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(
            said.err.ends_with(
                "fix: start it, as with 'systemctl start docker', or write 'isolation: process'\n"
            )
        );
    }
    let doctor = Said::of(project.command(&["doctor"]).env("DOCKER_HOST", &host)).out;
    let line = format!(
        "container engine     no: no container engine answers at {}: it is stopped; start it",
        socket.display()
    );
    assert!(doctor.contains(&line), "{doctor}");
}

#[test]
fn an_engine_that_is_others_is_said_to_be() {
    if !User::Root.is_possible("an engine of root's, asked by somebody else") {
        return;
    }
    let project = TestProject::run_by(User::Ordinary, ONE);
    let socket = project.path().join("roots.sock");
    let engine = FakeEngine::at(&socket, &[]);
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&socket, closed).expect("it is ours");
    refuses(
        &up(&project, &engine.host()),
        &format!("this user may not use the container engine at {}", socket.display()),
        "join the group that the socket is of, which is as good as being root, or run an engine of your own \
         ('dockerd-rootless-setuptool.sh install')",
    );
}

#[test]
fn an_engine_that_cannot_be_used_is_said_to_be() {
    const OLD: &[Answer] = &[("GET /version", 200, r#"{"ApiVersion":"1.40"}"#)];
    const BARE: &[Answer] = &[("GET /info", 200, r#"{"OSType":"linux","SecurityOptions":[]}"#)];
    const BROKEN: &[Answer] = &[("GET /info", 500, r#"{"message":"the disk has gone"}"#)];
    let see = "see that 'docker version' and 'docker info' show nothing wrong, or write 'isolation: process'";
    let install = "install a later one, or write 'isolation: process'";
    for (answers, why, fix) in [
        (
            OLD,
            "the container engine speaks version 1.40 of its interface; 1.41 (Docker 20.10) or later is needed",
            install,
        ),
        (BARE, "the container engine cannot be used: its containers have no system call filter", see),
        (BROKEN, "the container engine at SOCKET does not answer: the disk has gone", see),
    ] {
        let project = TestProject::new(ONE);
        let socket = project.path().join("engine.sock");
        let engine = FakeEngine::at(&socket, answers);
        refuses(&up(&project, &engine.host()), &why.replace("SOCKET", &socket.display().to_string()), fix);
    }
}

#[test]
fn an_engine_whose_disk_is_full_is_said_to_be() {
    const AT_IMPORT: &[Answer] = &[
        ("GET /images/", 404, r#"{"message":"no such image"}"#),
        ("POST /images/create", 500, r#"{"message":"write /var/lib/docker/tmp/1: no space left on device"}"#),
    ];
    const AT_CREATE: &[Answer] = &[(
        "POST /containers/create",
        500,
        r#"{"message":"mkdir /var/lib/docker/1: no space left on device"}"#,
    )];
    let project = TestProject::new(ONE);
    let engine = FakeEngine::at(&project.path().join("import.sock"), AT_IMPORT);
    refuses(
        &up(&project, &engine.host()),
        "the container engine cannot make the runner's image: its disk is full",
        "make room, as with 'docker system prune'",
    );
    let engine = FakeEngine::at(&project.path().join("create.sock"), AT_CREATE);
    let said = up(&project, &engine.host());
    assert_eq!(said.code, Some(1), "{said:?}");
    let line = "web-1 crashed: no environment: the container engine cannot make a container: its disk is full; make room, \
                as with 'docker system prune'\n";
    assert!(said.err.contains(line), "{said:?}");
}

#[test]
fn an_image_that_is_removed_under_a_running_project_is_said_to_be() {
    const GONE: &[Answer] =
        &[("POST /containers/create", 404, r#"{"message":"No such image: orchestrator/runner:1"}"#)];
    let project = TestProject::new(ONE);
    let engine = FakeEngine::at(&project.path().join("engine.sock"), GONE);
    let said = up(&project, &engine.host());
    assert_eq!(said.code, Some(1), "{said:?}");
    let line = "web-1 crashed: no environment: the container engine cannot make a container: No such image: \
                orchestrator/runner:1; run 'orchestrator up' again: what was removed is made or fetched anew\n";
    assert!(said.err.contains(line), "{said:?}");
}

#[test]
fn a_name_that_another_container_has_is_told_and_tried_no_more_than_once() {
    if without_engine("a name that is taken") {
        return;
    }
    let project = in_containers("  web: { runtime: js, code: \"export function start() {}\\n\" }\n");
    let mut up = project.up();
    up.wait_for("1 service is up");
    // What the next start's container would be called.
    let name = format!("test-web-1-{}-s2", up.pid());
    let image = project.run(&["image", "build"]).out;
    let foreign = docker(&["create", "--name", &name, image.trim(), "/orchestrator/runner"]);
    kill(project.pid_of("web"), "KILL");
    up.wait_for(&format!(
        "web-1 crashed: no environment: the container engine has another container of the name {name}; remove that one, \
         if nobody needs it: 'docker rm -f {name}'"
    ));
    up.wait_for("web running");
    assert_eq!(docker(&["inspect", "--format", "{{.Id}}", &name]), foreign, "it is not ours to remove");
    docker(&["rm", &name]);
    assert_eq!(project.run(&["down"]).code, Some(0));
    wait_until_no_container_is_left(&project);
}

#[test]
fn services_come_back_after_their_engine_was_restarted() {
    let Some(mut engine) = OwnEngine::start("an engine that is restarted") else { return };
    // As often as it takes, and soon.
    let restart = "restart: { policy: on-failure, max: 99, backoff: 200ms }";
    let project = in_containers(&format!(
        "  db: {{ runtime: js, {restart}, code: \"export function start() {{ console.log('db up') }}\\n\" }}
  web: {{ runtime: js, {restart}, depends_on: [db], code: \"export function start() {{ console.log('web up') }}\\n\" }}
"
    ));
    let mut command: Command = project.command(&["up"]);
    let mut up = Up::begin(command.env("DOCKER_HOST", engine.host()));
    up.wait_for("all 2 services are up");
    engine.stop("TERM");
    up.wait_for("-1 crashed: lost its connection");
    up.wait_for(
        "db-1 crashed: no environment: the container engine cannot make a container: it does not answer any more",
    );
    engine.run();
    up.wait_for("db-1  | db up");
    up.wait_for("web-1 | web up");
    assert_eq!(engine.docker(&["ps", "-aq"]).lines().count(), 2, "nothing is left of those that were lost");
    up.interrupt();
    let (code, text) = up.end();
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(engine.docker(&["ps", "-aq"]), "");
    project.wait_until_nothing_is_left();
}
