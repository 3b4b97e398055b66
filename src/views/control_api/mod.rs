//! The control API: HTTP with JSON over a Unix socket, for the command line and for any program of the same user.
//! `docs/control-api.md` describes it.
//!
//! The socket is the user's own (mode 0600 in a folder of mode 0700), and every caller's user id is checked as well.
//! A caller has [`HEADER_LIMIT`] to say what it wants; at most [`CONNECTIONS`] are heard at a time.

mod routes;
pub mod wire;

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use orchestrator_manager::ManagerHandle;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// How long a caller may take to send the head of a request.
const HEADER_LIMIT: Duration = Duration::from_secs(5);

/// How many connections are served at a time. Further ones wait in the socket's backlog.
const CONNECTIONS: usize = 64;

/// The API while it is served. Dropping it ends that, and removes the socket.
#[derive(Debug)]
pub struct ControlApi {
    socket: PathBuf,
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
    let serving = tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        while let Ok(place) = places.clone().acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) if is_own(&stream) => {
                    let router = router.clone();
                    tokio::spawn(async move {
                        serve_connection(stream, router).await;
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
    Ok(ControlApi { socket: socket.to_owned(), serving })
}

fn is_own(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|caller| caller.uid() == own || caller.uid() == 0)
}

async fn serve_connection(stream: UnixStream, router: axum::Router) {
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_LIMIT);
    // A caller that goes away in the middle of an answer is no fault.
    let _ = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
}

impl Drop for ControlApi {
    fn drop(&mut self) {
        self.serving.abort();
        let _ = fs::remove_file(&self.socket);
    }
}
