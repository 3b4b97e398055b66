//! What is told outside of a project when one of its replicas gives up, and to whom: a plain function over the event.

use serde::Serialize;

use crate::manifest::OnGiveUp;
use crate::name::ServiceName;
use crate::report::{EventKind, Why};

/// The most of a reason that is told, in bytes: it ends in what a service has said, and a variable has its limits.
const LONGEST_REASON: usize = 4096;

/// What has happened, as a webhook is sent it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// The project.
    pub project: ServiceName,
    /// The service.
    pub service: ServiceName,
    /// The number of its replica, from 1.
    pub replica: u32,
    /// Why it gave up, in one line without control characters.
    pub reason: String,
}

/// What is to be told, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What has happened.
    pub facts: Facts,
    /// Who is told.
    pub to: OnGiveUp,
}

/// What is told of this event; none where it is another one, or nobody is to be told.
#[must_use]
pub fn notice<'a>(
    project: &ServiceName,
    event: &EventKind,
    told_by: impl FnOnce(&ServiceName) -> Option<&'a OnGiveUp>,
) -> Option<Notice> {
    let EventKind::GaveUp { replica, crashes, within, last } = event else { return None };
    let to = told_by(&replica.service).filter(|to| **to != OnGiveUp::default())?.clone();
    let why = Why::GaveUp { crashes: *crashes, within: *within, last: last.clone() };
    let (project, service) = (project.clone(), replica.service.clone());
    let facts = Facts { project, service, replica: replica.index, reason: one_line(&why.to_string()) };
    Some(Notice { facts, to })
}

impl Facts {
    /// The environment variables that say the same.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("ORCHESTRATOR_PROJECT", self.project.to_string()),
            ("ORCHESTRATOR_SERVICE", self.service.to_string()),
            ("ORCHESTRATOR_REPLICA", self.replica.to_string()),
            ("ORCHESTRATOR_REASON", self.reason.clone()),
        ]
    }
}

fn one_line(text: &str) -> String {
    let short = &text[..text.floor_char_boundary(LONGEST_REASON)];
    short.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::name::ReplicaId;
    use crate::report::{CrashReason, Exception};

    fn gave_up(message: &str) -> EventKind {
        let exception = Exception { message: message.to_owned(), ..Exception::default() };
        let replica = ReplicaId { service: ServiceName::parse("web").unwrap(), index: 2 };
        let last = CrashReason::Start { exception };
        EventKind::GaveUp { replica, crashes: 6, within: Duration::from_secs(60), last }
    }

    fn told(event: &EventKind, to: &OnGiveUp) -> Option<Notice> {
        notice(&ServiceName::parse("shop").unwrap(), event, |_| Some(to))
    }

    #[test]
    fn who_is_to_be_told_is_told_what_happened_to_whom() {
        let to = OnGiveUp { exec: Some(vec!["tell".into()]), webhook: None };
        let notice = told(&gave_up("no disk"), &to).unwrap();
        assert_eq!(notice.to, to);
        assert_eq!(
            notice.facts.variables(),
            [
                ("ORCHESTRATOR_PROJECT", "shop"),
                ("ORCHESTRATOR_SERVICE", "web"),
                ("ORCHESTRATOR_REPLICA", "2"),
                ("ORCHESTRATOR_REASON", "gave up after 6 crashes within 60 s: no disk"),
            ]
            .map(|(name, value)| (name, value.to_owned()))
        );
        assert_eq!(told(&gave_up("no disk"), &OnGiveUp::default()), None);
        let other = EventKind::Child { service: ServiceName::parse("web").unwrap(), created: true };
        assert_eq!(told(&other, &to), None);
    }

    #[test]
    fn what_a_service_says_stays_one_short_line() {
        let to = OnGiveUp { exec: Some(vec!["tell".into()]), webhook: None };
        let reason = told(&gave_up(&format!("a\0b\n\x1b{}", "é".repeat(100_000))), &to).unwrap().facts.reason;
        assert!(reason.starts_with("gave up after 6 crashes within 60 s: a b  é"), "{reason}");
        assert!(reason.len() <= LONGEST_REASON && reason.ends_with('é'), "{}", reason.len());
    }
}
