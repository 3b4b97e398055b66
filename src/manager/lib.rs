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

mod event_stream;
mod handle;
mod lines;
mod log_store;
mod plugins;
mod project;
mod services_manager;

pub use event_stream::{EventItem, EventReader};
pub use handle::{ManagerHandle, RequestError};
pub use log_store::{LogItem, LogQuery, LogReader};
pub use plugins::{Embedded, PluginError, Plugins};
pub use project::{Project, ProjectError, ProjectLock};
pub use services_manager::{Launch, LaunchError, ServicesManager};
