//! [`Recording`]: what is seen of the one service that is watched, from its runner and from the Router.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orchestrator_core::ServiceName;
use orchestrator_core::learning::{Record, Use};
use orchestrator_core::routing::Told;
use orchestrator_port::message::control;

/// How many different things are kept. Further ones are counted.
const MOST: usize = 1 << 17;

/// A growing [`Record`] of one service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recording {
    service: ServiceName,
    record: Arc<Mutex<Record>>,
}

impl Recording {
    /// One of this service, empty.
    #[must_use]
    pub fn of(service: ServiceName) -> Self {
        Self { service, record: Arc::default() }
    }

    /// What has been seen so far.
    #[must_use]
    pub fn record(&self) -> Record {
        self.locked().clone()
    }

    /// Whose it is.
    pub(crate) fn service(&self) -> &ServiceName {
        &self.service
    }

    /// Adds what its runner has noted.
    pub(crate) fn add(&self, uses: Vec<control::Use>, lost: u64) {
        let mut record = self.locked();
        record.lost += lost;
        uses.into_iter().for_each(|used| insert(&mut record, heard(used)));
    }

    /// Adds what another service, or this one, is told.
    pub(crate) fn see(&self, to: &ServiceName, told: &Told) {
        let used = match told {
            Told::Invoke { method, from, .. } if *from == self.service.as_str() => {
                Use::Call { service: to.clone(), method: method.clone() }
            }
            Told::Event { event, from, .. } if *from == self.service.as_str() => {
                Use::Emit { service: to.clone(), event: event.clone() }
            }
            Told::Event { event, from, .. } if *to == self.service => match ServiceName::parse(from) {
                Ok(service) => Use::Hear { service, event: event.clone() },
                // The operator may tell everybody everything.
                Err(_) => return,
            },
            _ => return,
        };
        insert(&mut self.locked(), used);
    }

    fn locked(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn insert(record: &mut Record, used: Use) {
    if record.uses.len() < MOST {
        record.uses.insert(used);
    } else if !record.uses.contains(&used) {
        record.lost += 1;
    }
}

/// In the words of the rules.
fn heard(used: control::Use) -> Use {
    match used {
        control::Use::Read(path) => Use::Read(path),
        control::Use::List(path) => Use::List(path),
        control::Use::Write(path) => Use::Write(path),
        control::Use::Make(path) => Use::Make(path),
        control::Use::Run(path) => Use::Run(path),
        control::Use::Link { from, to } => Use::Link { from, to },
        control::Use::Process => Use::Process,
        control::Use::Socket(path) => Use::Socket(path),
        control::Use::Connect(to) => Use::Connect(to),
        control::Use::Datagram(to) => Use::Datagram(to),
        control::Use::Listen(port) => Use::Listen(port),
        control::Use::Lookup(name) => Use::Lookup(name),
    }
}
