//! The js plugin's host: QuickJS, compiled into the runner, in a process of its own (`runner js-host CODE_PATH`).
//!
//! It speaks docs/host-protocol.md like the host of any other language. One thread does everything, an event at a
//! time (`host.rs`); a second one sleeps until the first does not come back (`watchdog.rs`). There is no async
//! runtime: all that a service can wait for is a timer or a message. So the process needs few system calls, and has the
//! others taken away before any of the service's code runs.

mod engine;
mod exports;
mod globals;
mod host;
mod host_channel;
mod modules;
mod output;
mod service_api;
#[cfg(test)]
mod tests;
mod text;
mod thrown;
mod timers;
mod watchdog;

use std::env;
use std::error::Error;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use orchestrator_sandbox::{descriptors, seccomp};

use self::engine::Engine;
use self::host::{Exit, Host, Kind};
use self::host_channel::{HostChannel, ToRunner};
use self::modules::Modules;
use self::output::Output;
use self::service_api::ServiceApi;
use self::timers::Timers;
use self::watchdog::Watchdog;

/// How long one turn of the event loop may last.
const TURN_LIMIT: Duration = Duration::from_secs(10);

/// The number of the host protocol's descriptor.
const HOST_DESCRIPTOR: i32 = 3;

/// Runs the service whose entry file is the second argument of this process, in the folder that it is started in.
pub(crate) fn host() -> ExitCode {
    match start() {
        Ok(exit) => ExitCode::from(exit.0),
        Err(error) => {
            // Nobody else can be told: the process was not started by a runner.
            let _ = writeln!(io::stderr(), "js-host: {error}");
            ExitCode::from(2)
        }
    }
}

fn start() -> Result<Exit, Box<dyn Error>> {
    let loaded = prepare()?.load()?;
    // From here on there is nothing to open, to start or to connect to.
    seccomp::computing_only()?.hold_this_process()?;
    loaded.run()
}

/// What one start is made from.
struct Start {
    socket: OwnedFd,
    /// The folder of the code.
    folder: PathBuf,
    /// The entry file.
    code: PathBuf,
    service: String,
    replica: u32,
    kind: Kind,
    turn_limit: Duration,
}

/// Reads what the runner has prepared.
fn prepare() -> io::Result<Start> {
    let missing = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{what} is missing"));
    Ok(Start {
        socket: descriptors::inherited(HOST_DESCRIPTOR)?,
        folder: env::current_dir()?,
        code: env::args_os().nth(2).map(PathBuf::from).ok_or_else(|| missing("the path of the code"))?,
        service: env::var("ORCHESTRATOR_SERVICE").unwrap_or_default(),
        replica: env::var("ORCHESTRATOR_REPLICA").ok().and_then(|text| text.parse().ok()).unwrap_or(1),
        kind: if env::var("ORCHESTRATOR_KIND").is_ok_and(|kind| kind == "job") {
            Kind::Job
        } else {
            Kind::Service
        },
        turn_limit: TURN_LIMIT,
    })
}

impl Start {
    /// Reads everything that will be needed.
    ///
    /// # Errors
    /// Where there is no such code, or no thread to watch over it.
    fn load(self) -> Result<Loaded, Box<dyn Error>> {
        let channel = HostChannel::new(self.socket)?;
        let (stuck, overdue) = (channel.sender(), thrown::overdue(self.turn_limit));
        let watchdog = Watchdog::start(self.turn_limit, move || {
            stuck.try_send(&ToRunner::Exception { error: &overdue });
            process::exit(1);
        })?;
        let output = Output::new(Arc::clone(&watchdog));
        let (service, replica) = (self.service, self.replica);
        let api = ServiceApi { service, replica, sender: channel.sender(), output: output.clone() };
        let (modules, entry) = Modules::read(&self.folder, &self.code, api)?;
        Ok(Loaded { channel, watchdog, output, modules, entry, kind: self.kind })
    }
}

/// A start that opens no more files.
struct Loaded {
    channel: HostChannel,
    watchdog: Arc<Watchdog>,
    output: Output,
    modules: Modules,
    entry: String,
    kind: Kind,
}

impl Loaded {
    /// Runs the service until it is over.
    ///
    /// # Errors
    /// Where there can be no engine to run it in.
    fn run(self) -> Result<Exit, Box<dyn Error>> {
        let timers = Timers::default();
        let engine = Engine::new(self.modules.clone(), self.watchdog)?;
        engine.with(|ctx| timers.install(&ctx).and_then(|()| globals::install(&ctx, &self.output)))?;
        Ok(Host::new(engine, self.channel, timers, self.kind).run(&self.modules, &self.entry))
    }
}
