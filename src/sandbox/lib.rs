//! Processes: how they are started with nothing that they were not given, held to what they were granted, found with
//! everything that they started, and ended with nothing left. Used by the process environment and by the runner.
//! Synchronous throughout.
//!
//! A service is confined twice. The runner enters namespaces of its own ([`namespaces::enter`]) in which there is
//! nothing but what was granted ([`mounts::View`]). Each process that it starts there is held, from its first
//! instruction on, to a [`confinement::Confinement`]: [`landlock`], [`seccomp`], limits, no capabilities.
//!
//! Or it is not held at all, and what it does is noted: [`recording`].
//!
//! This is the only crate with unsafe code: the calls between fork and exec ([`spawn::Launch`]), those that make
//! namespaces and mounts, taking over an inherited descriptor ([`descriptors::inherited`]), and [`steering`].

#![expect(unsafe_code, reason = "fork, exec, namespaces and inherited descriptors have no safe interface")]

pub mod cgroup;
pub mod confinement;
pub mod descriptors;
pub mod landlock;
pub mod mounts;
pub mod namespaces;
pub mod privileges;
pub mod recording;
mod remove;
pub mod seccomp;
pub mod self_check;
pub mod spawn;
pub mod steering;
pub mod tree;
pub mod users;

pub use descriptors::inherited;
pub use remove::{empty_folder, remove_tree};
pub use rustix::process::Pid;
