//! `orchestrator up`: starts the services of a manifest, in order, and shows what they write until they have ended. A project
//! that runs already becomes what its manifest says.

use std::io::{stderr, stdout};
use std::path::PathBuf;
use std::time::Duration;

use orchestrator_core::ServiceName;
use orchestrator_core::manifest::RedisUrl;
use orchestrator_core::permissions::Sandbox;
use orchestrator_core::planning::Step;
use orchestrator_core::supervisor::Request;
use orchestrator_manager::{
    Launch, LaunchError, ManagerHandle, Plugins, Project, ProjectError, Recording, ServicesManager,
};
use orchestrator_views::control_api::wire::Services;
use orchestrator_views::control_api::{self, ControlApi};
use tokio::sync::mpsc;

use super::apply::{Way, apply, follow, refuse_other};
use super::detach;
use super::watch::watch;
use crate::Context;
use crate::client::Client;
use crate::exit_code::Code;
use crate::failure::{Failure, Outcome, chain};
use crate::file_watch::FileWatch;
use crate::interrupts::Interrupts;
use crate::load::{Loaded, child_reader, manifest_reader};
use crate::news::News;
use crate::output::note;
use crate::pull::show_pull;
use crate::screen::Screen;
use crate::target::load_manifest;
use crate::writer::Writer;

/// What keeps the meaning of images' names, beside the manifest.
pub(super) const IMAGE_LOCK: &str = "orchestrator.lock";

/// The variable that says the fabric's Redis.
pub(super) const FABRIC: &str = "ORCHESTRATOR_FABRIC";

/// How many complaints wait to be shown.
const COMPLAINTS: usize = 16;

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
    /// Follow changes of the manifest and the code, as 'apply' does
    #[arg(long, conflicts_with_all = ["detach", "wait"])]
    watch: bool,
    /// Join the fabric of this Redis, as redis://127.0.0.1:6379/0, whatever the manifest says
    #[arg(long, value_name = "ADDRESS", value_parser = redis_url, env = FABRIC, hide_env_values = true)]
    pub(super) fabric: Option<RedisUrl>,
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
    let loaded = loaded.with_fabric(args.fabric.clone())?;
    refuse_unconfined(&loaded.manifest, args.allow_unconfined)?;
    let project = Project::of_user(loaded.manifest.name.clone());
    let way = Way { dry_run: false, wait: true, allow_unconfined: args.allow_unconfined };
    if project.answers() && !args.detached {
        refuse_other(&loaded, context)?;
        return again(&loaded, &project, args.services, way).await;
    }
    if (args.detach || args.wait) && !args.detached {
        refuse_passed(context)?;
        return detach::run(&loaded, &project, &args, context).await;
    }
    let names: Vec<ServiceName> = loaded.manifest.services.keys().cloned().collect();
    let wanted = if args.services.is_empty() { names } else { args.services };
    let writer = Writer::new(stdout(), stderr())?;
    let files = args.watch.then(|| FileWatch::of(&loaded)).transpose()?;
    let launched = Launched::new(loaded, plugins, None, context).await?;
    let Some(files) = files else { return launched.run(wanted, context, writer).await };
    let (complain, complaints) = mpsc::channel(COMPLAINTS);
    let tell = |said: Result<Vec<Step>, Failure>| {
        if let Err(failure) = said {
            // Who cannot keep up with them misses some.
            let _ = complain.try_send(failure.text(context.terminal.palette()));
        }
    };
    tokio::select! {
        outcome = launched.telling(complaints).run(wanted, context, writer) => outcome,
        // How the project ends is the other one's to say.
        _ = async {
            follow(files, &project, file, way, context, tell).await;
            std::future::pending::<()>().await;
        } => unreachable!("it never ends"),
    }
}

/// The project runs already: it becomes what its manifest says, and these are started, where some are named.
async fn again(loaded: &Loaded, project: &Project, services: Vec<ServiceName>, way: Way) -> Outcome {
    note(&format!("project '{}' runs already: it becomes what its manifest says now", project.name()));
    let done = apply(project, loaded, way).await?;
    if !services.is_empty() {
        let client = Client::new(&project.control_socket());
        client.post("/v1/services/start", &Services { services, wait: true }).await?;
    }
    Ok(done)
}

/// A project that has been launched, with nothing started yet.
pub(super) struct Launched {
    handle: ManagerHandle,
    api: ControlApi,
    interrupts: Interrupts,
    /// What its replicas are called.
    prefixes: Vec<String>,
    /// What is shown besides what the project says.
    complaints: mpsc::Receiver<String>,
}

impl Launched {
    /// Launches a project that nobody runs. `recording` is given what its service uses.
    pub(super) async fn new(
        loaded: Loaded,
        plugins: Plugins,
        recording: Option<Recording>,
        context: &Context,
    ) -> Result<Self, Failure> {
        let project = Project::of_user(loaded.manifest.name.clone());
        let lock = match project.lock().await {
            Err(ProjectError::Running { .. }) => return Err(already_running(&project).await),
            lock => lock.map_err(|error| Failure::internal(&error))?,
        };
        // From here on an interrupt closes in order what has been started.
        let interrupts = Interrupts::new()?;
        let prefixes = prefixes(&loaded.manifest);
        let launch = Launch {
            children: child_reader(&loaded, plugins.catalog().clone()),
            reader: manifest_reader(&loaded, context.embedded),
            manifest: loaded.manifest,
            plugins,
            embedded: context.embedded,
            project: project.clone(),
            lock,
            activation: context.activation.clone(),
            image_lock: loaded.folder.join(IMAGE_LOCK),
            on_pull: show_pull,
            recording,
        };
        let handle = ServicesManager::launch(launch).await.map_err(|error| launch_failed(&error))?;
        let api = control_api::serve(handle.clone(), &project.control_socket())?;
        let (_, complaints) = mpsc::channel(1);
        Ok(Self { handle, api, interrupts, prefixes, complaints })
    }

    /// The same, and after this time it is asked to end.
    pub(super) fn ending_after(mut self, time: Option<Duration>) -> Self {
        self.interrupts = self.interrupts.or_after(time);
        self
    }

    /// The same, and shows these texts, too.
    fn telling(self, complaints: mpsc::Receiver<String>) -> Self {
        Self { complaints, ..self }
    }

    /// Starts services, with what they depend on, and shows what happens until everything has ended.
    pub(super) async fn run(self, wanted: Vec<ServiceName>, context: &Context, writer: Writer) -> Outcome {
        let Self { handle, api, interrupts, prefixes, complaints } = self;
        let news = News::of(&handle)?;
        if let Err(error) = handle.submit(Request::Start(wanted)).await {
            let _ = handle.request(Request::Shutdown).await;
            return Err(Failure::new(Code::Usage, error.to_string()));
        }
        let screen = Screen::new(context.terminal, prefixes);
        let outcome = watch(handle, news, interrupts, complaints, screen, writer).await;
        api.end().await;
        outcome
    }
}

/// The address of a Redis, for an argument.
fn redis_url(text: &str) -> Result<RedisUrl, String> {
    RedisUrl::parse(text).map_err(|error| format!("{error}: write it as 'redis://127.0.0.1:6379/0'"))
}

/// Nobody is to find out afterwards that a service was not held.
pub(super) fn refuse_unconfined(
    manifest: &orchestrator_core::manifest::Manifest,
    allowed: bool,
) -> Result<(), Failure> {
    let unconfined = manifest.services.values().filter(|service| service.sandbox == Sandbox::None);
    let names: Vec<_> = unconfined.map(|service| service.name.as_str()).collect();
    if allowed || names.is_empty() {
        return Ok(());
    }
    let text = format!("'sandbox: none' lets {} do whatever you may", names.join(", "));
    Err(Failure::new(Code::Unenforceable, text).hint("remove it, or say --allow-unconfined"))
}

/// Who passes sockets has the process itself in the background, and would take its end for the project's.
fn refuse_passed(context: &Context) -> Result<(), Failure> {
    if context.activation.is_empty() {
        return Ok(());
    }
    let text = "sockets were passed to this process, which cannot run in the background then";
    Err(Failure::new(Code::Usage, text)
        .hint("remove --detach and --wait: who passes sockets keeps it running"))
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
        LaunchError::Services(_) | LaunchError::Fabric(_) => Failure::new(Code::Usage, chain(error)),
        LaunchError::Listen(_) => Failure::new(Code::Failed, chain(error)),
        LaunchError::Unenforceable(refused) => {
            // One line each, for programs too.
            refused.iter().for_each(|refused| note(&refused.to_string()));
            Failure::new(Code::Unenforceable, format!("{error}; nothing was started"))
                .hint("see what this host can enforce with 'orchestrator doctor'")
        }
        LaunchError::Engine(engine) => {
            Failure::new(Code::Unenforceable, format!("{}; nothing was started", chain(error)))
                .hint(engine.fix())
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
