//! [`Session`]: one connection to a fabric, from its greeting to its end. Everything that came of it ends with it.

use std::collections::{BTreeSet, HashMap};
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use orchestrator_core::ServiceName;
use orchestrator_core::membership::{
    Begins, Channel, Do, Heard, Membership, Refused, Session as Id, Verdict,
};
use orchestrator_core::report::{FabricNews, MemberView, SharedView};
use orchestrator_core::routing::{Party, Peer};
use orchestrator_core::supervisor::Moment;
use orchestrator_port::LinkMessages;
use orchestrator_port::message::link::{Beat, FromOutside, Hears, Offer, OfferedService, ToMember};
use orchestrator_port::message::service::{FromService, LONGEST_PAYLOAD, Payload};
use orchestrator_port::packet::NotOpened;
use redis::Msg;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep_until};

use futures_util::StreamExt;

use super::Settings;
use super::connection::{ConnectError, Connection};
use super::outgoing::{Outgoing, Unreached};
use super::values::{ConfigAsk, Values};
use crate::event_stream::now_millis;
use crate::router::OutsideWire;

/// How many sessions that were not reached wait to be heard of.
const UNREACHED: usize = 64;

/// How long a change of what this project has waits for others that come with it.
const TOGETHER: Duration = Duration::from_millis(10);

/// How long after an offer the next one comes, at least.
const APART: Duration = Duration::from_millis(100);

/// How often it is looked whether all is well, at least.
const LOOK: Duration = Duration::from_millis(500);

/// How many requests for the configuration wait for Redis: they are served in their order.
const SERVED: usize = 64;

/// How many packets are taken in before others have their turn.
const BURST: usize = 64;

/// How many bytes an offer has at most, about: others read no longer line than 1 MiB.
const LONGEST_OFFER: usize = 768 << 10;

/// The longest name of a host.
const LONGEST_HOST: usize = 255;

/// The longest packet that is looked at: one with the longest message, and all that may be beside it.
const LONGEST: usize = (LONGEST_PAYLOAD as usize) + (2 << 20);

/// Why a session has ended.
pub(super) enum Ended {
    /// The project ends.
    Asked,
    /// Redis does not answer, or something was missed.
    Lost(String),
}

/// A session.
pub(super) struct Session<'a> {
    settings: &'a Settings,
    id: Id,
    connection: Connection,
    outgoing: Outgoing,
    membership: Membership,
    members: HashMap<Id, Member>,
    began: Instant,
    /// When it looked last whether all is well, by both clocks.
    looked: (Instant, u64),
    /// When it says next that it lives.
    beat_due: Instant,
    /// When it last heard itself.
    echoed: Instant,
    /// The number of what was offered last, for members, and for the Router.
    rev: u64,
    offered: u64,
    /// When that was.
    offered_at: Instant,
    /// When what has changed is offered.
    offer_due: Option<Instant>,
    /// The reasons for refusing packets that have been told.
    told: &'a mut BTreeSet<Refused>,
    publisher: JoinHandle<redis::RedisError>,
    /// Where requests for the configuration are served. Ends with the session.
    values: mpsc::Sender<ConfigAsk>,
    unreached: mpsc::Receiver<Unreached>,
}

/// Another member, as far as it can be called.
struct Member {
    peer: Peer,
    wire: OutsideWire,
    services: Vec<SharedView>,
}

/// Something that a session reacts to.
enum Turn {
    Packet(Option<Msg>),
    Unreached(Unreached),
    Broken(String),
    Look,
    Changed,
    Offer,
    Asked(ConfigAsk),
    Stop,
}

impl<'a> Session<'a> {
    /// Connects, and greets everybody.
    pub(super) async fn begin(
        settings: &'a Settings,
        id: Id,
        before: Option<Id>,
        told: &'a mut BTreeSet<Refused>,
    ) -> Result<Self, ConnectError> {
        let fabric = &settings.fabric;
        let all = settings.channel_of_all();
        let own = settings.channel_of(id);
        let root = settings.root.as_deref();
        let connection = Connection::open(&fabric.redis, root, &[&all, &own], fabric.timeout).await?;
        let outgoing = Outgoing::new(all);
        let (sender, unreached) = mpsc::channel(UNREACHED);
        let publish =
            outgoing.clone().publish(id, settings.seal.clone(), connection.commands.clone(), sender);
        let publisher = tokio::spawn(publish);
        let (values, served) = mpsc::channel(SERVED);
        let of_values = Values {
            commands: connection.commands.clone(),
            seal: settings.seal.clone(),
            prefix: fabric.prefix.clone(),
            store: settings.store.clone(),
            outgoing: outgoing.clone(),
        };
        tokio::spawn(of_values.serve_all(served));
        let name = settings.own.name.clone();
        outgoing
            .tell_all(&ToMember::Hello { name, was: before.map(|id| id.to_string()) }, Payload::default());
        let (offered, ..) = settings.router.offered();
        settings.router.join(Peer { session: id.to_string(), ..settings.own.clone() });
        let counts = settings.view.lock().unwrap_or_else(PoisonError::into_inner).refused;
        Ok(Self {
            settings,
            id,
            connection,
            outgoing,
            membership: Membership::new(id, counts),
            members: HashMap::new(),
            began: Instant::now(),
            looked: (Instant::now(), now_millis()),
            beat_due: Instant::now(),
            echoed: Instant::now(),
            rev: 1,
            offered,
            // The first change need not wait.
            offered_at: Instant::now().checked_sub(APART).unwrap_or_else(Instant::now),
            offer_due: None,
            told,
            publisher,
            values,
            unreached,
        })
    }

    /// Its number.
    pub(super) fn id(&self) -> Id {
        self.id
    }

    /// Takes part until it is told to stop, or cannot any more.
    pub(super) async fn run(
        mut self,
        asked: &mut mpsc::Receiver<ConfigAsk>,
        stopped: &mut oneshot::Receiver<()>,
    ) -> Ended {
        let mut look = interval((self.settings.fabric.timeout / 3).min(LOOK));
        loop {
            let (due, offered) = (self.offer_due, self.offered);
            let turn = tokio::select! {
                biased;
                _ = &mut *stopped => Turn::Stop,
                broken = &mut self.publisher => Turn::Broken(broken.map_or_else(|error| error.to_string(), |error| super::said(&error))),
                Some(unreached) = self.unreached.recv() => Turn::Unreached(unreached),
                _ = look.tick() => Turn::Look,
                () = sleep_until(due.unwrap_or(self.began)), if due.is_some() => Turn::Offer,
                () = self.settings.router.changed_since(offered), if due.is_none() => Turn::Changed,
                Some(ask) = asked.recv(), if self.values.capacity() > 0 => Turn::Asked(ask),
                message = self.connection.messages.next() => Turn::Packet(message),
            };
            let lost = match turn {
                Turn::Stop => {
                    self.say_goodbye().await;
                    return Ended::Asked;
                }
                Turn::Broken(why) => Some(why),
                Turn::Packet(None) => Some("the connection was lost".to_owned()),
                Turn::Packet(Some(message)) => self.hear_burst(&message),
                Turn::Unreached(Unreached { session, calls }) => {
                    self.unreached(session, calls);
                    None
                }
                Turn::Look => self.look(),
                Turn::Changed => {
                    self.offer_due = Some((Instant::now() + TOGETHER).max(self.offered_at + APART));
                    None
                }
                Turn::Offer => {
                    self.offer_again();
                    None
                }
                Turn::Asked(ask) => {
                    // There is room: that was waited for.
                    let _ = self.values.try_send(ask);
                    None
                }
            };
            if let Some(why) = lost {
                return Ended::Lost(why);
            }
        }
    }

    /// A packet, and those that have come with it. Says why the session is over, if it is.
    fn hear_burst(&mut self, first: &Msg) -> Option<String> {
        if let Some(why) = self.hear(first) {
            return Some(why);
        }
        for _ in 1..BURST {
            match futures_util::FutureExt::now_or_never(self.connection.messages.next()) {
                Some(Some(message)) => {
                    if let Some(why) = self.hear(&message) {
                        return Some(why);
                    }
                }
                Some(None) => return Some("the connection was lost".to_owned()),
                None => break,
            }
        }
        None
    }

    fn hear(&mut self, message: &Msg) -> Option<String> {
        let name = message.get_channel_name();
        let channel = if name == self.settings.channel_of_all() { Channel::All } else { Channel::Own };
        if message.get_payload_bytes().len() > LONGEST {
            return self.refuse(Refused::Malformed);
        }
        let packet = Bytes::copy_from_slice(message.get_payload_bytes());
        let opened = self.settings.seal.open(name, &packet);
        let (header, body) = match opened {
            Ok(opened) => opened,
            Err(NotOpened::Forged) => return self.refuse(Refused::Forged),
            Err(NotOpened::Malformed) => return self.refuse(Refused::Malformed),
        };
        let Ok(from) = header.from.parse::<Id>() else { return self.refuse(Refused::Malformed) };
        let messages = read(body);
        let begins = match messages.as_deref().unwrap_or_default().first() {
            Some((FromOutside::Offer(_), _)) => Begins::Offer,
            Some((FromOutside::Over, _)) => Begins::Over,
            _ => Begins::Other,
        };
        let heard = Heard { channel, from, seq: header.seq, time: header.time, begins };
        match self.membership.admit(self.now(), now_millis(), heard) {
            Verdict::Counts => match messages {
                Ok(messages) => messages.into_iter().for_each(|(said, payload)| {
                    self.take(from, said, payload);
                }),
                Err(_) => return self.refuse(Refused::Malformed),
            },
            Verdict::Own => self.hear_itself(),
            Verdict::Refused(why) => self.tell_refused(why),
            Verdict::Over => self.tell(from, &ToMember::Over),
            Verdict::Dismissed => {
                return Some("another member had not heard of this one for too long".to_owned());
            }
            Verdict::Gap => return Some("packets of another member were lost".to_owned()),
        }
        self.count();
        None
    }

    /// Its own words come back: the way through Redis is whole.
    fn hear_itself(&mut self) {
        self.echoed = Instant::now();
        let before = {
            let mut view = self.settings.view.lock().unwrap_or_else(PoisonError::into_inner);
            view.why = None;
            std::mem::replace(&mut view.connected, true)
        };
        if !before {
            self.settings.tell(FabricNews::Connected { redis: self.settings.fabric.redis.to_string() });
        }
    }

    fn take(&mut self, from: Id, said: FromOutside, payload: Payload) {
        let now = self.now();
        let deeds = match said {
            FromOutside::Hello { was } => {
                let was = was.and_then(|was| was.parse().ok());
                self.membership.hello(now, from, was)
            }
            FromOutside::Offer(offer) => return self.meet(from, offer),
            FromOutside::Beat(Beat { rev, load }) => {
                if let Some(member) = self.members.get_mut(&from) {
                    for service in &mut member.services {
                        service.load = load.get(&service.name).copied().unwrap_or_default();
                    }
                    member.wire.tell_loads(load);
                    self.show(from);
                }
                self.membership.beat(from, rev)
            }
            FromOutside::Who => {
                self.tell(from, &self.offer());
                Vec::new()
            }
            FromOutside::Bye => self.membership.end(now, from),
            FromOutside::ConfigChanged { service, name } => {
                self.config_changed(&service, &name, &payload);
                Vec::new()
            }
            said => {
                self.carry(from, said, payload);
                Vec::new()
            }
        };
        self.perform(deeds);
    }

    /// What is for the Router. What only programs say is passed over.
    fn carry(&self, from: Id, mut said: FromOutside, payload: Payload) {
        let Some(Member { wire, .. }) = self.members.get(&from) else { return };
        match &mut said {
            FromOutside::Service(FromService::Call(call) | FromService::Send(call)) => {
                vouched(&mut call.from);
            }
            FromOutside::Event(event) => vouched(&mut event.from),
            _ => {}
        }
        match said {
            FromOutside::Service(
                message @ (FromService::Call(_)
                | FromService::Send(_)
                | FromService::Cancel { .. }
                | FromService::Credit { .. }
                | FromService::Reply { .. }
                | FromService::Stream { .. }
                | FromService::Item { .. }
                | FromService::End { .. }
                | FromService::Error { .. }),
            ) => wire.hear(message, payload),
            FromOutside::NotRun { id, error } => wire.hear_not_run(id, error),
            FromOutside::Event(event) => wire.hear_event(event, payload),
            _ => {}
        }
    }

    /// A member says what it has.
    fn meet(&mut self, from: Id, offer: Offer) {
        let Offer { rev, name, host, timeout, services, hears, .. } = offer;
        if !ServiceName::parse(&name).is_ok_and(|name| name.parent().is_none()) || host.len() > LONGEST_HOST {
            self.refuse(Refused::Malformed);
            return;
        }
        let peer = Peer { name, host, session: from.to_string() };
        let deeds = self.membership.offer(from, rev, peer.clone(), timeout);
        // One's own offer goes before any call.
        self.perform(deeds);
        let shown = services.iter().map(|service| SharedView {
            name: service.name.clone(),
            replicas: service.replicas,
            load: service.load,
        });
        let shown: Vec<_> = shown.collect();
        if let Some(member) = self.members.get_mut(&from) {
            member.services = shown;
        } else {
            let outbox = self.outgoing.to(from, || self.settings.channel_of(from));
            let wire = self.settings.router.attach(Party::Member(peer.clone()), outbox);
            let (member, services) = (format!("{}@{}", peer.name, peer.host), &shown);
            let services = services.iter().map(|service| service.name.clone()).collect();
            self.settings.tell(FabricNews::Joined { member, services });
            self.members.insert(from, Member { peer, wire, services: shown });
        }
        if let Some(member) = self.members.get(&from) {
            member.wire.offer(services, hears);
        }
        self.show(from);
    }

    fn perform(&mut self, deeds: Vec<Do>) {
        for deed in deeds {
            match deed {
                Do::Greet(session) => self.tell(session, &self.offer()),
                Do::Ask(session) => self.tell(session, &ToMember::Who),
                Do::Forget(session) => self.forget(session, Vec::new()),
                Do::Dismiss(session) => {
                    let not_begun = self.outgoing.dismiss(session);
                    self.forget(session, not_begun);
                }
            }
        }
    }

    fn forget(&mut self, session: Id, mut not_begun: Vec<u64>) {
        // First, so that nothing more is put where nobody looks.
        if let Some(Member { wire, .. }) = self.members.get(&session) {
            wire.withdraw();
        }
        not_begun.extend(self.outgoing.forget(session));
        if let Some(Member { peer: Peer { name, host, .. }, wire, .. }) = self.members.remove(&session) {
            wire.lose(not_begun);
            self.settings.tell(FabricNews::Left { member: format!("{name}@{host}") });
            self.show(session);
        }
    }

    fn unreached(&mut self, session: Id, calls: Vec<u64>) {
        let _ = self.membership.end(self.now(), session);
        self.forget(session, calls);
    }

    /// Looks whether all is well, and says that this member lives. Who could not in time stood still, and is over for all others.
    fn look(&mut self) -> Option<String> {
        let timeout = self.settings.fabric.timeout;
        // By both clocks: one of them stands still while the host sleeps.
        let (time, clock) = (Instant::now(), now_millis());
        let slept = time
            .duration_since(self.looked.0)
            .max(Duration::from_millis(clock.saturating_sub(self.looked.1)));
        self.looked = (time, clock);
        if slept > timeout {
            return Some("this process stood still for too long".to_owned());
        }
        if self.echoed.elapsed() > timeout {
            return Some("Redis passes on nothing".to_owned());
        }
        let deeds = self.membership.expire(self.now());
        self.perform(deeds);
        if time >= self.beat_due {
            self.beat_due = time + timeout / 3;
            let load = self.settings.router.loads();
            self.outgoing.tell_all(&ToMember::Beat(Beat { rev: self.rev, load }), Payload::default());
        }
        None
    }

    fn offer_again(&mut self) {
        self.offer_due = None;
        let (offered, ..) = self.settings.router.offered();
        if offered != self.offered {
            self.offered = offered;
            self.rev += 1;
            self.offered_at = Instant::now();
            self.outgoing.tell_all(&self.offer(), Payload::default());
        }
    }

    /// What this project has for others.
    fn offer(&self) -> ToMember {
        let (_, mut services, mut hears) = self.settings.router.offered();
        fit(&mut services, &mut hears);
        let Peer { name, host, .. } = self.settings.own.clone();
        let timeout = u64::try_from(self.settings.fabric.timeout.as_millis()).unwrap_or(u64::MAX);
        ToMember::Offer(Offer {
            v: 1,
            rev: self.rev,
            name,
            kind: "project".into(),
            host,
            timeout,
            services,
            hears,
        })
    }

    fn tell(&self, session: Id, message: &ToMember) {
        let outbox = self.outgoing.to(session, || self.settings.channel_of(session));
        // What has no payload always fits.
        let _ = outbox.queue_line(message.line(&Payload::default()), Payload::default(), None);
    }

    fn config_changed(&self, service: &str, name: &str, value: &Payload) {
        let Ok(service) = ServiceName::parse(service) else { return };
        let kept = (!value.bytes.is_empty()).then(|| value.bytes.clone());
        self.settings.store.mirror(service.clone(), name.to_owned(), kept);
        self.settings.router.tell_config(&service, name, value);
    }

    async fn say_goodbye(&mut self) {
        self.outgoing.tell_all(&ToMember::Bye, Payload::default());
        while self.outgoing.has_something() {
            if futures_util::FutureExt::now_or_never(&mut self.publisher).is_some() {
                return;
            }
            tokio::task::yield_now().await;
        }
        // An answer to something later says that Redis has it.
        let _: Result<String, _> = redis::cmd("PING").query_async(&mut self.connection.commands).await;
    }

    fn refuse(&mut self, why: Refused) -> Option<String> {
        self.membership.refuse(why);
        self.tell_refused(why);
        self.count();
        None
    }

    fn tell_refused(&mut self, why: Refused) {
        if self.told.insert(why) {
            self.settings.tell(FabricNews::Refused { why: why.to_string() });
        }
    }

    /// Shows how many packets were refused.
    fn count(&self) {
        self.settings.view.lock().unwrap_or_else(PoisonError::into_inner).refused = self.membership.counts();
    }

    /// Shows what a member is now, or that it is not there.
    fn show(&self, session: Id) {
        let shown = self.members.get(&session).map(|Member { peer, services, .. }| MemberView {
            session: session.to_string(),
            name: peer.name.clone(),
            host: peer.host.clone(),
            services: services.clone(),
        });
        let mut view = self.settings.view.lock().unwrap_or_else(PoisonError::into_inner);
        let id = session.to_string();
        let place = view.members.iter().position(|member| member.session == id);
        match (place, shown) {
            (Some(place), Some(shown)) => view.members[place] = shown,
            (Some(place), None) => drop(view.members.remove(place)),
            (None, Some(shown)) => {
                let place = view
                    .members
                    .partition_point(|other| (&other.name, &other.session) < (&shown.name, &shown.session));
                view.members.insert(place, shown);
            }
            (None, None) => {}
        }
    }

    fn now(&self) -> Moment {
        Moment(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.publisher.abort();
        self.members.values().for_each(|Member { wire, .. }| wire.withdraw());
        for (session, Member { wire, .. }) in self.members.drain() {
            wire.lose(self.outgoing.forget(session));
        }
    }
}

impl Settings {
    fn channel_of_all(&self) -> String {
        format!("{}:{}:all", self.fabric.prefix, self.fabric.redis.database())
    }

    fn channel_of(&self, session: Id) -> String {
        format!("{}:{}:to:{session}", self.fabric.prefix, self.fabric.redis.database())
    }
}

/// Leaves out what is too much to be said in one line: the services and listeners at the end.
fn fit(services: &mut Vec<OfferedService>, hears: &mut Vec<Hears>) {
    let mut room = LONGEST_OFFER;
    let mut fits = |size: usize| {
        room = room.saturating_sub(size);
        room > 0
    };
    services.retain(|service| {
        fits(
            100 + service.name.len()
                + service.methods.iter().map(|method| 6 * method.len() + 4).sum::<usize>(),
        )
    });
    hears.retain(|one| {
        fits(60 + one.service.len() + 6 * one.event.len() + 6 * one.group.as_deref().map_or(0, str::len))
    });
}

/// What a member can vouch for is a service, its operator or a program: nothing else looks like one of them.
fn vouched(from: &mut String) {
    if !matches!(from.as_str(), "@operator" | "@program") && ServiceName::parse(from).is_err() {
        "@unknown".clone_into(from);
    }
}

/// The messages of a packet.
fn read(body: Bytes) -> Result<Vec<(FromOutside, Payload)>, orchestrator_port::LinkError> {
    let mut messages = LinkMessages::of(body);
    let mut read = Vec::new();
    while let Some(message) = messages.next_message()? {
        read.push(message);
    }
    messages.finish().map(|()| read)
}
