//! The js plugin's host: QuickJS, compiled into the runner, in a process of its own (`runner js-host CODE_PATH`).
//!
//! It speaks docs/host-protocol.md like the host of any other language. One thread does everything, an event at a
//! time (`host.rs`); a second one sleeps until the first does not come back (`watchdog.rs`). There is no async
//! runtime: all that a service can wait for is a timer, a message, an answer of `js-io`, which does for it what it cannot
//! do itself (`io.rs`), or a request from `js-http`, which accepts for it (`http.rs`). So the process needs few system calls,
//! and has the others taken away before any of the service's code runs.

mod current;
mod engine;
mod exports;
mod globals;
mod host;
mod host_channel;
mod http;
mod io;
mod modules;
mod outgoing;
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

use self::current::Current;
use self::engine::Engine;
use self::globals::Shared;
use self::host::{Exit, Host, Kind, Outside};
use self::host_channel::{HostChannel, ToRunner};
use self::http::{Http, Listening};
use self::io::Io;
use self::modules::Modules;
use self::output::Output;
use self::service_api::ServiceApi;
use self::talk::Talk;
use self::timers::Timers;
use self::watchdog::Watchdog;

/// How long one turn of the event loop may last.
const TURN_LIMIT: Duration = Duration::from_secs(10);

/// The number of the host protocol's descriptor, where the environment names no other.
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
    /// Where to be asked over HTTP.
    listening: Option<Listening>,
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
    let number = env::var("ORCHESTRATOR_HOST_FD").ok().and_then(|number| number.parse().ok());
    let number = number.unwrap_or(HOST_DESCRIPTOR);
    let places = env::var("ORCHESTRATOR_LISTEN").unwrap_or_default();
    let listening = |socket| Listening { socket, places: places.clone() };
    let is_asked = !places.is_empty();
    Ok(Start {
        socket: descriptors::inherited(number)?,
        // Where there is none, there is nothing to ask for: a host may be run by hand.
        asking: descriptors::inherited(number + 1).ok(),
        listening: is_asked.then(|| descriptors::inherited(number + 2).map(listening)).transpose()?,
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
        let web = globals::web();
        let io = Io::new(
            self.asking,
            &service,
            self.secrets,
            Arc::clone(&watchdog),
            current.clone(),
            web.clone(),
        )?;
        let (sender, output) = (channel.sender(), Output::new(Arc::clone(&watchdog)));
        let http = Http::new(self.listening, output.clone(), &watchdog, web.clone())?;
        let talk = Talk::new(Arc::clone(&sender), output.clone(), Arc::clone(&watchdog), current.clone());
        let (io_api, talk_api) = (io.clone(), talk.clone());
        let api = ServiceApi { service, replica, sender, output: output.clone(), io: io_api, talk: talk_api };
        let (modules, entry) = Modules::read(&self.folder, &self.code, api)?;
        let kind = self.kind;
        Ok(Loaded { channel, watchdog, output, web, io, talk, http, current, modules, entry, kind })
    }
}

/// A start that opens no more files.
struct Loaded {
    channel: HostChannel,
    watchdog: Arc<Watchdog>,
    output: Output,
    web: Shared,
    io: Io,
    talk: Talk,
    http: Http,
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
            globals::install(&ctx, &self.output, &self.web)
        })?;
        let Self { channel, io, talk, http, current, kind, .. } = self;
        let outside = Outside { timers, io, talk, http };
        Ok(Host::new(engine, channel, outside, current, kind).run(&self.modules, &self.entry))
    }
}
