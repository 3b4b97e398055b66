//! `orchestrator up`: starts the services of a manifest, in order, and shows what they write until they have ended.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use orchestrator_core::ServiceName;
use orchestrator_core::manifest::Kind;
use orchestrator_core::permissions::Sandbox;
use orchestrator_core::report::{EventKind, FinishCause, Snapshot, State, Why};
use orchestrator_core::supervisor::Request;
use orchestrator_manager::{
    EventItem, Launch, LaunchError, LogItem, LogQuery, ManagerHandle, Project, ProjectError, ServicesManager,
};
use orchestrator_views::{LogLines, control_api, event_line, is_news};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::detach;
use crate::Context;
use crate::client::Client;
use crate::exit_code::Code;
use crate::failure::{Failure, Outcome, chain};
use crate::output::{complain, note, print_line};
use crate::target::load_manifest;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The manifest
    manifest: Option<PathBuf>,
    /// Only these services, and what they depend on
    pub(super) services: Vec<ServiceName>,
    /// Run in the background: return when everything runs, or something never will
    #[arg(short, long)]
    detach: bool,
    /// The same as --detach
    #[arg(long)]
    wait: bool,
    /// How long to wait with --detach
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    pub(super) timeout: Option<Duration>,
    /// Run services with 'sandbox: none', which may do whatever you may
    #[arg(long)]
    pub(super) allow_unconfined: bool,
    /// This is the process in the background
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let file = args.manifest.as_deref().or(context.target.file.as_deref());
    let (loaded, plugins) = load_manifest(file, &context.embedded, context.terminal.colour)?;
    refuse_unconfined(&loaded.manifest, args.allow_unconfined)?;
    let project = Project::of_user(loaded.manifest.name.clone());
    if (args.detach || args.wait) && !args.detached {
        refuse_second(&project).await?;
        return detach::run(&loaded, &project, &args, context).await;
    }
    let lock = match project.lock().await {
        Err(ProjectError::Running { .. }) => return Err(already_running(&project).await),
        lock => lock.map_err(|error| Failure::internal(&error))?,
    };
    // From here on an interrupt closes in order what has been started.
    let interrupts = Interrupts::new()?;
    let names: Vec<ServiceName> = loaded.manifest.services.keys().cloned().collect();
    let prefixes = prefixes(&loaded.manifest);
    let launch = Launch {
        manifest: loaded.manifest,
        plugins,
        embedded: context.embedded,
        project: project.clone(),
        lock,
    };
    let handle = ServicesManager::launch(launch).await.map_err(|error| launch_failed(&error))?;
    let api = control_api::serve(handle.clone(), &project.control_socket())?;
    let wanted = if args.services.is_empty() { names } else { args.services };
    let screen = Screen::new(context, prefixes);
    let outcome = watch(handle, wanted, interrupts, screen).await;
    api.end().await;
    outcome
}

/// Nobody is to find out afterwards that a service was not held.
fn refuse_unconfined(manifest: &orchestrator_core::manifest::Manifest, allowed: bool) -> Result<(), Failure> {
    let unconfined = manifest.services.values().filter(|service| service.sandbox == Sandbox::None);
    let names: Vec<_> = unconfined.map(|service| service.name.as_str()).collect();
    if allowed || names.is_empty() {
        return Ok(());
    }
    let text = format!("'sandbox: none' lets {} do whatever you may", names.join(", "));
    Err(Failure::new(Code::Unenforceable, text).hint("remove it, or say --allow-unconfined"))
}

async fn refuse_second(project: &Project) -> Result<(), Failure> {
    if project.answers() { Err(already_running(project).await) } else { Ok(()) }
}

async fn already_running(project: &Project) -> Failure {
    let snapshot = Client::new(&project.control_socket()).snapshot().await;
    let pid = snapshot.map(|snapshot| format!(" (pid {})", snapshot.pid)).unwrap_or_default();
    Failure::new(Code::AlreadyRunning, format!("project '{}' is already running{pid}", project.name()))
        .hint("see 'orchestrator ps', or end it with 'orchestrator down'")
}

/// That a service cannot run on this host is the manifest's matter; what cannot be enforced is the host's.
fn launch_failed(error: &LaunchError) -> Failure {
    match error {
        LaunchError::Services(_) => Failure::new(Code::Usage, chain(error)),
        LaunchError::Unenforceable(refused) => {
            // One line each, for programs too.
            refused.iter().for_each(|refused| note(&refused.to_string()));
            Failure::new(Code::Unenforceable, format!("{error}; nothing was started"))
                .hint("see what this host can enforce with 'orchestrator doctor'")
        }
        _ => Failure::new(Code::Internal, chain(error)),
    }
}

fn prefixes(manifest: &orchestrator_core::manifest::Manifest) -> Vec<String> {
    let prefix = |(name, service): (&ServiceName, &orchestrator_core::manifest::Service)| {
        format!("{name}-{}", service.replicas)
    };
    manifest.services.iter().map(prefix).collect()
}

/// Starts what is wanted and shows what happens, until the project has ended and all of it has been shown.
async fn watch(
    mut handle: ManagerHandle,
    wanted: Vec<ServiceName>,
    mut interrupts: Interrupts,
    mut screen: Screen,
) -> Outcome {
    let mut logs =
        handle.logs(LogQuery { after: handle.newest_log(), follow: true, ..LogQuery::default() })?;
    let mut events = handle.events(0);
    let mut snapshots = handle.snapshots();
    let asked = handle.submit(Request::Start(wanted)).await;
    if let Err(error) = asked {
        let _ = handle.request(Request::Shutdown).await;
        return Err(Failure::new(Code::Usage, error.to_string()));
    }
    let (mut logs_end, mut events_end) = (false, false);
    while !(logs_end && events_end) {
        tokio::select! {
            () = interrupts.next() => screen.interrupt(&mut interrupts, &handle).await,
            item = logs.next(), if !logs_end => match item {
                Some(Ok(item)) => screen.log(&item),
                // It would be the same at each further try, and the services run on without it.
                Some(Err(error)) => {
                    screen.note(&format!("the log cannot be read any more: {error}"));
                    logs_end = true;
                }
                None => logs_end = true,
            },
            item = events.next(), if !events_end => match item {
                Some(item) => screen.event(&item),
                None => events_end = true,
            },
            Ok(()) = snapshots.changed() => screen.status(&snapshots.borrow_and_update().clone()),
        }
    }
    let finish = handle.finished().await;
    screen.clear();
    Ok(match finish.cause {
        FinishCause::Killed => Code::Killed,
        _ if finish.exit_code == 0 => Code::Ok,
        _ => Code::Of(finish.exit_code),
    })
}

/// The signals that ask for the end.
struct Interrupts {
    signals: [Signal; 3],
    /// How many have come.
    count: u32,
}

impl Interrupts {
    fn new() -> Result<Self, Failure> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        Ok(Self { signals: [interrupt?, terminate?, hangup?], count: 0 })
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        self.count += 1;
    }
}

/// What the person sees: services' lines on standard output; what happens to them, and how far they have come, on
/// standard error.
struct Screen {
    terminal: crate::terminal::Terminal,
    lines: LogLines,
    began: Instant,
    /// Everything that was wanted has come up once.
    up: bool,
    /// A line that is painted over stands at the end.
    painted: bool,
}

impl Screen {
    fn new(context: &Context, prefixes: Vec<String>) -> Self {
        let lines = LogLines::new(context.terminal.palette(), prefixes);
        Self { terminal: context.terminal, lines, began: Instant::now(), up: false, painted: false }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.painted) {
            complain("\r\x1b[K");
        }
    }

    fn note(&mut self, line: &str) {
        self.clear();
        note(line);
    }

    fn log(&mut self, item: &LogItem) {
        self.clear();
        match item {
            LogItem::Record(record) => print_line(&self.lines.line(record)),
            LogItem::Missed(missed) => print_line(&self.lines.missed(*missed)),
        }
    }

    fn event(&mut self, item: &EventItem) {
        let palette = self.terminal.palette();
        match item {
            EventItem::Missed(missed) => self.note(&format!("({missed} events came too fast to be shown)")),
            EventItem::Event(event) if is_news(event) => self.note(&event_line(event, palette)),
            EventItem::Event(event) if matches!(event.kind, EventKind::Finished { .. }) => {
                self.note(&event_line(event, palette));
            }
            EventItem::Event(_) => {}
        }
    }

    /// While services start, a terminal shows how far they have come in a line that is painted over.
    fn status(&mut self, snapshot: &Snapshot) {
        if self.up {
            return;
        }
        let there = snapshot.services.iter().filter(|service| is_up(service)).count();
        let all = snapshot.services.iter().filter(|service| service.why != Some(Why::NotStarted)).count();
        if there == all && all > 0 {
            self.up = true;
            let took = self.began.elapsed().as_millis();
            let services = if all == 1 { "1 service is".into() } else { format!("all {all} services are") };
            self.note(&self.terminal.palette().good(&format!("{services} up after {took} ms")));
        } else if self.terminal.live {
            let waiting = snapshot.services.iter().filter(|service| !is_up(service));
            let waiting: Vec<_> = waiting.map(|service| service.name.as_str()).collect();
            let text = format!("starting {there}/{all}: {}", waiting.join(", "));
            let text: String = text.chars().take(self.terminal.columns().saturating_sub(1)).collect();
            complain(&format!("\r\x1b[K{text}"));
            self.painted = true;
        }
    }

    async fn interrupt(&mut self, interrupts: &mut Interrupts, handle: &ManagerHandle) {
        let request = if interrupts.count == 1 { Request::Shutdown } else { Request::Kill };
        self.note(match request {
            Request::Kill => "killing everything",
            _ => "closing in order; press Ctrl-C again to kill",
        });
        // A project that has ended meanwhile needs no asking.
        let _ = handle.submit(request).await;
    }
}

fn is_up(service: &orchestrator_core::report::ServiceView) -> bool {
    match service.kind {
        Kind::Service => service.state == State::Running && service.why.is_none(),
        Kind::Job => service.why == Some(Why::Completed) && service.state == State::Closed,
    }
}
