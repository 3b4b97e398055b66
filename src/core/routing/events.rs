//! Events: who listens to what, and who is told.

use std::collections::{BTreeMap, BTreeSet};

use super::{Audience, Code, Fault, Line, LineId, Output, Party, Routing, Told as Tell, Weigh};
use crate::name::ServiceName;
use crate::permissions::{Denial, Pattern, Permissions, ServiceGrants, may_hear};

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

/// Those who listen in each group: of a service, or a program.
type Groups = BTreeMap<(String, String), Vec<LineId>>;

/// Who tells an event.
enum Emitter<'a> {
    /// A service of this project; the operator, or a program of theirs, where it is none.
    Own(Option<ServiceName>),
    /// Somebody of another member, who is granted to tell it to these.
    Elsewhere { service: Option<ServiceName>, granted: &'a [String] },
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

impl Line {
    /// What it listens to, and in which groups.
    pub(super) fn subscriptions(&self) -> impl Iterator<Item = (&Pattern, Option<&str>)> {
        self.subscriptions.iter().map(|one| (&one.pattern, one.group.as_deref()))
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
        if group.as_ref().is_some_and(|group| group.len() > Pattern::LONGEST) {
            let message = format!("the name of a group has at most {} bytes", Pattern::LONGEST);
            return self.refuse(line, id, Fault::new(Code::TooLarge, message));
        }
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
        self.revision += 1;
        self.tell(line, Tell::Reply { id }, P::default());
    }

    pub(super) fn unsubscribe(&mut self, line: LineId, id: u64, event: &str, group: Option<&str>) {
        if let (Some(state), Ok(pattern)) = (self.lines.get_mut(&line), event.parse::<Pattern>()) {
            let before = state.subscriptions.len();
            state.subscriptions.retain(|one| one.pattern != pattern || one.group.as_deref() != group);
            self.revision += u64::from(state.subscriptions.len() != before);
        }
        self.tell(line, Tell::Reply { id }, P::default());
    }

    pub(super) fn taken(&mut self, line: LineId, events: u32) {
        if let Some(state) = self.lines.get_mut(&line) {
            state.events.taken(events);
        }
    }

    /// Tells everybody who listens and may hear it, at other members too; of each group, one.
    pub(super) fn emit(&mut self, line: LineId, id: u64, event: &str, payload: &P) {
        if let Some(why) = self.too_large(line, payload) {
            return self.refuse(line, id, Fault::new(Code::TooLarge, why));
        }
        if !event.parse::<Pattern>().is_ok_and(|name| name.covers(event)) {
            let message = format!("'{event}' cannot be the name of an event");
            return self.refuse(line, id, Fault::new(Code::NotFound, message));
        }
        let Some(state) = self.lines.get(&line) else { return };
        let (from, vouched) = (state.shown(""), state.vouched());
        let emitter = Emitter::Own(state.service().cloned());
        let (mut own, groups) = self.listeners(&emitter, event);
        let mut elsewhere = self.hearers(event);
        self.choose_for_groups(groups, &mut own, &mut elsewhere);
        let mut receivers = self.tell_event(own, event, &from, payload);
        let granted = self.granted_to_tell(&emitter, event);
        for (member, mut to) in elsewhere {
            to.granted.clone_from(&granted);
            let told = Tell::EventElsewhere { event: event.to_owned(), from: vouched.clone(), to };
            self.tell(member, told, payload.clone());
            receivers += 1;
        }
        self.tell(line, Tell::Emitted { id, receivers }, P::default());
    }

    /// An event of another member: for those of this project that were meant there, and may hear it.
    pub(super) fn hear_event(&mut self, line: LineId, event: &str, from: &str, to: &Audience, payload: &P) {
        let Some(state) = self.lines.get(&line) else { return };
        let shown = state.shown(from);
        let emitter = Emitter::Elsewhere { service: ServiceName::parse(from).ok(), granted: &to.granted };
        let (mut own, mut groups) = self.listeners(&emitter, event);
        if !to.all {
            own.clear();
        }
        groups.retain(|group, _| to.groups.contains(group));
        self.choose_for_groups(groups, &mut own, &mut BTreeMap::new());
        self.tell_event(own, event, &shown, payload);
    }

    /// Answers with how many were told.
    fn tell_event(
        &mut self,
        listeners: BTreeMap<LineId, Chosen>,
        event: &str,
        from: &str,
        payload: &P,
    ) -> usize {
        let mut receivers = 0;
        for (listener, Chosen { all, groups }) in listeners {
            let Some(state) = self.lines.get_mut(&listener) else { continue };
            if state.events.add(payload.weight()) {
                receivers += 1;
                let (event, from) = (event.to_owned(), from.to_owned());
                self.tell(listener, Tell::Event { event, from, all, groups }, payload.clone());
            } else if !std::mem::replace(&mut state.events.behind, true) {
                self.outputs.push(Output::Behind { line: listener });
            }
        }
        receivers
    }

    /// Who of this project listens without a group, and who does in each group.
    fn listeners(&mut self, emitter: &Emitter<'_>, event: &str) -> (BTreeMap<LineId, Chosen>, Groups) {
        let (mut all, mut groups, mut denials) = (BTreeMap::new(), Groups::new(), Vec::new());
        for (name, known, line) in self.possible_listeners() {
            // Children are their parents' own.
            let child = known.is_some_and(|(service, _)| service.parent().is_some());
            if child && matches!(emitter, Emitter::Elsewhere { .. }) {
                continue;
            }
            let Some(state) = self.lines.get(&line) else { continue };
            let mut wanted = state.subscriptions.iter().filter(|one| one.pattern.covers(event)).peekable();
            if wanted.peek().is_none() {
                continue;
            }
            // A program is the operator's, who may hear everything.
            if let Some((service, permissions)) = known
                && let Err(denial) = self.hears(service, permissions, emitter, event)
            {
                denials.push((line, denial));
                continue;
            }
            for subscription in wanted {
                match &subscription.group {
                    None => all.entry(line).or_insert_with(Chosen::default).all = true,
                    Some(group) => {
                        let members = groups.entry((name.clone(), group.clone())).or_default();
                        if !members.contains(&line) {
                            members.push(line);
                        }
                    }
                }
            }
        }
        for (line, denial) in denials {
            self.denied(line, denial);
        }
        (all, groups)
    }

    /// Every line of this project that may listen, with its name and, where it is a service's, what that one is allowed.
    fn possible_listeners(
        &self,
    ) -> impl Iterator<Item = (String, Option<(&ServiceName, &Permissions)>, LineId)> {
        let of_services = self.services.iter().flat_map(|(service, known)| {
            known
                .meant
                .iter()
                .map(move |line| (service.to_string(), Some((service, &*known.permissions)), *line))
        });
        let of_programs = self.lines.iter().filter_map(|(line, state)| match &state.party {
            Party::Program(name) => Some((name.clone(), None, *line)),
            _ => None,
        });
        of_services.chain(of_programs)
    }

    /// Which other members have somebody who listens, and in which groups.
    fn hearers(&self, event: &str) -> BTreeMap<LineId, Audience> {
        let mut hearers: BTreeMap<LineId, Audience> = BTreeMap::new();
        for (line, state) in &self.lines {
            for hearing in state.hears.iter().filter(|hearing| hearing.event.covers(event)) {
                let to = hearers.entry(*line).or_default();
                match &hearing.group {
                    None => to.all = true,
                    Some(group) => to.groups.push((hearing.listener.clone(), group.clone())),
                }
            }
        }
        hearers
    }

    /// Of each group one: whoever has the fewest events to deal with, or another member, when it is its turn.
    fn choose_for_groups(
        &mut self,
        mut own: Groups,
        chosen: &mut BTreeMap<LineId, Chosen>,
        elsewhere: &mut BTreeMap<LineId, Audience>,
    ) {
        let turn = self.turn();
        let mut others: BTreeMap<(String, String), Vec<LineId>> = BTreeMap::new();
        for (line, to) in &mut *elsewhere {
            for group in std::mem::take(&mut to.groups) {
                let lines = others.entry(group).or_default();
                if lines.last() != Some(line) {
                    lines.push(*line);
                }
            }
        }
        let groups: BTreeSet<_> = own.keys().chain(others.keys()).cloned().collect();
        for group in groups {
            let members = own.remove(&group).unwrap_or_default();
            let others = others.remove(&group).unwrap_or_default();
            let places = u64::from(!members.is_empty()) + others.len() as u64;
            let place = usize::try_from(turn % places).unwrap_or_default();
            if let Some(line) = others.get(place) {
                elsewhere.entry(*line).or_default().groups.push(group);
                continue;
            }
            let backlog = |line: &LineId| self.lines.get(line).map_or(0, |state| state.events.untaken.len());
            let Some(least) = members.iter().map(backlog).min() else { continue };
            let best: Vec<_> = members.into_iter().filter(|line| backlog(line) == least).collect();
            let one = best[usize::try_from(turn % best.len() as u64).unwrap_or_default()];
            // Who listens alone as well hears it once.
            chosen.entry(one).or_default().groups.push(group.1);
        }
        elsewhere.retain(|_, to| to.all || !to.groups.is_empty());
    }

    fn hears(
        &self,
        to: &ServiceName,
        permissions: &Permissions,
        emitter: &Emitter<'_>,
        event: &str,
    ) -> Result<(), Denial> {
        let nothing = Permissions::default();
        match emitter {
            // The operator may tell everybody everything.
            Emitter::Own(None) => Ok(()),
            Emitter::Own(Some(from)) => {
                let emits = self.services.get(from).map_or(&nothing, |known| &*known.permissions);
                may_hear((to, permissions), (from, emits), event)
            }
            Emitter::Elsewhere { service, granted } => {
                let granted = granted.iter().any(|name| name == "*" || *name == to.as_str());
                match service {
                    _ if granted => Ok(()),
                    Some(from) if from == to => Ok(()),
                    Some(from) => may_hear((to, permissions), (from, &nothing), event),
                    None => Err(Denial {
                        who: to.to_string(),
                        tried: format!("hear {event} of somebody who is no service"),
                        grant: "its member has to vouch for it".to_owned(),
                    }),
                }
            }
        }
    }

    /// Whom the one who tells an event is granted to tell it to.
    fn granted_to_tell(&self, emitter: &Emitter<'_>, event: &str) -> Vec<String> {
        let Emitter::Own(Some(from)) = emitter else { return vec!["*".to_owned()] };
        let Some(known) = self.services.get(from) else { return Vec::new() };
        let covers = |grants: &ServiceGrants| grants.emit.iter().any(|pattern| pattern.covers(event));
        let granted = known.permissions.services.iter().filter(|(_, grants)| covers(grants));
        granted.map(|(service, _)| service.to_string()).collect()
    }
}
