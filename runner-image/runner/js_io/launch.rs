//! [`JsIo`]: the runner's part: it makes the socket between a js process and its `js-io`, and starts that one when there is
//! something on it to be read. A service that only computes never has one.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use bytes::Bytes;
use orchestrator_port::message::control::{FromRemote, Order};
use orchestrator_port::{Frame, PortSender};
use orchestrator_sandbox::Pid;
use orchestrator_sandbox::descriptors::stream_pair;
use orchestrator_sandbox::tree::Ended;
use rustix::net::{RecvFlags, recv};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;

use super::grants::JsGrants;
use super::messages::Greeting;
use super::{LONGEST_TOLD, TOLD};
use crate::init::Init;
use crate::service_process::{StartError, Surroundings};

/// What a js process may ask for, before it has.
#[derive(Debug)]
pub(crate) struct JsIo {
    socket: UnixStream,
    grants: JsGrants,
    /// Where it complains, should it have to: with the service's own words.
    stderr: OwnedFd,
}

/// Why a js process has lost its `js-io`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LostError {
    #[error("failed to start what opens files and connections for the service")]
    Start(#[from] StartError),
    #[error("failed to wait for what the service asks for")]
    Wait(#[from] io::Error),
    #[error("what opens files and connections for the service has ended: {0}")]
    Ended(String),
}

/// Whether an order's process is one that asks.
pub(crate) fn asks(order: &Order) -> bool {
    order.command.iter().take(2).map(String::as_str).eq(["{runner}", "js-host"])
}

impl JsIo {
    /// Makes the socket; answers with the js process's end, too.
    pub(crate) fn new(grants: JsGrants, stderr: OwnedFd) -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = stream_pair()?;
        let mut socket = UnixStream::from(ours);
        let mut greeting = serde_json::to_vec(&Greeting { fetch: grants.fetches() })?;
        greeting.push(b'\n');
        socket.write_all(&greeting)?;
        Ok((Self { socket, grants, stderr }, theirs))
    }

    /// Starts `js-io` once it is asked for something, and waits for its end; or for `finished`, when nobody asks any more.
    ///
    /// # Errors
    /// Where it ends while the service goes on: it was asked what no js process asks, or the system has ended it.
    pub(crate) async fn serve(
        self,
        surroundings: Arc<Surroundings>,
        init: Init,
        port: PortSender,
        service: Pid,
        mut finished: watch::Receiver<bool>,
    ) -> Result<(), LostError> {
        self.socket.set_nonblocking(true)?;
        let socket = tokio::net::UnixStream::from_std(self.socket)?;
        tokio::select! {
            readable = socket.readable() => readable?,
            _ = finished.wait_for(|finished| *finished) => return Ok(()),
        }
        let nobody =
            matches!(recv(&socket, &mut [0; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT), Ok((0, _)));
        if nobody {
            return Ok(());
        }
        let socket = OwnedFd::from(socket.into_std()?);
        let (told, stdout) = pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
        let child = surroundings.start_js_io(&self.grants, &socket, &stdout, &self.stderr)?;
        let ended = init.watch(child.pid);
        drop((socket, stdout, self.stderr));
        tell(Receiver::from_owned_fd(told)?, port).await;
        match ended.await {
            Ok(Ended { code: Some(0), .. }) | Err(_) => Ok(()),
            // Everything below the runner is ended with the service.
            Ok(_) if !init.has(service) => Ok(()),
            Ok(Ended { code: Some(code), .. }) => {
                Err(LostError::Ended(format!("exit code {code}, see its stderr")))
            }
            Ok(Ended { signal, .. }) => {
                Err(LostError::Ended(format!("signal {}", signal.unwrap_or_default())))
            }
        }
    }
}

/// Passes on what was denied, until `js-io` ends.
async fn tell(told: Receiver, port: PortSender) {
    // More than it ever says, each time it says something.
    let mut lines = BufReader::new(told.take((LONGEST_TOLD * TOLD) as u64)).lines();
    while let Ok(Some(what)) = lines.next_line().await {
        // If the connection has ended, the main task knows.
        let _ = port.send(Frame::control(&FromRemote::Refused { what }, Bytes::new())).await;
    }
}
