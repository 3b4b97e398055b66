//! One rule, one story.

use super::world::{World, call, friends, name};
use crate::permissions::{Permissions, Share};
use crate::routing::{Call, Code, Fault, LineId, Party, Said};

fn web_and_db() -> (World, LineId, LineId) {
    let mut world = World::new(&[("web", friends(&["db"])), ("db", Permissions::default())]);
    let web = world.replica(1, "web", 1);
    let db = world.replica(2, "db", 1);
    (world, web, db)
}

#[test]
fn a_call_goes_there_and_its_answer_comes_back() {
    let (mut world, web, db) = web_and_db();
    world.say(web, Said::Call(call(7, "db", "f")), "[1]");
    let id = world.invocation();
    assert_eq!(world.heard(), ["2 invoke f from web in 60000 [1]"]);
    assert_eq!(world.routing.load(db).in_flight, 1);
    world.say(db, Said::Reply { id }, "2");
    assert_eq!(world.heard(), ["1 7: reply 2"]);
    let load = world.routing.load(db);
    assert_eq!((load.in_flight, load.served), (0, 1));
    world.say(db, Said::Reply { id }, "3");
    assert_eq!((world.heard(), world.routing.dropped()), (vec![], 1), "a second answer is nobody's");
}

#[test]
fn of_two_lines_of_a_replica_the_newer_is_called_and_hears_events_and_the_older_answers_what_it_has() {
    let (mut world, web, old) = web_and_db();
    world.say(old, Said::Subscribe { id: 1, event: "web.*".into(), group: None }, "");
    world.say(web, Said::Call(call(7, "db", "f")), "");
    let id = world.invocation();
    let new = world.replica(3, "db", 1);
    world.heard();
    world.say(web, Said::Call(call(8, "db", "f")), "");
    assert_eq!(world.heard(), ["3 invoke f from web in 60000"]);
    world.say(old, Said::Reply { id }, "late");
    assert_eq!(world.heard(), ["1 7: reply late"]);
    world.lose(new);
    world.heard();
    world.say(web, Said::Call(call(9, "db", "f")), "");
    assert_eq!(world.heard(), ["2 invoke f from web in 60000"], "as long as it is there, it is there");
}

#[test]
fn what_is_thrown_comes_back_with_where_it_was() {
    let (mut world, web, db) = web_and_db();
    world.say(web, Said::Call(call(7, "db", "f")), "");
    let id = world.invocation();
    let fault = Fault::new(Code::ServiceError, "no");
    world.say(db, Said::Error { id, fault }, "");
    assert_eq!(world.heard().pop().as_deref(), Some("1 7: db.f: no (service-error)"));
}

#[test]
fn what_is_not_granted_or_not_there_is_refused_and_the_callee_sees_nothing() {
    let (mut world, web, db) = web_and_db();
    world.say(db, Said::Call(call(1, "web", "f")), "");
    world.say(db, Said::Call(call(2, "web", "f")), "");
    world.say(web, Said::Call(call(3, "dv", "f")), "");
    world.say(web, Said::Call(call(4, "db", "ff")), "");
    let line = "db may not call web.f; to allow it: services.db.permissions.services: [{ name: web, call: [\"f\"] }]";
    assert_eq!(
        world.heard(),
        [
            format!("2 denied: {line}"),
            format!("2 1: web.f: {line} (denied)"),
            format!("2 2: web.f: {line} (denied)"),
            "1 3: dv.f: no service is named 'dv'; did you mean 'db'? (not-found)".into(),
            "1 4: db.ff: db has no method 'ff'; did you mean 'f'? (not-found)".into(),
        ]
    );
}

#[test]
fn only_a_running_service_is_called() {
    let mut world = World::new(&[("web", friends(&["db"])), ("db", Permissions::default())]);
    let web = world.replica(1, "web", 1);
    world.say(web, Said::Call(call(1, "db", "f")), "");
    assert_eq!(world.heard(), ["1 1: db.f: db is not running (unavailable)"]);
    let db = world.replica(2, "db", 1);
    world.routing.shut(db);
    world.say(web, Said::Call(call(2, "db", "f")), "");
    assert_eq!(world.heard(), ["1 2: db.f: db is not running (unavailable)"], "nor one that closes");
}

#[test]
fn a_lost_replica_fails_its_calls_at_once_unless_they_may_run_again() {
    let (mut world, web, db) = web_and_db();
    let other = world.replica(3, "db", 2);
    let key = Some("k".to_owned());
    world.say(web, Said::Call(Call { key: key.clone(), ..call(1, "db", "f") }), "once");
    world.say(web, Said::Call(Call { key, retries: 1, ..call(2, "db", "f") }), "again");
    let at = if world.routing.load(db).in_flight == 2 { (db, other) } else { (other, db) };
    world.heard();
    world.lose(at.0);
    let left = at.1.0;
    let lost = if left == 3 { "db-1" } else { "db-2" };
    assert_eq!(
        world.heard(),
        [
            format!("1 1: db.f: {lost} was lost before it answered (unavailable)"),
            format!("{left} invoke f from web in 60000 again"),
        ]
    );
}

#[test]
fn a_call_that_may_wait_waits_for_a_replica_until_its_deadline() {
    let mut world = World::new(&[("web", friends(&["db"])), ("db", Permissions::default())]);
    let web = world.replica(1, "web", 1);
    let forever = |id| Said::Call(Call { retries: -1, timeout: Some(1000), ..call(id, "db", "f") });
    world.say(web, forever(1), "a");
    world.say(web, forever(2), "b");
    assert_eq!(world.heard(), [""; 0]);
    world.pass(400);
    let db = world.replica(2, "db", 1);
    assert_eq!(world.heard(), ["2 invoke f from web in 600 a", "2 invoke f from web in 600 b"]);
    world.lose(db);
    world.pass(599);
    assert_eq!(world.heard(), [""; 0]);
    world.pass(1);
    let late = |id| format!("1 {id}: db.f: there was no answer in time (timeout)");
    assert_eq!(world.heard(), [late(1), late(2)]);
}

#[test]
fn an_attempt_that_takes_too_long_goes_to_another_replica() {
    let (mut world, web, _) = web_and_db();
    world.replica(3, "db", 2);
    let patient = Call { retries: 1, attempt: Some(100), timeout: Some(1000), ..call(1, "db", "f") };
    world.say(web, Said::Call(patient), "x");
    let first = world.heard().remove(0);
    world.pass(100);
    let then = world.heard();
    assert_eq!(then[0], format!("{} cancel", &first[..1]));
    assert!(then[1].ends_with("invoke f from web in 900 x") && then[1][..1] != first[..1], "{then:?}");
    world.pass(100);
    assert_eq!(world.heard()[1], "1 1: db.f: no attempt was answered in time (timeout)");
}

#[test]
fn a_deadline_is_passed_on_and_so_is_a_cancellation() {
    let everybody = [("a", friends(&["b"])), ("b", friends(&["c"])), ("c", Permissions::default())];
    let mut world = World::new(&everybody);
    let [a, b, c] = [(1, "a"), (2, "b"), (3, "c")].map(|(line, service)| world.replica(line, service, 1));
    world.say(a, Said::Call(Call { timeout: Some(500), ..call(1, "b", "f") }), "");
    let within = Some(world.invocation());
    world.pass(100);
    world.say(b, Said::Call(Call { within, ..call(9, "c", "g") }), "");
    assert_eq!(world.heard(), ["2 invoke f from a in 500", "3 invoke g from b in 400"]);
    world.say(a, Said::Cancel { id: 1 }, "");
    assert_eq!(
        world.heard(),
        ["2 cancel", "3 cancel", "2 9: c.g: what it was made for is not wanted any more (cancelled)"]
    );
    assert_eq!((world.routing.load(b).in_flight, world.routing.load(c).in_flight), (0, 0));
}

#[test]
fn a_caller_that_goes_cancels_what_it_has_asked_for() {
    let (mut world, web, db) = web_and_db();
    world.say(web, Said::Call(call(1, "db", "f")), "");
    world.say(web, Said::Send(call(2, "db", "g")), "");
    world.heard();
    world.lose(web);
    assert_eq!(world.heard(), ["2 cancel"], "what was only sent runs to its end");
    assert_eq!(world.routing.load(db).in_flight, 1);
}

#[test]
fn what_is_sent_is_answered_when_a_replica_has_it() {
    let (mut world, web, db) = web_and_db();
    world.say(web, Said::Send(call(1, "db", "f")), "x");
    let id = world.invocation();
    assert_eq!(world.heard(), ["2 send f from web in 60000 x", "1 1: reply"]);
    world.say(db, Said::Reply { id }, "");
    assert_eq!(world.heard(), [""; 0]);
}

#[test]
fn a_full_replica_is_overloaded() {
    let (mut world, web, db) = web_and_db();
    (0..4).for_each(|id| world.say(web, Said::Call(call(id, "db", "f")), ""));
    let id = world.invocation();
    world.heard();
    world.say(web, Said::Call(call(4, "db", "f")), "");
    let full = "1 4: db.f: every replica of db has as many calls under way as it takes (overloaded)";
    assert_eq!(world.heard(), [full]);
    world.say(web, Said::Call(Call { retries: 1, ..call(5, "db", "g") }), "");
    assert_eq!(world.heard(), [""; 0], "it may be tried again, so it waits for room");
    world.say(db, Said::Reply { id }, "");
    assert_eq!(world.heard(), ["1 3: reply", "2 invoke g from web in 60000"]);
}

#[test]
fn calls_go_to_the_least_loaded_and_equals_take_turns() {
    let (mut world, web, db) = web_and_db();
    let other = world.replica(3, "db", 2);
    (0..6).for_each(|id| world.say(web, Said::Call(call(id, "db", "f")), ""));
    let loads = [db, other].map(|line| world.routing.load(line).in_flight);
    assert_eq!(loads, [3, 3]);
}

#[test]
fn replicas_that_are_idle_take_turns_however_many_there_are() {
    for replicas in 1..=5 {
        let mut world = World::new(&[("web", friends(&["db"])), ("db", Permissions::default())]);
        let web = world.replica(1, "web", 1);
        let lines: Vec<_> =
            (1..=replicas).map(|index| world.replica(1 + u64::from(index), "db", index)).collect();
        for id in 0..u64::from(replicas) * 3 {
            world.say(web, Said::Call(call(id, "db", "f")), "");
            let invocation = world.invocation();
            lines.iter().for_each(|line| world.say(*line, Said::Reply { id: invocation }, ""));
        }
        let served: Vec<_> = lines.iter().map(|line| world.routing.load(*line).served).collect();
        assert_eq!(served, vec![3; lines.len()]);
    }
}

#[test]
fn a_stream_flows_as_far_as_there_is_credit() {
    let (mut world, web, db) = web_and_db();
    world.say(web, Said::Call(call(1, "db", "f")), "");
    let id = world.invocation();
    world.heard();
    world.say(db, Said::Stream { id }, "");
    (0..8).for_each(|item: u32| world.say(db, Said::Item { id }, &item.to_string()));
    world.say(web, Said::Credit { id: 1, items: 1 }, "");
    world.say(db, Said::Item { id }, "8");
    world.pass(100_000);
    let heard = world.heard();
    assert_eq!(heard[0], "1 1: stream");
    assert_eq!(heard[8..], ["1 1: item 7", "2 credit 1", "1 1: item 8"], "and no deadline ends it");
    world.say(db, Said::Item { id }, "9");
    assert_eq!(world.routing.next_deadline(), None);
    let greedy = "1 1: db.f: it has sent more than it was given credit for (overloaded)";
    assert_eq!(world.heard(), ["2 cancel", greedy]);
}

#[test]
fn a_consumer_that_has_enough_cancels_the_stream() {
    let (mut world, web, db) = web_and_db();
    world.say(web, Said::Call(call(1, "db", "f")), "");
    let id = world.invocation();
    world.say(db, Said::Stream { id }, "");
    world.heard();
    world.say(web, Said::Cancel { id: 1 }, "");
    assert_eq!(world.heard(), ["2 cancel"]);
    world.say(db, Said::End { id }, "");
    assert_eq!(world.heard(), [""; 0]);
}

#[test]
fn an_event_reaches_who_listens_and_may_hear_it() {
    let mut world = World::new(&[
        ("stock", Permissions::default()),
        ("web", friends(&["stock"])),
        ("spy", Permissions::default()),
    ]);
    let stock = world.replica(1, "stock", 1);
    let listeners = [(2, "web", 1), (3, "web", 2), (4, "spy", 1)];
    let [one, two, spy] = listeners.map(|(line, service, index)| world.replica(line, service, index));
    for line in [one, two, spy] {
        let event = "stock.*".into();
        world.say(line, Said::Subscribe { id: 1, event, group: None }, "");
    }
    world.heard();
    let emit = |id| Said::Emit { id, event: "stock.changed".into() };
    world.say(stock, emit(5), "x");
    let denied = "4 denied: spy may not hear stock.changed of stock; to allow it: \
                  services.spy.permissions.services: [{ name: stock, hear: [\"stock.changed\"] }]";
    let heard = |line| format!("{line} event stock.changed from stock x");
    assert_eq!(world.heard(), [denied.into(), heard(2), heard(3), "1 5: emitted to 2".into()]);
    world.say(one, Said::Unsubscribe { id: 2, event: "stock.*".into(), group: None }, "");
    world.say(stock, emit(6), "x");
    assert_eq!(world.heard(), ["2 2: reply".into(), heard(3), "1 6: emitted to 1".into()]);
}

#[test]
fn of_a_group_one_hears_each_event() {
    let mut world = World::new(&[("stock", Permissions::default()), ("web", friends(&["stock"]))]);
    let stock = world.replica(1, "stock", 1);
    for index in 1..=3 {
        let line = world.replica(1 + u64::from(index), "web", index);
        let group = Some("mail".to_owned());
        world.say(line, Said::Subscribe { id: 1, event: "sold".into(), group }, "");
    }
    world.heard();
    (0..6).for_each(|id| world.say(stock, Said::Emit { id, event: "sold".into() }, ""));
    let heard = world.heard();
    for line in ["2", "3", "4"] {
        assert_eq!(
            heard.iter().filter(|told| told.starts_with(&format!("{line} event"))).count(),
            2,
            "{heard:?}"
        );
    }
}

#[test]
fn a_slow_subscriber_loses_events_and_delays_nobody() {
    let mut world = World::new(&[("stock", Permissions::default()), ("web", friends(&["stock"]))]);
    let stock = world.replica(1, "stock", 1);
    let web = world.replica(2, "web", 1);
    world.say(web, Said::Subscribe { id: 1, event: "*".into(), group: None }, "");
    let emit = |id: u32| Said::Emit { id: id.into(), event: "e".into() };
    (0..1026).for_each(|id| world.say(stock, emit(id), ""));
    let heard = world.heard();
    let told = |what: &str| heard.iter().filter(|told| told.as_str() == what).count();
    assert_eq!((told("2 event e from stock"), told("2 behind")), (1024, 1));
    assert_eq!(
        (world.routing.load(web).lost_events, heard.last().unwrap().as_str()),
        (2, "1 1025: emitted to 0")
    );
    world.say(web, Said::Taken { events: 1 }, "");
    world.say(stock, emit(2000), "");
    assert_eq!(world.heard(), ["2 event e from stock", "1 2000: emitted to 1"]);
}

#[test]
fn a_message_is_no_longer_than_its_sender_may_send() {
    let mut short = friends(&["db"]);
    short.limits.message = Some(3);
    let mut world = World::new(&[("web", short), ("db", Permissions::default())]);
    let (web, db) = (world.replica(1, "web", 1), world.replica(2, "db", 1));
    world.say(web, Said::Call(call(1, "db", "f")), "1234");
    world.say(web, Said::Emit { id: 2, event: "e".into() }, "1234");
    let why = "the message has 4 bytes, where limits.message allows 3";
    assert_eq!(world.heard(), [format!("1 1: db.f: {why} (too-large)"), format!("1 2: {why} (too-large)")]);
    let long = "x".repeat((4 << 20) + 1);
    world.say(web, Said::Call(call(3, "db", "f")), "");
    let id = world.invocation();
    world.say(db, Said::Reply { id }, &long);
    assert_eq!(
        world.heard().pop().unwrap(),
        "1 3: db.f: its answer: the message has 4194305 bytes, where limits.message allows 4194304 (too-large)"
    );
}

#[test]
fn the_operator_may_call_and_tell_everything() {
    let (mut world, _, db) = web_and_db();
    let operator = LineId(99);
    world.routing.connect(operator, Party::Operator);
    world.say(db, Said::Subscribe { id: 1, event: "*".into(), group: None }, "");
    world.heard();
    world.say(operator, Said::Call(call(1, "db", "f")), "");
    world.say(operator, Said::Emit { id: 2, event: "e".into() }, "");
    assert_eq!(
        world.heard(),
        ["2 invoke f from @operator in 60000", "2 event e from @operator", "99 2: emitted to 1"]
    );
}

#[test]
fn calls_to_a_child_that_is_forgotten_are_answered() {
    let (mut world, web, _) = web_and_db();
    world.routing.know(name("web/one"), Permissions::default().into(), None, Share::Everybody);
    world.say(web, Said::Call(Call { retries: -1, ..call(1, "web/one", "f") }), "");
    let outputs = world.routing.forget(crate::supervisor::Moment(0), &name("web/one"));
    world.outputs.extend(outputs);
    assert_eq!(world.heard(), ["1 1: web/one.f: no service is named 'web/one' any more (not-found)"]);
}

#[test]
fn what_is_absurd_is_bounded() {
    let (mut world, web, _) = web_and_db();
    let forever = Call { timeout: Some(u64::MAX), attempt: Some(u64::MAX), ..call(1, "db", "f") };
    world.say(web, Said::Call(forever), "");
    let year = 365 * 24 * 3600 * 1000;
    assert_eq!(world.heard(), [format!("2 invoke f from web in {year}")]);
    assert_eq!(world.routing.next_deadline(), Some(crate::supervisor::Moment(year)));
    world.say(web, Said::Cancel { id: 1 }, "");
    world.heard();
    let attempts = Call { retries: 1, attempt: Some(year / 2), timeout: Some(year), ..call(3, "db", "f") };
    world.say(web, Said::Call(attempts), "");
    world.say(web, Said::Cancel { id: 3 }, "");
    world.heard();
    assert_eq!(world.routing.next_deadline(), None, "nothing is kept of what is over");
    world.say(web, Said::Call(call(2, "db", &"f".repeat(257))), "");
    assert!(world.heard()[0].ends_with("a name has at most 256 bytes (not-found)"));
}
