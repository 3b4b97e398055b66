//! [`Session`]: one connection to a fabric, from its greeting to its end. Everything that came of it ends with it.

mod hearing;

use std::collections::{BTreeSet, HashMap};
use std::sync::PoisonError;
use std::time::Duration;

use futures_util::StreamExt;
use orchestrator_core::membership::{Do, Membership, Refused, Session as Id};
use orchestrator_core::report::{FabricNews, MemberView, SharedView};
use orchestrator_core::routing::Peer;
use orchestrator_core::supervisor::Moment;
use orchestrator_port::message::link::{Beat, Hears, Offer, OfferedService, ToMember};
use orchestrator_port::message::service::Payload;
use redis::Msg;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep_until};

use super::Settings;
use super::connection::{ConnectError, Connection};
use super::outgoing::{Outgoing, Unreached};
use super::values::{ConfigAsk, Values};
use crate::event_stream::now_millis;
use crate::router::OutsideWire;
use crate::service_container::chain;

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

/// How many bytes an offer has at most, about: others read no longer line than 1 MiB.
const LONGEST_OFFER: usize = 768 << 10;

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
                broken = &mut self.publisher => Turn::Broken(broken.map_or_else(|error| error.to_string(), |error| chain(&error))),
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

    fn perform(&mut self, deeds: Vec<Do>) {
        for deed in deeds {
            match deed {
                Do::Greet(session) => self.tell(session, &self.offer().0),
                Do::Ask(session) => self.tell(session, &ToMember::Who),
                Do::Forget(session) => self.forget(session, Vec::new()),
                Do::Dismiss(session) => {
                    let not_begun = self.outgoing.dismiss(session, || self.settings.channel_of(session));
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
            let (offer, left_out) = self.offer();
            if left_out > 0 {
                self.settings.tell(FabricNews::LeftOut { count: left_out });
            }
            self.outgoing.tell_all(&offer, Payload::default());
        }
    }

    /// What this project has for others, and how much of it is too much to be said.
    fn offer(&self) -> (ToMember, usize) {
        let (_, mut services, mut hears) = self.settings.router.offered();
        let left_out = fit(&mut services, &mut hears);
        let Peer { name, host, .. } = self.settings.own.clone();
        let timeout = u64::try_from(self.settings.fabric.timeout.as_millis()).unwrap_or(u64::MAX);
        let (rev, kind) = (self.rev, "project".into());
        let offer = Offer { v: 1, rev, name, kind, host, timeout, services, hears };
        (ToMember::Offer(offer), left_out)
    }

    fn tell(&self, session: Id, message: &ToMember) {
        let outbox = self.outgoing.to(session, || self.settings.channel_of(session));
        // What has no payload always fits.
        let _ = outbox.queue_line(message.line(&Payload::default()), Payload::default(), None);
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

/// Leaves out what is too much to be said in one line: the services and listeners at the end. Answers with how many.
fn fit(services: &mut Vec<OfferedService>, hears: &mut Vec<Hears>) -> usize {
    let before = services.len() + hears.len();
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
    before - services.len() - hears.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_left_out_and_counted() {
        let service =
            |size: usize| OfferedService { methods: vec!["m".repeat(size)], ..OfferedService::default() };
        let (mut services, mut hears) =
            (vec![service(10), service(LONGEST_OFFER), service(10)], vec![Hears::default()]);
        assert_eq!(fit(&mut services, &mut hears), 3);
        assert_eq!((services, hears), (vec![service(10)], vec![]));
        let (mut services, mut hears) = (vec![service(10); 20], vec![Hears::default()]);
        assert_eq!(fit(&mut services, &mut hears), 0);
    }
}
