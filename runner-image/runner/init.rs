//! [`Init`]: what an init does for its system, the runner does for its service: it reaps everybody who ends below it,
//! tells who waits for one of them, and in the end leaves nobody.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orchestrator_sandbox::Pid;
use orchestrator_sandbox::tree::{self, Ended, Reaped};
use rustix::process::getpid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

/// Reaps for the whole process. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Init {
    /// Who is told of whose end.
    waiting: Arc<Mutex<HashMap<Pid, oneshot::Sender<Ended>>>>,
    /// Changes with each SIGCHLD, after everybody who had ended has been reaped.
    rounds: watch::Receiver<()>,
}

impl Init {
    /// Makes this process a subreaper and begins to reap. One a process, and nobody else may wait for children.
    pub(crate) fn start() -> io::Result<Self> {
        tree::become_subreaper()?;
        let mut children = signal(SignalKind::child())?;
        let (round, rounds) = watch::channel(());
        let init = Self { waiting: Arc::default(), rounds };
        let reaper = init.clone();
        tokio::spawn(async move {
            while children.recv().await.is_some() {
                reaper.reap();
                round.send_replace(());
            }
        });
        Ok(init)
    }

    /// Answers when this child has ended. To be called before anything else runs after the child was started, so that
    /// it cannot have been reaped yet.
    pub(crate) fn watch(&self, child: Pid) -> oneshot::Receiver<Ended> {
        let (ended, answer) = oneshot::channel();
        self.waiting().insert(child, ended);
        answer
    }

    /// Whether this child, which is being watched, has not been reaped: then its id is still its own.
    pub(crate) fn has(&self, child: Pid) -> bool {
        self.waiting().contains_key(&child)
    }

    /// Kills everything below this process, until nothing is.
    pub(crate) async fn end_descendants(&self) {
        let mut rounds = self.rounds.clone();
        loop {
            rounds.mark_unchanged();
            tree::kill_descendants(getpid());
            if self.reap() == Reaped::NoneLeft || rounds.changed().await.is_err() {
                return;
            }
        }
    }

    /// Reaps all who have ended; answers with what is left.
    fn reap(&self) -> Reaped {
        // That there are no children is an answer, not an error; and no other error is possible.
        while let Ok(reaped) = tree::reap() {
            let Reaped::Ended(ended) = reaped else { return reaped };
            if let Some(waiting) = self.waiting().remove(&ended.pid) {
                // Whoever asked may no longer want to know.
                let _ = waiting.send(ended);
            }
        }
        Reaped::NoneLeft
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Pid, oneshot::Sender<Ended>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
