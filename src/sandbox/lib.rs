//! Processes: how they are started with nothing that they were not given, found with everything that they started,
//! and ended with nothing left. Used by the process environment and by the runner. Synchronous throughout.
//!
//! This is the only crate with unsafe code: the calls between fork and exec ([`spawn::Launch`]), and taking over an
//! inherited descriptor ([`descriptors::inherited`]).

#![expect(unsafe_code, reason = "fork, exec and inherited descriptors have no safe interface")]

pub mod descriptors;
mod remove;
pub mod spawn;
pub mod tree;

pub use descriptors::inherited;
pub use remove::{empty_folder, remove_tree};
pub use rustix::process::Pid;
