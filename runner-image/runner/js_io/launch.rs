//! [`JsIo`]: the runner's part: it starts `js-io` when the js process asks for something, and passes on what was denied. A
//! service that only computes never has one.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use orchestrator_port::message::control::{FromRemote, Order};
use orchestrator_port::{Frame, PortSender};
use orchestrator_sandbox::Pid;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;

use super::grants::JsGrants;
use super::messages::Greeting;
use super::{LONGEST_TOLD, TOLD};
use crate::beside::{Beside, LostError, ended};
use crate::init::Init;
use crate::service_process::Surroundings;

/// What it does, for errors.
const DOES: &str = "opens files and connections";

/// What a js process may ask for, before it has.
#[derive(Debug)]
pub(crate) struct JsIo {
    beside: Beside,
    grants: JsGrants,
    /// Where it complains, should it have to: with the service's own words.
    stderr: OwnedFd,
}

/// Whether an order's process is one that asks.
pub(crate) fn asks(order: &Order) -> bool {
    order.command.iter().take(2).map(String::as_str).eq(["{runner}", "js-host"])
}

impl JsIo {
    /// Makes the socket; answers with the js process's end, too.
    pub(crate) fn new(grants: JsGrants, stderr: OwnedFd) -> io::Result<(Self, OwnedFd)> {
        let (mut beside, theirs) = Beside::new()?;
        let mut greeting = serde_json::to_vec(&Greeting { fetch: grants.fetches() })?;
        greeting.push(b'\n');
        beside.socket().write_all(&greeting)?;
        Ok((Self { beside, grants, stderr }, theirs))
    }

    /// Starts `js-io` once it is asked for something, and waits for its end; or for `finished`, when nobody asks any more.
    ///
    /// # Errors
    /// Where it ends while the service goes on.
    pub(crate) async fn serve(
        self,
        surroundings: Arc<Surroundings>,
        init: Init,
        port: PortSender,
        service: Pid,
        mut finished: watch::Receiver<bool>,
    ) -> Result<(), LostError> {
        let Some(socket) = self.beside.asked(&mut finished).await? else { return Ok(()) };
        let (told, stdout) = pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
        let child = surroundings
            .start_js_io(&self.grants, &socket, &stdout, &self.stderr)
            .map_err(|source| LostError::Start { does: DOES, source })?;
        let end = init.watch(child.pid);
        drop((socket, stdout, self.stderr));
        tell(Receiver::from_owned_fd(told)?, port).await;
        ended(DOES, end, &init, service).await
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
