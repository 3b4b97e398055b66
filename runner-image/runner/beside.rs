//! [`Beside`]: a process of the runner's own program, beside a js process, that does for it what it may not do itself. It is
//! started by the first word that the js process has for it, so a service that needs none never has one; and it has to stay
//! as long as the service.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use orchestrator_sandbox::Pid;
use orchestrator_sandbox::descriptors::stream_pair;
use orchestrator_sandbox::tree::Ended;
use rustix::net::{RecvFlags, recv};
use tokio::sync::{oneshot, watch};

use crate::init::Init;
use crate::service_process::StartError;

/// The socket between a js process and the one beside it, before that is there.
#[derive(Debug)]
pub(crate) struct Beside(UnixStream);

/// Why a js process has lost what is beside it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LostError {
    #[error("failed to start what {does} for the service")]
    Start {
        does: &'static str,
        #[source]
        source: StartError,
    },
    #[error("failed to wait for what the service asks for")]
    Wait(#[from] io::Error),
    #[error("what {does} for the service has ended: {how}")]
    Ended { does: &'static str, how: String },
}

impl Beside {
    /// Makes the socket; answers with the js process's end, too.
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = stream_pair()?;
        Ok((Self(ours.into()), theirs))
    }

    /// The end of who will be there, to be written to before.
    pub(crate) fn socket(&mut self) -> &mut UnixStream {
        &mut self.0
    }

    /// Waits for the first word of the js process; or for `finished`, when there will be none. Answers with the socket, on
    /// which that word is still to be read.
    pub(crate) async fn asked(
        self,
        finished: &mut watch::Receiver<bool>,
    ) -> Result<Option<OwnedFd>, LostError> {
        self.0.set_nonblocking(true)?;
        let socket = tokio::net::UnixStream::from_std(self.0)?;
        tokio::select! {
            readable = socket.readable() => readable?,
            _ = finished.wait_for(|finished| *finished) => return Ok(None),
        }
        let nobody =
            matches!(recv(&socket, &mut [0; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT), Ok((0, _)));
        Ok(if nobody { None } else { Some(socket.into_std()?.into()) })
    }
}

/// Waits for the end of what does this.
///
/// # Errors
/// Where it ends while the service goes on: it was asked what no js process asks, or the system has ended it.
pub(crate) async fn ended(
    does: &'static str,
    ended: oneshot::Receiver<Ended>,
    init: &Init,
    service: Pid,
) -> Result<(), LostError> {
    let how = match ended.await {
        Ok(Ended { code: Some(0), .. }) | Err(_) => return Ok(()),
        // Everything below the runner is ended with the service.
        Ok(_) if !init.has(service) => return Ok(()),
        Ok(Ended { code: Some(code), .. }) => format!("exit code {code}, see its stderr"),
        Ok(Ended { signal, .. }) => format!("signal {}", signal.unwrap_or_default()),
    };
    Err(LostError::Ended { does, how })
}
