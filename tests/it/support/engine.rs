//! The container engine as tests ask it, beside what the orchestrator says.

use std::process::Command;

use serde_json::Value;

use super::{Backend, TestProject, wait_for};

/// The image that the set-up of the tests makes: Debian with Node, Python and Redis.
pub(crate) const DEBIAN: &str = "orchestrator-tests/debian:1";

/// Whether there is no engine to try this with.
pub(crate) fn without_engine(test: &str) -> bool {
    let answers = Command::new("docker").args(["version", "--format", "{{.Server.APIVersion}}"]).output();
    let there = answers.is_ok_and(|output| output.status.success());
    if !there {
        println!("skipped: docker: {test}: no container engine answers");
    }
    !there
}

pub(crate) fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("docker can be run");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The project's containers, those that have ended too.
pub(crate) fn containers(project: &TestProject) -> Vec<String> {
    let lock = project.path().join("state/orchestrator/test/lock").display().to_string();
    let ids = docker(&["ps", "-aq", "--no-trunc", "--filter", &format!("label=orchestrator.lock={lock}")]);
    ids.lines().map(Into::into).collect()
}

pub(crate) fn inspect(container: &str) -> Value {
    let all: Value = serde_json::from_str(&docker(&["inspect", container])).expect("JSON");
    all[0].clone()
}

pub(crate) fn in_containers(services: &str) -> TestProject {
    TestProject::on(Backend::Docker, services)
}

pub(crate) fn wait_until_no_container_is_left(project: &TestProject) {
    wait_for("no container to be left", || {
        let left = containers(project);
        left.is_empty().then_some(()).ok_or(format!("{left:?}"))
    });
    project.wait_until_nothing_is_left();
}

/// Whether there is no engine, or no image to try this with.
pub(crate) fn without_image(test: &str) -> bool {
    if without_engine(test) {
        return true;
    }
    let there = Command::new("docker").args(["image", "inspect", DEBIAN]).output();
    let missing = !there.is_ok_and(|output| output.status.success());
    if missing {
        println!("skipped: docker: {test}: the image {DEBIAN} is not there; tests/setup.sh makes it");
    }
    missing
}

/// An image of Debian's files that says this of itself, as in `ENTRYPOINT ["redis-server"]`. Removed when dropped.
pub(crate) struct TestImage {
    pub(crate) name: String,
}

impl TestImage {
    pub(crate) fn new(name: &str, says: &[&str]) -> Self {
        let name = format!("orchestrator-tests/{name}-{}:1", std::process::id());
        let from = docker(&["create", DEBIAN, "true"]);
        let mut commit = vec!["commit"];
        commit.extend(says.iter().flat_map(|change| ["--change", change]));
        commit.extend([from.as_str(), name.as_str()]);
        docker(&commit);
        docker(&["rm", &from]);
        Self { name }
    }
}

impl Drop for TestImage {
    fn drop(&mut self) {
        docker(&["rmi", "-f", &self.name]);
    }
}
