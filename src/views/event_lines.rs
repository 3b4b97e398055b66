//! A line an event, for people.

use orchestrator_core::ServiceName;
use orchestrator_core::report::{Event, EventKind, Exception, FabricNews, Finish, FinishCause, State, Why};

use crate::escape::neutralise;
use crate::palette::Palette;

/// The event as a line, without its end. A stack follows its exception on lines of its own.
#[must_use]
pub fn event_line(event: &Event, palette: Palette) -> String {
    let line = match &event.kind {
        EventKind::Service { service, state, why } => changed(service.as_str(), *state, why.as_ref()),
        EventKind::Replica { replica, state, why, .. } => changed(&replica.to_string(), *state, why.as_ref()),
        EventKind::Crash { replica, reason, .. } => format!("{replica} crashed: {reason}"),
        EventKind::GaveUp { replica, crashes, within, last } => {
            let why = Why::GaveUp { crashes: *crashes, within: *within, last: last.clone() };
            format!("{replica} {why}")
        }
        EventKind::NotTold { replica, why } => {
            format!("{replica} gave up, and its 'on_give_up' failed: {why}")
        }
        EventKind::Reloaded { replica, .. } => format!("{replica} reloaded"),
        EventKind::NotReloaded(failed) => failed.to_string(),
        EventKind::Exception { replica, exception, .. } => {
            return palette.bad(&exception_lines(&replica.to_string(), exception));
        }
        EventKind::Refused { replica, what, .. } => format!("{replica} {what}"),
        EventKind::Unenforced { service, permission, missing } => {
            format!("{service} runs without {permission}, which is soft: this host has no {missing}")
        }
        EventKind::Fabric(news) => format!("fabric: {news}"),
        EventKind::Child { service, created } => child(service, *created),
        EventKind::Applied { steps } => {
            let steps: Vec<_> = steps.iter().map(ToString::to_string).collect();
            format!("the manifest has changed: {}", steps.join(", "))
        }
        EventKind::Closing { cause } => format!("closing in order: {}", said_cause(cause)),
        EventKind::Finished { finish } => finished(finish),
    };
    let line = neutralise(&line);
    let bad = matches!(
        event.kind,
        EventKind::Crash { .. }
            | EventKind::GaveUp { .. }
            | EventKind::NotTold { .. }
            | EventKind::NotReloaded(_)
            | EventKind::Fabric(FabricNews::CutOff { .. } | FabricNews::Refused { .. })
    );
    if bad { palette.bad(&line) } else { line.into_owned() }
}

/// Whether somebody who watches a project's output wants to read it there: what came up, what went wrong, and what
/// that did to others.
#[must_use]
pub fn is_news(event: &Event) -> bool {
    match &event.kind {
        EventKind::Crash { .. }
        | EventKind::GaveUp { .. }
        | EventKind::NotTold { .. }
        | EventKind::Reloaded { .. }
        | EventKind::NotReloaded(_)
        | EventKind::Exception { .. }
        | EventKind::Refused { .. }
        | EventKind::Fabric(_)
        | EventKind::Applied { .. }
        | EventKind::Unenforced { .. } => true,
        EventKind::Service { state, why, .. } => is_told(*state, why.as_ref()),
        EventKind::Closing { cause } => !matches!(cause, FinishCause::Asked | FinishCause::Killed),
        EventKind::Replica { .. } | EventKind::Child { .. } | EventKind::Finished { .. } => false,
    }
}

fn is_told(state: State, why: Option<&Why>) -> bool {
    match (state, why) {
        (State::Running, None) | (State::Closed, Some(Why::Completed)) => true,
        (_, Some(why)) => matches!(
            why,
            Why::ClosedBy { .. } | Why::BlockedBy { .. } | Why::BackingOff { .. } | Why::Forced { .. }
        ),
        _ => false,
    }
}

fn changed(who: &str, state: State, why: Option<&Why>) -> String {
    match why {
        None => format!("{who} {state}"),
        Some(why) => format!("{who} {state}: {why}"),
    }
}

/// Only the frames have lines of their own: nothing that a service throws can look like another event.
fn exception_lines(who: &str, exception: &Exception) -> String {
    let frames = exception.stack.lines().map(|frame| {
        format!(
            "
    {}",
            neutralise(frame.trim())
        )
    });
    format!("{who} threw {}{}", neutralise(&exception.to_string()), frames.collect::<String>())
}

fn child(service: &ServiceName, created: bool) -> String {
    format!("{service} {}", if created { "created" } else { "forgotten" })
}

fn finished(finish: &Finish) -> String {
    format!("ended with exit code {}: {}", finish.exit_code, said_cause(&finish.cause))
}

fn said_cause(cause: &FinishCause) -> String {
    match cause {
        FinishCause::Asked => "as asked".into(),
        FinishCause::Killed => "killed".into(),
        FinishCause::Essential { service } => format!("the essential service {service} has ended"),
        FinishCause::NothingLeft => "nothing is left to run".into(),
    }
}

#[cfg(test)]
mod tests {
    use orchestrator_core::report::{CrashReason, NotReloaded};
    use orchestrator_core::{Generation, ReplicaId};

    use super::*;

    fn line(kind: EventKind) -> String {
        event_line(&Event { seq: 1, time: 0, kind }, Palette::new(false))
    }

    #[test]
    fn each_event_is_a_line() {
        let service = ServiceName::parse("db").unwrap();
        let replica = ReplicaId { service: service.clone(), index: 1 };
        let generation = Generation(1);
        let why = Some(Why::WaitingFor { services: vec![service.clone()] });
        let web = ServiceName::parse("web").unwrap();
        assert_eq!(
            line(EventKind::Service { service: web, state: State::Closed, why }),
            "web closed: waiting for db"
        );
        let reason = CrashReason::Exit { code: 3 };
        assert_eq!(
            line(EventKind::Crash { replica: replica.clone(), generation, reason: reason.clone() }),
            "db-1 crashed: exited with code 3"
        );
        let within = std::time::Duration::from_secs(60);
        assert_eq!(
            line(EventKind::GaveUp { replica: replica.clone(), crashes: 6, within, last: reason }),
            "db-1 gave up after 6 crashes within 60 s: exited with code 3"
        );
        let why = "./tell.sh exited with code 3\x1b".to_owned();
        assert_eq!(
            line(EventKind::NotTold { replica: replica.clone(), why }),
            "db-1 gave up, and its 'on_give_up' failed: ./tell.sh exited with code 3^["
        );
        let reason = CrashReason::Exit { code: 3 };
        let reloaded =
            EventKind::Reloaded { replica: replica.clone(), generation: Generation(2), before: generation };
        assert_eq!(line(reloaded), "db-1 reloaded");
        let (reloaded, of) = (0, std::num::NonZeroU32::MIN);
        let failed = NotReloaded { replica: replica.clone(), reason, reloaded, of };
        assert_eq!(
            line(EventKind::NotReloaded(failed)),
            "db-1 was not reloaded: exited with code 3; what ran before runs on"
        );
        let exception = Exception {
            name: "TypeError".into(),
            message: "x\x1b\nweb running".into(),
            stack: "at a.js:1\nat b.js:2".into(),
        };
        assert_eq!(
            line(EventKind::Exception { replica, generation, exception }),
            "db-1 threw TypeError: x^[^Jweb running\n    at a.js:1\n    at b.js:2"
        );
        let finish = Finish { exit_code: 1, cause: FinishCause::Essential { service } };
        assert_eq!(
            line(EventKind::Finished { finish }),
            "ended with exit code 1: the essential service db has ended"
        );
    }
}
