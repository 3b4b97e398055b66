//! Runs a handful of services safely on one machine: isolated, in order, from one manifest.
//!
//! This is the library behind the `orchestrator` command, for programs that run services themselves. A program reads
//! a manifest, launches a [`ServicesManager`], and asks its [`ManagerHandle`] for the rest; `examples/embed.rs` is
//! such a program.

pub use orchestrator_core::{Generation, ReplicaId, ServiceName, StartId};
pub use orchestrator_core::{manifest, planning, report, routing, supervisor};
pub use orchestrator_manager::{
    Answer, Apply, ApplyError, ChildReader, Embedded, EventItem, EventReader, Fresh, Launch, LaunchError,
    LogItem, LogQuery, LogReader, ManagerHandle, ManifestReader, OperatorCall, PluginError, Plugins, Project,
    ProjectError, ProjectLock, RequestError, ServicesManager, SocketActivation, Stream,
};

/// What this build carries inside itself: the static runner and the built-in plugins.
pub const EMBEDDED: Embedded = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
