//! What a session hears: packets are opened, those that count are taken in, and each message goes where it belongs.

use std::sync::PoisonError;

use bytes::Bytes;
use futures_util::StreamExt;
use orchestrator_core::ServiceName;
use orchestrator_core::membership::{Begins, Channel, Heard, Refused, Session as Id, Verdict};
use orchestrator_core::report::{FabricNews, SharedView};
use orchestrator_core::routing::{Party, Peer};
use orchestrator_port::LinkMessages;
use orchestrator_port::message::link::{Beat, FromOutside, Offer};
use orchestrator_port::message::service::{FromService, LONGEST_PAYLOAD, Payload};
use orchestrator_port::packet::NotOpened;
use redis::Msg;
use tokio::time::Instant;

use super::{Member, Session};
use crate::event_stream::now_millis;

/// How many packets are taken in before others have their turn.
const BURST: usize = 64;

/// The longest name of a host.
const LONGEST_HOST: usize = 255;

/// The longest packet that is looked at: one with the longest message, and all that may be beside it.
const LONGEST: usize = (LONGEST_PAYLOAD as usize) + (2 << 20);

impl Session<'_> {
    /// A packet, and those that have come with it. Says why the session is over, if it is.
    pub(super) fn hear_burst(&mut self, first: &Msg) -> Option<String> {
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
            Verdict::Over => drop(self.outgoing.dismiss(from, || self.settings.channel_of(from))),
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
                self.tell(from, &self.offer().0);
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
        let Some(deeds) = self.membership.offer(from, rev, peer.clone(), timeout) else { return };
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

    fn config_changed(&self, service: &str, name: &str, value: &Payload) {
        let Ok(service) = ServiceName::parse(service) else { return };
        let kept = (!value.bytes.is_empty()).then(|| value.bytes.clone());
        self.settings.store.mirror(service.clone(), name.to_owned(), kept);
        self.settings.router.tell_config(&service, name, value);
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
