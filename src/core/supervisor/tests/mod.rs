//! The rules of the lifecycle, proved three ways: told as stories, tried in every order on every small graph, and
//! tried at random on large ones. The last two check the same invariants, against a world that knows nothing of the
//! Supervisor but the actions that it was given.
//!
//! | rule | where it is checked: `rule_..` in `rules.rs` after every event, the rest in `stories.rs` where no file is named |
//! | --- | --- |
//! | 1 names | `name.rs` and `service_graph.rs`, in tests of their own |
//! | 2 creation follows the graph | `rule_03_..`, `rule_04_..`, `rules_2_and_3_..` |
//! | 3 starts after its dependencies | `rule_03_starts_after_its_dependencies`, `rules_2_and_3_..`, `a_job_that_has_completed_..` |
//! | 4 closes after its dependents | `rule_04_closes_after_its_dependents`, `rule_4_..` |
//! | 5 crash cascade | `rule_05_a_crash_closes_what_depends_on_it`, `rule_05_who_crashes_is_destroyed_at_once`, `rule_5_..` |
//! | 6 children | `rule_06_a_child_is_forgotten_after_it_has_closed`, `rule_06_a_parent_starts_without_its_old_children`, `rule_04_..`, `rule_6_..`, `a_parent_with_children_..` in `exhaustive.rs` |
//! | 7 only the running are found | the state that is told: `rule_13_..`; calls are the router's |
//! | 8 generations | `rule_08_generations_only_grow`, `rule_08_what_an_older_start_says_changes_nothing`, `rule_8_..` |
//! | 9 nothing outlives its connection | the manager and the runner; here, a lost connection is a crash: `rule_9_..` |
//! | 10 failing to start | `rule_10_a_start_has_a_limit`, `rule_05_who_crashes_..`, `rule_10_..` |
//! | 11 graceful, then forced | `rule_11_a_close_that_hangs_is_forced`, `rule_11_..`, `a_kill_..` |
//! | 12 restarts | `rule_12_restarts_stay_within_their_budget`, `rule_12_what_may_run_runs_again`, `rule_12_..` |
//! | 13 replicas | `rule_13_a_node_runs_while_one_replica_does`, `rule_13_a_second_start_..`, `rule_13_..`, `reload.rs` |
//! | 14 two families of messages | the port and the router; the Supervisor has no message of a service |
//! | 15 a child's permissions | the manifest and the manager; the Supervisor knows no permissions |

mod apply;
mod exhaustive;
mod graphs;
mod plan;
mod random;
mod reload;
mod rules;
mod stories;
mod world;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::manifest::{Condition, Dependency, Kind, OnCrash, Restart, RestartPolicy};
use crate::name::ServiceName;
use crate::service_node::NodeSpec;

fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).unwrap()
}

/// A service that depends on these; `on?` ignores that one's crashes, `on!` waits for the job's completion.
fn service(text: &str, on: &[&str]) -> NodeSpec {
    let edge = |on: &&str| match (on.strip_suffix('?'), on.strip_suffix('!')) {
        (Some(on), _) => (name(on), Dependency { condition: Condition::Ready, on_crash: OnCrash::Ignore }),
        (_, Some(on)) => (name(on), Dependency::on(Kind::Job)),
        _ => (name(on), Dependency::on(Kind::Service)),
    };
    NodeSpec {
        name: name(text),
        kind: Kind::Service,
        depends_on: on.iter().map(edge).collect::<BTreeMap<_, _>>(),
        replicas: NonZeroU32::MIN,
        max_surge: NonZeroU32::MIN,
        restart: Restart { max: 1, ..Restart::default() },
        start_timeout: Duration::from_secs(60),
        close_timeout: Duration::from_secs(10),
        essential: false,
    }
}

fn job(text: &str, on: &[&str]) -> NodeSpec {
    let restart = Restart { policy: RestartPolicy::Never, ..Restart::default() };
    NodeSpec { kind: Kind::Job, restart, ..service(text, on) }
}

fn replicated(text: &str, on: &[&str], replicas: u32) -> NodeSpec {
    NodeSpec { replicas: NonZeroU32::new(replicas).unwrap(), ..service(text, on) }
}
