//! What a recorder has noted of a service, sent to the orchestrator about once a second and at the end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use orchestrator_port::message::control::{FromRemote, Use};
use orchestrator_port::{Frame, PortClosed, PortSender};
use orchestrator_sandbox::recording::{Noted, Recorder, Use as Used};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::root_folder::RootFolder;

/// How often it is sent.
const EVERY: Duration = Duration::from_secs(1);

/// The most things in one message, so that it fits where each is as long as a path can be.
const MOST: usize = 128;

/// What a start has of its own, without links.
#[derive(Debug)]
pub(crate) struct Own {
    root: PathBuf,
    temporary: PathBuf,
}

impl Own {
    pub(crate) fn of(root: &RootFolder) -> Self {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.into());
        Self { root: real(root.path()), temporary: real(root.temporary()) }
    }

    /// Whether a use is one of what every service has: its code, to be read and run, and a folder of its own to write to.
    fn has(&self, used: &Used) -> bool {
        match used {
            Used::Read(path) | Used::List(path) | Used::Run(path) | Used::Socket(path) => {
                path.starts_with(&self.root)
            }
            Used::Write(path) | Used::Make(path) => path.starts_with(&self.temporary),
            Used::Link { to, .. } => to.starts_with(&self.root),
            _ => false,
        }
    }
}

/// Sends what is new until everything has `finished`, and then the rest.
///
/// # Errors
/// Where the connection has ended.
pub(crate) async fn send_all(
    recorder: Recorder,
    own: Own,
    port: PortSender,
    mut finished: watch::Receiver<bool>,
) -> Result<(), PortClosed> {
    loop {
        let over = timeout(EVERY, finished.wait_for(|finished| *finished)).await.is_ok();
        send(recorder.take(), &own, &port).await?;
        if over {
            return Ok(());
        }
    }
}

async fn send(noted: Noted, own: &Own, port: &PortSender) -> Result<(), PortClosed> {
    let Noted { mut uses, mut lost } = noted;
    uses.retain(|used| !own.has(used));
    let known = uses.len();
    // A path that is no text can be in no manifest.
    let uses: Vec<_> =
        uses.into_iter().map(told).filter_map(|used| serde_json::to_value(used).ok()).collect();
    lost += u64::try_from(known - uses.len()).unwrap_or_default();
    for some in uses.chunks(MOST) {
        let payload = Value::Array(some.to_vec()).to_string();
        let recorded = FromRemote::Recorded { lost: std::mem::take(&mut lost) };
        port.send(Frame::control(&recorded, payload.into())).await?;
    }
    if lost > 0 {
        port.send(Frame::control(&FromRemote::Recorded { lost }, Bytes::from_static(b"[]"))).await?;
    }
    Ok(())
}

/// In the words of the wire.
fn told(used: Used) -> Use {
    match used {
        Used::Read(path) => Use::Read(path),
        Used::List(path) => Use::List(path),
        Used::Write(path) => Use::Write(path),
        Used::Make(path) => Use::Make(path),
        Used::Run(path) => Use::Run(path),
        Used::Link { from, to } => Use::Link { from, to },
        Used::Process => Use::Process,
        Used::Socket(path) => Use::Socket(path),
        Used::Connect(to) => Use::Connect(to),
        Used::Datagram(to) => Use::Datagram(to),
        Used::Listen(port) => Use::Listen(port),
        Used::Lookup(name) => Use::Lookup(name),
    }
}
