//! The engine is the one that the user's `docker` would use, and `doctor` says which that is.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::fake_engine::FakeEngine;
use crate::support::{Said, TestProject, is_root};

/// What comes before a command that is to see none of this machine's engines.
const WITHOUT_ENGINES: [&str; 6] = [
    "unshare",
    "--mount",
    "sh",
    "-c",
    "mount -t tmpfs none /run && mount -t tmpfs none /var/run && exec \"$@\"",
    "sh",
];

/// A project whose user has Docker contexts.
struct User {
    project: TestProject,
}

impl User {
    fn new() -> Self {
        Self { project: TestProject::new("") }
    }

    /// An engine at this place in the project's folder, and its address.
    fn engine(&self, place: &str) -> (PathBuf, String) {
        let socket = self.project.path().join(place);
        fs::create_dir_all(socket.parent().expect("it is in the folder")).expect("a folder can be made");
        let host = FakeEngine::at(&socket, &[]).host();
        (socket, host)
    }

    /// Makes a Docker context as `docker context create` does.
    fn context(&self, name: &str, host: &str) {
        // Docker calls its folder by the hash of its name; `sha256sum` is asked so that this is not our own idea of it.
        let hash = Said::of(Command::new("sh").args(["-c", "printf %s \"$0\" | sha256sum", name])).out;
        let hash = hash.split(' ').next().unwrap_or_default();
        let meta =
            format!(r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{host}"}}}}}}"#);
        self.project.write(&format!("home/.docker/contexts/meta/{hash}/meta.json"), &meta);
    }

    fn command(&self, launcher: &[&str], arguments: &[&str]) -> Command {
        let mut command = self.project.command_through(launcher, arguments);
        for variable in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"] {
            command.env_remove(variable);
        }
        command
    }

    /// The socket that `doctor` says the engine is at.
    fn doctor(&self, launcher: &[&str], set: &[(&str, &str)]) -> PathBuf {
        let mut command = self.command(launcher, &["doctor", "--json"]);
        let said = Said::of(command.envs(set.iter().copied()));
        let found: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
        assert_eq!(found["engine"]["memory"], true, "{said:?}");
        found["engine"]["socket"].as_str().expect("a path").into()
    }
}

#[test]
fn docker_host_comes_before_a_context_and_a_named_context_before_the_current_one() {
    let user = User::new();
    let (by_host, host) = user.engine("host.sock");
    let (by_name, named) = user.engine("named.sock");
    let (by_current, current) = user.engine("current.sock");
    user.context("named", &named);
    user.context("current", &current);
    user.project.write("home/.docker/config.json", r#"{"currentContext":"current"}"#);
    assert_eq!(user.doctor(&[], &[]), by_current);
    assert_eq!(user.doctor(&[], &[("DOCKER_CONTEXT", "named")]), by_name);
    assert_eq!(user.doctor(&[], &[("DOCKER_CONTEXT", "named"), ("DOCKER_HOST", &host)]), by_host);
    let elsewhere = user.project.path().join("home/.docker").display().to_string();
    assert_eq!(user.doctor(&[], &[("HOME", "/nowhere"), ("DOCKER_CONFIG", &elsewhere)]), by_current);
    let shown = Said::of(&mut user.command(&[], &["doctor"])).out;
    let line =
        format!("container engine     yes, at {}: memory yes, cpu yes, pids yes\n", by_current.display());
    assert!(shown.contains(&line), "{shown}");
}

#[test]
fn an_engine_of_the_users_own_is_found_docker_before_podman() {
    let hides =
        || Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success());
    if !is_root() || !hides() {
        println!("skipped: an engine of the user's own: this machine's engines cannot be hidden");
        return;
    }
    let user = User::new();
    let none = Said::of(&mut user.command(&WITHOUT_ENGINES, &["doctor"])).out;
    let run = user.project.path().join("run").display().to_string();
    let line = format!(
        "container engine     no: no container engine is there: not at /var/run/docker.sock, {run}/docker.sock, \
         {run}/podman/podman.sock, /run/podman/podman.sock; install and start Docker, or say where it is with DOCKER_HOST, or \
         write 'isolation: process'\n"
    );
    assert!(none.contains(&line), "{none}");
    let (podman, _) = user.engine("run/podman/podman.sock");
    assert_eq!(user.doctor(&WITHOUT_ENGINES, &[]), podman);
    let (docker, _) = user.engine("run/docker.sock");
    assert_eq!(user.doctor(&WITHOUT_ENGINES, &[]), docker);
}
