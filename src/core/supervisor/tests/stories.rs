//! The rules of the lifecycle as stories: for a reader, one rule at a time, in the order of their numbers.

use super::world::{Step, World};
use super::{job, name, replicated, service};
use crate::name::{Generation, ReplicaId, StartId};
use crate::report::{CrashReason, FinishCause, State, Why};
use crate::service_node::NodeSpec;
use crate::supervisor::{Action, Event, Goal, Moment, Refusal, Request, Timer};

/// Services a, b, c: c depends on a, a on b.
fn chain() -> World {
    World::new(vec![service("b", &[]), service("a", &["b"]), service("c", &["a"])])
}

pub(super) fn ask(world: &mut World, request: Request) -> Vec<String> {
    told(&world.take(&Step::Event(Event::Request(request))))
}

fn start_all(world: &mut World) -> Vec<String> {
    let all = world.names();
    ask(world, Request::Start(all))
}

pub(super) fn happens(world: &mut World, event: Event) -> Vec<String> {
    told(&world.take(&Step::Event(event)))
}

/// The actions that reach environments, as a reader would note them.
pub(super) fn told(actions: &[Action]) -> Vec<String> {
    let told = actions.iter().filter_map(|action| match action {
        Action::Create(start) => Some(format!("create {}", start.replica.service)),
        Action::Close(start) => Some(format!("close {}", start.replica.service)),
        Action::Destroy(start) => Some(format!("destroy {}", start.replica.service)),
        Action::Forget(service) => Some(format!("forget {service}")),
        Action::Finish(finish) => Some(format!("finish {}", finish.exit_code)),
        Action::Report(_) => None,
    });
    told.collect()
}

pub(super) fn start_of(world: &World, service: &str) -> StartId {
    let views = world.supervisor.view();
    let view = views.iter().find(|view| view.name.as_str() == service).unwrap();
    let replica = ReplicaId { service: name(service), index: 1 };
    StartId { replica, generation: view.replicas[0].generation }
}

fn crash(world: &mut World, service: &str) -> Vec<String> {
    let start = start_of(world, service);
    happens(world, Event::Crashed(start, CrashReason::Exit { code: 1 }))
}

fn ends(world: &mut World, service: &str) -> Vec<String> {
    let start = start_of(world, service);
    happens(world, Event::Ended(start))
}

fn ready(world: &mut World, service: &str) -> Vec<String> {
    let start = start_of(world, service);
    happens(world, Event::Ready(start))
}

pub(super) fn state(world: &World, service: &str) -> (State, Option<Why>) {
    let views = world.supervisor.view();
    let view = views.iter().find(|view| view.name.as_str() == service).unwrap();
    (view.state, view.why.clone())
}

fn runs_out(world: &mut World, service: &str, timer: Timer) -> Vec<Action> {
    world.take(&Step::Timer(start_of(world, service), timer))
}

/// Everything is up.
pub(super) fn running(mut world: World) -> World {
    start_all(&mut world);
    while let Some(step) = world.calm_step() {
        world.take(&step);
    }
    world
}

#[test]
fn rules_2_and_3_dependencies_start_first_and_independents_together() {
    let mut world = World::new(vec![service("b", &[]), service("x", &[]), service("a", &["b"])]);
    assert_eq!(start_all(&mut world), ["create b", "create x"]);
    assert_eq!(state(&world, "a"), (State::Closed, Some(Why::WaitingFor { services: vec![name("b")] })));
    assert_eq!(ready(&mut world, "b"), ["create a"]);
}

#[test]
fn rule_4_a_service_closes_after_what_depends_on_it() {
    let mut world = running(chain());
    assert_eq!(ask(&mut world, Request::Stop(vec![name("b")])), ["close c"]);
    assert_eq!(state(&world, "c").1, Some(Why::ClosedBy { service: name("b") }));
    assert_eq!(ends(&mut world, "c"), ["close a"]);
    assert_eq!(ends(&mut world, "a"), ["close b"]);
    assert_eq!(ends(&mut world, "b"), [""; 0]);
    assert_eq!(state(&world, "a").1, Some(Why::BlockedBy { service: name("b") }));
    assert_eq!(
        ask(&mut world, Request::Start(vec![name("b")])),
        ["create b"],
        "and what waits comes back behind it"
    );
}

#[test]
fn rule_5_a_crash_closes_the_furthest_first_and_destroys_its_own_at_once() {
    let mut world = running(chain());
    assert_eq!(crash(&mut world, "b"), ["destroy b", "close c"]);
    assert_eq!(ends(&mut world, "b"), [""; 0]);
    assert_eq!(ends(&mut world, "c"), ["close a"]);
    assert_eq!(ends(&mut world, "a"), [""; 0]);
    let step = world.calm_step().unwrap();
    assert_eq!(told(&world.take(&step)), ["create b"], "after its back-off");
    assert_eq!(ready(&mut world, "b"), ["create a"]);
    assert_eq!(ready(&mut world, "a"), ["create c"]);
}

#[test]
fn rule_5_who_ignores_a_crash_runs_on() {
    let mut world = running(World::new(vec![service("b", &[]), service("a", &["b?"])]));
    assert_eq!(crash(&mut world, "b"), ["destroy b"]);
    assert_eq!(state(&world, "a").0, State::Running);
}

#[test]
fn a_dependent_that_is_still_starting_ends_closed() {
    let mut world = chain();
    start_all(&mut world);
    ready(&mut world, "b");
    assert_eq!(state(&world, "a").0, State::Starting);
    assert_eq!(crash(&mut world, "b"), ["destroy b", "close a"]);
    let late = start_of(&world, "a");
    assert_eq!(happens(&mut world, Event::Ready(late)), [""; 0], "too late: it is closing");
    assert_eq!(state(&world, "a").0, State::Closing);
}

#[test]
fn rule_6_children_close_before_their_parent_and_go_with_it() {
    let mut world = running(World::new(vec![service("web", &[])]));
    assert_eq!(told(&world.add_child(service("web/worker", &[]))), ["create web/worker"]);
    ready(&mut world, "web/worker");
    assert_eq!(ask(&mut world, Request::Stop(vec![name("web")])), ["close web/worker"]);
    assert_eq!(ends(&mut world, "web/worker"), ["close web", "forget web/worker"]);
}

#[test]
fn rule_8_what_an_older_start_says_is_ignored() {
    let mut world = running(chain());
    let old = start_of(&world, "c");
    ask(&mut world, Request::Restart(vec![name("c")]));
    ends(&mut world, "c");
    assert_eq!(start_of(&world, "c").generation, Generation(2));
    assert_eq!(happens(&mut world, Event::Crashed(old, CrashReason::Exit { code: 9 })), [""; 0]);
    assert_eq!(state(&world, "c").0, State::Starting);
}

#[test]
fn rule_9_an_environment_that_is_gone_without_a_word_is_a_crash() {
    let mut world = running(chain());
    // Past the world, where an environment ends only after it was told to or has crashed.
    let gone = Event::Ended(start_of(&world, "b"));
    let actions = world.supervisor.handle(Default::default(), gone).unwrap();
    assert!(told(&actions).contains(&"close c".into()), "{actions:?}");
    let (closed, why) = state(&world, "b");
    assert!(matches!((closed, &why), (State::Closed, Some(Why::BackingOff { .. }))), "{why:?}");
}

#[test]
fn rule_10_a_start_that_takes_too_long_is_a_crash_with_a_reason() {
    let mut world = chain();
    start_all(&mut world);
    assert_eq!(told(&runs_out(&mut world, "b", Timer::Start)), ["destroy b"]);
    let (_, why) = state(&world, "b");
    assert!(matches!(why, Some(Why::Crashed { last: CrashReason::StartTimeout { .. } })), "{why:?}");
}

#[test]
fn rule_11_a_close_that_hangs_is_forced() {
    let mut world = running(chain());
    assert_eq!(ask(&mut world, Request::Stop(vec![name("c")])), ["close c"]);
    assert_eq!(told(&runs_out(&mut world, "c", Timer::Close)), ["destroy c"]);
    let after = service("c", &[]).close_timeout;
    assert_eq!(state(&world, "c"), (State::Closing, Some(Why::Forced { after })));
}

#[test]
fn rule_12_over_its_budget_a_service_gives_up_and_its_dependents_say_why() {
    let mut world = running(chain());
    for _ in 0..2 {
        crash(&mut world, "b");
        while let Some(step) = world.calm_step() {
            world.take(&step);
        }
    }
    let (closed, why) = state(&world, "b");
    assert!(matches!((closed, &why), (State::Closed, Some(Why::GaveUp { crashes: 2, .. }))), "{why:?}");
    assert_eq!(state(&world, "c").1, Some(Why::BlockedBy { service: name("b") }));
    let finish = world.finished.unwrap();
    assert_eq!((finish.exit_code, finish.cause), (1, FinishCause::NothingLeft));
}

#[test]
fn rule_12_crashes_of_long_ago_do_not_count() {
    let mut world = running(World::new(vec![service("b", &[])]));
    let restart = service("b", &[]).restart;
    let mut crash_at = |now: Moment| {
        let start = start_of(&world, "b");
        let supervisor = &mut world.supervisor;
        supervisor.handle(now, Event::Crashed(start.clone(), CrashReason::Exit { code: 1 })).unwrap();
        supervisor.handle(now, Event::Ended(start)).unwrap();
        let back = supervisor.next_deadline().expect("it is restarted");
        assert_eq!(back, now.after(restart.backoff_min), "after the shortest wait");
        assert_eq!(told(&supervisor.handle_timeouts(back)), ["create b"]);
        let start = start_of(&world, "b");
        world.supervisor.handle(back, Event::Ready(start)).unwrap();
    };
    crash_at(Moment(0));
    crash_at(Moment(0).after(restart.within));
    assert_eq!(state(&world, "b").0, State::Running);
}

#[test]
fn rule_13_one_replica_is_enough_to_run() {
    let mut world = running(World::new(vec![replicated("b", &[], 2), service("a", &["b"])]));
    assert_eq!(crash(&mut world, "b"), ["destroy b"]);
    assert_eq!(state(&world, "b"), (State::Running, Some(Why::Degraded { running: 1, wanted: 2 })));
    assert_eq!(state(&world, "a").0, State::Running);
}

#[test]
fn a_job_that_has_completed_lets_its_dependents_start() {
    let mut world = World::new(vec![job("migrate", &[]), service("api", &["migrate!"])]);
    assert_eq!(start_all(&mut world), ["create migrate"]);
    assert_eq!(ready(&mut world, "migrate"), [""; 0]);
    let start = start_of(&world, "migrate");
    assert_eq!(happens(&mut world, Event::Completed(start)), ["destroy migrate"]);
    assert_eq!(ends(&mut world, "migrate"), ["create api"]);
}

#[test]
fn an_essential_service_takes_everything_with_it() {
    let main = NodeSpec { essential: true, ..job("main", &["db"]) };
    let mut world = World::new(vec![service("db", &[]), main]);
    start_all(&mut world);
    ready(&mut world, "db");
    let start = start_of(&world, "main");
    happens(&mut world, Event::Crashed(start, CrashReason::Exit { code: 7 }));
    assert_eq!(ends(&mut world, "main"), ["close db"]);
    assert_eq!(ends(&mut world, "db"), ["finish 7"]);
}

#[test]
fn a_kill_destroys_everything_at_once() {
    let mut world = running(chain());
    let mut destroyed = ask(&mut world, Request::Kill);
    destroyed.sort();
    assert_eq!(destroyed, ["destroy a", "destroy b", "destroy c"]);
    let refused =
        world.supervisor.handle(Default::default(), Event::Request(Request::Start(vec![name("a")])));
    assert_eq!(refused, Err(Refusal::ShuttingDown));
}

#[test]
fn a_request_for_what_is_not_there_changes_nothing_and_says_what_was_meant() {
    let mut world = running(chain());
    let request = Request::Stop(vec![name("a"), name("bb")]);
    let refused = world.supervisor.handle(Default::default(), Event::Request(request)).unwrap_err();
    assert_eq!(refused.to_string(), "no service is named 'bb': did you mean 'b'?");
    assert_eq!(state(&world, "a").0, State::Running);
}

#[test]
fn a_goal_settles_one_way_or_the_other() {
    let mut world = running(chain());
    let goal = Goal::Running(vec![name("c")]);
    assert_eq!(world.supervisor.settled(&goal), Some(Ok(())));
    ask(&mut world, Request::Restart(vec![name("b")]));
    assert_eq!(world.supervisor.settled(&goal), None, "on its way back");
    ask(&mut world, Request::Stop(vec![name("b")]));
    while let Some(step) = world.calm_step() {
        world.take(&step);
    }
    let unmet = world.supervisor.settled(&goal).unwrap().unwrap_err();
    assert_eq!(unmet.to_string(), "c does not run: blocked by b");
}

/// `a` depends on `b`, which has two replicas; all of it runs.
fn replicas_that_run() -> World {
    let mut world = World::new(vec![replicated("b", &[], 2), service("a", &["b"])]);
    start_all(&mut world);
    for index in [1, 2] {
        let replica = ReplicaId { service: name("b"), index };
        happens(&mut world, Event::Ready(StartId { replica, generation: Generation(1) }));
    }
    ready(&mut world, "a");
    world
}

pub(super) fn start(service: &str, index: u32) -> StartId {
    StartId { replica: ReplicaId { service: name(service), index }, generation: Generation(1) }
}

fn scale(world: &mut World, replicas: u32) -> Vec<String> {
    ask(world, Request::Scale(name("b"), replicas.try_into().unwrap()))
}

#[test]
fn one_replica_more_is_started_and_one_fewer_closes_alone() {
    let mut world = replicas_that_run();
    assert_eq!(scale(&mut world, 3), ["create b"]);
    happens(&mut world, Event::Ready(start("b", 3)));
    assert_eq!(scale(&mut world, 1), ["close b", "close b"], "and nothing that depends on it");
    assert_eq!(world.supervisor.settled(&Goal::Scaled(name("b"))), None);
    happens(&mut world, Event::Ended(start("b", 2)));
    happens(&mut world, Event::Ended(start("b", 3)));
    assert_eq!(world.supervisor.settled(&Goal::Scaled(name("b"))), Some(Ok(())));
    let views = world.supervisor.view();
    let replicas =
        |service: &str| views.iter().find(|view| view.name.as_str() == service).unwrap().replicas.len();
    assert_eq!((replicas("b"), replicas("a")), (1, 1));
}

#[test]
fn the_last_replica_that_serves_goes_only_when_another_one_does() {
    let mut world = replicas_that_run();
    happens(&mut world, Event::Crashed(start("b", 1), CrashReason::Exit { code: 1 }));
    assert_eq!(scale(&mut world, 1), [""; 0], "the first one is not there yet");
    happens(&mut world, Event::Ended(start("b", 1)));
    assert_eq!(told(&world.take(&Step::Timer(start("b", 1), Timer::BackOff))), ["create b"]);
    let again = StartId { generation: Generation(2), ..start("b", 1) };
    assert_eq!(happens(&mut world, Event::Ready(again)), ["close b"]);
}

#[test]
fn a_replica_that_was_on_its_way_out_comes_back() {
    let mut world = replicas_that_run();
    assert_eq!(scale(&mut world, 1), ["close b"]);
    assert_eq!(scale(&mut world, 2), [""; 0]);
    assert_eq!(happens(&mut world, Event::Ended(start("b", 2))), ["create b"]);
}

#[test]
fn a_job_cannot_be_scaled() {
    let mut world = World::new(vec![job("j", &[])]);
    let refused = world
        .supervisor
        .handle(Moment(0), Event::Request(Request::Scale(name("j"), 2.try_into().unwrap())))
        .unwrap_err();
    assert_eq!(refused.to_string(), "'j' is a job, which runs once: it has no replicas");
}
