//! The `docker` back end: a container for each start, with the runner as its first process.
//!
//! ```text
//!   create -> inspect: as asked? -> attach, start -> ticket into standard input -> hand over the rest -> (runner connects)
//!   gone   <- removed by the engine, with its first process's end <- connection lost, or killed
//! ```
//!
//! The container has no network and nothing of the host but the start's own folder, with two sockets in it, and what the
//! service is granted. The runner inside holds the service as it does everywhere.

mod address;
mod containers;
mod credentials;
mod docker_environment;
mod engine;
mod engine_error;
mod host_config;
mod image;
mod image_lock;
mod life;
mod pull;
mod runner_image;
mod sweep;
mod verify;

pub(crate) use containers::{Containers, Wanted};
pub use containers::{lock_images, remove_orphaned_containers};
pub(crate) use docker_environment::DockerEnvironment;
pub(crate) use engine::Engine;
pub use engine::{FoundEngine, probe_engine};
pub use engine_error::EngineError;
pub(crate) use image::ImageProgram;
pub use pull::{OnPull, PullProgress};
pub use runner_image::RunnerImages;
