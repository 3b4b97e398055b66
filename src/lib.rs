//! Runs a handful of services safely on one machine: isolated, in order, from one manifest.
//!
//! This is the library behind the `orchestrator` command, for programs that run services themselves. A program reads
//! a manifest, launches a [`ServicesManager`], and asks its [`ManagerHandle`] for the rest; `examples/embed.rs` is
//! such a program.

pub use orchestrator_core::{Generation, ReplicaId, ServiceName, StartId};
pub use orchestrator_core::{manifest, report, routing, supervisor};
pub use orchestrator_manager::{
    Answer, ChildReader, Embedded, EventItem, EventReader, Launch, LaunchError, LogItem, LogQuery, LogReader,
    ManagerHandle, OperatorCall, PluginError, Plugins, Project, ProjectError, ProjectLock, RequestError,
    ServicesManager, SocketActivation, Stream,
};

/// What this build carries inside itself: the static runner and the built-in plugins.
pub const EMBEDDED: Embedded = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
