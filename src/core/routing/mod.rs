//! [`Routing`]: carries calls and events from one service to another. A state machine over data: what a line says comes in
//! with its time, what lines are to be told comes out. No clock, no I/O; what is in a payload is nobody's business here.
//!
//! ```text
//!   call --(granted?)--> parked --(a replica has room)--> under way --> reply, stream ... end, error --> caller
//!             |             ^                                 |
//!             v             '----(lost or late, and it may be tried again)
//!          denied                     at the deadline, or when the caller goes: cancelled
//! ```
//!
//! What holds, whatever lines say and in whichever order:
//!
//! - An answer reaches the line that asked, or nobody. Who may say what is decided by the line that it came over.
//! - A call is answered at most once; unless it may be tried again, its method is invoked at most once.
//! - Everything is bounded: what a line has asked for and not heard, what it has been asked and not answered, what it was
//!   told and has not taken.

mod balance;
mod calls;
mod candidates;
mod events;
mod fault;
mod message;
mod outside;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

pub use self::fault::{Code, Fault, Thrown};
pub use self::message::{Audience, Call, Output, Said, Told};
pub use self::outside::{Hearing, Offer};

use self::calls::{Due, Ongoing};
use self::events::{Subscription, Told as ToldEvents};
use self::outside::Offered;
use crate::manifest::suggest;
use crate::name::{ReplicaId, ServiceName};
use crate::permissions::{Denial, Permissions, Share};
use crate::supervisor::Moment;

/// How many calls of one line may be under way. More are `overloaded`.
pub const MOST_ASKED: usize = 1024;

/// How many calls of another member of the fabric may be under way: those of all its services.
pub const MOST_ASKED_BY_MEMBER: usize = 1 << 14;

/// How many calls one replica may have under way, unless its manifest says otherwise.
pub const MAX_IN_FLIGHT: u32 = 512;

/// How many bytes of calls one replica may have under way, besides the first call.
pub const MOST_BYTES: usize = 32 << 20;

/// How long a message may be, unless the manifest says otherwise.
pub const LONGEST_MESSAGE: u64 = 4 << 20;

/// How many different denials of one line are told.
const MOST_DENIALS: usize = 256;

/// One connection, by the number that its keeper has given it. A later one has a higher number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId(pub u64);

/// Who is at the other end of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Party {
    /// A replica of a service.
    Replica(ReplicaId),
    /// The person who runs the project, who may call everything. A callee is told `@operator`, which is no service's name.
    Operator,
    /// A program of that person, by the name that it gives itself. It may have services of its own.
    Program(String),
    /// Another member of the fabric: an orchestrator, or a program. It calls for its services, and is called for them.
    Member(Peer),
}

/// What a member of the fabric calls itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Its project's name, or its own.
    pub name: String,
    /// The host that it runs on.
    pub host: String,
    /// Its session, where it has one.
    pub session: String,
}

/// What a message weighs, for the limits.
pub trait Weigh {
    /// Bytes.
    fn weight(&self) -> usize;
}

/// What a replica has to do with calls, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Calls that it has been given and has not answered.
    pub in_flight: u32,
    /// Calls that it has answered.
    pub served: u64,
    /// Events that it did not get because it had too many.
    pub lost_events: u64,
}

/// The calls and the subscriptions of a project. `P` is a payload.
#[derive(Debug)]
pub struct Routing<P> {
    lines: BTreeMap<LineId, Line>,
    services: BTreeMap<ServiceName, Known>,
    /// Services that run elsewhere, if anywhere.
    elsewhere: BTreeSet<ServiceName>,
    /// Who offers a service from outside: programs, and members of the fabric.
    outside: BTreeMap<ServiceName, BTreeSet<LineId>>,
    /// What this project is in the fabric.
    own: Option<Peer>,
    /// Counts the changes of what this project itself offers and hears.
    revision: u64,
    calls: HashMap<u64, Ongoing<P>>,
    /// From the number of an invocation, which is anew for each attempt, to its call.
    invocations: HashMap<u64, u64>,
    due: BTreeSet<Due>,
    /// Calls that wait for a replica with room, the oldest first.
    parked: BTreeMap<ServiceName, VecDeque<u64>>,
    /// Services that may have room for a call that is parked.
    freed: BTreeSet<ServiceName>,
    /// The last number that was given away.
    last: u64,
    /// How often one of several equals was chosen: each of them gets its turn.
    turns: u64,
    /// Answers that nobody waited for.
    dropped: u64,
    outputs: Vec<Output<P>>,
}

/// What is known of a service, whether it runs or not.
#[derive(Debug)]
struct Known {
    permissions: Arc<Permissions>,
    max_in_flight: u32,
    /// Who may call it from elsewhere.
    share: Share,
    /// Its starts that can be called.
    open: Vec<LineId>,
    /// Of those, the newest start of each replica: the one that is meant. An older one finishes what it has.
    meant: Vec<LineId>,
}

/// What is known of a connection.
#[derive(Debug)]
struct Line {
    party: Party,
    /// Its methods, once it can be called.
    methods: Vec<String>,
    /// From the caller's numbers to its calls.
    asked: HashMap<u64, u64>,
    /// The invocations that it has not answered, with what they weigh.
    serving: BTreeMap<u64, usize>,
    serving_bytes: usize,
    served: u64,
    subscriptions: Vec<Subscription>,
    /// The services that it has itself, where it is no replica of one.
    offers: BTreeMap<ServiceName, Offered>,
    /// What those of them listen to that are elsewhere.
    hears: Vec<Hearing>,
    events: ToldEvents,
    /// The lines of the manifest that have been named to it.
    denied: HashSet<String>,
}

impl<P> Default for Routing<P> {
    fn default() -> Self {
        Self {
            lines: BTreeMap::new(),
            services: BTreeMap::new(),
            elsewhere: BTreeSet::new(),
            outside: BTreeMap::new(),
            own: None,
            revision: 0,
            calls: HashMap::new(),
            invocations: HashMap::new(),
            due: BTreeSet::new(),
            parked: BTreeMap::new(),
            freed: BTreeSet::new(),
            last: 0,
            turns: 0,
            dropped: 0,
            outputs: Vec::new(),
        }
    }
}

impl<P: Clone + Default + Weigh> Routing<P> {
    /// Makes a service known: from now on it can be named, whether it runs or not.
    pub fn know(
        &mut self,
        name: ServiceName,
        permissions: Arc<Permissions>,
        max_in_flight: Option<u32>,
        share: Share,
    ) {
        let max_in_flight = max_in_flight.unwrap_or(MAX_IN_FLIGHT);
        let (open, meant) =
            self.services.remove(&name).map(|known| (known.open, known.meant)).unwrap_or_default();
        self.services.insert(name, Known { permissions, max_in_flight, share, open, meant });
        self.revision += 1;
    }

    /// Forgets a service of which no line is left, a child that is gone.
    pub fn forget(&mut self, now: Moment, name: &ServiceName) -> Vec<Output<P>> {
        self.services.remove(name);
        for call in self.parked.remove(name).unwrap_or_default() {
            self.fail(call, Code::NotFound, format!("no service is named '{name}' any more"));
        }
        self.take(now)
    }

    /// A line has come up. It may call; it cannot be called yet.
    pub fn connect(&mut self, line: LineId, party: Party) {
        self.lines.insert(line, Line::new(party));
    }

    /// From now on a replica can be called by this line, and hears events (lifecycle rule 7). By an older line of the same
    /// replica it is called no more: that one answers what it has.
    pub fn open(&mut self, now: Moment, line: LineId, methods: Vec<String>) -> Vec<Output<P>> {
        let Some(state) = self.lines.get_mut(&line) else { return Vec::new() };
        state.methods = methods;
        let Some(service) = state.service().cloned() else { return Vec::new() };
        if let Some(member) = self.services.get_mut(&service)
            && !member.open.contains(&line)
        {
            member.open.push(line);
        }
        self.choose_meant(service);
        self.take(now)
    }

    /// From now on a line gets nothing new. What it has under way it may answer.
    pub fn shut(&mut self, line: LineId) {
        let Some(service) = self.lines.get(&line).and_then(Line::service).cloned() else { return };
        if let Some(member) = self.services.get_mut(&service) {
            member.open.retain(|open| *open != line);
        }
        self.choose_meant(service);
    }

    /// Finds the newest line of each replica of a service: lines are numbered as they come up.
    fn choose_meant(&mut self, service: ServiceName) {
        let Some(member) = self.services.get_mut(&service) else { return };
        let mut newest = BTreeMap::new();
        for line in &member.open {
            if let Some(Party::Replica(replica)) = self.lines.get(line).map(|state| &state.party) {
                newest
                    .entry(replica.index)
                    .and_modify(|old: &mut LineId| *old = (*old).max(*line))
                    .or_insert(*line);
            }
        }
        member.meant = newest.into_values().collect();
        self.revision += 1;
        self.freed.insert(service);
    }

    /// A line is gone, with everything that it had under way.
    pub fn disconnect(&mut self, now: Moment, line: LineId) -> Vec<Output<P>> {
        self.shut(line);
        self.withdraw(line);
        let Some(gone) = self.lines.remove(&line) else { return Vec::new() };
        for call in gone.asked.values() {
            self.abandon(*call);
        }
        for invocation in gone.serving.keys() {
            self.lost(now, *invocation, &gone.party);
        }
        self.take(now)
    }

    /// A line has said something.
    pub fn hear(&mut self, now: Moment, line: LineId, said: Said, payload: P) -> Vec<Output<P>> {
        if !self.lines.contains_key(&line) {
            return Vec::new();
        }
        match said {
            Said::Call(call) => self.call(now, line, call, payload, false),
            Said::Send(call) => self.call(now, line, call, payload, true),
            Said::Cancel { id } => self.cancelled_by_caller(line, id),
            Said::Credit { id, items } => self.credit(line, id, items),
            Said::Emit { id, event } => self.emit(line, id, &event, &payload),
            Said::Subscribe { id, event, group } => self.subscribe(line, id, &event, group),
            Said::Unsubscribe { id, event, group } => self.unsubscribe(line, id, &event, group.as_deref()),
            Said::Taken { events } => self.taken(line, events),
            Said::Reply { id } => self.reply(line, id, payload),
            Said::Stream { id } => self.stream(line, id),
            Said::Item { id } => self.item(line, id, payload),
            Said::End { id } => self.finish(line, id, |id| Told::End { id }, P::default()),
            Said::Error { id, fault } => self.thrown(line, id, fault),
            Said::NotRun { id, fault } => self.not_run(now, line, id, fault),
            Said::Event { event, from, to } => self.hear_event(line, &event, &from, &to, &payload),
        }
        self.take(now)
    }

    /// The time of the next deadline.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.due.first().map(|due| due.at)
    }

    /// Ends what has no more time.
    pub fn expire(&mut self, now: Moment) -> Vec<Output<P>> {
        while let Some(due) = self.due.first().copied().filter(|due| due.at <= now) {
            self.due.remove(&due);
            self.late(now, due);
        }
        self.take(now)
    }

    /// What a line has to do.
    #[must_use]
    pub fn load(&self, line: LineId) -> Load {
        let load = |line: &Line| Load {
            in_flight: u32::try_from(line.serving.len()).unwrap_or(u32::MAX),
            served: line.served,
            lost_events: line.events.lost,
        };
        self.lines.get(&line).map(load).unwrap_or_default()
    }

    /// What can be called of a line.
    #[must_use]
    pub fn methods(&self, line: LineId) -> &[String] {
        self.lines.get(&line).map_or(&[], |line| &line.methods)
    }

    /// Whether a line still has this invocation.
    #[cfg(test)]
    fn is_serving(&self, line: LineId, invocation: u64) -> bool {
        self.lines.get(&line).is_some_and(|line| line.serving.contains_key(&invocation))
    }

    /// The names of all services that are known.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.services.keys().map(ToString::to_string).collect()
    }

    /// How many answers came for which nobody waited.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Everything that is to be done now.
    fn take(&mut self, now: Moment) -> Vec<Output<P>> {
        while let Some(service) = self.freed.pop_first() {
            self.unpark(now, &service);
        }
        std::mem::take(&mut self.outputs)
    }

    fn tell(&mut self, line: LineId, told: Told, payload: P) {
        self.outputs.push(Output::Tell { line, told, payload });
    }

    /// Answers a line that what it wanted is not done, and was not begun.
    fn refuse(&mut self, line: LineId, id: u64, fault: Fault) {
        self.tell(line, Told::Error { id, fault: Box::new(fault), not_run: true }, P::default());
    }

    /// Tells of a denial, once.
    fn denied(&mut self, line: LineId, denial: Denial) {
        let Some(state) = self.lines.get_mut(&line) else { return };
        if state.denied.len() < MOST_DENIALS && state.denied.insert(denial.grant.clone()) {
            self.outputs.push(Output::Denied { line, denial });
        }
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    /// How long a message of this line may be.
    fn longest(&self, line: LineId) -> u64 {
        let Some(state) = self.lines.get(&line) else { return LONGEST_MESSAGE };
        if matches!(state.party, Party::Member(_)) {
            // It holds its services to their limits itself.
            return u64::MAX;
        }
        let known = state.service().and_then(|service| self.services.get(service));
        known.and_then(|known| known.permissions.limits.message).unwrap_or(LONGEST_MESSAGE)
    }

    /// Why a message is too long to be sent.
    fn too_large(&self, line: LineId, payload: &P) -> Option<String> {
        let (weight, longest) = (payload.weight() as u64, self.longest(line));
        (weight > longest)
            .then(|| format!("the message has {weight} bytes, where limits.message allows {longest}"))
    }

    fn nearest_service(&self, name: &str) -> Option<String> {
        suggest::nearest(name, self.known().map(ServiceName::as_str).filter(|known| *known != name))
            .map(str::to_owned)
    }
}

impl Line {
    fn new(party: Party) -> Self {
        Self {
            party,
            methods: Vec::new(),
            asked: HashMap::new(),
            serving: BTreeMap::new(),
            serving_bytes: 0,
            served: 0,
            subscriptions: Vec::new(),
            offers: BTreeMap::new(),
            hears: Vec::new(),
            events: ToldEvents::default(),
            denied: HashSet::new(),
        }
    }

    fn service(&self) -> Option<&ServiceName> {
        match &self.party {
            Party::Replica(replica) => Some(&replica.service),
            Party::Operator | Party::Program(_) | Party::Member(_) => None,
        }
    }

    /// The name that a callee sees. A member says for whom it speaks.
    fn shown(&self, said: &str) -> String {
        match &self.party {
            Party::Replica(replica) => replica.service.to_string(),
            Party::Operator => "@operator".to_owned(),
            Party::Program(name) => format!("@program@{name}"),
            Party::Member(peer) => format!("{said}@{}", peer.name),
        }
    }

    /// The name under which this project speaks for it to other members.
    fn vouched(&self) -> String {
        match &self.party {
            Party::Program(_) => "@program".to_owned(),
            _ => self.shown(""),
        }
    }

    /// The number of the replica that it is, and something that stays the same for whoever is none.
    fn index(&self) -> u32 {
        match &self.party {
            Party::Replica(replica) => replica.index,
            _ => 0,
        }
    }

    /// Whether it belongs to another member of the fabric.
    fn is_elsewhere(&self) -> bool {
        matches!(self.party, Party::Member(_))
    }
}
