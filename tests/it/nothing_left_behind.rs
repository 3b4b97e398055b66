//! Whatever is killed, nothing of a project is left: no process, no socket, no file but its log; and the next `up`
//! works.

use crate::support::{TestProject, kill, parent};

/// A service that does all it can to stay: a child in a session of its own, deaf to every polite signal.
const CLINGING: &str = r#"  clinging:
    runtime: exec
    permissions: { subprocess: true, env: { PROJECT: "MARK" } }
    close_timeout: 300ms
    code: |
      #!/bin/sh
      trap '' TERM HUP INT
      setsid sh -c 'trap "" TERM HUP INT; (trap "" TERM; sleep 1000) & sleep 1000' &
      echo I stay
      sleep 1000
"#;

fn clinging_project() -> TestProject {
    let project = TestProject::new("");
    // In a sandbox nothing else tells to which project a process belongs.
    let services = CLINGING.replace("MARK", &project.path().display().to_string());
    project.write("manifest.yaml", &format!("name: test\nservices:\n{services}"));
    project
}

fn works_again(project: &TestProject) {
    project.wait_until_nothing_is_left();
    let up = project.run(&["up", "-d"]);
    assert_eq!(up.code, Some(0), "{up:?}");
    assert_eq!(project.run(&["down"]).code, Some(0));
    project.wait_until_nothing_is_left();
}

#[test]
fn after_a_close() {
    let project = clinging_project();
    let mut up = project.up();
    up.wait_for("I stay");
    up.interrupt();
    let (code, text) = up.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("forced: did not close within 300 ms"), "{text}");
    works_again(&project);
}

#[test]
fn after_a_second_interrupt() {
    let project = TestProject::new(&CLINGING.replace("300ms", "1h"));
    let mut up = project.up();
    up.wait_for("I stay");
    up.interrupt();
    up.wait_for("press Ctrl-C again to kill");
    up.interrupt();
    assert_eq!(up.end().0, Some(130));
    project.wait_until_nothing_is_left();
}

#[test]
fn after_kill_9_of_the_orchestrator() {
    let project = clinging_project();
    let mut up = project.up();
    up.wait_for("I stay");
    kill(up.pid(), "KILL");
    works_again(&project);
    assert!(project.run(&["logs"]).out.contains("I stay"), "the log stays");
}

#[test]
fn after_kill_9_of_a_runner() {
    let project = clinging_project();
    let mut up = project.up();
    up.wait_for("I stay");
    let runner = parent(project.pid_of("clinging"));
    kill(runner, "KILL");
    up.wait_for("crashed: lost its connection");
    up.wait_for("I stay");
    assert_eq!(project.run(&["down"]).code, Some(0));
    works_again(&project);
}

#[test]
fn after_kill_9_of_a_service() {
    let project = clinging_project();
    let mut up = project.up();
    up.wait_for("1 service is up");
    kill(project.pid_of("clinging"), "KILL");
    up.wait_for("crashed: killed by SIGKILL");
    up.wait_for("clinging running");
    assert_eq!(project.run(&["down"]).code, Some(0));
    works_again(&project);
}

#[test]
fn after_kill_9_half_way_through_starting() {
    let slow = "  slow:\n    runtime: js\n    code: |\n      console.log('half way');\n      export const start = () => new Promise(() => {});\n";
    let project = TestProject::new(&format!("{CLINGING}{slow}"));
    let mut up = project.up();
    up.wait_for("half way");
    kill(up.pid(), "KILL");
    project.wait_until_nothing_is_left();
}

#[test]
fn after_its_log_was_removed_while_it_ran() {
    let project = clinging_project();
    assert_eq!(project.run(&["up", "-d"]).code, Some(0));
    std::fs::remove_dir_all(project.path().join("state/orchestrator/test/log")).unwrap();
    assert_eq!(project.run(&["down"]).code, Some(0));
    works_again(&project);
}
