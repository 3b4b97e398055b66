//! A running project becomes another one: what is done, in which order, and to whom nothing is done.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use super::stories::told;
use super::{job, name, replicated, service};
use crate::manifest::Restart;
use crate::name::{ReplicaId, StartId};
use crate::report::CrashReason;
use crate::service_node::NodeSpec;
use crate::supervisor::{Action, Changes, Event, Goal, Moment, Request, Supervisor};

const NOW: Moment = Moment(0);

/// A project in which all that is asked for comes true at once.
struct Project {
    supervisor: Supervisor,
}

impl Project {
    fn of(specs: &[NodeSpec]) -> Self {
        let mut project = Self { supervisor: Supervisor::new(specs.iter().cloned()).unwrap() };
        let names = specs.iter().map(|spec| spec.name.clone()).collect();
        project.ask(Request::Start(names));
        project
    }

    /// What was done for it, in this order.
    fn ask(&mut self, request: Request) -> Vec<String> {
        let actions = self.supervisor.handle(NOW, Event::Request(request)).unwrap();
        self.comes_true(actions)
    }

    fn comes_true(&mut self, actions: Vec<Action>) -> Vec<String> {
        let (mut all, mut todo) = (told(&actions), VecDeque::from(actions));
        while let Some(action) = todo.pop_front() {
            let events = match action {
                Action::Create(start) => vec![Event::Ready(start.clone()), Event::Completed(start)],
                Action::Close(start) | Action::Destroy(start) => vec![Event::Ended(start)],
                _ => continue,
            };
            let is_job = |event: &Event| match event {
                Event::Ready(start) | Event::Completed(start) => {
                    start.replica.service.as_str().starts_with("job")
                }
                _ => false,
            };
            let events = events.into_iter().filter(|event| match event {
                Event::Ready(_) => !is_job(event),
                Event::Completed(_) => is_job(event),
                _ => true,
            });
            for event in events {
                let actions = self.supervisor.handle(NOW, event).unwrap();
                all.extend(told(&actions));
                todo.extend(actions);
            }
        }
        all
    }

    fn apply(&mut self, changes: Changes) -> Vec<String> {
        let done = self.ask(Request::Apply(changes.clone()));
        let goal = Goal::of(&Request::Apply(changes));
        assert_eq!(self.supervisor.settled(&goal), Some(Ok(())));
        done
    }

    fn names(&self) -> Vec<String> {
        self.supervisor.view().iter().map(|view| view.name.to_string()).collect()
    }
}

fn three() -> [NodeSpec; 3] {
    [service("db", &[]), service("api", &["db"]), service("web", &["api"])]
}

#[test]
fn nothing_is_done_where_nothing_differs() {
    let mut project = Project::of(&three());
    let changes = Changes { services: three().into(), ..Changes::default() };
    assert_eq!(project.apply(changes), [""; 0]);
}

#[test]
fn what_is_new_starts_and_what_is_gone_closes_and_is_forgotten() {
    let mut project = Project::of(&three());
    let [db, api, _] = three();
    let services = vec![db, api, service("shop", &["api"])];
    let changes =
        Changes { services, removed: vec![name("web")], started: vec![name("shop")], ..Changes::default() };
    let mut done = project.apply(changes);
    done.sort();
    assert_eq!(done, ["close web", "create shop", "forget web"]);
    assert_eq!(project.names(), ["db", "api", "shop"]);
}

#[test]
fn what_others_needed_goes_after_them_unless_they_need_it_no_more() {
    let mut project = Project::of(&three());
    let removed = vec![name("db"), name("api")];
    let changes = Changes { services: vec![service("web", &[])], removed, ..Changes::default() };
    assert_eq!(project.apply(changes), ["close api", "close db", "forget api", "forget db"]);
    assert_eq!(project.names(), ["web"], "and it has run on");
}

#[test]
fn what_is_restarted_takes_what_depends_on_it_along_and_what_is_reloaded_does_not() {
    let mut project = Project::of(&three());
    let services: Vec<_> = three().into();
    let restarted =
        Changes { services: services.clone(), restarted: vec![name("api")], ..Changes::default() };
    assert_eq!(project.apply(restarted), ["close web", "close api", "create api", "create web"]);
    let reloaded = Changes { services, reloaded: vec![name("api")], ..Changes::default() };
    assert_eq!(project.apply(reloaded), ["create api", "close api"]);
}

#[test]
fn a_job_that_has_changed_runs_again_and_what_waits_for_it_waits_again() {
    let web = service("web", &["job!"]);
    let mut project = Project::of(&[job("job", &[]), web.clone()]);
    let changes =
        Changes { services: vec![job("job", &[]), web], restarted: vec![name("job")], ..Changes::default() };
    let done = project.apply(changes);
    assert_eq!(done.first().map(String::as_str), Some("close web"), "{done:?}");
    assert_eq!(done.last().map(String::as_str), Some("create web"), "{done:?}");
    assert!(done.contains(&"create job".into()), "{done:?}");
}

#[test]
fn a_number_of_replicas_that_somebody_chose_stays_unless_the_manifest_says_another_one() {
    let mut project = Project::of(&[replicated("web", &[], 2)]);
    let three = NonZeroU32::new(3).unwrap();
    project.ask(Request::Scale(name("web"), three));
    let same = Changes { services: vec![replicated("web", &[], 2)], ..Changes::default() };
    assert_eq!(project.apply(same), [""; 0]);
    let fewer = Changes {
        services: vec![replicated("web", &[], 1)],
        scaled: vec![name("web")],
        ..Changes::default()
    };
    assert_eq!(project.apply(fewer), ["close web", "close web"]);
}

#[test]
fn what_a_person_has_stopped_stays_so_and_what_gave_up_is_tried_again() {
    let mut project = Project::of(&three());
    project.ask(Request::Stop(vec![name("web")]));
    let changes = |services: &[NodeSpec], which| Changes {
        services: services.into(),
        reloaded: vec![name(which)],
        ..Changes::default()
    };
    assert_eq!(project.apply(changes(&three(), "web")), [""; 0]);

    let web = NodeSpec { restart: Restart { max: 0, ..Restart::default() }, ..service("web", &[]) };
    let fragile = [web, service("zoo", &[])];
    let mut project = Project::of(&fragile);
    let view = project.supervisor.view().remove(0);
    let replica = ReplicaId { service: view.name, index: 1 };
    let start = StartId { replica, generation: view.replicas[0].generation };
    let crashed = Event::Crashed(start, CrashReason::Exit { code: 1 });
    let actions = project.supervisor.handle(NOW, crashed).unwrap();
    assert_eq!(project.comes_true(actions).first().map(String::as_str), Some("destroy web"));
    assert_eq!(project.apply(changes(&fragile, "web")), ["create web"]);

    // Other rules are reason enough.
    let view = project.supervisor.view().remove(0);
    let replica = ReplicaId { service: view.name, index: 1 };
    let start = StartId { replica, generation: view.replicas[0].generation };
    let crashed = Event::Crashed(start, CrashReason::Exit { code: 1 });
    let actions = project.supervisor.handle(NOW, crashed).unwrap();
    project.comes_true(actions);
    let adjusted = Changes { services: fragile.into(), adjusted: vec![name("web")], ..Changes::default() };
    assert_eq!(project.apply(adjusted), ["create web"]);
}

#[test]
fn what_becomes_a_job_runs_once_whatever_it_was_scaled_to() {
    let mut project = Project::of(&[replicated("job", &[], 3), service("zoo", &[])]);
    let changes = Changes {
        services: vec![job("job", &[]), service("zoo", &[])],
        restarted: vec![name("job")],
        ..Changes::default()
    };
    let done = project.ask(Request::Apply(changes));
    assert_eq!(done.iter().filter(|done| *done == "create job").count(), 1, "{done:?}");
}

#[test]
fn who_waits_is_answered_whatever_others_add_and_what_comes_back_is_started_anew() {
    let mut project = Project::of(&three());
    let [db, api, web] = three();
    let fewer =
        Changes { services: vec![db.clone(), api.clone()], removed: vec![name("web")], ..Changes::default() };
    let goal = Goal::of(&Request::Apply(fewer.clone()));
    let closing = project.supervisor.handle(NOW, Event::Request(Request::Apply(fewer))).unwrap();
    assert_eq!((told(&closing), project.supervisor.settled(&goal)), (vec!["close web".into()], None));
    assert!(project.supervisor.is_leaving(&name("web")));
    let again = Changes { services: vec![db, api, web], started: vec![name("web")], ..Changes::default() };
    let actions = project.supervisor.handle(NOW, Event::Request(Request::Apply(again))).unwrap();
    assert_eq!(project.supervisor.settled(&goal), Some(Ok(())), "it is not being removed any more");
    assert_eq!(told(&actions), [""; 0]);
    assert_eq!(project.comes_true(closing), ["close web", "create web"]);
}
