//! What can happen to a project: everything that the Supervisor is ever told.

use std::num::NonZeroU32;

use crate::name::{ServiceName, StartId};
use crate::report::{CrashReason, Phase, ReloadCause};
use crate::service_node::NodeSpec;

/// Something that happened. Requests can be refused; the rest is fact. What is said of a start that is no
/// longer one of the replica's own is ignored (lifecycle rule 8).
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A person or a parent asked for something.
    Request(Request),
    /// The start has come this far.
    Phase(StartId, Phase),
    /// A readiness check failed, and this is what it said.
    NotReady(StartId, String),
    /// The start is through: the service's own `start()` has returned and its readiness check has succeeded.
    Ready(StartId),
    /// The service's code ended by itself, all of it, with exit code 0.
    Completed(StartId),
    /// The start failed or the service left running unasked.
    Crashed(StartId, CrashReason),
    /// The start has done as much as one start is to do: it is replaced, if it runs and is not replaced already.
    Recycle(StartId, ReloadCause),
    /// The service asked to be closed.
    CloseRequested(StartId),
    /// Nothing of the environment is left. Follows every `Create` exactly once, after a `Close` or a `Destroy`.
    Ended(StartId),
}

/// What can be asked of a project.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Want these running, and whatever they depend on. Forgets past crashes.
    Start(Vec<ServiceName>),
    /// Want these closed. What depends on them closes first, and waits, blocked, until they are started again.
    Stop(Vec<ServiceName>),
    /// Close these and what depends on them, in order, then start all that again. Forgets past crashes.
    Restart(Vec<ServiceName>),
    /// Replace each replica of these by a new start of itself, while nothing that depends on them closes. What does not run
    /// is started, as are its dependencies. Forgets past crashes.
    Reload(Vec<ServiceName>),
    /// Have so many replicas of a service. New ones start when the service runs; those that are too many close, the last
    /// ones first, while the others serve on.
    Scale(ServiceName, NonZeroU32),
    /// Become what a changed manifest says.
    Apply(Changes),
    /// Add a child service below a running parent; it starts at once, and goes with the start of its parent that opens it.
    Create {
        /// The child.
        child: NodeSpec,
        /// Whose it is.
        opener: StartId,
    },
    /// Close a child and its own children, then forget them.
    Remove(ServiceName),
    /// Close everything in order. Final: nothing starts again.
    Shutdown,
    /// Destroy every environment now, in no order. Final.
    Kill,
}

/// How a project differs from what it is to be. Children are not spoken of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// All services that there are to be.
    pub services: Vec<NodeSpec>,
    /// Those that are closed and forgotten.
    pub removed: Vec<ServiceName>,
    /// Those that are new, and are started.
    pub started: Vec<ServiceName>,
    /// Those for which other rules hold. Their crashes are forgiven.
    pub adjusted: Vec<ServiceName>,
    /// Those whose replicas are replaced, as by [`Request::Reload`].
    pub reloaded: Vec<ServiceName>,
    /// Those that are closed with what depends on them and started again, as by [`Request::Restart`].
    pub restarted: Vec<ServiceName>,
    /// Those that have another number of replicas now. The others keep theirs, whatever they were scaled to.
    pub scaled: Vec<ServiceName>,
}
