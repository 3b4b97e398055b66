//! [`Config`]: the configuration of services, wherever it is kept: in this project's own store, or, for all members of a fabric
//! together, in its Redis. Whoever watches it is told of every change.

use bytes::Bytes;
use orchestrator_core::ServiceName;
use orchestrator_core::routing::Fault;
use orchestrator_port::message::service::Payload;

use crate::config_store::{ConfigStore, Deed, Done, check};
use crate::fabric::ConfigLine;
use crate::router::Router;

/// The configuration of a project's services. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) store: ConfigStore,
    /// Where the fabric is asked, for a project that is part of one.
    pub(crate) fabric: Option<ConfigLine>,
    pub(crate) router: Router,
}

impl Config {
    /// Looks up a value. `done` may be called on another thread, and must not wait.
    pub(crate) fn get(&self, service: ServiceName, name: String, done: Done) {
        match &self.fabric {
            None => self.store.get(service, name, done),
            Some(fabric) => fabric.ask(service, name, Deed::Get, done),
        }
    }

    /// Sets a value, or removes it, and tells everybody who watches it. `done` is called when that can be lost no more.
    pub(crate) fn set(&self, service: ServiceName, name: String, value: Option<Payload>, done: Answered) {
        let value = match value {
            Some(Payload { json: Some(_), .. }) => {
                let why = "a value of the configuration is plain JSON, without bytes";
                return done(Err(Fault::new(orchestrator_core::routing::Code::TooLarge, why)));
            }
            value => value.map(|value| value.bytes),
        };
        if let Err(why) = check(&name, value.as_ref()) {
            return done(Err(why));
        }
        let (router, of, changed) = (self.router.clone(), service.clone(), name.clone());
        let told: Done = Box::new(move |value| {
            done(value.map(|value| {
                let value = Payload { bytes: value.unwrap_or_default(), json: None };
                router.tell_config(&of, &changed, &value);
            }));
        });
        let deed = value.map_or(Deed::Remove, Deed::Set);
        match &self.fabric {
            None => self.store.request(service, name, deed, told),
            Some(fabric) => fabric.ask(service, name, deed, told),
        }
    }
}

/// What is called when a value is set.
pub(crate) type Answered = Box<dyn FnOnce(Result<(), Fault>) + Send>;

/// A value as the one who has asked for it is answered.
pub(crate) fn plain(value: Option<Bytes>) -> Payload {
    Payload { bytes: value.unwrap_or_default(), json: None }
}
