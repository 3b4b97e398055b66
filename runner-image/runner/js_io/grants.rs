//! [`JsGrants`]: what a js service's `fs` and `fetch` may reach, as `js-io` is told by its runner at its start; and the
//! words for what they may not.

use std::fmt;
use std::path::PathBuf;

use orchestrator_port::gateway::Relay;
use orchestrator_port::launch::{Confinement as Wanted, Sandbox};
use orchestrator_port::message::control::Order;
use serde::{Deserialize, Serialize};

use super::messages::Failure;

/// Where a js service finds its scratch folder, in every sandbox.
pub(crate) const SCRATCH: &str = "/tmp";

/// The code of an error that a grant would have prevented.
pub(crate) const DENIED: &str = "denied";

/// What is granted. What is not in here is denied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JsGrants {
    /// The service, as its manifest calls it.
    pub(crate) service: String,
    /// What relative paths start from, absolute; empty where nothing is.
    pub(crate) base: PathBuf,
    /// Where its scratch folder is; none where it has no other than its user's.
    pub(crate) scratch: Option<PathBuf>,
    /// Files and folders to be read.
    pub(crate) read: Vec<PathBuf>,
    /// Those to be read and written.
    pub(crate) write: Vec<PathBuf>,
    /// Where it may connect to.
    pub(crate) network: Network,
}

/// The network of a js service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Network {
    /// It has none of its own.
    None,
    /// What these lead to.
    Relays(Vec<Relay>),
    /// The host's, while it is recorded what it uses of it.
    Host,
}

impl JsGrants {
    /// What a ticket grants. Without a sandbox, a service's files are all that its user has.
    pub(crate) fn new(order: &Order, scratch: PathBuf, wanted: Option<&Wanted>) -> Self {
        let root = || vec![PathBuf::from("/")];
        Self {
            service: order.service.clone(),
            base: order.base.clone().into(),
            scratch: wanted.map(|_| scratch),
            read: wanted.map(|wanted| wanted.read.clone()).unwrap_or_default(),
            write: wanted.map_or_else(root, |wanted| wanted.write.clone()),
            network: match wanted {
                Some(wanted) if wanted.sandbox == Sandbox::Strict => Network::Relays(wanted.relays.clone()),
                None if order.recorded => Network::Host,
                _ => Network::None,
            },
        }
    }

    /// Whether there is anything to connect to.
    pub(crate) fn fetches(&self) -> bool {
        match &self.network {
            Network::None => false,
            Network::Relays(relays) => !relays.is_empty(),
            Network::Host => true,
        }
    }
}

/// The error of who tries what is not granted, as everything else of the orchestrator says it too: with the line of the
/// manifest that would allow it, as in `fs.read: ["/srv/data"]`.
pub(crate) fn denied(service: &str, tried: impl fmt::Display, line: impl fmt::Display) -> Failure {
    let text = format!("{service} may not {tried}; to allow it: services.{service}.permissions.{line}");
    Failure::new(DENIED, text)
}
