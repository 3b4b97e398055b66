//! `js-http`: HTTP for a js service, on the listening sockets that its start was given.
//!
//! The process that runs the code can only compute (`js/`). This one accepts connections and reads requests, has each answered
//! by that one, and writes the answers. It is started with its sockets when the service has started (`launch.rs`), can open
//! and connect to nothing, and ends with the js process.
//!
//! ```text
//!   listener: a task each --> connection: a task each (server.rs) --request--> Service (service.rs) --> js process
//!                                                  (exchange.rs)  <--answer--
//! ```
//!
//! Nothing is queued without a bound: connections beyond [`CONNECTIONS`] wait in the backlog of their socket; a request that
//! finds [`IN_FLIGHT`] others without an answer, or no room for its body, is answered 503; so is one that the js process is
//! too slow to read. One thread does everything: an answer wakes nobody but the task that writes it.

mod exchange;
mod headers;
pub(crate) mod launch;
pub(crate) mod messages;
mod reply;
mod server;
mod service;

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use orchestrator_sandbox::descriptors::inherited;
use tokio::runtime;
use tokio::task::LocalSet;

use self::messages::DESCRIPTOR;
use self::server::Server;
use crate::js_io::messages::Malformed;

/// The most connections at one time; fewer where the process may have fewer descriptors.
const CONNECTIONS: usize = 2048;

/// The most requests without a whole answer.
const IN_FLIGHT: usize = 1024;

/// The most bytes of bodies of requests without an answer, together; one of the longest is let in always.
const BODIES: usize = 32 << 20;

/// The most bytes of answers that are not on their way yet.
const ANSWERS: usize = 128 << 20;

/// The most bytes of a request's head.
const LONGEST_HEAD: usize = 32 << 10;

/// How much of a request is read at once, in bytes, at most.
const CHUNK: usize = 64 << 10;

/// How long a client may take for a request's head, from its connection or from the answer before it; and for each piece
/// of a body.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long connections that nothing is asked on stay open once no more are accepted: who asks meanwhile is answered, and told
/// to go.
const GRACE: Duration = Duration::from_millis(200);

/// Why it ends before its js process does.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JsHttpError {
    #[error("failed to understand how it is started")]
    Arguments,
    #[error("failed to take over what it listens on")]
    Listeners(#[source] io::Error),
    #[error("failed to speak with the js process")]
    Socket(#[source] io::Error),
    #[error("failed to understand the js process")]
    Malformed(#[from] Malformed),
    #[error("the js process has sent more pieces of an answer than it was asked for")]
    Credit,
}

/// Serves that many sockets, and bodies of at most that many bytes, until the js process ends.
pub(crate) fn run(listeners: &OsStr, longest_body: &OsStr) -> Result<(), JsHttpError> {
    let number = |text: &OsStr| text.to_str()?.parse::<usize>().ok();
    let count = number(listeners).ok_or(JsHttpError::Arguments)?;
    let longest_body = number(longest_body).ok_or(JsHttpError::Arguments)?;
    let socket = UnixStream::from(inherited(DESCRIPTOR).map_err(JsHttpError::Socket)?);
    socket.set_nonblocking(true).map_err(JsHttpError::Socket)?;
    let listeners: io::Result<Vec<OwnedFd>> = (DESCRIPTOR + 1..).take(count).map(inherited).collect();
    let listeners = listeners.map_err(JsHttpError::Listeners)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(JsHttpError::Socket)?;
    LocalSet::new().block_on(&runtime, async {
        let socket = tokio::net::UnixStream::from_std(socket).map_err(JsHttpError::Socket)?;
        Server::serve(socket, listeners, longest_body).await
    })
}
