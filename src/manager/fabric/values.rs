//! The configuration in Redis: a hash for each service, whose values have tags.

use bytes::Bytes;
use orchestrator_core::ServiceName;
use orchestrator_core::routing::{Code, Fault};
use orchestrator_port::message::link::ToMember;
use orchestrator_port::message::service::Payload;
use orchestrator_port::packet::Seal;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, RedisError};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::outgoing::Outgoing;
use crate::config_store::{ConfigStore, Deed, Done, MOST_VALUES};

/// How many requests wait. Further ones are `overloaded`.
pub(super) const QUEUE: usize = 1024;

/// Where the configuration of a fabric is asked. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ConfigLine(pub(super) mpsc::Sender<ConfigAsk>);

/// A request for it.
pub(super) struct ConfigAsk {
    pub(super) service: ServiceName,
    pub(super) name: String,
    pub(super) deed: Deed,
    pub(super) done: Done,
}

/// The values of a fabric, as long as a session lasts.
pub(super) struct Values {
    pub(super) commands: MultiplexedConnection,
    pub(super) seal: Seal,
    pub(super) prefix: String,
    /// What they were when they were last seen, for when Redis does not answer.
    pub(super) store: ConfigStore,
    /// Where changes are told.
    pub(super) outgoing: Outgoing,
}

impl ConfigLine {
    /// Does something with a value. `done` is called when that is done, and must not wait.
    pub(crate) fn ask(&self, service: ServiceName, name: String, deed: Deed, done: Done) {
        let (ask, fault) = match self.0.try_send(ConfigAsk { service, name, deed, done }) {
            Ok(()) => return,
            Err(TrySendError::Full(ask)) => {
                (ask, Fault::new(Code::Overloaded, "too many requests for the configuration wait"))
            }
            Err(TrySendError::Closed(ask)) => {
                (ask, Fault::new(Code::Unavailable, "the configuration is closed"))
            }
        };
        (ask.done)(Err(fault));
    }
}

impl Values {
    /// Serves what is asked for, one after the other, until nobody asks any more.
    pub(super) async fn serve_all(mut self, mut asked: mpsc::Receiver<ConfigAsk>) {
        while let Some(ConfigAsk { service, name, deed, done }) = asked.recv().await {
            match self.serve(&service, &name, &deed).await {
                Ok(Ok(value)) => {
                    self.store.mirror(service.clone(), name.clone(), value.clone());
                    if !matches!(deed, Deed::Get) {
                        let payload = Payload { bytes: value.clone().unwrap_or_default(), json: None };
                        let service = service.to_string();
                        self.outgoing.tell_all(&ToMember::Config { service, name }, payload);
                    }
                    done(Ok(value));
                }
                Ok(Err(fault)) => done(Err(fault)),
                Err(_) if matches!(deed, Deed::Get) => self.store.get(service, name, done),
                Err(error) => {
                    let why = format!("the fabric's Redis did not do it: {error}");
                    done(Err(Fault::new(Code::Unavailable, why)));
                }
            }
        }
    }

    /// Does what is asked for; answers with the value as it is now, or why it is not had.
    async fn serve(
        &mut self,
        service: &ServiceName,
        name: &str,
        deed: &Deed,
    ) -> Result<Result<Option<Bytes>, Fault>, RedisError> {
        let key = format!("{}:config:{service}", self.prefix);
        match deed {
            Deed::Get => {
                let value: Option<Vec<u8>> = self.commands.hget(&key, name).await?;
                let Some(value) = value.map(Bytes::from) else { return Ok(Ok(None)) };
                Ok(self.seal.open_value(service.as_str(), name, &value).map(Some).map_err(|_| {
                    let why = format!("the value '{name}' in {key} was not set by a member: set it again");
                    Fault::new(Code::Unavailable, why)
                }))
            }
            Deed::Remove => {
                let _: u64 = self.commands.hdel(&key, name).await?;
                Ok(Ok(None))
            }
            Deed::Set(json) => {
                let count: usize = self.commands.hlen(&key).await?;
                if count >= MOST_VALUES && !self.commands.hexists::<_, _, bool>(&key, name).await? {
                    let why = format!("a service has at most {MOST_VALUES} values in its configuration");
                    return Ok(Err(Fault::new(Code::Overloaded, why)));
                }
                let value = self.seal.seal_value(service.as_str(), name, json);
                let _: u64 = self.commands.hset(&key, name, value).await?;
                Ok(Ok(Some(json.clone())))
            }
        }
    }
}

impl std::fmt::Debug for ConfigAsk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigAsk")
            .field("service", &self.service)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
