//! Reloads as stories: a replica is replaced by a new start of itself, and nobody else notices.

use super::stories::{ask, happens, running, start, start_of, state, told};
use super::world::{Step, World};
use super::{job, name, replicated, service};
use crate::name::{Generation, StartId};
use crate::report::{CrashReason, NotReloaded, ReloadCause, State, Why};
use crate::service_node::NodeSpec;
use crate::supervisor::{Action, Event, Goal, Moment, Request, Timer};

/// A service and what depends on it; both run.
fn pair() -> World {
    running(World::new(vec![service("b", &[]), service("a", &["b"])]))
}

fn reload(world: &mut World, service: &str) -> Vec<String> {
    ask(world, Request::Reload(vec![name(service)]))
}

fn of(service: &str, index: u32, generation: u32) -> StartId {
    StartId { generation: Generation(generation), ..start(service, index) }
}

fn crashes(world: &mut World, start: StartId) -> Vec<String> {
    happens(world, Event::Crashed(start, CrashReason::Exit { code: 1 }))
}

fn settled(world: &World, service: &str) -> Option<Result<(), String>> {
    let settled = world.supervisor.settled(&Goal::Reloaded(vec![name(service)]));
    settled.map(|settled| settled.map_err(|unmet| unmet.to_string()))
}

#[test]
fn the_new_start_is_ready_before_the_old_one_is_told_to_close() {
    let mut world = pair();
    assert_eq!(reload(&mut world, "b"), ["create b"]);
    assert_eq!(state(&world, "b"), (State::Running, Some(Why::Reloading { cause: ReloadCause::Asked })));
    assert_eq!(start_of(&world, "b"), of("b", 1, 1), "it is the old one that is meant");
    assert_eq!(settled(&world, "b"), None);
    let actions = world.take(&Step::Event(Event::Ready(of("b", 1, 2))));
    assert!(actions.contains(&Action::Close(of("b", 1, 1))), "{actions:?}");
    assert_eq!(start_of(&world, "b"), of("b", 1, 2));
    assert_eq!(settled(&world, "b"), None, "the old one finishes what it has");
    assert_eq!(happens(&mut world, Event::Ended(of("b", 1, 1))), [""; 0]);
    assert_eq!(settled(&world, "b"), Some(Ok(())));
    assert_eq!(start_of(&world, "a").generation, Generation(1), "and what depends on it ran on");
}

#[test]
fn a_new_start_that_fails_changes_nothing_and_says_why() {
    let mut world = pair();
    reload(&mut world, "b");
    let actions = world.take(&Step::Event(Event::Crashed(of("b", 1, 2), CrashReason::Exit { code: 7 })));
    assert_eq!(told(&actions), ["destroy b"]);
    assert_eq!(happens(&mut world, Event::Ended(of("b", 1, 2))), [""; 0]);
    assert_eq!(state(&world, "b"), (State::Running, None));
    assert_eq!(start_of(&world, "b").generation, Generation(1));
    let said = "b-1 was not reloaded: exited with code 7; what ran before runs on";
    assert_eq!(settled(&world, "b"), Some(Err(said.into())));
    assert_eq!(world.crashes_of(&of("b", 1, 1).replica), 0, "it costs nothing of the budget");
    assert_eq!(reload(&mut world, "b"), ["create b"]);
    assert_eq!(settled(&world, "b"), None, "what is asked for anew is not judged by what failed");
}

#[test]
fn a_new_start_that_takes_too_long_fails_with_how_far_it_came() {
    let mut world = pair();
    reload(&mut world, "b");
    assert_eq!(told(&world.take(&Step::Timer(of("b", 1, 2), Timer::Start))), ["destroy b"]);
    let said = settled(&world, "b").unwrap().unwrap_err();
    assert!(said.starts_with("b-1 was not reloaded: not ready after 60 s, while creating"), "{said}");
}

#[test]
fn where_the_old_start_crashes_meanwhile_the_new_one_has_its_place_and_there_is_no_third() {
    let mut world = pair();
    reload(&mut world, "b");
    assert_eq!(crashes(&mut world, of("b", 1, 1)), ["destroy b", "close a"], "it left running unasked");
    assert_eq!(start_of(&world, "b"), of("b", 1, 2));
    assert_eq!(state(&world, "b").0, State::Starting);
    happens(&mut world, Event::Ended(of("b", 1, 1)));
    happens(&mut world, Event::Ended(of("a", 1, 1)));
    assert_eq!(happens(&mut world, Event::Ready(of("b", 1, 2))), ["create a"]);
}

#[test]
fn replicas_are_replaced_one_at_a_time_or_as_many_as_the_manifest_says() {
    let mut world = running(World::new(vec![replicated("b", &[], 3)]));
    assert_eq!(reload(&mut world, "b"), ["create b"]);
    assert_eq!(happens(&mut world, Event::Ready(of("b", 1, 2))), ["close b"]);
    assert_eq!(happens(&mut world, Event::Ended(of("b", 1, 1))), ["create b"], "when the old one is gone");

    let more = NodeSpec { max_surge: 2.try_into().unwrap(), ..replicated("b", &[], 3) };
    let mut world = running(World::new(vec![more]));
    assert_eq!(reload(&mut world, "b"), ["create b", "create b"]);
}

#[test]
fn a_reload_of_replicas_ends_where_one_fails_and_tells_how_many_are_new() {
    let mut world = running(World::new(vec![replicated("b", &[], 3)]));
    reload(&mut world, "b");
    happens(&mut world, Event::Ready(of("b", 1, 2)));
    happens(&mut world, Event::Ended(of("b", 1, 1)));
    let actions = world.take(&Step::Event(Event::Crashed(of("b", 2, 2), CrashReason::Exit { code: 1 })));
    let told = actions.iter().find_map(|action| match action {
        Action::Report(crate::report::EventKind::NotReloaded(NotReloaded { reloaded, of, .. })) => {
            Some((*reloaded, of.get()))
        }
        _ => None,
    });
    assert_eq!(told, Some((1, 3)));
    assert_eq!(happens(&mut world, Event::Ended(of("b", 2, 2))), [""; 0], "the third one is left as it is");
    assert_eq!(state(&world, "b"), (State::Running, None));
}

#[test]
fn what_is_asked_for_while_a_new_start_begins_is_done_again() {
    let mut world = pair();
    reload(&mut world, "b");
    assert_eq!(reload(&mut world, "b"), [""; 0]);
    happens(&mut world, Event::Ready(of("b", 1, 2)));
    assert_eq!(settled(&world, "b"), None);
    assert_eq!(happens(&mut world, Event::Ended(of("b", 1, 1))), ["create b"]);

    let mut world = pair();
    reload(&mut world, "b");
    reload(&mut world, "b");
    crashes(&mut world, of("b", 1, 2));
    assert_eq!(settled(&world, "b"), None, "what is there by now may be better");
    assert_eq!(happens(&mut world, Event::Ended(of("b", 1, 2))), ["create b"]);
}

#[test]
fn a_stop_a_kill_and_fewer_replicas_reach_both_starts() {
    let mut world = running(World::new(vec![service("b", &[])]));
    reload(&mut world, "b");
    assert_eq!(ask(&mut world, Request::Stop(vec![name("b")])), ["close b", "close b"]);
    assert_eq!(settled(&world, "b"), Some(Err("b does not run: stopped".into())));
    happens(&mut world, Event::Ended(of("b", 1, 1)));
    assert_eq!(state(&world, "b"), (State::Closing, Some(Why::Stopped)), "until nothing of it is left");
    happens(&mut world, Event::Ended(of("b", 1, 2)));
    assert_eq!(state(&world, "b"), (State::Closed, Some(Why::Stopped)));

    let mut world = pair();
    reload(&mut world, "b");
    assert_eq!(ask(&mut world, Request::Kill).iter().filter(|told| *told == "destroy b").count(), 2);

    let more = NodeSpec { max_surge: 2.try_into().unwrap(), ..replicated("b", &[], 2) };
    let mut world = running(World::new(vec![more]));
    reload(&mut world, "b");
    let scale = Request::Scale(name("b"), 1.try_into().unwrap());
    assert_eq!(ask(&mut world, scale), ["close b", "close b"]);
}

#[test]
fn an_old_start_that_does_not_close_in_time_is_forced_and_nobody_else_is_closed() {
    let mut world = pair();
    reload(&mut world, "b");
    happens(&mut world, Event::Ready(of("b", 1, 2)));
    assert_eq!(told(&world.take(&Step::Timer(of("b", 1, 1), Timer::Close))), ["destroy b"]);
    assert_eq!(state(&world, "b"), (State::Running, None));
}

#[test]
fn children_go_with_the_start_that_has_opened_them_and_before_it() {
    let mut world = running(World::new(vec![service("web", &[]), service("a", &["web"])]));
    world.add_child(service("web/worker", &[]));
    happens(&mut world, Event::Ready(of("web/worker", 1, 1)));
    reload(&mut world, "web");
    let early = Request::Create { child: service("web/other", &[]), opener: of("web", 1, 2) };
    let refused = world.supervisor.handle(Moment(0), Event::Request(early)).unwrap_err();
    assert_eq!(refused.to_string(), "'web' is not running, so it can have no new child", "not this start");
    assert_eq!(happens(&mut world, Event::Ready(of("web", 1, 2))), ["close web/worker"]);
    assert_eq!(happens(&mut world, Event::Ended(of("web/worker", 1, 1))), ["forget web/worker", "close web"]);
    assert_eq!(
        told(&world.add_child(service("web/worker", &[]))),
        ["create web/worker"],
        "the new one's own"
    );
    assert_eq!(state(&world, "a").0, State::Running);
}

#[test]
fn what_does_not_run_is_started_and_what_still_starts_is_replaced_when_it_runs() {
    let mut world = World::new(vec![service("b", &[])]);
    assert_eq!(reload(&mut world, "b"), ["create b"]);
    assert_eq!(reload(&mut world, "b"), [""; 0]);
    assert_eq!(happens(&mut world, Event::Ready(of("b", 1, 1))), ["create b"], "it may have begun too early");
}

#[test]
fn a_new_start_that_asks_to_be_closed_closes_its_service_as_any_start_does() {
    let mut world = pair();
    reload(&mut world, "b");
    assert_eq!(happens(&mut world, Event::CloseRequested(of("b", 1, 2))), ["close a"]);
    assert_eq!(happens(&mut world, Event::Ended(of("a", 1, 1))), ["close b", "close b"]);
}

#[test]
fn a_job_is_refused() {
    let mut world = World::new(vec![job("j", &[])]);
    let refused = world.supervisor.handle(Moment(0), Event::Request(Request::Reload(vec![name("j")])));
    let refused = refused.unwrap_err().to_string();
    assert_eq!(refused, "'j' is a job, which runs to its end: use restart to run it again");
}

#[test]
fn a_reload_that_waits_for_what_will_not_come_says_for_what() {
    let mut world = running(World::new(vec![service("b", &[]), service("a", &["b?"])]));
    crashes(&mut world, of("b", 1, 1));
    assert_eq!(reload(&mut world, "a"), [""; 0]);
    happens(&mut world, Event::Ended(of("b", 1, 1)));
    assert_eq!(settled(&world, "a"), None, "what it depends on comes back");
    for generation in 2..=3 {
        crashes(&mut world, of("b", 1, generation));
        happens(&mut world, Event::Ended(of("b", 1, generation)));
        if generation == 2 {
            world.take(&Step::Timer(of("b", 1, generation), Timer::BackOff));
        }
    }
    let said = "a runs on as it is, and is not reloaded: blocked by b";
    assert_eq!(settled(&world, "a"), Some(Err(said.into())));
    assert_eq!(ask(&mut world, Request::Start(vec![name("b")])), ["create b"]);
    assert_eq!(happens(&mut world, Event::Ready(of("b", 1, 4))), ["create a"]);
}

#[test]
fn a_start_that_has_done_enough_is_replaced_once() {
    let mut world = pair();
    let recycle =
        |generation| Event::Recycle(of("b", 1, generation), ReloadCause::Requests { answered: 100 });
    assert_eq!(happens(&mut world, recycle(1)), ["create b"]);
    let why = state(&world, "b").1.unwrap();
    assert_eq!(why.to_string(), "reloading: 100 calls answered");
    assert_eq!(happens(&mut world, recycle(1)), [""; 0]);
    assert_eq!(happens(&mut world, Event::Ready(of("b", 1, 2))), ["close b"]);
    assert_eq!(happens(&mut world, recycle(1)), [""; 0], "it is on its way out");
    assert_eq!(happens(&mut world, Event::Ended(of("b", 1, 1))), [""; 0]);
}
