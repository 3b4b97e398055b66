//! [`Router`]: carries what services say to each other. What is decided is `core::routing`'s; here is its clock, and the
//! ways in and out.
//!
//! A message is routed by the task that has read it, under one lock, and handed to the queue of the process that it goes
//! to: no other thread lies in between. What is done under the lock never waits.

mod operator;
mod outbox;
mod outside;
mod words;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orchestrator_core::manifest::Service;
use orchestrator_core::report::{Calls, FabricNews, Snapshot};
use orchestrator_core::routing::{Code, Fault, LineId, Load, Output, Party, Routing, Said, Told};
use orchestrator_core::supervisor::Moment;
use orchestrator_core::{ReplicaId, ServiceName, StartId};
use orchestrator_port::message::link::ToMember;
use orchestrator_port::message::service::{FromService, Payload};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

pub use self::operator::{Answer, OperatorCall, Stream};
pub(crate) use self::outbox::{Batch, Outbox, carry};
pub(crate) use self::outside::OutsideWire;
use self::words::Parcel;
use crate::inbox::{Happening, Inbox};
use crate::recording::Recording;

/// The calls and events of a project. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Router {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Told when a deadline has come to be the next one.
    earlier: Notify,
    /// Told when what the project has for others is not what it was.
    changed: Notify,
    /// What moments count from.
    began: Instant,
}

#[derive(Debug)]
struct State {
    routing: Routing<Parcel>,
    lines: HashMap<LineId, End>,
    starts: HashMap<StartId, LineId>,
    last: u64,
    /// The revision of which those who want to know have been told.
    revision: u64,
    /// The deadline that is waited for.
    waited_for: Option<Moment>,
    /// What is seen of the service that is watched, where one is.
    recording: Option<Recording>,
    /// Where denials of those go who are no services of this project.
    denials: Option<mpsc::Sender<FabricNews>>,
}

/// Where what a line is told goes.
#[derive(Debug)]
enum End {
    Service {
        outbox: Arc<Outbox>,
        inbox: Inbox,
        watches: bool,
    },
    /// Another member of the fabric, and whether events for it are being lost.
    Member {
        outbox: Arc<Outbox>,
        behind: bool,
    },
    /// A program that has attached, with the services whose configuration it watches.
    Program {
        outbox: Arc<Outbox>,
        watches: BTreeSet<ServiceName>,
    },
    Operator(operator::Listener),
}

/// The way of one start to the Router. Dropped when the start is over: then it has no calls any more.
#[derive(Debug)]
pub(crate) struct Wire {
    router: Router,
    line: LineId,
    start: StartId,
}

/// Answers one message of a start, whenever that is.
#[derive(Clone, Debug)]
pub(crate) struct Responder {
    router: Router,
    line: LineId,
    id: u64,
}

/// What a service wants that is no call and no event.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// A value of its configuration.
    GetConfig { id: u64, name: String },
    /// A value of its configuration to be another; none: to be removed.
    SetConfig { id: u64, name: String, value: Option<Payload> },
    /// To hear of changes of its configuration.
    WatchConfig { id: u64 },
    /// A child.
    CreateChild { id: u64, spec: Payload },
    /// One child fewer.
    CloseChild { id: u64, service: String },
}

impl Router {
    /// A router, with its clock running for as long as anybody has it. It notes what passes a service that is watched.
    pub(crate) fn start(recording: Option<Recording>) -> Self {
        let state = State {
            routing: Routing::default(),
            lines: HashMap::new(),
            starts: HashMap::new(),
            last: 0,
            revision: 0,
            waited_for: None,
            recording,
            denials: None,
        };
        let shared = Shared {
            state: Mutex::new(state),
            earlier: Notify::new(),
            changed: Notify::new(),
            began: Instant::now(),
        };
        let shared = Arc::new(shared);
        tokio::spawn(watch_deadlines(Arc::downgrade(&shared)));
        Self { shared }
    }

    /// Makes a service known, whether it runs or not.
    pub(crate) fn know(&self, service: &Service) {
        let Service { name, permissions, max_in_flight, share, .. } = service;
        let permissions = Arc::new(permissions.clone());
        self.act(|routing, _| {
            routing.know(name.clone(), permissions, max_in_flight.map(Into::into), share.clone());
            Vec::new()
        });
    }

    /// Forgets a child that is gone.
    pub(crate) fn forget(&self, name: &ServiceName) {
        self.act(|routing, now| routing.forget(now, name));
    }

    /// A start has connected: it may call.
    pub(crate) fn connect(&self, inbox: &Inbox, outbox: Arc<Outbox>) -> Wire {
        let start = inbox.start().clone();
        let mut state = self.state();
        let line = state.next_line();
        state.lines.insert(line, End::Service { outbox, inbox: inbox.clone(), watches: false });
        state.starts.insert(start.clone(), line);
        state.routing.connect(line, Party::Replica(start.replica.clone()));
        Wire { router: self.clone(), line, start }
    }

    /// Says in a snapshot what each replica has to do with calls.
    pub(crate) fn fill(&self, snapshot: &mut Snapshot) {
        let state = self.state();
        for service in &mut snapshot.services {
            for shown in &mut service.replicas {
                let replica = ReplicaId { service: service.name.clone(), index: shown.index };
                let start = StartId { replica, generation: shown.generation };
                let Some(line) = state.starts.get(&start) else { continue };
                let Load { in_flight, served, lost_events } = state.routing.load(*line);
                shown.calls = Some(Calls { in_flight, served, lost_events });
                shown.methods = state.routing.methods(*line).to_vec();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Moment {
        Moment(u64::try_from(self.shared.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Does something with the calls, and delivers what comes of it, in its order.
    fn act(&self, deed: impl FnOnce(&mut Routing<Parcel>, Moment) -> Vec<Output<Parcel>>) {
        let now = self.now();
        let mut state = self.state();
        let outputs = deed(&mut state.routing, now);
        state.deliver(outputs, now);
        let next = state.routing.next_deadline();
        if next.is_some() && (state.waited_for.is_none() || next < state.waited_for) {
            state.waited_for = next;
            self.shared.earlier.notify_one();
        }
        let revision = state.routing.revision();
        if std::mem::replace(&mut state.revision, revision) != revision {
            self.shared.changed.notify_waiters();
        }
    }
}

impl State {
    fn next_line(&mut self) -> LineId {
        self.last += 1;
        LineId(self.last)
    }

    fn deliver(&mut self, outputs: Vec<Output<Parcel>>, now: Moment) {
        for output in outputs {
            match output {
                Output::Tell { line, told, payload } => self.tell(line, told, payload, now),
                Output::Denied { line, denial } => {
                    let what = format!("may not {}; to allow it: {}", denial.tried, denial.grant);
                    if let Some(End::Member { .. }) = self.lines.get(&line) {
                        self.tell_denial(denial.to_string());
                    }
                    self.notice(line, what);
                }
                Output::Behind { line } => {
                    self.notice(line, "does not keep up with its events: some are lost".to_owned());
                }
            }
        }
    }

    fn tell(&mut self, line: LineId, told: Told, payload: Parcel, now: Moment) {
        match self.lines.get_mut(&line) {
            Some(End::Operator(listener)) => listener.hear(told, payload),
            Some(End::Member { outbox, behind }) => {
                let outbox = Arc::clone(outbox);
                let (begins, asked) = (words::begins(&told), words::asked(&told));
                let is_event = matches!(told, Told::EventElsewhere { .. });
                let Some(message) = words::told_member(told) else { return };
                let line_of = message.line(&payload.0);
                if is_event {
                    let lost = outbox.queue_event(line_of, payload.0).is_err();
                    if lost && !std::mem::replace(behind, true) {
                        let what = "another member does not keep up with events: some are lost".to_owned();
                        self.tell_denial(what);
                    } else if !lost {
                        *behind = false;
                    }
                } else if outbox.queue_line(line_of, payload.0, begins).is_err() {
                    self.unread(line, begins, asked, now, |id| {
                        let error = words::written(overloaded("the fabric does not carry its answer"));
                        let refused = ToMember::Error { id, error, not_run: false };
                        let none = Payload::default();
                        let _ = outbox.queue_line(refused.line(&none), none, None);
                    });
                }
            }
            Some(End::Program { outbox, .. }) => {
                let outbox = Arc::clone(outbox);
                let (begins, asked) = (words::begins(&told), words::asked(&told));
                if queue(&outbox, told, payload).is_err() {
                    self.unread(line, begins, asked, now, |id| refuse_answer(&outbox, id));
                }
            }
            Some(End::Service { outbox, inbox, .. }) => {
                let outbox = Arc::clone(outbox);
                if let Some(recording) = &self.recording {
                    recording.see(&inbox.start().replica.service, &told);
                }
                let asked = words::asked(&told);
                if queue(&outbox, told, payload).is_err() {
                    self.unread(line, None, asked, now, |id| refuse_answer(&outbox, id));
                }
            }
            None => {}
        }
    }

    /// Somebody does not read what they are told. What they were to begin is begun by others; whoever reads nothing of what they
    /// asked for is told only that, which takes no room.
    fn unread(
        &mut self,
        line: LineId,
        begins: Option<u64>,
        (asked, streams): (Option<u64>, bool),
        now: Moment,
        refuse: impl FnOnce(u64),
    ) {
        if let Some(id) = begins {
            let fault = overloaded("it does not read what it is told");
            let outputs = self.routing.hear(now, line, Said::NotRun { id, fault }, Parcel::default());
            self.deliver(outputs, now);
        }
        if let Some(id) = asked {
            refuse(id);
            if streams {
                let outputs = self.routing.hear(now, line, Said::Cancel { id }, Parcel::default());
                self.deliver(outputs, now);
            }
        }
    }

    /// Tells people what somebody outside may not, or has missed. Lost when there is too much of it.
    fn tell_denial(&self, what: String) {
        if let Some(denials) = &self.denials {
            let _ = denials.try_send(FabricNews::Denied { what });
        }
    }

    /// Tells people something of a replica. Lost when there is too much of it.
    fn notice(&self, line: LineId, what: String) {
        if let Some(End::Service { inbox, .. }) = self.lines.get(&line) {
            inbox.mention(Happening::Refused { what });
        }
    }
}

fn refuse_answer(outbox: &Outbox, id: u64) {
    let fault = Box::new(overloaded("this service does not read its answers"));
    let _ = queue(outbox, Told::Error { id, fault, not_run: false }, Parcel::default());
}

fn overloaded(why: &str) -> Fault {
    Fault::new(Code::Overloaded, why)
}

fn queue(outbox: &Outbox, told: Told, payload: Parcel) -> Result<(), outbox::Full> {
    let (message, payload) = words::told(told, payload);
    outbox.queue(&message, payload)
}

impl Wire {
    /// Takes in what the service says. What is not for the Router comes back.
    pub(crate) fn hear(&self, message: FromService, payload: Payload) -> Option<Wanted> {
        match words::said(message, payload) {
            words::Heard::Said(said, parcel) => {
                self.router.act(|routing, now| routing.hear(now, self.line, said, parcel));
                None
            }
            words::Heard::Wanted(wanted) => Some(wanted),
        }
    }

    /// From now on it can be called.
    pub(crate) fn open(&self, methods: Vec<String>) {
        self.router.act(|routing, now| routing.open(now, self.line, methods));
    }

    /// From now on it gets nothing new.
    pub(crate) fn shut(&self) {
        self.router.act(|routing, _| {
            routing.shut(self.line);
            Vec::new()
        });
    }

    /// What answers the message with this number, whenever that is.
    pub(crate) fn responder(&self, id: u64) -> Responder {
        Responder { router: self.router.clone(), line: self.line, id }
    }

    /// From now on it is told of every change of its service's configuration.
    pub(crate) fn watch_config(&self) {
        if let Some(End::Service { watches, .. }) = self.router.state().lines.get_mut(&self.line) {
            *watches = true;
        }
    }

    /// The names of all services that there are.
    pub(crate) fn known(&self) -> Vec<String> {
        self.router.state().routing.names()
    }
}

impl Responder {
    /// Answers. Where nobody is left to be told, nobody is.
    pub(crate) fn answer(&self, answer: Result<Payload, Fault>) {
        let id = self.id;
        let (told, payload) = match answer {
            Ok(payload) => (Told::Reply { id }, Parcel(payload)),
            Err(fault) => (Told::Error { id, fault: Box::new(fault), not_run: true }, Parcel::default()),
        };
        let now = self.router.now();
        self.router.state().tell(self.line, told, payload, now);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        {
            let mut state = self.router.state();
            state.lines.remove(&self.line);
            state.starts.remove(&self.start);
        }
        self.router.act(|routing, now| routing.disconnect(now, self.line));
    }
}

/// Expires what has no more time, until the Router is gone.
async fn watch_deadlines(shared: std::sync::Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        let router = Router { shared };
        let deadline = {
            let mut state = router.state();
            state.waited_for = state.routing.next_deadline();
            state.waited_for
        };
        let at = deadline.map(|moment| router.shared.began + Duration::from_millis(moment.0));
        // Looked up now and then, so that a Router that nobody has any more is not kept.
        let at = at.unwrap_or_else(|| Instant::now() + Duration::from_secs(60));
        let due = tokio::select! {
            () = sleep_until(at) => true,
            () = router.shared.earlier.notified() => false,
        };
        if due {
            router.act(Routing::expire);
        }
    }
}
