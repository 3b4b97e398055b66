//! Everything that people and programs are told, as types: one stream of [`Event`]s, one [`Snapshot`] of the
//! present, one kind of [`LogRecord`]. Views render these and nothing else.

mod event;
mod fabric;
mod log;
mod reload;
mod snapshot;
mod why;

pub use event::{CrashReason, Event, EventKind, Exception, Finish, FinishCause};
pub use fabric::{FabricNews, FabricView, MemberView, SharedView};
pub use log::{LogRecord, Stream};
pub use reload::{NotReloaded, ReloadCause};
pub use snapshot::{Calls, ReplicaView, Resources, ServiceView, Snapshot, State};
pub use why::{Phase, Spoken, Why};
