//! Stories of services that are elsewhere: at other members of the fabric, and at programs that have attached.

use super::world::{World, call, friends, name};
use crate::permissions::{Permissions, Share};
use crate::routing::{Audience, Call, Code, Fault, Hearing, LineId, Output, Party, Said, Told};
use crate::supervisor::Moment;

/// A project of `web`, which may call everything of `db`, and `db`, which does not run; two other members have it.
fn web_and_others() -> (World, LineId, LineId, LineId) {
    let mut world = World::new(&[("web", friends(&["db"])), ("db", Permissions::default())]);
    let web = world.replica(1, "web", 1);
    let (one, two) = (world.member(2, "one", &["db"]), world.member(3, "two", &["db"]));
    (world, web, one, two)
}

fn refused(id: u64, code: Code) -> Said {
    Said::NotRun { id, fault: Fault::new(code, "no") }
}

#[test]
fn a_service_is_called_where_it_is_and_its_own_member_vouches_for_the_caller() {
    let (mut world, web, one, _) = web_and_others();
    world.say(web, Said::Call(call(7, "db", "f")), "[1]");
    let id = world.invocation();
    let heard = world.heard();
    assert!(
        heard == ["2 invoke db.f from web in 60000 [1]"] || heard == ["3 invoke db.f from web in 60000 [1]"]
    );
    let line = if heard[0].starts_with('2') { one } else { LineId(3) };
    world.say(line, Said::Reply { id }, "2");
    assert_eq!(world.heard(), ["1 7: reply 2"]);
}

#[test]
fn a_score_falls_with_each_call_and_rises_with_each_answer() {
    let (mut world, web, one, two) = web_and_others();
    world.offer(one, &["db"], 3);
    // Nobody here, three calls of others at the first: the second gets three before the two are equal.
    for id in 1..=3 {
        world.say(web, Said::Call(call(id, "db", "f")), "");
    }
    assert_eq!(world.heard(), vec!["3 invoke db.f from web in 60000"; 3]);
    world.routing.tell_loads(Moment(0), one, &[].into());
    world.say(web, Said::Call(call(4, "db", "f")), "");
    assert_eq!(world.heard(), ["2 invoke db.f from web in 60000"]);
    // A replica here is nearer than one that has as little to do.
    world.lose(two);
    world.heard();
    let here = world.replica(9, "db", 1);
    world.say(web, Said::Call(call(5, "db", "f")), "");
    assert_eq!(world.heard(), ["9 invoke f from web in 60000"]);
    world.say(web, Said::Call(call(6, "db", "f")), "");
    let id = world.invocation();
    assert_eq!(world.heard(), ["9 invoke f from web in 60000"], "they have one each");
    world.say(here, Said::Reply { id }, "");
    world.heard();
}

#[test]
fn what_was_not_begun_goes_to_the_next_one_whatever_the_caller_allows() {
    let (mut world, web, ..) = web_and_others();
    world.say(web, Said::Call(call(7, "db", "f")), "[1]");
    for last in [false, true] {
        let Some(Output::Tell { line, told: Told::Invoke { id, .. }, payload }) = world.outputs.pop() else {
            panic!("nobody was asked")
        };
        assert_eq!(payload, "[1]", "the arguments are still there");
        world.say(line, refused(id, Code::Overloaded), "");
        assert_eq!(world.outputs.len(), 1, "{last}");
    }
    assert_eq!(world.heard(), ["1 7: db.f: no (overloaded)"], "everybody was asked once");
}

#[test]
fn what_is_refused_everywhere_and_may_be_tried_again_waits_until_something_has_changed() {
    let (mut world, web, one, two) = web_and_others();
    world.lose(two);
    world.say(web, Said::Call(Call { retries: -1, ..call(7, "db", "f") }), "[1]");
    let id = world.invocation();
    world.heard();
    world.say(one, refused(id, Code::Overloaded), "");
    assert_eq!(world.heard(), Vec::<String>::new(), "not at once again");
    world.offer(one, &["db"], 0);
    assert_eq!(world.heard(), ["2 invoke db.f from web in 60000 [1]"]);
}

#[test]
fn what_is_sent_to_another_member_is_sent_when_that_one_says_so() {
    let (mut world, web, one, two) = web_and_others();
    world.lose(two);
    world.say(web, Said::Send(call(7, "db", "f")), "");
    let id = world.invocation();
    assert_eq!(world.heard(), ["2 send db.f from web in 60000"], "nothing is said of it yet");
    world.say(one, Said::Reply { id }, "");
    assert_eq!(world.heard(), ["1 7: reply"]);
    world.say(web, Said::Send(call(8, "db", "f")), "");
    let id = world.invocation();
    world.heard();
    world.say(one, refused(id, Code::Denied), "");
    assert_eq!(world.heard(), ["1 8: db.f: no (denied)"]);
}

#[test]
fn a_program_that_was_busy_is_asked_again() {
    let mut world = World::new(&[("web", friends(&["billing"]))]);
    let web = world.replica(1, "web", 1);
    world.routing.expect([name("billing")].into());
    let program = LineId(2);
    world.routing.connect(program, Party::Program("reports".into()));
    world.offer(program, &["billing"], 0);
    world.say(web, Said::Call(Call { retries: -1, ..call(1, "billing", "f") }), "");
    let id = world.invocation();
    world.heard();
    world.say(program, refused(id, Code::Overloaded), "");
    world.pass(99);
    assert_eq!(world.heard(), Vec::<String>::new());
    world.pass(1);
    assert_eq!(world.heard(), ["2 invoke billing.f from web in 59900"]);
    // What is not expected any more is not its own.
    world.routing.expect([].into());
    world.say(web, Said::Call(call(2, "billing", "f")), "");
    assert_eq!(world.heard(), ["1 2: billing.f: no service is named 'billing' (not-found)"]);
}

#[test]
fn children_are_their_parents_own() {
    let mut world = World::new(&[("web", friends(&["web/one"])), ("web/one", friends(&["stock"]))]);
    world.replica(1, "web", 1);
    let child = world.replica(2, "web/one", 1);
    let member = world.member(3, "one", &[]);
    let offered = world.routing.offered().0;
    assert_eq!(offered.iter().map(|offer| offer.service.as_str()).collect::<Vec<_>>(), ["web"]);
    world.say(member, Said::Call(Call { from: "web".into(), ..call(1, "web/one", "f") }), "");
    assert_eq!(world.heard(), ["3 1: web/one.f: no service is named 'web/one' (not-found)"]);
    world.say(child, Said::Subscribe { id: 1, event: "*".into(), group: None }, "");
    world.heard();
    let to = Audience { all: true, granted: vec!["*".into()], ..Audience::default() };
    world.say(member, Said::Event { event: "low".into(), from: "stock".into(), to }, "");
    assert_eq!(world.heard(), Vec::<String>::new());
}

#[test]
fn a_member_that_is_lost_has_its_calls_answered_or_tried_elsewhere() {
    let (mut world, web, one, two) = web_and_others();
    world.offer(two, &["db"], 100);
    world.say(web, Said::Call(call(1, "db", "f")), "");
    world.say(web, Said::Call(Call { retries: 1, ..call(2, "db", "f") }), "[2]");
    assert_eq!(world.heard(), ["2 invoke db.f from web in 60000", "2 invoke db.f from web in 60000 [2]"]);
    world.lose(one);
    let mut heard = world.heard();
    heard.sort();
    assert_eq!(
        heard,
        ["1 1: db.f: one@h was lost before it answered (unavailable)", "3 invoke db.f from web in 60000 [2]",]
    );
    world.lose(two);
    world.heard();
    world.say(web, Said::Call(call(3, "db", "f")), "");
    assert_eq!(world.heard(), ["1 3: db.f: db is not running (unavailable)"]);
}

#[test]
fn what_runs_elsewhere_only_is_known_by_being_expected() {
    let mut world = World::new(&[("web", friends(&["far"]))]);
    let web = world.replica(1, "web", 1);
    world.say(web, Said::Call(call(1, "far", "f")), "");
    world.routing.expect([name("far")].into());
    world.say(web, Said::Call(call(2, "far", "f")), "");
    world.say(web, Said::Call(call(3, "fra", "f")), "");
    assert_eq!(
        world.heard(),
        [
            "1 1: far.f: no service is named 'far' (not-found)",
            "1 2: far.f: far runs nowhere: no member of the fabric and no program offers it (unavailable)",
            "1 3: fra.f: no service is named 'fra'; did you mean 'far'? (not-found)",
        ]
    );
    world.member(2, "one", &["far"]);
    world.say(web, Said::Call(call(4, "far", "h")), "");
    assert_eq!(world.heard(), ["1 4: far.h: far has no method 'h'; did you mean 'f'? (not-found)"]);
}

#[test]
fn who_is_called_decides_and_hands_nothing_on() {
    let mut world = World::new(&[("db", Permissions::default())]);
    let (one, _two) = (world.member(2, "one", &[]), world.member(3, "two", &["far"]));
    let only = Share::Only(vec![crate::permissions::Shared {
        from: "web@one".parse().unwrap(),
        call: ["f".parse().unwrap()].into(),
    }]);
    world.routing.know(name("db"), Permissions::default().into(), None, only);
    world.replica(1, "db", 1);
    let from = |from: &str, id, service, method| {
        Said::Call(Call { from: from.to_owned(), ..call(id, service, method) })
    };
    world.say(one, from("web", 1, "db", "f"), "");
    world.say(one, from("web", 2, "db", "g"), "");
    world.say(one, from("web", 3, "far", "f"), "");
    assert_eq!(
        world.heard(),
        [
            "1 invoke f from web@one in 60000".to_owned(),
            "2 denied: web@one may not call db.g; to allow it: \
             services.db.share: [{ from: web@one, call: [\"g\"] }]"
                .into(),
            "2 2: db.g: web@one may not call db.g; to allow it: \
             services.db.share: [{ from: web@one, call: [\"g\"] }] (denied)"
                .into(),
            "2 3: far.f: no service is named 'far' (not-found)".into(),
        ]
    );
}

#[test]
fn a_stream_to_another_member_goes_on_until_that_one_has_enough() {
    let mut world = World::new(&[("db", Permissions::default())]);
    let (member, db) = (world.member(1, "one", &[]), world.replica(2, "db", 1));
    let call = Call { timeout: Some(60_000), from: "web".into(), ..call(1, "db", "f") };
    world.say(member, Said::Call(call), "");
    let id = world.invocation();
    world.say(db, Said::Stream { id }, "");
    world.heard();
    world.pass(100_000);
    world.say(db, Said::Item { id }, "late");
    assert_eq!(world.heard(), ["1 1: item late"]);
    world.say(member, Said::Cancel { id: 1 }, "");
    assert_eq!(world.heard(), ["2 cancel"]);
}

#[test]
fn a_program_has_services_that_others_call() {
    let mut world = World::new(&[("web", friends(&["billing"]))]);
    let web = world.replica(1, "web", 1);
    world.routing.expect([name("billing")].into());
    let program = LineId(2);
    world.routing.connect(program, Party::Program("reports".into()));
    let before = world.routing.revision();
    world.offer(program, &["billing"], 0);
    assert_ne!(world.routing.revision(), before);
    assert_eq!(world.routing.offered().0[1].service, name("web"));
    world.say(web, Said::Call(call(1, "billing", "f")), "");
    assert_eq!(world.routing.loads(), [(name("billing"), 1)].into());
    world.say(program, Said::Call(call(1, "web", "f")), "");
    assert_eq!(
        world.heard(),
        ["2 invoke billing.f from web in 60000", "1 invoke f from @program@reports in 60000"]
    );
}

#[test]
fn an_event_goes_to_each_member_once_and_to_one_of_each_group() {
    let mut world = World::new(&[("web", Permissions::default())]);
    let web = world.replica(1, "web", 1);
    let hearing = |group: Option<&str>| Hearing {
        listener: "mail".into(),
        event: "stock.*".parse().unwrap(),
        group: group.map(str::to_owned),
    };
    for (line, member) in [(2, "one"), (3, "two")] {
        let line = world.member(line, member, &[]);
        let hears = vec![hearing(Some("g")), hearing((member == "one").then_some("other"))];
        world.routing.offer(Moment(0), line, Vec::new(), hears);
    }
    let emit = |id| Said::Emit { id, event: "stock.low".into() };
    world.say(web, emit(1), "7");
    world.say(web, emit(2), "8");
    let heard = world.heard();
    let of_group =
        |line: &str| heard.iter().filter(|told| told.starts_with(line) && told.contains("\"g\")")).count();
    assert_eq!((of_group("2 "), of_group("3 ")), (1, 1), "in turns: {heard:?}");
    let to_all = |line: &str| {
        heard.iter().filter(|told| told.starts_with(line) && told.contains("elsewhere true")).count()
    };
    assert_eq!((to_all("2 "), to_all("3 ")), (0, 2), "{heard:?}");
    let other = heard.iter().filter(|told| told.starts_with("2 ") && told.contains("\"other\"")).count();
    assert_eq!(other, 2, "{heard:?}");
    world.say(web, Said::Emit { id: 3, event: "other".into() }, "9");
    assert_eq!(world.heard(), ["1 3: emitted to 0"]);
}

#[test]
fn an_event_of_elsewhere_is_heard_where_that_is_granted_by_either_side() {
    let mut world = World::new(&[("mail", friends(&["stock"])), ("log", Permissions::default())]);
    let (mail, log) = (world.replica(1, "mail", 1), world.replica(2, "log", 1));
    for (line, group) in [(mail, None), (log, None), (log, Some("g".to_owned()))] {
        world.say(line, Said::Subscribe { id: 1, event: "*".into(), group }, "");
    }
    let member = world.member(3, "one", &[]);
    world.heard();
    let event = |from: &str, all, groups: &[(&str, &str)], granted: &[&str]| Said::Event {
        event: "low".into(),
        from: from.into(),
        to: Audience {
            all,
            groups: groups.iter().map(|(service, group)| ((*service).into(), (*group).into())).collect(),
            granted: granted.iter().map(|name| (*name).into()).collect(),
        },
    };
    world.say(member, event("stock", true, &[], &[]), "1");
    let heard = world.heard();
    assert_eq!(
        heard[0],
        "2 denied: log may not hear low of stock; to allow it: \
        services.log.permissions.services: [{ name: stock, hear: [\"low\"] }]"
    );
    assert_eq!(heard[1..], ["1 event low from stock@one 1"]);
    world.say(member, event("stock", false, &[("log", "g")], &["log"]), "2");
    assert_eq!(world.heard(), ["2 event low from stock@one false [\"g\"] 2"]);
    world.say(member, event("@program", true, &[], &["*"]), "3");
    assert_eq!(world.heard(), ["1 event low from @program@one 3", "2 event low from @program@one 3"]);
}
