//! The control API: HTTP with JSON over a Unix socket, for the command line and for any program of the same user.
//! `docs/control-api.md` describes it.
//!
//! The socket is the user's own (mode 0600 in a folder of mode 0700), and every caller's user id is checked as well.
//! A caller has [`HEADER_LIMIT`] to say what it wants; at most [`CONNECTIONS`] are heard at a time. Who follows the
//! project to its end is told the last of it before the socket goes.

mod asked;
mod attach;
mod calls;
mod routes;
pub mod wire;

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use orchestrator_manager::ManagerHandle;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// How long a caller may take to send the head of a request.
const HEADER_LIMIT: Duration = Duration::from_secs(5);

/// How many connections are served at a time. Further ones wait in the socket's backlog.
const CONNECTIONS: usize = 64;

/// How long callers may take, at the project's end, to hear the last of it.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The API while it is served. Dropping it ends that, and removes the socket.
#[derive(Debug)]
pub struct ControlApi {
    socket: PathBuf,
    /// One for each connection that could be served: all are free when nobody is being told anything.
    places: Arc<Semaphore>,
    /// Told at the end: connections then finish the answer they are giving, and hear nothing more.
    ending: watch::Sender<()>,
    serving: JoinHandle<()>,
}

/// Serves the control API of a project on this socket, from now on.
///
/// # Errors
/// Where the socket cannot be made.
pub fn serve(handle: ManagerHandle, socket: &Path) -> io::Result<ControlApi> {
    let listener = UnixListener::bind(socket)?;
    // Nobody else can reach into the folder, so there is no moment at which another mode would matter.
    fs::set_permissions(socket, Permissions::from_mode(0o600))?;
    let router = routes::router(handle);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let free = Arc::clone(&places);
    let ending = watch::Sender::new(());
    let until = ending.subscribe();
    let serving = tokio::spawn(async move {
        while let Ok(place) = free.clone().acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) if is_own(&stream) => {
                    let (router, until) = (router.clone(), until.clone());
                    tokio::spawn(async move {
                        serve_connection(stream, router, until).await;
                        drop(place);
                    });
                }
                Ok(_) => tracing::warn!("a call of another user was refused"),
                Err(error) => {
                    tracing::warn!(%error, "a call cannot be accepted");
                    // Most likely out of descriptors: others have to end first.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(ControlApi { socket: socket.to_owned(), places, ending, serving })
}

impl ControlApi {
    /// Ends it, after everybody who is listening has been told what there was to tell. Who does not listen is left.
    pub async fn end(self) {
        self.serving.abort();
        self.ending.send_replace(());
        let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(LAST_WORDS, self.places.acquire_many(all)).await;
    }
}

fn is_own(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|caller| caller.uid() == own || caller.uid() == 0)
}

async fn serve_connection(stream: UnixStream, router: axum::Router, mut until: watch::Receiver<()>) {
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_LIMIT);
    let mut connection =
        pin!(server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).with_upgrades());
    tokio::select! {
        // A caller that goes away in the middle of an answer is no fault.
        _ = &mut connection => return,
        _ = until.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

impl Drop for ControlApi {
    fn drop(&mut self) {
        self.serving.abort();
        let _ = fs::remove_file(&self.socket);
    }
}
