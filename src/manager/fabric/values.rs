//! The configuration in Redis: a hash for each service, whose values have tags.

use bytes::Bytes;
use orchestrator_core::ServiceName;
use orchestrator_core::routing::{Code, Fault};
use orchestrator_port::packet::Seal;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, RedisError};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::config_store::{Deed, Done, MOST_VALUES};

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

/// The values of a fabric.
#[derive(Clone)]
pub(super) struct Values {
    pub(super) commands: MultiplexedConnection,
    pub(super) seal: Seal,
    pub(super) prefix: String,
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
    /// Does what is asked for; answers with the value as it is now.
    pub(super) async fn serve(
        &mut self,
        service: &ServiceName,
        name: &str,
        deed: &Deed,
    ) -> Result<Option<Bytes>, Fault> {
        let key = format!("{}:config:{service}", self.prefix);
        let refused = |error: RedisError| {
            Fault::new(Code::Unavailable, format!("the fabric's Redis did not do it: {error}"))
        };
        match deed {
            Deed::Get => {
                let value: Option<Vec<u8>> = self.commands.hget(&key, name).await.map_err(refused)?;
                let Some(value) = value.map(Bytes::from) else { return Ok(None) };
                self.seal.open_value(service.as_str(), name, &value).map(Some).map_err(|_| {
                    let why = format!("the value '{name}' in {key} was not set by a member: set it again");
                    Fault::new(Code::Unavailable, why)
                })
            }
            Deed::Remove => {
                let _: u64 = self.commands.hdel(&key, name).await.map_err(refused)?;
                Ok(None)
            }
            Deed::Set(json) => {
                let count: usize = self.commands.hlen(&key).await.map_err(refused)?;
                let full = count >= MOST_VALUES
                    && !self.commands.hexists::<_, _, bool>(&key, name).await.map_err(refused)?;
                if full {
                    let why = format!("a service has at most {MOST_VALUES} values in its configuration");
                    return Err(Fault::new(Code::Overloaded, why));
                }
                let value = self.seal.seal_value(service.as_str(), name, json);
                let _: u64 = self.commands.hset(&key, name, value).await.map_err(refused)?;
                Ok(Some(json.clone()))
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
