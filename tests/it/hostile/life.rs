//! Row 45: a service, a runner and the orchestrator are killed outright, one after the other, while processes that are
//! deaf to every polite signal, and belong to nobody any more, hold on to their place.

use crate::support::{TestProject, User, kill, parent};

/// Two that hold on, one of which needs the other.
const CLINGING: &str = "  below:
    runtime: exec
    permissions: { subprocess: true, env: { PROJECT: \"MARK\" } }
    restart: { backoff: 10ms }
    close_timeout: 300ms
    code: ./cling
  above:
    runtime: exec
    depends_on: [below]
    permissions: { subprocess: true, env: { PROJECT: \"MARK\" } }
    close_timeout: 300ms
    code: ./cling
";

/// Its children's children are nobody's, in sessions of their own.
const CLING: &str = "#!/bin/sh
trap '' TERM HUP INT
for n in 1 2 3; do
  (setsid sh -c 'trap \"\" TERM HUP INT; (trap \"\" TERM; sleep 1000) & sleep 1000' &)
done
echo I stay
sleep 1000
";

pub(super) fn ends_whole(user: User) {
    let project = TestProject::run_by(user, "");
    // In a sandbox nothing else tells to which project a process belongs.
    let services = CLINGING.replace("MARK", &project.path().display().to_string());
    project.write("manifest.yaml", &format!("name: test\nservices:\n{services}"));
    project.write("cling", CLING);
    let mut up = project.up();
    up.wait_for("all 2 services are up");
    kill(project.pid_of("below"), "KILL");
    comes_back(&project, &mut up, "below-1 crashed: killed by SIGKILL");
    kill(parent(project.pid_of("below")), "KILL");
    comes_back(&project, &mut up, "below-1 crashed: lost its connection");
    kill(up.pid(), "KILL");
    project.wait_until_nothing_is_left();
}

/// What depended on it closes before it is started again, and starts after it.
fn comes_back(project: &TestProject, up: &mut crate::support::Up, crashed: &str) {
    up.wait_for(crashed);
    up.wait_for("above closing: closed by below");
    up.wait_for("below running");
    up.wait_for("above running");
    let starts = |service: &str| project.service(service)["replicas"][0]["generation"].as_u64();
    assert_eq!(starts("below"), starts("above"), "neither was started without the other");
}
