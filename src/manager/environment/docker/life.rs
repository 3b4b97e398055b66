//! [`watch_life`]: what becomes of a container, by its first process and by what its engine tells.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use orchestrator_sandbox::Pid;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::engine::Engine;

/// How far back the engine is asked for what has happened: its clock counts seconds.
const BACK: Duration = Duration::from_secs(1);

/// What has become of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It runs.
    Runs,
    /// Nothing of it runs any more: its first process was the life of all others.
    Ended,
    /// And the engine has removed it.
    Gone { out_of_memory: bool },
}

/// The first process of a container, on the host, held so that its number cannot become another's. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct First {
    pub(super) pid: u32,
    pidfd: Arc<AsyncFd<OwnedFd>>,
}

impl First {
    pub(super) fn hold(pid: u32) -> io::Result<Self> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
        let pidfd = pidfd_open(number, PidfdFlags::empty())?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, and asks for what an OwnedFd keeps by itself"
        )]
        let pidfd = AsyncFd::new(pidfd)?;
        Ok(Self { pid, pidfd: Arc::new(pidfd) })
    }

    /// Ends it, and so everything in the container. An error where that is the engine's right only.
    pub(super) fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(self.pidfd.get_ref(), Signal::KILL) {
            Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn ended(&self) {
        // An error would say that it cannot be waited for: then there is nothing to wait for.
        let _ = self.pidfd.readable().await;
    }
}

/// What the engine tells of a container from now on, and told a moment ago.
pub(super) fn events(engine: &Engine, container: &str) -> BoxStream<'static, Option<EventMessage>> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(BACK);
    let filters = HashMap::from([("container", vec![container]), ("event", vec!["oom", "destroy"])]);
    let options = EventsOptionsBuilder::new().since(&since.as_secs().to_string()).filters(&filters).build();
    engine.api.events(Some(options)).map(Result::ok).boxed()
}

/// Follows a container to its end. Without its first process only the engine knows of it.
pub(super) fn watch_life(
    mut events: BoxStream<'static, Option<EventMessage>>,
    first: Option<First>,
) -> watch::Receiver<Life> {
    let (teller, life) = watch::channel(Life::Runs);
    tokio::spawn(async move {
        let mut out_of_memory = false;
        let ended = async {
            match &first {
                Some(first) => first.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(ended);
        loop {
            let runs = *teller.borrow() == Life::Runs;
            tokio::select! {
                event = events.next() => match event.flatten().and_then(|event| event.action).as_deref() {
                    Some("oom") => out_of_memory = true,
                    Some("destroy") => break,
                    Some(_) => {}
                    None => {
                        // The engine has ended. What it has started ends with its connection.
                        if runs && first.is_some() {
                            ended.await;
                        }
                        break;
                    }
                },
                () = &mut ended, if runs => drop(teller.send_replace(Life::Ended)),
            }
        }
        teller.send_replace(Life::Gone { out_of_memory });
    });
    life
}
