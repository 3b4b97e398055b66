//! What the Supervisor wants done: everything that the ServicesManager ever does to an environment.

use crate::name::{ServiceName, StartId};
use crate::report::EventKind;

/// Something to do now. Actions are given in the order in which they are to be carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create the environment, ship the code, run it. Answered by `Ready` or `Crashed`, later by `Ended`.
    Create(StartId),
    /// Close gracefully: cancel what has not yet begun, let the service close what has. Answered by `Ended`.
    Close(StartId),
    /// Destroy the environment at once. Answered by `Ended`.
    Destroy(StartId),
    /// The service is no longer part of the project.
    Forget(ServiceName),
    /// Tell whoever watches.
    Report(EventKind),
    /// The project has ended for good: everything is closed and nothing will start again by itself.
    Finish(crate::report::Finish),
}
