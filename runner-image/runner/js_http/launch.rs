//! [`JsHttp`]: the runner's part: it keeps the listening sockets of a js service until the service wants to be asked, and
//! starts `js-http` with them then.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use orchestrator_port::message::control::Order;
use orchestrator_sandbox::Pid;
use tokio::sync::watch;

use crate::beside::{Beside, LostError, ended};
use crate::init::Init;
use crate::service_process::{StartError, Surroundings};

/// What it does, for errors.
const DOES: &str = "accepts connections";

/// The longest body of a request where the manifest says nothing: what the longest message between services is then.
const LONGEST_BODY: u64 = 4 << 20;

/// Whom a js process may be asked by, before it wants to be.
#[derive(Debug)]
pub(crate) struct JsHttp {
    beside: Beside,
    listeners: Vec<OwnedFd>,
    longest_body: u64,
    /// Where it complains, should it have to: with the service's own words.
    stderr: OwnedFd,
}

impl JsHttp {
    /// Makes the socket; answers with the js process's end, too. None where the service listens on nothing.
    pub(crate) fn new(
        order: &Order,
        listeners: &[OwnedFd],
        stderr: &OwnedFd,
    ) -> Result<Option<(Self, OwnedFd)>, StartError> {
        if listeners.is_empty() {
            return Ok(None);
        }
        let listeners = listeners.iter().map(OwnedFd::try_clone).collect::<Result<_, _>>();
        let listeners = listeners.map_err(StartError::System)?;
        let (beside, theirs) = Beside::new().map_err(StartError::System)?;
        let stderr = stderr.try_clone().map_err(StartError::System)?;
        let longest_body = order.longest_message.unwrap_or(LONGEST_BODY);
        Ok(Some((Self { beside, listeners, longest_body, stderr }, theirs)))
    }

    /// Starts `js-http` once requests may come, and waits for its end; or for `finished`, when none may any more. No socket is
    /// kept here from then on: who stops accepting has closed it.
    ///
    /// # Errors
    /// Where it ends while the service goes on.
    pub(crate) async fn serve(
        self,
        surroundings: Arc<Surroundings>,
        init: Init,
        service: Pid,
        mut finished: watch::Receiver<bool>,
    ) -> Result<(), LostError> {
        let Some(socket) = self.beside.asked(&mut finished).await? else { return Ok(()) };
        let child = surroundings
            .start_js_http(self.longest_body, &socket, &self.listeners, &self.stderr)
            .map_err(|source| LostError::Start { does: DOES, source })?;
        let end = init.watch(child.pid);
        drop((socket, self.listeners, self.stderr));
        ended(DOES, end, &init, service).await
    }
}
