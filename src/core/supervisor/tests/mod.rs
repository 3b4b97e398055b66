//! The rules of the lifecycle, proved three ways: told as stories, tried in every order on every small graph, and
//! tried at random on large ones. The last two check the same invariants, against a world that knows nothing of the
//! Supervisor but the actions that it was given.

mod exhaustive;
mod random;
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
