//! Does what the core decides: environments, connections, files and time. The public face is small on purpose:
//! [`ServicesManager::launch`] and the [`ManagerHandle`] that it returns. No view reaches behind it.
//!
//! Tasks, and what flows between them:
//!
//! ```text
//!   ManagerHandle --Ask--> ServicesManager (one loop, owns the Supervisor) <--Input-- ServiceContainer (a task a start)
//!        ^                        |                                                        |
//!        +---- watch<Snapshot>, EventStream                          ServiceController <=> ConnectionPort <=> RemoteService
//!        +---- LogStore (a writer thread, bounded) <------ lines ----------+
//! ```

mod applying;
mod attach;
mod carry;
mod children;
mod config;
mod config_store;
mod confinement;
mod environment;
mod event_stream;
mod fabric;
mod facts;
mod gateway;
mod handle;
mod host_line;
mod inbox;
mod lines;
mod listeners;
mod log_store;
mod notices;
mod output;
mod perform;
mod plugins;
mod preflight;
mod project;
mod provider;
mod recording;
mod recycling;
mod router;
mod secrets;
mod service_container;
mod service_controller;
mod services_manager;
mod shipment;
mod webhook;

pub use applying::{Apply, ApplyError, Fresh, ManifestReader};
pub use attach::AttachError;
pub use children::ChildReader;
pub use confinement::Runtime;
pub use environment::{
    EngineError, FoundEngine, OnPull, PullProgress, RunnerImages, lock_images, probe_engine,
    remove_orphaned_containers,
};
pub use event_stream::{EventItem, EventReader};
pub use fabric::FabricError;
pub use handle::{ManagerHandle, RequestError};
pub use listeners::{ActivationError, BindError, ListenError, SocketActivation};
pub use log_store::{LogItem, LogQuery, LogReader};
pub use plugins::{Embedded, PluginError, Plugins};
pub use preflight::probe;
pub use project::{Project, ProjectError, ProjectLock};
pub use recording::Recording;
pub use router::{Answer, OperatorCall, Stream};
pub use secrets::SecretError;
pub use services_manager::{Launch, LaunchError, ServicesManager};
pub use shipment::ShipperError;
