//! [`Watchdog`]: no turn of a js service lasts longer than its limit.
//!
//! A turn is what the event loop does at one go: evaluating the code, a timer's callback, a message, and the promise
//! jobs that follow. There are two lines of defence. The engine asks [`Watchdog::is_overdue`] every few thousand
//! operations, and stops the code with an error that it cannot catch. Some built-in functions never ask
//! (`new Array(2 ** 31 - 1).join("x")`), so a thread ends the process when a turn is still running [`GRACE`] later.
//! While the service is idle the thread sleeps and is never woken.

use std::sync::{Arc, Barrier, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long after its limit a turn is ended by force.
const GRACE: Duration = Duration::from_secs(1);

/// Watches the turns of one event loop.
#[derive(Debug)]
pub(super) struct Watchdog {
    limit: Duration,
    state: Mutex<State>,
    turn_began: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// When the turn that is running has to be over.
    due: Option<Instant>,
    /// Whether the thread waits for a turn to begin, so that only then it needs to be told.
    idle: bool,
}

impl Watchdog {
    /// Watches from now on, and calls `end` on its own thread when a turn cannot be stopped in any other way.
    ///
    /// # Errors
    /// Where there can be no thread.
    pub(super) fn start(limit: Duration, end: impl FnOnce() + Send + 'static) -> std::io::Result<Arc<Self>> {
        let state = Mutex::new(State::default());
        let watchdog = Arc::new(Self { limit, state, turn_began: Condvar::new() });
        let watching = Arc::clone(&watchdog);
        // When this returns, the thread has made all the system calls of its beginning.
        let begun = Arc::new(Barrier::new(2));
        let beginning = Arc::clone(&begun);
        // It calls nothing but `end`: a small stack does.
        thread::Builder::new().name("watchdog".into()).stack_size(64 << 10).spawn(move || {
            beginning.wait();
            watching.watch();
            end();
        })?;
        begun.wait();
        Ok(watchdog)
    }

    /// How long a turn may last.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// A turn begins.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        state.due = Some(Instant::now() + self.limit);
        if std::mem::take(&mut state.idle) {
            self.turn_began.notify_one();
        }
    }

    /// The turn is over.
    pub(super) fn finish(&self) {
        self.state().due = None;
    }

    /// Whether the running turn has lasted too long.
    pub(super) fn is_overdue(&self) -> bool {
        self.state().due.is_some_and(|due| due <= Instant::now())
    }

    /// Does something that waits for another process, which is not the service's fault: it does not count.
    pub(super) fn uncounted<T>(&self, wait: impl FnOnce() -> T) -> T {
        let due = self.state().due.take();
        let since = Instant::now();
        let outcome = wait();
        if let Some(due) = due {
            let mut state = self.state();
            state.due = Some(due + since.elapsed());
            if std::mem::take(&mut state.idle) {
                self.turn_began.notify_one();
            }
        }
        outcome
    }

    /// Returns when a turn has outlasted its limit and the grace.
    fn watch(&self) {
        let mut state = self.state();
        loop {
            let Some(due) = state.due else {
                state.idle = true;
                state = self.turn_began.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = (due + GRACE).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            // Nobody is told of a turn's end: the thread finds the next turn's, or none, when it looks again.
            state = self.turn_began.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
