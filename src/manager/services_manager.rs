//! [`ServicesManager`]: the async shell round the Supervisor. One loop owns the truth: it waits for the next thing
//! that happened, tells the Supervisor, performs what it answers, and publishes what has become of the project.
//!
//! What it waits for, in this order when several are there: what containers say, what people ask, time. Containers go
//! first, so that a request is judged by what has already happened.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use orchestrator_core::manifest::{Manifest, Service};
use orchestrator_core::permissions::{Capabilities, Isolation, Unenforceable};
use orchestrator_core::report::{EventKind, FabricNews, Finish, FinishCause, Snapshot};
use orchestrator_core::supervisor::{Event, Goal, Moment, Request, Supervisor};
use orchestrator_core::{ServiceName, StartId};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use orchestrator_port::bundle;

use crate::attach::{Attachment, PROGRAMS};
use crate::config::Config;
use crate::config_store::ConfigStore;
use crate::environment::{Containers, Engine, EngineError, EnvironmentError, Keeper, OnPull, Wanted};
use crate::event_stream::{EventStream, now_millis};
use crate::fabric::{Fabric, FabricError};
use crate::facts::Facts;
use crate::gateway::Gateway;
use crate::handle::{Ask, ManagerHandle, RequestAsk, RequestError};
use crate::inbox::{Happening, Inbox, Input, queue};
use crate::listeners::{ListenError, Listeners, SocketActivation};
use crate::log_store::LogStore;
use crate::notices::Notices;
use crate::preflight::Checked;
use crate::recording::Recording;
use crate::recycling::first_look;
use crate::router::Router;
use crate::service_controller::Command;
use crate::shipment::{Shipper, ShipperError};
use crate::{ApplyError, ChildReader, Embedded, ManifestReader, Plugins, Project, ProjectLock, preflight};

/// How many requests may wait to be heard.
const ASKS: usize = 64;

/// How many happenings are taken in before the project's state is published again.
const BATCH: usize = 256;

/// How often the project's state is published when nothing but measurements has changed.
const MEASUREMENTS: Duration = Duration::from_secs(1);

/// The shell round the Supervisor: the state of its loop.
#[derive(Debug)]
pub struct ServicesManager {
    pub(crate) project: Project,
    pub(crate) supervisor: Supervisor,
    pub(crate) services: BTreeMap<ServiceName, Arc<Service>>,
    /// The starts that are not gone, and how each is told to end.
    pub(crate) containers: HashMap<StartId, mpsc::Sender<Command>>,
    pub(crate) keeper: Keeper,
    /// What makes containers, where there is a service that wants one.
    pub(crate) docker: Option<Containers>,
    pub(crate) shipper: Arc<Shipper>,
    pub(crate) gateway: Gateway,
    pub(crate) router: Router,
    /// What is seen of the service that is watched, where one is.
    pub(crate) recording: Option<Recording>,
    /// What this host can enforce.
    pub(crate) capabilities: Capabilities,
    /// Reads the children that services ask for.
    pub(crate) children: ChildReader,
    pub(crate) config: Config,
    /// Its part in a fabric.
    pub(crate) fabric: Option<Fabric>,
    /// As the manifest wants it.
    pub(crate) fabric_as_asked: Option<orchestrator_core::manifest::Fabric>,
    pub(crate) listeners: Listeners,
    /// What the services' runners are, in hexadecimal.
    runner_sha256: String,
    pub(crate) inbox: mpsc::Sender<Input>,
    pub(crate) events: EventStream,
    pub(crate) logs: LogStore,
    pub(crate) facts: Facts,
    /// What is being told outside of the project.
    pub(crate) notices: Notices,
    /// How many starts there have been: each has a folder of its own, named after its number.
    pub(crate) starts: u64,
    /// Set when the Supervisor says that the project has ended.
    pub(crate) finish: Option<Finish>,
    /// What the moments that the Supervisor is told count from.
    began: Instant,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) snapshots: watch::Sender<Arc<Snapshot>>,
    /// When measurements that have come in are published at the latest.
    measurements_due: Option<Instant>,
    /// When to look next who has run for long enough; none where nobody ever has.
    pub(crate) recycling_due: Option<Instant>,
    /// Held until everything is gone.
    lock: ProjectLock,
}

/// A request that was accepted and whose asker waits until it has come true.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) goal: Goal,
    pub(crate) answer: oneshot::Sender<Result<(), RequestError>>,
}

/// What a project is launched from.
#[derive(Debug)]
pub struct Launch {
    /// Its services.
    pub manifest: Manifest,
    /// The plugins that run them.
    pub plugins: Plugins,
    /// What the binary carries.
    pub embedded: Embedded,
    /// Where it lives.
    pub project: Project,
    /// That nobody else runs it.
    pub lock: ProjectLock,
    /// What reads the children that its services open.
    pub children: ChildReader,
    /// What reads its manifest anew.
    pub reader: ManifestReader,
    /// The file that keeps what the names of images mean, `orchestrator.lock` beside the manifest. Read and written only
    /// where there is a container with an image of its own.
    pub image_lock: PathBuf,
    /// The sockets that the orchestrator was passed, each of which a service listens on.
    pub activation: SocketActivation,
    /// Is told how far an image has come that is fetched.
    pub on_pull: OnPull,
    /// Is given what its service is seen to use, which has to be held to nothing for that; none where nobody is watched.
    pub recording: Option<Recording>,
}

/// Why a project could not be launched. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A service cannot be run on this host.
    #[error(transparent)]
    Services(#[from] ShipperError),
    /// It cannot be part of its fabric.
    #[error(transparent)]
    Fabric(#[from] FabricError),
    /// A socket cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// This host cannot hold services to what they are granted.
    #[error("this host cannot enforce what the manifest grants")]
    Unenforceable(
        /// What, and what to do about it.
        Vec<Unenforceable>,
    ),
    /// The host could not be tried.
    #[error("cannot try what this host can enforce")]
    Probe(#[source] std::io::Error),
    /// There is a service that is to run in a container, and no engine that can make it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The manifest's services do not form a graph.
    #[error("cannot order the services")]
    Graph(#[from] orchestrator_core::service_graph::GraphError),
    /// The log cannot be used.
    #[error("cannot open the log in {}", .folder.display())]
    Log {
        /// The log's folder.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The keeper, the process below which all others run, cannot be brought up.
    #[error("cannot make environments")]
    Keeper(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<EnvironmentError> for LaunchError {
    fn from(error: EnvironmentError) -> Self {
        Self::Keeper(Box::new(error))
    }
}

/// What a manager is made of, as far as it can fail.
struct Prepared {
    shipper: Shipper,
    /// What is granted and not enforced, as the manifest allows.
    soft: Vec<Unenforceable>,
    capabilities: Capabilities,
    supervisor: Supervisor,
    logs: LogStore,
    config: ConfigStore,
    listeners: Listeners,
    keeper: Keeper,
    docker: Option<Containers>,
}

/// Where the images of a project come from.
struct Images<'a> {
    kept_in: &'a Path,
    on_pull: OnPull,
}

impl Prepared {
    async fn new(
        manifest: &Manifest,
        plugins: Plugins,
        embedded: &Embedded,
        project: &Project,
        lock: &ProjectLock,
        images: Images<'_>,
        activation: &SocketActivation,
    ) -> Result<Self, LaunchError> {
        let shipper = Shipper::new(plugins, manifest.services.values())?;
        let engine = engine(manifest).await?;
        let limits = engine.as_ref().map(|engine| engine.controllers);
        let checked =
            preflight::check(manifest.services.values(), embedded.runner, project.runtime(), limits);
        let Checked { refused, soft, capabilities } = checked.map_err(LaunchError::Probe)?;
        if !refused.is_empty() {
            return Err(LaunchError::Unenforceable(refused));
        }
        let docker = match engine {
            Some(engine) => {
                let names = manifest.services.values().filter_map(|service| service.image.as_deref());
                let Images { kept_in, on_pull } = images;
                let wanted = Wanted { images: names.collect(), kept_in, on_pull };
                Some(Containers::of_project(engine, embedded.runner, project, wanted).await?)
            }
            None => None,
        };
        let programs = docker.as_ref().map(Containers::programs).unwrap_or_default();
        let shipper = shipper.with_programs(programs);
        let supervisor = Supervisor::new(manifest.services.values().map(Into::into))?;
        let folder = project.log_folder();
        let logs = LogStore::open(&folder).map_err(|source| LaunchError::Log { folder, source })?;
        let config = ConfigStore::new(project.state().join("config.redb"))
            .map_err(|error| LaunchError::Keeper(Box::new(error)))?;
        let listeners = Listeners::bind(manifest.services.values(), activation)?;
        let keeper = Keeper::launch(embedded.runner, project.runtime(), lock)?;
        Ok(Self { shipper, soft, capabilities, supervisor, logs, config, listeners, keeper, docker })
    }
}

/// What the loop has to react to.
enum Turn {
    Input(Input),
    Ask(Ask),
    /// Every handle is gone: nobody is left who could want the project to run.
    Abandoned,
    Time,
    Measurements,
    Recycling,
    /// Something has happened in the fabric.
    Fabric(FabricNews),
    /// Something has been told outside of the project; what of it has failed, if anything.
    Told(Option<EventKind>),
}

impl ServicesManager {
    /// Brings up the manager of a project. Nothing is started yet: that is asked for with [`Request::Start`].
    ///
    /// # Errors
    /// Where a service's program is not on this host, or what the manager needs of the host cannot be had.
    pub async fn launch(launch: Launch) -> Result<ManagerHandle, LaunchError> {
        let Launch {
            manifest,
            plugins,
            embedded,
            project,
            lock,
            children,
            reader,
            image_lock,
            activation,
            on_pull,
            recording,
        } = launch;
        let images = Images { kept_in: &image_lock, on_pull };
        let prepared =
            Prepared::new(&manifest, plugins, &embedded, &project, &lock, images, &activation).await;
        let prepared = prepared.inspect_err(|_| {
            // There is no keeper that would.
            let _ = fs::remove_dir_all(project.runtime());
        });
        let Prepared { shipper, soft, capabilities, supervisor, logs, config, listeners, keeper, docker } =
            prepared?;

        let router = Router::start(recording.clone());
        manifest.services.values().for_each(|service| router.know(service));
        router.expect(manifest.elsewhere.clone());
        let fabric_as_asked = manifest.fabric.clone();
        let fabric = manifest
            .fabric
            .map(|fabric| Fabric::start(fabric, manifest.name.to_string(), router.clone(), config.clone()));
        let fabric = fabric.transpose()?;
        let config =
            Config { store: config, fabric: fabric.as_ref().map(Fabric::config), router: router.clone() };
        let attachment = Attachment {
            project: project.name().clone(),
            router: router.clone(),
            config: config.clone(),
            places: Arc::new(Semaphore::new(PROGRAMS)),
        };
        let recycling_due = first_look(manifest.services.values());
        let (asks, asked) = mpsc::channel(ASKS);
        let (inbox, inputs) = queue();
        let mut manager = Self {
            services: manifest
                .services
                .into_iter()
                .map(|(name, service)| (name, Arc::new(service)))
                .collect(),
            containers: HashMap::new(),
            keeper,
            docker,
            shipper: Arc::new(shipper),
            gateway: Gateway::default(),
            router,
            recording,
            capabilities,
            children,
            config,
            fabric,
            fabric_as_asked,
            listeners,
            runner_sha256: bundle::sha256(embedded.runner),
            inbox,
            events: EventStream::new(),
            logs,
            facts: Facts::default(),
            notices: Notices::default(),
            starts: 0,
            finish: None,
            began: Instant::now(),
            waiting: Vec::new(),
            snapshots: watch::Sender::new(Arc::new(Snapshot::empty(project.name().clone()))),
            measurements_due: None,
            recycling_due,
            lock,
            project,
            supervisor,
        };
        for Unenforceable { service, permission, missing, .. } in soft {
            manager.events.publish(EventKind::Unenforced { service, permission, missing });
        }
        manager.publish();
        let (finish, finished) = watch::channel(None);
        let handle = ManagerHandle {
            asks,
            snapshots: manager.snapshots.subscribe(),
            events: manager.events.view(),
            logs: manager.logs.view(),
            finish: finished,
            router: manager.router.clone(),
            attachment,
            fabric: manager.fabric.as_ref().map(Fabric::view),
            reader,
        };
        tokio::spawn(async move {
            let ended = manager.run(asked, inputs).await;
            finish.send_replace(Some(ended));
        });
        Ok(handle)
    }

    async fn run(mut self, mut asks: mpsc::Receiver<Ask>, mut inputs: mpsc::Receiver<Input>) -> Finish {
        loop {
            let turn = self.next_turn(&mut asks, &mut inputs).await;
            self.take(turn, &mut asks);
            for _ in 0..BATCH {
                let Ok(input) = inputs.try_recv() else { break };
                self.hear(input);
            }
            self.publish();
            self.settle();
            if let Some(finish) = self.finish.take() {
                return self.end(finish, asks).await;
            }
        }
    }

    async fn next_turn(
        &mut self,
        asks: &mut mpsc::Receiver<Ask>,
        inputs: &mut mpsc::Receiver<Input>,
    ) -> Turn {
        let deadline =
            self.supervisor.next_deadline().map(|moment| self.began + Duration::from_millis(moment.0));
        let began = self.began;
        let at = |deadline: Option<Instant>| sleep_until(deadline.unwrap_or(began));
        tokio::select! {
            biased;
            Some(input) = inputs.recv() => Turn::Input(input),
            ask = asks.recv(), if !asks.is_closed() || !asks.is_empty() => ask.map_or(Turn::Abandoned, Turn::Ask),
            () = at(deadline), if deadline.is_some() => Turn::Time,
            () = at(self.measurements_due), if self.measurements_due.is_some() => Turn::Measurements,
            () = at(self.recycling_due), if self.recycling_due.is_some() => Turn::Recycling,
            Some(failure) = self.notices.next() => Turn::Told(failure),
            Some(news) = next_news(&mut self.fabric) => Turn::Fabric(news),
        }
    }

    fn take(&mut self, turn: Turn, asks: &mut mpsc::Receiver<Ask>) {
        match turn {
            Turn::Input(input) => self.hear(input),
            Turn::Ask(ask) => self.ask(ask),
            Turn::Abandoned => {
                asks.close();
                self.tell(Event::Request(Request::Shutdown));
            }
            Turn::Time => {
                let actions = self.supervisor.handle_timeouts(self.now());
                self.perform_all(actions);
            }
            Turn::Measurements => self.measurements_due = None,
            Turn::Recycling => self.recycle(),
            Turn::Told(failure) => self.note(failure),
            Turn::Fabric(news) => drop(self.events.publish(EventKind::Fabric(news))),
        }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Tells the Supervisor a fact, or a request that cannot be refused, and does what it answers.
    pub(crate) fn tell(&mut self, event: Event) {
        match self.supervisor.handle(self.now(), event) {
            Ok(actions) => self.perform_all(actions),
            Err(refusal) => tracing::debug!(%refusal, "refused"),
        }
    }

    fn ask(&mut self, ask: Ask) {
        match ask {
            Ask::Request(ask) => self.request(ask),
            Ask::Apply(ask) => self.apply(*ask),
        }
    }

    fn request(&mut self, ask: RequestAsk) {
        let goal = Goal::of(&ask.request);
        match self.supervisor.handle(self.now(), Event::Request(ask.request)) {
            Err(refusal) => answer(ask.answer, Err(refusal.into())),
            Ok(actions) => {
                self.perform_all(actions);
                if ask.wait {
                    self.waiting.push(Waiting { goal, answer: ask.answer });
                } else {
                    answer(ask.answer, Ok(()));
                }
            }
        }
    }

    /// Takes in what a container says: what people are shown goes to the facts, what decides to the Supervisor.
    fn hear(&mut self, input: Input) {
        let Input { start, happening } = input;
        // A start that has ended has nothing to say any more (lifecycle rule 8).
        if !self.containers.contains_key(&start) {
            return;
        }
        match happening {
            Happening::Phase(phase) => {
                self.facts.of(&start).phase = phase;
                self.tell(Event::Phase(start, phase));
            }
            Happening::NotReady { detail } => self.tell(Event::NotReady(start, detail)),
            Happening::Checked { checks } => self.facts.of(&start).checks = checks,
            Happening::Shipped { sha256 } => self.facts.of(&start).code_sha256 = Some(sha256),
            Happening::Running { pid } => self.facts.of(&start).pid = Some(pid),
            Happening::Usage(resources) => {
                self.facts.of(&start).resources = Some(resources);
                self.measurements_due.get_or_insert_with(|| Instant::now() + MEASUREMENTS);
            }
            Happening::Exception(exception) => {
                let (replica, generation) = (start.replica, start.generation);
                self.events.publish(EventKind::Exception { replica, generation, exception });
            }
            Happening::Refused { what } => {
                let (replica, generation) = (start.replica, start.generation);
                self.events.publish(EventKind::Refused { replica, generation, what });
            }
            Happening::OpenChild { child, responder } => {
                let inbox = Inbox::new(start, self.inbox.clone());
                self.open_child(*child, inbox, responder);
            }
            Happening::CloseChild { name, responder } => self.close_child(name, responder),
            Happening::Ready => {
                self.gateway.open(&start);
                self.tell(Event::Ready(start));
            }
            Happening::Completed => self.tell(Event::Completed(start)),
            Happening::Crashed(reason) => self.tell(Event::Crashed(start, reason)),
            Happening::CloseRequested => self.tell(Event::CloseRequested(start)),
            Happening::Ended => {
                self.containers.remove(&start);
                self.facts.ended(&start);
                self.tell(Event::Ended(start));
            }
        }
    }

    /// Says what has failed, if anything.
    pub(crate) fn note(&self, failure: Option<EventKind>) {
        if let Some(failure) = failure {
            self.events.publish(failure);
        }
    }

    fn settle(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        for Waiting { goal, answer: to } in waiting {
            match self.supervisor.settled(&goal) {
                None => self.waiting.push(Waiting { goal, answer: to }),
                Some(settled) => answer(to, settled.map_err(RequestError::Unmet)),
            }
        }
    }

    /// Publishes the project as it is now.
    fn publish(&mut self) {
        let time = now_millis();
        let mut services = self.supervisor.view();
        for view in &mut services {
            if let Some(service) = self.services.get(&view.name) {
                view.runtime.clone_from(&service.runtime);
            }
            self.facts.fill(view, time);
            self.listeners.attend(view);
        }
        let (project, seq) = (self.project.name().clone(), self.events.newest());
        let mut snapshot = Snapshot {
            project,
            time,
            seq,
            pid: std::process::id(),
            runner_sha256: self.runner_sha256.clone(),
            fabric: None,
            services,
        };
        self.router.fill(&mut snapshot);
        self.snapshots.send_replace(Arc::new(snapshot));
    }

    /// Nothing runs any more: takes down what the manager itself has put up, the last thing first.
    async fn end(mut self, finish: Finish, asks: mpsc::Receiver<Ask>) -> Finish {
        if let Some(fabric) = self.fabric {
            fabric.end().await;
        }
        if let Some(docker) = self.docker {
            docker.end().await;
        }
        self.keeper.end().await;
        if finish.cause != FinishCause::Killed {
            finish_telling(&mut self.notices, &self.events, asks).await;
        }
        self.events.publish(EventKind::Finished { finish: finish.clone() });
        let Self { logs, events, waiting, lock, listeners, .. } = self;
        // Whoever has the lock next finds the addresses free.
        drop(listeners);
        for Waiting { goal: _, answer: to } in waiting {
            answer(to, Err(RequestError::Ended));
        }
        drop((logs, events));
        drop(lock);
        finish
    }
}

/// What happens next in the fabric; never anything, where there is none.
async fn next_news(fabric: &mut Option<Fabric>) -> Option<FabricNews> {
    match fabric {
        Some(fabric) => fabric.next_news().await,
        None => std::future::pending().await,
    }
}

/// What is being told outside is told to its end, unless somebody wants the end at once.
async fn finish_telling(notices: &mut Notices, events: &EventStream, mut asks: mpsc::Receiver<Ask>) {
    loop {
        tokio::select! {
            told = notices.next() => match told {
                Some(failure) => drop(failure.map(|failure| events.publish(failure))),
                None => return,
            },
            Some(ask) = asks.recv() => match ask {
                Ask::Request(RequestAsk { request, answer: to, .. }) => {
                    answer(to, Err(RequestError::Ended));
                    if request == Request::Kill {
                        return;
                    }
                }
                Ask::Apply(ask) => drop(ask.answer.send(Err(ApplyError::Ended))),
            }
        }
    }
}

/// The container engine, where a service wants one.
async fn engine(manifest: &Manifest) -> Result<Option<Engine>, EngineError> {
    let wanted = manifest.services.values().any(|service| service.isolation == Isolation::Docker);
    Ok(if wanted { Some(Engine::reach().await?) } else { None })
}

/// The asker may have gone: then nobody wants the answer.
fn answer(to: oneshot::Sender<Result<(), RequestError>>, answer: Result<(), RequestError>) {
    let _ = to.send(answer);
}
