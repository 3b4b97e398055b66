//! The js plugin's host: QuickJS, compiled into the runner, in a process of its own (`runner js-host CODE_PATH`).
//!
//! It speaks docs/host-protocol.md like the host of any other language. One thread does everything, an event at a
//! time (`host.rs`); a second one sleeps until the first does not come back (`watchdog.rs`). There is no async
//! runtime: all that a service can wait for is a timer, a message, or an answer of `js-io`, which does for it what it cannot
//! do itself (`io.rs`). So the process needs few system calls, and has the others taken away before any of the service's
//! code runs.

mod current;
mod engine;
mod exports;
mod globals;
mod host;
mod host_channel;
mod io;
mod modules;
mod output;
mod service_api;
mod talk;
#[cfg(test)]
mod tests;
mod text;
mod thrown;
mod timers;
mod watchdog;

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use orchestrator_sandbox::{descriptors, seccomp};

use crate::js_io::messages;

use self::current::Current;
use self::engine::Engine;
use self::host::{Exit, Host, Kind};
use self::host_channel::{HostChannel, ToRunner};
use self::io::Io;
use self::modules::Modules;
use self::output::Output;
use self::service_api::ServiceApi;
use self::talk::Talk;
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
            let _ = writeln!(std::io::stderr(), "js-host: {error}");
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
    /// Where to ask for what this process cannot do.
    asking: Option<OwnedFd>,
    /// What it is given, by name.
    secrets: BTreeMap<String, Vec<u8>>,
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
fn prepare() -> std::io::Result<Start> {
    let missing =
        |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidInput, format!("{what} is missing"));
    Ok(Start {
        socket: descriptors::inherited(HOST_DESCRIPTOR)?,
        // Where there is none, there is nothing to ask for: a host may be run by hand.
        asking: descriptors::inherited(messages::DESCRIPTOR).ok(),
        secrets: secrets()?,
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

/// Those that the runner has put into a folder for this service.
fn secrets() -> std::io::Result<BTreeMap<String, Vec<u8>>> {
    let Some(folder) = env::var_os("CREDENTIALS_DIRECTORY") else { return Ok(BTreeMap::new()) };
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry?;
        Ok((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?))
    };
    fs::read_dir(folder)?.map(read).collect()
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
        let (service, replica) = (self.service, self.replica);
        let current = Current::default();
        let io = Io::new(self.asking, &service, self.secrets, Arc::clone(&watchdog), current.clone())?;
        let (sender, output) = (channel.sender(), Output::new(Arc::clone(&watchdog)));
        let talk = Talk::new(Arc::clone(&sender), output.clone(), Arc::clone(&watchdog), current.clone());
        let (io_api, talk_api) = (io.clone(), talk.clone());
        let api = ServiceApi { service, replica, sender, output: output.clone(), io: io_api, talk: talk_api };
        let (modules, entry) = Modules::read(&self.folder, &self.code, api)?;
        Ok(Loaded { channel, watchdog, output, io, talk, current, modules, entry, kind: self.kind })
    }
}

/// A start that opens no more files.
struct Loaded {
    channel: HostChannel,
    watchdog: Arc<Watchdog>,
    output: Output,
    io: Io,
    talk: Talk,
    current: Current,
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
        let timers = Timers::new(self.current.clone());
        let engine = Engine::new(self.modules.clone(), self.watchdog)?;
        engine.with(|ctx| {
            timers.install(&ctx)?;
            self.io.install(&ctx)?;
            globals::install(&ctx, &self.output)
        })?;
        Ok(Host::new(engine, self.channel, timers, self.io, self.talk, self.current, self.kind)
            .run(&self.modules, &self.entry))
    }
}
