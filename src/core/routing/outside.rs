//! Services that are no replicas of this project: those of programs that have attached, and of other members of the
//! fabric. And the other way round: what this project has for those.

use std::collections::{BTreeMap, BTreeSet};

use super::balance::SCALE;
use super::{Line, LineId, MAX_IN_FLIGHT, Output, Party, Peer, Routing, Weigh};
use crate::name::ServiceName;
use crate::permissions::{Pattern, Share};
use crate::supervisor::Moment;

/// How many bytes of calls may be under way to somebody outside, besides the first call: what Redis keeps for a reader
/// that is slow is limited, too.
const MOST_BYTES: usize = 8 << 20;

/// A service that can be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Which.
    pub service: ServiceName,
    /// Its methods.
    pub methods: Vec<String>,
    /// How many replicas it has, 1 or more.
    pub replicas: u32,
    /// How many calls they have under way.
    pub load: u32,
}

/// An event that somebody listens to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hearing {
    /// The service that listens; a program's name, where it is none.
    pub listener: String,
    /// To which events.
    pub event: Pattern,
    /// One of those in it hears each event.
    pub group: Option<String>,
}

/// What is known of a service that somebody outside has.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) methods: Vec<String>,
    replicas: u32,
    /// The calls of others that it has, as far as it has told.
    others: u32,
    /// The calls of this project that it has.
    pub(super) ours: u32,
}

impl Offered {
    /// How much one of its replicas has to do. A little more than one of this project that has as much: it is further away.
    pub(super) fn score(&self) -> u64 {
        (u64::from(self.others) + u64::from(self.ours)) * SCALE / u64::from(self.replicas.max(1)) + 1
    }

    pub(super) fn has_room(&self, line: &Line, weight: usize) -> bool {
        let most = MAX_IN_FLIGHT.saturating_mul(self.replicas.max(1));
        line.serving.is_empty() || (self.ours < most && line.serving_bytes + weight <= MOST_BYTES)
    }

    fn tell_load(&mut self, load: u32) {
        self.others = load.saturating_sub(self.ours);
    }
}

impl<P: Clone + Default + Weigh> Routing<P> {
    /// What this project is called in the fabric, which it is now part of.
    pub fn join(&mut self, own: Peer) {
        self.own = Some(own);
    }

    /// The services that run elsewhere, if anywhere. A program has those no more that are not among them.
    pub fn expect(&mut self, elsewhere: BTreeSet<ServiceName>) {
        self.elsewhere = elsewhere;
        self.revision += 1;
        for (id, line) in &mut self.lines {
            if !matches!(line.party, Party::Program(_)) {
                continue;
            }
            let unexpected: Vec<_> =
                line.offers.keys().filter(|name| !self.elsewhere.contains(name)).cloned().collect();
            for name in unexpected {
                line.offers.remove(&name);
                if let Some(lines) = self.outside.get_mut(&name) {
                    lines.remove(id);
                }
            }
        }
    }

    /// Whether the project has said that this runs elsewhere.
    #[must_use]
    pub fn expects(&self, name: &ServiceName) -> bool {
        self.elsewhere.contains(name)
    }

    /// What a line from outside has and hears now. What it had before and does not name is gone; what it is working on
    /// stays.
    pub fn offer(
        &mut self,
        now: Moment,
        line: LineId,
        offers: Vec<Offer>,
        hears: Vec<Hearing>,
    ) -> Vec<Output<P>> {
        let mut before = self.withdraw(line);
        let Some(state) = self.lines.get_mut(&line) else { return Vec::new() };
        state.hears = hears;
        for Offer { service, methods, replicas, load } in offers {
            let ours = before.remove(&service).map_or(0, |before| before.ours);
            let mut offered = Offered { methods, replicas, others: 0, ours };
            offered.tell_load(load);
            state.offers.insert(service.clone(), offered);
            self.outside.entry(service.clone()).or_default().insert(line);
            self.freed.insert(service);
        }
        self.take(now)
    }

    /// What the services of a line from outside have to do now. What is not named has nothing.
    pub fn tell_loads(
        &mut self,
        now: Moment,
        line: LineId,
        loads: &BTreeMap<ServiceName, u32>,
    ) -> Vec<Output<P>> {
        let Some(state) = self.lines.get_mut(&line) else { return Vec::new() };
        for (service, offered) in &mut state.offers {
            offered.tell_load(loads.get(service).copied().unwrap_or_default());
            self.freed.insert(service.clone());
        }
        self.take(now)
    }

    /// A line from outside gets nothing new.
    pub(super) fn withdraw(&mut self, line: LineId) -> BTreeMap<ServiceName, Offered> {
        let Some(state) = self.lines.get_mut(&line) else { return BTreeMap::new() };
        state.hears.clear();
        let offers = std::mem::take(&mut state.offers);
        if matches!(state.party, Party::Program(_)) {
            self.revision += 1;
        }
        for service in offers.keys() {
            if let Some(lines) = self.outside.get_mut(service) {
                lines.remove(&line);
                if lines.is_empty() {
                    self.outside.remove(service);
                }
            }
        }
        offers
    }

    /// Counts the changes of what [`Self::offered`] answers, but for the load.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What this project has for other members, and what they may tell it. Children are their parents' own.
    #[must_use]
    pub fn offered(&self) -> (Vec<Offer>, Vec<Hearing>) {
        let (mut offers, mut hears) = (Vec::new(), Vec::new());
        for (service, known) in self.services.iter().filter(|(service, _)| service.parent().is_none()) {
            let lines: Vec<_> = known.meant.iter().filter_map(|line| self.lines.get(line)).collect();
            let subscriptions: BTreeSet<_> = lines.iter().flat_map(|line| line.subscriptions()).collect();
            hears.extend(subscriptions.into_iter().map(|(event, group)| Hearing {
                listener: service.to_string(),
                event: event.clone(),
                group: group.map(str::to_owned),
            }));
            if known.share == Share::Nobody || lines.is_empty() {
                continue;
            }
            let methods: BTreeSet<_> = lines.iter().flat_map(|line| &line.methods).cloned().collect();
            offers.push(Offer {
                service: service.clone(),
                methods: methods.into_iter().collect(),
                replicas: u32::try_from(lines.len()).unwrap_or(u32::MAX),
                load: lines.iter().map(|line| u32::try_from(line.serving.len()).unwrap_or(u32::MAX)).sum(),
            });
        }
        for line in self.lines.values() {
            let Party::Program(name) = &line.party else { continue };
            hears.extend(line.subscriptions().map(|(event, group)| Hearing {
                listener: name.clone(),
                event: event.clone(),
                group: group.map(str::to_owned),
            }));
            offers.extend(line.offers.iter().map(|(service, offered)| Offer {
                service: service.clone(),
                methods: offered.methods.clone(),
                replicas: 1,
                load: offered.ours,
            }));
        }
        (merged(offers), hears)
    }

    /// What the services of this project have to do, those that have anything.
    #[must_use]
    pub fn loads(&self) -> BTreeMap<ServiceName, u32> {
        let (offers, _) = self.offered();
        offers.into_iter().filter(|offer| offer.load > 0).map(|offer| (offer.service, offer.load)).collect()
    }

    /// Whether a service can be named; by a member of the fabric, only what this project has itself.
    pub(super) fn is_known(&self, name: &ServiceName, by_member: bool) -> bool {
        let outside = |member_too: bool| {
            let lines = self.outside.get(name).into_iter().flatten();
            let lines = lines.filter_map(|line| self.lines.get(line));
            lines.into_iter().any(|line| member_too || !line.is_elsewhere())
        };
        if by_member {
            return (name.parent().is_none() && self.services.contains_key(name)) || outside(false);
        }
        self.services.contains_key(name) || self.elsewhere.contains(name) || outside(true)
    }

    /// Everything that can be named.
    pub(super) fn known(&self) -> impl Iterator<Item = &ServiceName> {
        self.services.keys().chain(&self.elsewhere).chain(self.outside.keys())
    }

    /// Who has a service outside. What another member asks for is not handed on to a third one.
    pub(super) fn others(
        &self,
        service: &ServiceName,
        caller: LineId,
    ) -> impl Iterator<Item = (LineId, &Line, &Offered)> {
        let by_member = self.lines.get(&caller).is_some_and(Line::is_elsewhere);
        let lines = self.outside.get(service).into_iter().flatten();
        lines.filter_map(move |id| {
            let line = self.lines.get(id)?;
            let offered = line.offers.get(service)?;
            (!by_member || !line.is_elsewhere()).then_some((*id, line, offered))
        })
    }
}

/// The same with one entry for each service.
fn merged(offers: Vec<Offer>) -> Vec<Offer> {
    let mut by_name: BTreeMap<ServiceName, Offer> = BTreeMap::new();
    for offer in offers {
        match by_name.get_mut(&offer.service) {
            None => drop(by_name.insert(offer.service.clone(), offer)),
            Some(one) => {
                one.replicas += offer.replicas;
                one.load += offer.load;
                one.methods.extend(offer.methods);
                one.methods.sort();
                one.methods.dedup();
            }
        }
    }
    by_name.into_values().collect()
}
