//! Calls: from who asks to who answers, once more where that is allowed, and back.

use std::collections::{BTreeSet, VecDeque};

use super::balance::choose;
use super::{
    Call, Code, Fault, Line, LineId, MOST_ASKED, MOST_ASKED_BY_MEMBER, Party, Peer, Routing, Told, Weigh,
};
use crate::name::{ReplicaId, ServiceName};
use crate::permissions::Pattern;
use crate::supervisor::Moment;

/// How long a call may take unless it says so, in milliseconds.
const TIMEOUT: u64 = 60_000;

/// The longest that a call may take, in milliseconds: far longer than anybody waits, and short enough to be added to any time.
const LONGEST_TIMEOUT: u64 = 365 * 24 * 3600 * 1000;

/// How many items of a stream may be under way before any credit was given.
const WINDOW: u32 = 8;

/// The most credit that a stream can have.
const MOST_CREDIT: u32 = 1 << 16;

/// How long a call that was refused everywhere waits before it is tried again, in milliseconds.
const PAUSE: u64 = 100;

/// Why a call is not made, in kind and in words.
pub(super) type Refusal = (Code, String);

/// A call that has no result yet.
#[derive(Debug)]
pub(super) struct Ongoing<P> {
    pub(super) caller: LineId,
    /// The caller's number for it.
    pub(super) id: u64,
    /// Who that is, as a callee of this project sees it.
    pub(super) from: String,
    pub(super) target: ServiceName,
    pub(super) method: String,
    pub(super) key: Option<String>,
    pub(super) one_way: bool,
    /// Whether the caller has been told all that it will be: it was one-way, and is under way.
    pub(super) settled: bool,
    pub(super) payload: P,
    pub(super) deadline: Moment,
    /// Whether it was the caller who chose that: then it holds for streams too.
    pub(super) timed: bool,
    pub(super) attempt: Option<u64>,
    pub(super) retries: i64,
    pub(super) tried: BTreeSet<LineId>,
    pub(super) state: State,
    /// The call that it is made for.
    pub(super) parent: Option<u64>,
    /// The calls that its callee makes in order to answer it.
    pub(super) nested: BTreeSet<u64>,
}

#[derive(Debug)]
pub(super) enum State {
    /// It waits for a replica.
    Parked,
    /// A replica has it, under this number, until this moment if nothing comes. A stream has credit.
    UnderWay { line: LineId, invocation: u64, until: Option<Moment>, stream: Option<u32> },
}

/// When something of a call has to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) at: Moment,
    call: u64,
}

impl<P: Clone + Default + Weigh> Routing<P> {
    pub(super) fn call(&mut self, now: Moment, line: LineId, call: Call, payload: P, one_way: bool) {
        let Some(state) = self.lines.get(&line) else { return };
        if state.asked.contains_key(&call.id) {
            // Two calls of one number could not be told apart: the first one stays.
            self.dropped += 1;
            return;
        }
        let target = match self.admit(line, &call, &payload) {
            Ok(target) => target,
            Err((code, message)) => {
                let (service, method) = (call.service, call.method);
                let fault = Fault { service, method, ..Fault::new(code, message) };
                return self.refuse(line, call.id, fault);
            }
        };
        let from = self.lines.get(&line).map(|state| state.shown(&call.from)).unwrap_or_default();
        let parent = call.within.and_then(|within| self.serving(line, within));
        let own = Moment(now.0.saturating_add(call.timeout.unwrap_or(TIMEOUT).min(LONGEST_TIMEOUT)));
        let deadline =
            parent.and_then(|parent| self.calls.get(&parent)).map_or(own, |parent| parent.deadline.min(own));
        let elsewhere = self.lines.get(&line).is_some_and(Line::is_elsewhere);
        let number = self.number();
        let ongoing = Ongoing {
            caller: line,
            id: call.id,
            from,
            target,
            method: call.method,
            key: call.key,
            one_way,
            settled: false,
            payload,
            deadline,
            // Of a stream that goes to another member, the time is watched there.
            timed: call.timeout.is_some() && !elsewhere,
            attempt: call.attempt,
            retries: call.retries,
            tried: BTreeSet::new(),
            state: State::Parked,
            parent,
            nested: BTreeSet::new(),
        };
        if let Some(parent) = parent.and_then(|parent| self.calls.get_mut(&parent)) {
            parent.nested.insert(number);
        }
        if let Some(state) = self.lines.get_mut(&line) {
            state.asked.insert(call.id, number);
        }
        self.calls.insert(number, ongoing);
        self.due.insert(Due { at: deadline, call: number });
        self.dispatch(now, number, false);
    }

    /// Whether a call can be made at all.
    fn admit(&mut self, line: LineId, call: &Call, payload: &P) -> Result<ServiceName, Refusal> {
        let state = self.lines.get(&line).ok_or_else(|| (Code::Cancelled, "the line is gone".to_owned()))?;
        let most = if state.is_elsewhere() { MOST_ASKED_BY_MEMBER } else { MOST_ASKED };
        if state.asked.len() >= most {
            let message = format!("this service has {most} calls under way, which is the most");
            return Err((Code::Overloaded, message));
        }
        if let Some(why) = self.too_large(line, payload) {
            return Err((Code::TooLarge, why));
        }
        if call.service.len().max(call.method.len()) > Pattern::LONGEST {
            return Err((Code::NotFound, format!("a name has at most {} bytes", Pattern::LONGEST)));
        }
        let elsewhere = state.is_elsewhere();
        let target = ServiceName::parse(&call.service).ok().filter(|name| self.is_known(name, elsewhere));
        let Some(target) = target else {
            let mut message = format!("no service is named '{}'", call.service);
            // Another member is told of nothing that it may not see.
            if let Some(near) = self.nearest_service(&call.service).filter(|_| !elsewhere) {
                message += &format!("; did you mean '{near}'?");
            }
            return Err((Code::NotFound, message));
        };
        let granted = match &state.party {
            Party::Operator | Party::Program(_) => Ok(()),
            Party::Replica(ReplicaId { service: caller, .. }) => match self.services.get(caller) {
                Some(known) => known.permissions.may_call(caller, &target, &call.method),
                None => return Err((Code::Unavailable, "this service is not known any more".to_owned())),
            },
            Party::Member(peer) => match self.services.get(&target) {
                Some(known) => known.share.may_call(&target, (&call.from, &peer.name), &call.method),
                None => Ok(()),
            },
        };
        if let Err(denial) = granted {
            let message = denial.to_string();
            self.denied(line, denial);
            return Err((Code::Denied, message));
        }
        Ok(target)
    }

    /// The call that a line serves under this number.
    pub(super) fn serving(&self, line: LineId, invocation: u64) -> Option<u64> {
        self.lines.get(&line)?.serving.get(&invocation)?;
        self.invocations.get(&invocation).copied()
    }

    /// Gives a call to a replica, or parks it, or fails it.
    pub(super) fn dispatch(&mut self, now: Moment, number: u64, waited: bool) {
        let turn = self.turn();
        let Some(call) = self.calls.get(&number) else { return };
        let chosen = self
            .candidates(call)
            .map(|candidates| choose(&candidates, call.key.as_deref(), self.own.as_ref(), turn));
        match chosen {
            Ok(Some(line)) => self.invoke(now, number, line),
            Ok(None) => {}
            // An attempt that is allowed waits for its replica, in its place if it has waited before.
            Err((code, _)) if (call.retries != 0 || !call.tried.is_empty()) && code != Code::NotFound => {
                let parked = self.parked.entry(call.target.clone()).or_default();
                if waited { parked.push_front(number) } else { parked.push_back(number) }
            }
            Err((code, message)) => self.fail(number, code, message),
        }
    }

    fn invoke(&mut self, now: Moment, number: u64, line: LineId) {
        let invocation = self.number();
        let Some(call) = self.calls.get_mut(&number) else { return };
        let until = call.attempt.map(|attempt| Moment(now.0.saturating_add(attempt)));
        let until = until.filter(|until| *until < call.deadline);
        call.state = State::UnderWay { line, invocation, until, stream: None };
        call.tried.insert(line);
        let (caller, id, one_way) = (call.caller, call.id, call.one_way);
        let outside = self.lines.get(&line).is_some_and(|state| state.service().is_none());
        // Who is outside says itself that it was given to a replica.
        let settle = one_way && !outside && !std::mem::replace(&mut call.settled, true);
        // Who is outside may answer that it has not begun.
        let payload = if call.retries == 0 && !outside {
            std::mem::take(&mut call.payload)
        } else {
            call.payload.clone()
        };
        let (method, timeout) = (call.method.clone(), call.deadline.0.saturating_sub(now.0));
        let service = outside.then(|| call.target.clone());
        let key = call.key.clone().filter(|_| outside);
        let shown = call.from.clone();
        if let Some(until) = until {
            self.due.insert(Due { at: until, call: number });
        }
        self.invocations.insert(invocation, number);
        let mut from = shown;
        if self.lines.get(&line).is_some_and(Line::is_elsewhere) {
            from = self.lines.get(&caller).map(Line::vouched).unwrap_or_default();
        }
        if let Some(state) = self.lines.get_mut(&line) {
            state.serving.insert(invocation, payload.weight());
            state.serving_bytes += payload.weight();
            if let Some(offered) = service.as_ref().and_then(|service| state.offers.get_mut(service)) {
                offered.ours += 1;
            }
        }
        self.tell(
            line,
            Told::Invoke { id: invocation, method, from, timeout, one_way, service, key },
            payload,
        );
        if settle {
            if let Some(state) = self.lines.get_mut(&caller) {
                state.asked.remove(&id);
            }
            self.tell(caller, Told::Reply { id }, P::default());
        }
    }

    pub(super) fn reply(&mut self, line: LineId, id: u64, payload: P) {
        if let Some(why) = self.too_large(line, &payload) {
            let fault = Fault::new(Code::TooLarge, format!("its answer: {why}"));
            return self.thrown(line, id, fault);
        }
        self.finish(line, id, |id| Told::Reply { id }, payload);
    }

    /// A result has come, or the end of a stream.
    pub(super) fn finish(&mut self, line: LineId, id: u64, told: fn(u64) -> Told, payload: P) {
        let Some(number) = self.serving(line, id) else {
            self.dropped += 1;
            return;
        };
        if let Some(call) = self.end(number)
            && !call.settled
        {
            self.tell(call.caller, told(call.id), payload);
        }
    }

    /// The callee has thrown, or says that it cannot.
    pub(super) fn thrown(&mut self, line: LineId, id: u64, fault: Fault) {
        let Some(number) = self.serving(line, id) else {
            self.dropped += 1;
            return;
        };
        if let Some(call) = self.end(number)
            && !call.settled
        {
            let (service, method) = (call.target.to_string(), call.method);
            let fault = Box::new(Fault { service, method, ..fault });
            self.tell(call.caller, Told::Error { id: call.id, fault, not_run: false }, P::default());
        }
    }

    /// Somebody outside says that it has not begun: then others may be asked, each of them once, whatever the caller allows.
    pub(super) fn not_run(&mut self, now: Moment, line: LineId, id: u64, fault: Fault) {
        let Some(number) = self.serving(line, id) else {
            self.dropped += 1;
            return;
        };
        self.forget_attempt(number);
        let Some(call) = self.calls.get_mut(&number) else { return };
        call.state = State::Parked;
        let target = call.target.clone();
        self.release(line, id, &target);
        let Some(call) = self.calls.get(&number) else { return };
        if self.has_another(call) {
            self.dispatch(now, number, false);
        } else if self.again(number) {
            // Not at once: who has just refused would be asked again without end.
            self.parked.entry(target).or_default().push_back(number);
            self.due.insert(Due { at: Moment(now.0.saturating_add(PAUSE)), call: number });
        } else if let Some(call) = self.end(number)
            && !call.settled
        {
            let (service, method) = (target.to_string(), call.method);
            self.refuse(call.caller, call.id, Fault { service, method, ..fault });
        }
    }

    pub(super) fn stream(&mut self, line: LineId, id: u64) {
        let Some(number) = self.serving(line, id) else {
            self.dropped += 1;
            return;
        };
        let Some(call) = self.calls.get_mut(&number) else { return };
        let State::UnderWay { stream, until, .. } = &mut call.state else { return };
        if stream.is_some() || call.settled {
            return;
        }
        *stream = Some(WINDOW);
        if let Some(at) = until.take() {
            self.due.remove(&Due { at, call: number });
        }
        if !call.timed {
            self.due.remove(&Due { at: call.deadline, call: number });
            call.deadline = Moment(u64::MAX);
        }
        let (caller, id) = (call.caller, call.id);
        self.tell(caller, Told::Stream { id }, P::default());
    }

    pub(super) fn item(&mut self, line: LineId, id: u64, payload: P) {
        let too_large = self.too_large(line, &payload);
        let Some(number) = self.serving(line, id) else {
            self.dropped += 1;
            return;
        };
        let Some(call) = self.calls.get_mut(&number) else { return };
        let (caller, id) = (call.caller, call.id);
        let State::UnderWay { stream: Some(credit), .. } = &mut call.state else { return };
        let why = match (too_large, credit.checked_sub(1)) {
            (Some(why), _) => (Code::TooLarge, why),
            (None, None) => (Code::Overloaded, "it has sent more than it was given credit for".to_owned()),
            (None, Some(left)) => {
                *credit = left;
                return self.tell(caller, Told::Item { id }, payload);
            }
        };
        self.cancel_invocation(number);
        self.fail(number, why.0, why.1);
    }

    pub(super) fn credit(&mut self, line: LineId, id: u64, items: u32) {
        let number = self.lines.get(&line).and_then(|state| state.asked.get(&id)).copied();
        let Some(call) = number.and_then(|number| self.calls.get_mut(&number)) else { return };
        if let State::UnderWay { line, invocation, stream: Some(credit), .. } = &mut call.state {
            let more = items.min(MOST_CREDIT.saturating_sub(*credit));
            *credit += more;
            let (line, id) = (*line, *invocation);
            self.tell(line, Told::Credit { id, items: more }, P::default());
        }
    }

    /// The caller does not want it any more, and hears nothing more of it.
    pub(super) fn cancelled_by_caller(&mut self, line: LineId, id: u64) {
        if let Some(number) = self.lines.get(&line).and_then(|state| state.asked.get(&id)).copied() {
            self.abandon(number);
        }
    }

    /// Nobody waits for a call any more.
    pub(super) fn abandon(&mut self, number: u64) {
        // What was sent one-way runs to its end without its caller.
        if self.calls.get(&number).is_some_and(|call| call.settled) {
            return;
        }
        self.cancel_invocation(number);
        if let Some(call) = self.end(number) {
            self.cancel_nested(call.nested);
        }
    }

    /// A replica is gone with a call that it had.
    pub(super) fn lost(&mut self, now: Moment, invocation: u64, party: &Party) {
        let Some(number) = self.invocations.remove(&invocation) else { return };
        let shown = match party {
            Party::Replica(replica) => replica.to_string(),
            Party::Operator => "operator".to_owned(),
            Party::Program(name) => name.clone(),
            Party::Member(Peer { name, host, .. }) => format!("{name}@{host}"),
        };
        let Some(call) = self.calls.get_mut(&number) else { return };
        let streams = matches!(call.state, State::UnderWay { stream: Some(_), .. });
        let nested = std::mem::take(&mut call.nested);
        if !streams && !call.settled && self.again(number) {
            self.cancel_nested(nested);
            return self.dispatch(now, number, false);
        }
        self.cancel_nested(nested);
        self.fail(number, Code::Unavailable, format!("{shown} was lost before it answered"));
    }

    /// Whether a call may be tried once more; if so it is noted.
    pub(super) fn again(&mut self, number: u64) -> bool {
        self.forget_attempt(number);
        let Some(call) = self.calls.get_mut(&number) else { return false };
        if call.retries == 0 {
            return false;
        }
        call.retries = call.retries.saturating_sub(1).max(-1);
        call.state = State::Parked;
        true
    }

    /// A moment has come: that of the deadline, or that of one attempt.
    pub(super) fn late(&mut self, now: Moment, due: Due) {
        let Some(call) = self.calls.get(&due.call) else { return };
        if call.deadline <= now {
            self.cancel_invocation(due.call);
            let taken = "there was no answer in time";
            return self.fail(due.call, Code::Timeout, taken.to_owned());
        }
        if let State::Parked = call.state {
            // Whoever had refused it may take it now.
            self.freed.insert(call.target.clone());
            return;
        }
        let State::UnderWay { until: Some(until), .. } = call.state else { return };
        if until > now {
            return;
        }
        self.cancel_invocation(due.call);
        if self.again(due.call) {
            self.dispatch(now, due.call, false);
        } else {
            self.fail(due.call, Code::Timeout, "no attempt was answered in time".to_owned());
        }
    }

    /// Ends a call without a result, and what was done for it.
    pub(super) fn fail(&mut self, number: u64, code: Code, message: String) {
        let Some(call) = self.end(number) else { return };
        self.cancel_nested(call.nested);
        if !call.settled {
            let (service, method) = (call.target.to_string(), call.method);
            let fault = Box::new(Fault { service, method, ..Fault::new(code, message) });
            let not_run = call.tried.is_empty();
            self.tell(call.caller, Told::Error { id: call.id, fault, not_run }, P::default());
        }
    }

    /// Tells a replica that what it works on is not wanted any more, and forgets that it does.
    fn cancel_invocation(&mut self, number: u64) {
        let Some(call) = self.calls.get(&number) else { return };
        let State::UnderWay { line, invocation: id, .. } = call.state else { return };
        let target = call.target.clone();
        if self.release(line, id, &target) {
            self.tell(line, Told::Cancel { id }, P::default());
        }
    }

    fn cancel_nested(&mut self, nested: BTreeSet<u64>) {
        for number in nested {
            if self.calls.get(&number).is_some_and(|call| !call.settled) {
                self.cancel_invocation(number);
                self.fail(number, Code::Cancelled, "what it was made for is not wanted any more".to_owned());
            }
        }
    }

    /// Takes a call out of everything, and lets another one have its place.
    fn end(&mut self, number: u64) -> Option<Ongoing<P>> {
        self.forget_attempt(number);
        let call = self.calls.remove(&number)?;
        self.due.remove(&Due { at: call.deadline, call: number });
        if let Some(state) = self.lines.get_mut(&call.caller)
            && state.asked.get(&call.id) == Some(&number)
        {
            state.asked.remove(&call.id);
        }
        match call.state {
            State::Parked => {
                if let Some(parked) = self.parked.get_mut(&call.target) {
                    parked.retain(|one| *one != number);
                }
            }
            State::UnderWay { line, invocation, .. } => {
                if self.release(line, invocation, &call.target)
                    && let Some(state) = self.lines.get_mut(&line)
                {
                    state.served += 1;
                }
            }
        }
        if let Some(parent) = call.parent.and_then(|parent| self.calls.get_mut(&parent)) {
            parent.nested.remove(&number);
        }
        self.freed.insert(call.target.clone());
        Some(call)
    }

    /// The end of its present attempt is no moment to wait for any more.
    pub(super) fn forget_attempt(&mut self, number: u64) {
        if let Some(Ongoing { state: State::UnderWay { until: Some(at), .. }, .. }) = self.calls.get(&number)
        {
            self.due.remove(&Due { at: *at, call: number });
        }
    }

    /// Whether a replica still had this invocation; it has it no more.
    pub(super) fn release(&mut self, line: LineId, invocation: u64, target: &ServiceName) -> bool {
        self.invocations.remove(&invocation);
        let Some(state) = self.lines.get_mut(&line) else { return false };
        let Some(weight) = state.serving.remove(&invocation) else { return false };
        state.serving_bytes -= weight;
        if let Some(offered) = state.offers.get_mut(target) {
            offered.ours = offered.ours.saturating_sub(1);
        }
        if !self.parked.is_empty() {
            // What is under way to somebody outside is limited for all of their services together.
            self.freed.extend(state.offers.keys().cloned());
        }
        true
    }

    /// Tries the calls that wait for a replica of this service, the oldest first, until one has to wait on.
    pub(super) fn unpark(&mut self, now: Moment, service: &ServiceName) {
        while let Some(number) = self.parked.get_mut(service).and_then(VecDeque::pop_front) {
            self.dispatch(now, number, true);
            if self.parked.get(service).and_then(VecDeque::front) == Some(&number) {
                return;
            }
        }
        self.parked.remove(service);
    }
}
