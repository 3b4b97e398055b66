//! Decides what an orchestrated project does, without doing any of it: plain functions and state machines over
//! data. There is no clock, no file, no socket and no runtime in here; `clippy.toml` beside this file holds that.
//!
//! - [`manifest`]: text to a checked [`manifest::Manifest`], every problem with its place;
//! - [`service_graph`]: who depends on whom;
//! - [`supervisor`]: the state machine of the lifecycle: events in, actions out;
//! - [`probing`]: when a service counts as ready, and when as unhealthy;
//! - [`planning`]: from what runs to what a changed manifest says;
//! - [`recycling`]: when a start has run for long enough;
//! - [`giving_up`]: what is told of a replica that has given up, and to whom;
//! - [`routing`]: who calls and hears whom: balancing, retries, deadlines, streams;
//! - [`learning`]: what has to be granted to a service that was watched;
//! - [`report`]: everything that people and programs are told.

pub mod giving_up;
pub mod learning;
pub mod manifest;
pub mod membership;
pub mod name;
pub mod permissions;
pub mod planning;
pub mod probing;
pub mod recycling;
mod replica;
pub mod report;
pub mod routing;
pub mod service_graph;
pub mod service_node;
pub mod supervisor;

pub use name::{Generation, NameError, ReplicaId, ServiceName, StartId};
