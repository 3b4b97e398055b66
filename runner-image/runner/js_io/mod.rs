//! `js-io`: does what a js service may have done outside of its engine: files (`files.rs`) and requests (`fetch.rs`).
//!
//! The process that runs the code can only compute (`js/`). What it wants besides it asks of this one, which is confined as
//! the service itself is, in a process of its own: the kernel holds both to the same grants, and the runner, which is more
//! than either, reads nothing that a service has written here. It is started by the first request (`launch.rs`), and ends
//! with its socket.
//!
//! ```text
//!   js process --requests--> hear --- files: at once ---\
//!                               \---- fetch: a task each -+--> queue --> answer --> js process
//! ```
//!
//! Requests are heard whatever becomes of the answers, so that neither end waits for the other: the queue has room for every
//! request that may be without an answer.

mod fetch;
mod files;
mod grants;
mod handles;
pub(crate) mod launch;
pub(crate) mod messages;
pub(crate) mod room;
mod target;
mod worker;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;

use orchestrator_sandbox::descriptors::inherited;
use tokio::runtime;

pub(crate) use self::grants::{JsGrants, denied};
use self::messages::{DESCRIPTOR, Malformed};
use self::worker::Worker;

/// How many different denials are told. Each is an event that people read.
const TOLD: usize = 64;

/// The longest denial that is told, in bytes; what is longer is no path that anybody would grant.
const LONGEST_TOLD: usize = 1024;

/// The memory that everything under way may take together, in bytes.
const ROOM: usize = 128 << 20;

/// The descriptor that its grants are read from.
const GRANTS: i32 = 3;

/// Why it ends before its socket does.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JsIoError {
    #[error("failed to read what is granted")]
    Grants(#[source] io::Error),
    #[error("failed to speak with the js process")]
    Socket(#[source] io::Error),
    #[error("failed to understand the js process")]
    Malformed(#[from] Malformed),
}

/// Does what it is asked until nobody asks any more.
pub(crate) fn run() -> Result<(), JsIoError> {
    let socket = UnixStream::from(inherited(DESCRIPTOR).map_err(JsIoError::Socket)?);
    socket.set_nonblocking(true).map_err(JsIoError::Socket)?;
    let grants = read_grants().map_err(JsIoError::Grants)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(JsIoError::Socket)?;
    runtime.block_on(async {
        let socket = tokio::net::UnixStream::from_std(socket).map_err(JsIoError::Socket)?;
        Worker::serve(socket, &grants).await
    })
}

fn read_grants() -> io::Result<JsGrants> {
    let mut text = Vec::new();
    File::from(inherited(GRANTS)?).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}
