//! [`Engine`]: QuickJS with its limits, one turn at a time.
//!
//! Everything that runs code of the service goes through [`Engine::turn`]: what it calls, then the promise jobs that
//! follow from it, watched by the watchdog, and afterwards the rejections that nobody has handled. What a turn leaves
//! uncaught comes back as a value; what to do about it is the host's to decide.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use orchestrator_port::message::control::Thrown;
use rquickjs::{CatchResultExt as _, CaughtError, Context, Ctx, Persistent, Runtime, Value};

use super::modules::Modules;
use super::thrown;
use super::watchdog::Watchdog;

/// The heap of one service: what its objects, its code and the engine's own structures take together.
pub(super) const HEAP_LIMIT: usize = 64 << 20;

/// What is added to the heap's limit for describing the exception that reached it.
const HEAP_RESERVE: usize = 1 << 20;

/// The stack of the code, within the 8 MiB that a main thread has.
const STACK_LIMIT: usize = 1 << 20;

/// A rejected promise that nobody has handled, and what it was rejected with.
type Rejection = (Persistent<Value<'static>>, Persistent<Value<'static>>);

/// One JavaScript world.
pub(super) struct Engine {
    runtime: Runtime,
    context: Context,
    watchdog: Arc<Watchdog>,
    /// Of the turn that is running: filled by the engine, emptied when the turn ends.
    rejections: Rc<RefCell<Vec<Rejection>>>,
}

/// How a turn went wrong.
pub(super) enum Uncaught {
    /// An exception or a rejection that nobody has handled.
    Thrown(Persistent<Value<'static>>),
    /// The turn lasted longer than it may.
    Overdue(Option<Persistent<Value<'static>>>),
}

impl Engine {
    /// A world that can import what `modules` holds.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub(super) fn new(modules: Modules, watchdog: Arc<Watchdog>) -> rquickjs::Result<Self> {
        let runtime = Runtime::new()?;
        runtime.set_memory_limit(HEAP_LIMIT);
        runtime.set_max_stack_size(STACK_LIMIT);
        runtime.set_loader(modules.clone(), modules);
        let watching = Arc::clone(&watchdog);
        runtime.set_interrupt_handler(Some(Box::new(move || watching.is_overdue())));
        let rejections = Rc::new(RefCell::new(Vec::new()));
        track_rejections(&runtime, Rc::clone(&rejections));
        let context = Context::full(&runtime)?;
        Ok(Self { runtime, context, watchdog, rejections })
    }

    /// Does something that is not the service's code, such as looking at a value.
    pub(super) fn with<T>(&self, look: impl FnOnce(Ctx<'_>) -> T) -> T {
        self.context.with(look)
    }

    /// Runs code of the service, and all the promise jobs that follow.
    ///
    /// # Errors
    /// With what was not caught: by the code itself, by a job, or as a rejection that was not handled.
    pub(super) fn turn<T>(&self, run: impl FnOnce(&Ctx<'_>) -> rquickjs::Result<T>) -> Result<T, Uncaught> {
        self.watchdog.begin();
        let outcome = self.run_watched(run);
        let overdue = self.watchdog.is_overdue();
        self.watchdog.finish();
        match outcome {
            Err(uncaught) if overdue => Err(Uncaught::Overdue(Some(uncaught))),
            Ok(_) if overdue => Err(Uncaught::Overdue(None)),
            outcome => outcome.map_err(Uncaught::Thrown),
        }
    }

    fn run_watched<T>(
        &self,
        run: impl FnOnce(&Ctx<'_>) -> rquickjs::Result<T>,
    ) -> Result<T, Persistent<Value<'static>>> {
        let value = self.context.with(|ctx| run(&ctx).catch(&ctx).map_err(|caught| save(&ctx, caught)))?;
        self.run_jobs()?;
        match self.rejections.borrow_mut().drain(..).next() {
            Some((_, reason)) => Err(reason),
            None => Ok(value),
        }
    }

    /// Runs promise jobs until there are none, or the turn is overdue: jobs can make jobs for ever.
    fn run_jobs(&self) -> Result<(), Persistent<Value<'static>>> {
        while !self.watchdog.is_overdue() {
            match self.runtime.execute_pending_job() {
                Ok(true) => {}
                Ok(false) => break,
                Err(failed) => {
                    return Err(failed.0.with(|ctx| Persistent::save(&ctx, ctx.catch())));
                }
            }
        }
        Ok(())
    }

    /// An exception, in words. Looking at it may run code of the service, such as a getter; so that is watched, too.
    pub(super) fn describe(&self, value: Persistent<Value<'static>>) -> Thrown {
        self.runtime.set_memory_limit(HEAP_LIMIT + HEAP_RESERVE);
        self.watchdog.begin();
        let thrown = self.context.with(|ctx| match value.restore(&ctx) {
            Ok(value) => thrown::describe(&ctx, &value),
            Err(_) => Thrown::default(),
        });
        self.watchdog.finish();
        self.runtime.set_memory_limit(HEAP_LIMIT);
        thrown
    }

    /// Why a turn was stopped, in words.
    pub(super) fn describe_uncaught(&self, uncaught: Uncaught) -> Thrown {
        match uncaught {
            Uncaught::Thrown(value) => self.describe(value),
            Uncaught::Overdue(stopped) => Thrown {
                stack: stopped.map_or_else(String::new, |value| self.describe(value).stack),
                ..thrown::overdue(self.watchdog.limit())
            },
        }
    }
}

/// Keeps the rejections that are not handled; a handler that comes in the same turn takes its rejection out again.
fn track_rejections(runtime: &Runtime, rejections: Rc<RefCell<Vec<Rejection>>>) {
    runtime.set_host_promise_rejection_tracker(Some(Box::new(move |ctx, promise, reason, handled| {
        let mut rejections = rejections.borrow_mut();
        if handled {
            let same = |kept: &Rejection| kept.0.clone().restore(&ctx).is_ok_and(|kept| kept == promise);
            rejections.retain(|kept| !same(kept));
        } else {
            rejections.push((Persistent::save(&ctx, promise), Persistent::save(&ctx, reason)));
        }
    })));
}

/// An error of the bindings is thrown as an exception of the code that ran into it.
fn save<'js>(ctx: &Ctx<'js>, caught: CaughtError<'js>) -> Persistent<Value<'static>> {
    let value = match caught {
        CaughtError::Exception(exception) => exception.into_object().into_value(),
        CaughtError::Value(value) => value,
        CaughtError::Error(error) => {
            rquickjs::Exception::throw_message(ctx, &error.to_string());
            ctx.catch()
        }
    };
    Persistent::save(ctx, value)
}
