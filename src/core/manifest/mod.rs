//! The manifest: text to [`Manifest`].

#[expect(clippy::module_inception, reason = "the type, the file and the word are the same")]
mod manifest;

pub use manifest::{
    Code, Condition, Dependency, Kind, Liveness, Manifest, OnCrash, Probe, Readiness, ReadyCheck, Restart,
    RestartPolicy, Service,
};
