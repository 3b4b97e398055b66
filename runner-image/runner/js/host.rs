//! [`Host`]: one start of a js service, from loading the code to the exit code.
//!
//! ```text
//!   loading  -- the top level has returned -->  starting  -- start() has returned, `started` -->  running
//!   running  -- `close`, or a job with nothing left to do -->  closing  -- close() has returned -->  exit code 0
//! ```
//!
//! What throws while loading or starting is a `failed`, whatever else is uncaught is an `exception`; both end the
//! process with exit code 1. A `close` that comes before `running` ends it at once: nothing has started that could be
//! closed. The end of the channel ends it at once, too.

use std::sync::Arc;
use std::time::Instant;

use orchestrator_port::message::control::Thrown;
use rquickjs::promise::PromiseState;
use rquickjs::{Ctx, Exception, Object, Persistent, Promise};

use super::current::Current;
use super::engine::{Engine, Uncaught};
use super::exports::{Exports, Hook};
use super::host_channel::{FromRunner, HostChannel, HostSender, ToRunner};
use super::http::Http;
use super::io::Io;
use super::talk::Talk;
use super::timers::Timers;
use crate::js_http::messages::ToService;

/// The process ends with this exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exit(pub(super) u8);

const DONE: Exit = Exit(0);
const FAILED: Exit = Exit(1);

/// Whether the service stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Until it is closed.
    Service,
    /// Until it has nothing left to do.
    Job,
}

/// A promise of the service that the host waits for, and what it is about.
struct Awaited {
    promise: Persistent<Promise<'static>>,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Load,
    Start,
    Health(u64),
    Drain,
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    Closing,
}

/// What a service can wait for besides its channel.
pub(super) struct Outside {
    pub(super) timers: Timers,
    pub(super) io: Io,
    pub(super) talk: Talk,
    pub(super) http: Http,
}

/// One service in its engine.
pub(super) struct Host {
    engine: Engine,
    channel: HostChannel,
    sender: Arc<HostSender>,
    outside: Outside,
    current: Current,
    kind: Kind,
    phase: Phase,
    /// Set when the code is loaded.
    namespace: Option<Persistent<Object<'static>>>,
    /// Read from the namespace once the top level has returned.
    exports: Exports,
    /// What is not settled yet. The runner asks one `health` at a time, so there are few.
    awaited: Vec<Awaited>,
}

impl Host {
    /// A service that is about to be loaded.
    pub(super) fn new(
        engine: Engine,
        channel: HostChannel,
        outside: Outside,
        current: Current,
        kind: Kind,
    ) -> Self {
        Self {
            engine,
            sender: channel.sender(),
            channel,
            outside,
            current,
            kind,
            phase: Phase::Starting,
            namespace: None,
            exports: Exports::default(),
            awaited: Vec::new(),
        }
    }

    /// Runs the module of this name until it is over.
    pub(super) fn run(mut self, modules: &super::modules::Modules, entry: &str) -> Exit {
        let Err(exit) = self.load(modules, entry).and_then(|()| self.serve());
        self.sender.end_turn();
        // The process ends now: taking the heap apart, an object at a time, would only delay that.
        std::mem::forget(self);
        exit
    }

    fn load(&mut self, modules: &super::modules::Modules, entry: &str) -> Result<(), Exit> {
        let loaded = self.engine.turn(|ctx| {
            let (module, promise) = modules.declare(ctx, entry)?.eval()?;
            handled(&promise)?;
            Ok((Persistent::save(ctx, module.namespace()?), Persistent::save(ctx, promise)))
        });
        let (namespace, promise) = loaded.map_err(|uncaught| self.fail(uncaught))?;
        self.namespace = Some(namespace);
        self.awaited.push(Awaited { promise, step: Step::Load });
        Ok(())
    }

    /// The event loop: what is settled, then what is left to do, then what has come, then what is due.
    fn serve(&mut self) -> Result<std::convert::Infallible, Exit> {
        loop {
            while let Some((step, outcome)) = self.take_settled() {
                self.settled(step, outcome)?;
            }
            if self.is_complete()? {
                self.close()?;
                continue;
            }
            let (told, [answered, asked]) = self.wait();
            if told {
                for message in self.channel.receive().map_err(|_| FAILED)? {
                    self.told(message)?;
                }
            }
            if answered {
                for answer in self.outside.io.receive() {
                    self.turn(|ctx| self.outside.io.settle(ctx, answer))?;
                }
            }
            if asked {
                self.hear_requests()?;
            }
            self.call_timers()?;
        }
    }

    /// Sleeps until there is something to do; answers as [`HostChannel::wait`] does, for `js-io` and `js-http`.
    fn wait(&self) -> (bool, [bool; 2]) {
        let Outside { timers, io, http, .. } = &self.outside;
        http.end_turn();
        io.with_socket(|socket| self.channel.wait([socket, http.socket()], timers.next()))
    }

    fn hear_requests(&mut self) -> Result<(), Exit> {
        for message in self.outside.http.receive() {
            match message.what {
                ToService::Drained => self.drain_calls()?,
                _ => self.turn(|ctx| self.outside.http.hear(ctx, message))?,
            }
        }
        Ok(())
    }

    /// The timers that are due now; those that they make come after the next look at the channel.
    fn call_timers(&mut self) -> Result<(), Exit> {
        let now = Instant::now();
        while let Some(due) = self.outside.timers.take_due(now) {
            self.turn(|ctx| due.call(ctx))?;
        }
        Ok(())
    }

    /// Whether this is a job with nothing left to wait for, which will do nothing more.
    fn is_complete(&self) -> Result<bool, Exit> {
        let Outside { timers, io, talk, .. } = &self.outside;
        if self.kind == Kind::Service || !timers.is_empty() || !io.is_idle() || !talk.is_idle() {
            return Ok(false);
        }
        match self.phase {
            Phase::Running => Ok(self.awaited.is_empty()),
            Phase::Closing => Ok(false),
            Phase::Starting => {
                let message = "start() waits for something that can never happen".to_owned();
                let error = Thrown { name: "Error".into(), message, stack: String::new() };
                self.sender.send(&ToRunner::Failed { error: &error });
                Err(FAILED)
            }
        }
    }

    fn told(&mut self, message: FromRunner) -> Result<(), Exit> {
        match (message, self.phase) {
            (FromRunner::Close, Phase::Starting) => Err(DONE),
            (FromRunner::Close, Phase::Running) => self.close(),
            (FromRunner::Close, Phase::Closing) => Ok(()),
            (FromRunner::Said(said), _) => self.turn(|ctx| self.outside.talk.hear(ctx, said)),
            (FromRunner::Health { id }, _) => self.call(Hook::Health, Step::Health(id)),
        }
    }

    /// First those who ask over HTTP are answered, then other services, which they may need; then comes the hook.
    fn close(&mut self) -> Result<(), Exit> {
        self.phase = Phase::Closing;
        if !self.outside.http.is_asked() {
            return self.drain_calls();
        }
        self.turn(|ctx| self.outside.http.close(ctx))
    }

    fn drain_calls(&mut self) -> Result<(), Exit> {
        let drained = self.turn(|ctx| {
            let Some(promise) = self.outside.talk.drain(ctx)? else { return Ok(None) };
            handled(&promise)?;
            Ok(Some(Persistent::save(ctx, promise)))
        })?;
        match drained {
            Some(promise) => {
                self.awaited.push(Awaited { promise, step: Step::Drain });
                Ok(())
            }
            None => self.call(Hook::Close, Step::Close),
        }
    }

    /// Calls a hook; where there is none, the step is done.
    fn call(&mut self, hook: Hook, step: Step) -> Result<(), Exit> {
        let exports = self.exports.clone();
        let promise = self.turn(|ctx| {
            let Some(promise) = exports.call(ctx, hook)? else { return Ok(None) };
            handled(&promise)?;
            Ok(Some(Persistent::save(ctx, promise)))
        })?;
        match promise {
            Some(promise) => {
                self.awaited.push(Awaited { promise, step });
                Ok(())
            }
            None => self.settled(step, Ok(true)),
        }
    }

    /// Takes a promise that is settled: whether it is anything but `false`, or what it was rejected with.
    fn take_settled(&mut self) -> Option<(Step, Result<bool, Uncaught>)> {
        let engine = &self.engine;
        let mut outcome = None;
        let position = self.awaited.iter().position(|awaited| {
            outcome = engine.with(|ctx| {
                let promise = awaited.promise.clone().restore(&ctx).ok()?;
                if promise.state() == PromiseState::Pending {
                    return None;
                }
                let value = promise.result::<rquickjs::Value<'_>>()?;
                Some(
                    value
                        .map(|value| value.as_bool() != Some(false))
                        .map_err(|_| Uncaught::Thrown(Persistent::save(&ctx, ctx.catch()))),
                )
            });
            outcome.is_some()
        })?;
        Some((self.awaited.swap_remove(position).step, outcome?))
    }

    fn settled(&mut self, step: Step, outcome: Result<bool, Uncaught>) -> Result<(), Exit> {
        match (step, outcome) {
            (Step::Load, Ok(_)) => self.start(),
            (Step::Start, Ok(_)) => {
                self.phase = Phase::Running;
                let (methods, health) = (&*self.exports.methods, self.exports.has(Hook::Health));
                self.sender.send(&ToRunner::Started { methods, health });
                self.outside.http.accept();
                Ok(())
            }
            (Step::Load | Step::Start, Err(uncaught)) => Err(self.fail(uncaught)),
            (Step::Health(id), outcome) => {
                self.answer(id, outcome);
                Ok(())
            }
            (Step::Drain, _) => self.call(Hook::Close, Step::Close),
            (Step::Close, Ok(_)) => Err(DONE),
            (Step::Close, Err(uncaught)) => Err(self.except(uncaught)),
        }
    }

    fn start(&mut self) -> Result<(), Exit> {
        let namespace = self.namespace.take();
        let read = self.engine.turn(|ctx| match namespace {
            Some(namespace) => {
                let Outside { http, talk, .. } = &self.outside;
                let namespace = namespace.restore(ctx)?;
                let (exports, methods) = Exports::of(ctx, &namespace, http.places().is_some())?;
                talk.serve(ctx, methods)?;
                match (&exports.fetch, http.places()) {
                    (Some(fetch), Some(_)) => http.serve(ctx, fetch.clone().restore(ctx)?)?,
                    (None, Some(places)) => return Err(answers_nothing(ctx, places)),
                    (_, None) => {}
                }
                Ok(exports)
            }
            None => Ok(Exports::default()),
        });
        self.exports = read.map_err(|uncaught| self.fail(uncaught))?;
        self.call(Hook::Start, Step::Start)
    }

    fn answer(&self, id: u64, outcome: Result<bool, Uncaught>) {
        let failure = match outcome {
            Ok(true) => None,
            Ok(false) => Some("health() returned false".to_owned()),
            Err(uncaught) => {
                let Thrown { name, message, .. } = self.engine.describe_uncaught(uncaught);
                Some(format!("health() threw {name}: {message}"))
            }
        };
        self.sender.send(&ToRunner::Health { id, failure: failure.as_deref() });
    }

    fn turn<T>(&self, run: impl FnOnce(&Ctx<'_>) -> rquickjs::Result<T>) -> Result<T, Exit> {
        self.current.set(None);
        self.engine.turn(run).map_err(|uncaught| self.except(uncaught))
    }

    /// Loading or starting went wrong. A turn without end is an exception even then: it was stopped, it did not throw.
    fn fail(&self, uncaught: Uncaught) -> Exit {
        if matches!(uncaught, Uncaught::Overdue(_)) {
            return self.except(uncaught);
        }
        self.sender.send(&ToRunner::Failed { error: &self.engine.describe_uncaught(uncaught) });
        FAILED
    }

    fn except(&self, uncaught: Uncaught) -> Exit {
        self.sender.send(&ToRunner::Exception { error: &self.engine.describe_uncaught(uncaught) });
        FAILED
    }
}

/// What the service listens on is there already, and clients would wait for ever.
fn answers_nothing(ctx: &Ctx<'_>, places: &str) -> rquickjs::Error {
    let message =
        format!("nothing answers on {places}: export fetch(request), or take 'listen' out of the manifest");
    Exception::throw_message(ctx, &message)
}

/// The host looks at this promise itself, so its rejection is not an unhandled one.
fn handled(promise: &Promise<'_>) -> rquickjs::Result<()> {
    let ignore = rquickjs::Function::new(promise.ctx().clone(), || ())?;
    promise.catch()?.call((rquickjs::function::This(promise.clone()), ignore))
}
