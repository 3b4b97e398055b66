//! Events: who listens to what, and who is told.

use std::collections::BTreeMap;

use super::{Code, Fault, Line, LineId, Output, Routing, Told as Tell, Weigh};
use crate::name::ServiceName;
use crate::permissions::{Pattern, Permissions, may_hear};

/// How many subscriptions a line may have.
const MOST_SUBSCRIPTIONS: usize = 1024;

/// How many events may be on their way to a line that has not taken them. Further ones are lost, and counted.
const MOST_EVENTS: u32 = 1024;

/// How many bytes of them, besides the first.
const MOST_BYTES: usize = 16 << 20;

/// What a line wants to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    pattern: Pattern,
    group: Option<String>,
}

/// As what a line hears an event.
#[derive(Debug, Default)]
struct Chosen {
    all: bool,
    groups: Vec<String>,
}

/// The events that are on their way to a line.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// What each weighs, the oldest first.
    untaken: std::collections::VecDeque<usize>,
    bytes: usize,
    pub(super) lost: u64,
    /// Whether the last one was lost.
    behind: bool,
}

impl Told {
    /// Whether there is room for one more; if so it is noted.
    fn add(&mut self, weight: usize) -> bool {
        let room = self.untaken.is_empty()
            || (self.untaken.len() < MOST_EVENTS as usize && self.bytes + weight <= MOST_BYTES);
        if room {
            self.untaken.push_back(weight);
            self.bytes += weight;
        } else {
            self.lost += 1;
        }
        room
    }

    fn taken(&mut self, events: u32) {
        for _ in 0..events {
            let Some(weight) = self.untaken.pop_front() else { return };
            self.bytes -= weight;
        }
        self.behind = false;
    }
}

impl<P: Clone + Default + Weigh> Routing<P> {
    pub(super) fn subscribe(&mut self, line: LineId, id: u64, event: &str, group: Option<String>) {
        let pattern = match event.parse() {
            Ok(pattern) => pattern,
            Err(error) => {
                let error: crate::permissions::PatternError = error;
                return self.refuse(line, id, Fault::new(Code::NotFound, error.to_string()));
            }
        };
        let Some(state) = self.lines.get_mut(&line) else { return };
        let subscription = Subscription { pattern, group };
        if state.subscriptions.contains(&subscription) {
            return self.tell(line, Tell::Reply { id }, P::default());
        }
        if state.subscriptions.len() >= MOST_SUBSCRIPTIONS {
            let message = format!("it listens to {MOST_SUBSCRIPTIONS} patterns already");
            return self.refuse(line, id, Fault::new(Code::Overloaded, message));
        }
        state.subscriptions.push(subscription);
        self.tell(line, Tell::Reply { id }, P::default());
    }

    pub(super) fn unsubscribe(&mut self, line: LineId, id: u64, event: &str, group: Option<&str>) {
        if let (Some(state), Ok(pattern)) = (self.lines.get_mut(&line), event.parse::<Pattern>()) {
            state.subscriptions.retain(|one| one.pattern != pattern || one.group.as_deref() != group);
        }
        self.tell(line, Tell::Reply { id }, P::default());
    }

    pub(super) fn taken(&mut self, line: LineId, events: u32) {
        if let Some(state) = self.lines.get_mut(&line) {
            state.events.taken(events);
        }
    }

    /// Tells everybody who listens and may hear it; of each group, one.
    pub(super) fn emit(&mut self, line: LineId, id: u64, event: &str, payload: &P) {
        if let Some(why) = self.too_large(line, payload) {
            return self.refuse(line, id, Fault::new(Code::TooLarge, why));
        }
        if !event.parse::<Pattern>().is_ok_and(|name| name.covers(event)) {
            let message = format!("'{event}' cannot be the name of an event");
            return self.refuse(line, id, Fault::new(Code::NotFound, message));
        }
        let Some(from) = self.lines.get(&line).map(Line::shown) else { return };
        let mut receivers = 0;
        for (listener, Chosen { all, groups }) in self.listeners(line, event) {
            let Some(state) = self.lines.get_mut(&listener) else { continue };
            if state.events.add(payload.weight()) {
                receivers += 1;
                let (event, from) = (event.to_owned(), from.clone());
                self.tell(listener, Tell::Event { event, from, all, groups }, payload.clone());
            } else if !std::mem::replace(&mut state.events.behind, true) {
                self.outputs.push(Output::Behind { line: listener });
            }
        }
        self.tell(line, Tell::Emitted { id, receivers }, P::default());
    }

    fn listeners(&mut self, emitter: LineId, event: &str) -> BTreeMap<LineId, Chosen> {
        let (mut all, mut groups, mut denials) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let from = self.lines.get(&emitter).and_then(Line::service).cloned();
        for (service, member) in &self.services {
            for line in &member.meant {
                let Some(state) = self.lines.get(line) else { continue };
                let mut wanted =
                    state.subscriptions.iter().filter(|one| one.pattern.covers(event)).peekable();
                if wanted.peek().is_none() {
                    continue;
                }
                if let Err(denial) = self.hears(service, &member.permissions, from.as_ref(), event) {
                    denials.push((*line, denial));
                    continue;
                }
                for subscription in wanted {
                    match &subscription.group {
                        None => all.entry(*line).or_insert_with(Chosen::default).all = true,
                        Some(group) => {
                            let members: &mut Vec<LineId> =
                                groups.entry((service.clone(), group.clone())).or_default();
                            if !members.contains(line) {
                                members.push(*line);
                            }
                        }
                    }
                }
            }
        }
        for (line, denial) in denials {
            self.denied(line, denial);
        }
        let turn = self.turn();
        for ((_, group), members) in groups {
            let backlog = |line: &LineId| self.lines.get(line).map_or(0, |state| state.events.untaken.len());
            let Some(least) = members.iter().map(backlog).min() else { continue };
            let best: Vec<_> = members.into_iter().filter(|line| backlog(line) == least).collect();
            let chosen = best[usize::try_from(turn % best.len() as u64).unwrap_or_default()];
            // Who listens alone as well hears it once.
            all.entry(chosen).or_default().groups.push(group);
        }
        all
    }

    fn hears(
        &self,
        to: &ServiceName,
        permissions: &Permissions,
        from: Option<&ServiceName>,
        event: &str,
    ) -> Result<(), crate::permissions::Denial> {
        // The operator may tell everybody everything.
        let Some(from) = from else { return Ok(()) };
        let nothing = Permissions::default();
        let emits = self.services.get(from).map_or(&nothing, |member| &*member.permissions);
        may_hear((to, permissions), (from, emits), event)
    }
}
