//! [`OutsideWire`]: the way to the Router of somebody who is no replica of this project: another member of the fabric, or a
//! program that has attached.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use orchestrator_core::ServiceName;
use orchestrator_core::report::FabricNews;
use orchestrator_core::routing::{Code, Fault, Hearing, LineId, Offer, Party, Peer, Said};
use orchestrator_port::message::link::{Event, Hears, OfferedService};
use orchestrator_port::message::service::{self as wire, FromService, Payload, ToService};

use tokio::sync::mpsc;

use super::words::{self, Heard, Parcel};
use super::{End, Outbox, Responder, Router};

/// Dropped when they are gone: then they have no calls any more.
#[derive(Debug)]
pub(crate) struct OutsideWire {
    router: Router,
    line: LineId,
}

impl Router {
    /// Somebody is there from now on. What they are told goes into the outbox.
    pub(crate) fn attach(&self, party: Party, outbox: Arc<Outbox>) -> OutsideWire {
        let mut state = self.state();
        let line = state.next_line();
        let end = match party {
            Party::Member(_) => End::Member { outbox, behind: false },
            _ => End::Program { outbox, watches: BTreeSet::new() },
        };
        state.lines.insert(line, end);
        state.routing.connect(line, party);
        OutsideWire { router: self.clone(), line }
    }

    /// From now on, what others may not is told there.
    pub(crate) fn tell_denials(&self, denials: mpsc::Sender<FabricNews>) {
        self.state().denials = Some(denials);
    }

    /// This project is part of a fabric, under this name.
    pub(crate) fn join(&self, own: Peer) {
        self.state().routing.join(own);
    }

    /// The services that run elsewhere, if anywhere.
    pub(crate) fn expect(&self, elsewhere: BTreeSet<ServiceName>) {
        self.state().routing.expect(elsewhere);
    }

    /// Whether a program may have this service.
    pub(crate) fn expects(&self, name: &ServiceName) -> bool {
        self.state().routing.expects(name)
    }

    /// What this project has for others, what it hears of them, and a number that changes with that.
    pub(crate) fn offered(&self) -> (u64, Vec<OfferedService>, Vec<Hears>) {
        let state = self.state();
        let (offers, hears) = state.routing.offered();
        let offers = offers.into_iter().map(|offer| OfferedService {
            name: offer.service.to_string(),
            replicas: offer.replicas,
            load: offer.load,
            methods: offer.methods,
        });
        let hears = hears.into_iter().map(|hearing| Hears {
            service: hearing.listener,
            event: hearing.event.to_string(),
            group: hearing.group,
        });
        (state.routing.revision(), offers.collect(), hears.collect())
    }

    /// The calls that the services of this project have under way, of those that have any.
    pub(crate) fn loads(&self) -> BTreeMap<String, u32> {
        let loads = self.state().routing.loads();
        loads.into_iter().map(|(service, load)| (service.to_string(), load)).collect()
    }

    /// Waits until what this project has for others is not that of this number any more.
    pub(crate) async fn changed_since(&self, revision: u64) {
        loop {
            let changed = self.shared.changed.notified();
            if self.state().routing.revision() != revision {
                return;
            }
            changed.await;
        }
    }

    /// Tells everybody who watches a service's configuration of a change. Who does not read misses it.
    pub(crate) fn tell_config(&self, service: &ServiceName, name: &str, value: &Payload) {
        let state = self.state();
        for end in state.lines.values() {
            let (outbox, of) = match end {
                End::Service { outbox, inbox, watches: true }
                    if inbox.start().replica.service == *service =>
                {
                    (outbox, None)
                }
                End::Program { outbox, watches } if watches.contains(service) => {
                    (outbox, Some(service.to_string()))
                }
                _ => continue,
            };
            let change = ToService::Config { name: name.to_owned(), service: of };
            let _ = outbox.queue(&change, value.clone());
        }
    }
}

impl OutsideWire {
    /// Takes in what they say that a service could say as well. What is not for the Router is passed over: a service
    /// says that of itself.
    pub(crate) fn hear(&self, message: FromService, payload: Payload) {
        if let Heard::Said(said, parcel) = words::said(message, payload) {
            self.say(said, parcel);
        }
    }

    /// They have not begun a call.
    pub(crate) fn hear_not_run(&self, id: u64, error: wire::Fault) {
        self.say(Said::NotRun { id, fault: words::not_run(error) }, Parcel::default());
    }

    /// An event of theirs.
    pub(crate) fn hear_event(&self, event: Event, payload: Payload) {
        let Event { event, from, all, groups, granted } = event;
        let to = orchestrator_core::routing::Audience { all, groups, granted };
        self.say(Said::Event { event, from, to }, Parcel(payload));
    }

    /// What they have and hear now. What cannot be a service is passed over.
    pub(crate) fn offer(&self, services: Vec<OfferedService>, hears: Vec<Hears>) {
        let offers = services.into_iter().filter_map(|service| {
            let OfferedService { name, replicas, load, methods } = service;
            // Children are their parents' own.
            let service = ServiceName::parse(&name).ok().filter(|name| name.parent().is_none())?;
            Some(Offer { service, methods, replicas, load })
        });
        let hears = hears.into_iter().filter_map(|hears| {
            let Hears { service, event, group } = hears;
            Some(Hearing { listener: service, event: event.parse().ok()?, group })
        });
        let (offers, hears) = (offers.collect(), hears.collect());
        self.router.act(|routing, now| routing.offer(now, self.line, offers, hears));
    }

    /// What their services have to do.
    pub(crate) fn tell_loads(&self, loads: BTreeMap<String, u32>) {
        let loads =
            loads.into_iter().filter_map(|(name, load)| Some((ServiceName::parse(&name).ok()?, load)));
        let loads = loads.collect();
        self.router.act(|routing, now| routing.tell_loads(now, self.line, &loads));
    }

    /// They get nothing new.
    pub(crate) fn withdraw(&self) {
        self.offer(Vec::new(), Vec::new());
    }

    /// They cannot be reached any more, and these calls have not reached them.
    pub(crate) fn lose(self, not_begun: Vec<u64>) {
        self.withdraw();
        for id in not_begun {
            let fault = Fault::new(Code::Unavailable, "it could not be reached");
            self.say(Said::NotRun { id, fault }, Parcel::default());
        }
    }

    /// From now on they are told of every change of this service's configuration.
    pub(crate) fn watch_config(&self, service: ServiceName) {
        if let Some(End::Program { watches, .. }) = self.router.state().lines.get_mut(&self.line) {
            watches.insert(service);
        }
    }

    /// What answers the message with this number, whenever that is.
    pub(crate) fn responder(&self, id: u64) -> Responder {
        Responder { router: self.router.clone(), line: self.line, id }
    }

    fn say(&self, said: Said, parcel: Parcel) {
        self.router.act(|routing, now| routing.hear(now, self.line, said, parcel));
    }
}

impl Drop for OutsideWire {
    fn drop(&mut self) {
        self.router.state().lines.remove(&self.line);
        self.router.act(|routing, now| routing.disconnect(now, self.line));
    }
}
