//! How a running project becomes what its manifest says now. What differs is the core's matter
//! ([`orchestrator_core::planning`]); here it is found out what is there, and whether all of it can be had, before anything
//! is done.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use orchestrator_core::ServiceName;
use orchestrator_core::manifest::{Code, Manifest, Service};
use orchestrator_core::permissions::{Backend, Isolation, Unenforceable, unenforceable};
use orchestrator_core::planning::{Step, changes, plan};
use orchestrator_core::report::EventKind;
use orchestrator_core::supervisor::{Event, Goal, Refusal, Request, Unmet};
use tokio::sync::oneshot;

use crate::environment::Containers;
use crate::handle::RequestError;
use crate::listeners::BindError;
use crate::preflight::seen_by;
use crate::recycling::first_look;
use crate::service_container::chain;
use crate::services_manager::{ServicesManager, Waiting};
use crate::shipment::{Shipper, ShipperError};
use crate::{ChildReader, Plugins};

/// Reads the project's manifest anew.
#[derive(Clone)]
pub struct ManifestReader(Arc<Read>);

type Read = dyn Fn(Option<PathBuf>, BTreeMap<String, String>) -> Result<Fresh, String> + Send + Sync;

/// A manifest as it is now.
#[derive(Debug)]
pub struct Fresh {
    /// Its services.
    pub manifest: Manifest,
    /// The plugins that run them.
    pub plugins: Plugins,
    /// What reads the children that its services open.
    pub children: ChildReader,
}

/// What is asked for with a manifest: [`crate::ManagerHandle::apply`].
#[derive(Clone, Debug, Default)]
pub struct Apply {
    /// The manifest that is meant: it has to be the one that the project was started from.
    pub file: Option<PathBuf>,
    /// What `${VAR}` stands for. Empty: what it stood for when the project was started.
    pub variables: BTreeMap<String, String>,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Whether to answer only when it has come true.
    pub wait: bool,
}

/// Why a project does not become what its manifest says. Nothing was changed, but where it is [`ApplyError::Unmet`].
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The manifest is wrong.
    #[error("{0}")]
    Wrong(String),
    /// It is the manifest of another project.
    #[error(
        "the manifest's project is '{now}', and '{running}' runs: end that one first, with 'orchestrator -p {running} down'"
    )]
    Name {
        /// What runs.
        running: ServiceName,
        /// What the manifest says.
        now: ServiceName,
    },
    /// A service cannot be run on this host.
    #[error("{}", chain(.0))]
    Services(#[from] ShipperError),
    /// A service's code cannot be shipped.
    #[error("{service}: {why}")]
    Code {
        /// The service.
        service: ServiceName,
        /// Why.
        why: String,
    },
    /// This host cannot hold a service to what it is granted.
    #[error("{0}")]
    Unenforceable(Unenforceable),
    /// A socket cannot be had.
    #[error(transparent)]
    Listen(#[from] BindError),
    /// Images and the engine are seen to when a project is started.
    #[error(
        "{service} wants {what}, which is seen to only when the project starts: 'orchestrator down', then 'up'"
    )]
    Container {
        /// The service.
        service: ServiceName,
        /// What.
        what: String,
    },
    /// A project is part of a fabric from its start on.
    #[error(
        "'fabric' has changed, which is seen to only when the project starts: 'orchestrator down', then 'up'"
    )]
    Fabric,
    /// It could not be honoured.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It was begun, but did not come true.
    #[error("{0}")]
    Unmet(Box<Unmet>),
    /// The project has ended.
    #[error("the project has ended")]
    Ended,
}

/// A manifest, and what has been found out about it.
#[derive(Debug)]
pub(crate) struct Prepared {
    manifest: Manifest,
    children: ChildReader,
    shipper: Shipper,
    /// What the code of each service is, in hexadecimal; none of images.
    digests: BTreeMap<ServiceName, String>,
}

/// A prepared manifest on its way to the ServicesManager.
#[derive(Debug)]
pub(crate) struct ApplyAsk {
    pub(crate) prepared: Prepared,
    pub(crate) dry_run: bool,
    pub(crate) wait: bool,
    pub(crate) answer: oneshot::Sender<Result<Vec<Step>, ApplyError>>,
}

impl ManifestReader {
    /// A reader that may wait for a disk. It is told which file is meant and what variables stand for, and answers with
    /// everything that is wrong, as a person reads it.
    pub fn new(
        read: impl Fn(Option<PathBuf>, BTreeMap<String, String>) -> Result<Fresh, String> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(read))
    }

    /// Reads the manifest and the code of its services, on a thread that may wait.
    pub(crate) async fn prepare(
        &self,
        file: Option<PathBuf>,
        variables: BTreeMap<String, String>,
    ) -> Result<Prepared, ApplyError> {
        let read = Arc::clone(&self.0);
        let prepare = move || Prepared::new(read(file, variables).map_err(ApplyError::Wrong)?);
        let prepared = tokio::task::spawn_blocking(prepare).await;
        prepared.map_err(|error| ApplyError::Wrong(error.to_string()))?
    }
}

impl fmt::Debug for ManifestReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ManifestReader")
    }
}

impl Prepared {
    fn new(fresh: Fresh) -> Result<Self, ApplyError> {
        let Fresh { manifest, plugins, children } = fresh;
        let shipper = Shipper::new(plugins, manifest.services.values())?;
        let mut digests = BTreeMap::new();
        for service in manifest.services.values().filter(|service| service.code != Code::Image) {
            let digest = shipper
                .digest(service)
                .map_err(|error| ApplyError::Code { service: service.name.clone(), why: chain(&error) })?;
            digests.insert(service.name.clone(), digest);
        }
        Ok(Self { manifest, children, shipper, digests })
    }
}

impl ServicesManager {
    pub(crate) fn apply(&mut self, ask: ApplyAsk) {
        let ApplyAsk { prepared, dry_run, wait, answer } = ask;
        let steps = self.steps_to(&prepared);
        let elsewhere = prepared.manifest.elsewhere.clone();
        let begun = match steps {
            Ok(steps) if dry_run || steps.is_empty() => Ok((steps, None)),
            Ok(steps) => self.take_steps(prepared, &steps).map(|goal| (steps, Some(goal).filter(|_| wait))),
            Err(error) => Err(error),
        };
        if begun.is_ok() && !dry_run {
            self.router.expect(elsewhere);
        }
        // The asker may have gone: then nobody wants the answer.
        match begun {
            Ok((steps, Some(goal))) => self.answer_when(goal, steps, answer),
            begun => drop(answer.send(begun.map(|(steps, _)| steps))),
        }
    }

    /// What there is to do, if all of it can be done.
    fn steps_to(&self, prepared: &Prepared) -> Result<Vec<Step>, ApplyError> {
        let running = self.project.name();
        if prepared.manifest.name != *running {
            return Err(ApplyError::Name { running: running.clone(), now: prepared.manifest.name.clone() });
        }
        if prepared.manifest.fabric != self.fabric_as_asked {
            return Err(ApplyError::Fabric);
        }
        let engine = self.docker.as_ref().map(Containers::controllers);
        for service in prepared.manifest.services.values() {
            self.check_container(service)?;
            let backend = Backend::of(service.isolation, service.sandbox);
            let by = seen_by(backend, &self.capabilities, engine);
            let refused = unenforceable(&service.name, &service.permissions, backend, &by);
            if let Some(refused) = refused.into_iter().next() {
                return Err(ApplyError::Unenforceable(refused));
            }
        }
        let stays = |name: &ServiceName| name.parent().is_none() && !self.supervisor.is_leaving(name);
        let before = self.services.iter().filter(|(name, _)| stays(name));
        let before = before.map(|(name, service)| (name.clone(), &**service)).collect();
        let changed = |name: &ServiceName| {
            let digest = prepared.digests.get(name);
            let differs = digest.is_some_and(|digest| self.facts.code_of(name).any(|runs| runs != digest));
            differs || self.supervisor.is_behind(name)
        };
        Ok(plan(&before, &prepared.manifest.services, &changed))
    }

    /// Whether the engine that a service needs has been reached, and its image fetched.
    fn check_container(&self, service: &Service) -> Result<(), ApplyError> {
        if service.isolation != Isolation::Docker {
            return Ok(());
        }
        let what = match (&self.docker, &service.image) {
            (None, _) => "a container".to_owned(),
            (Some(_), Some(image)) if !self.shipper.knows_image(image) => format!("the image '{image}'"),
            _ => return Ok(()),
        };
        Err(ApplyError::Container { service: service.name.clone(), what })
    }

    fn take_steps(&mut self, prepared: Prepared, steps: &[Step]) -> Result<Goal, ApplyError> {
        let Prepared { manifest, children, shipper, .. } = prepared;
        let staged = self.listeners.stage(manifest.services.values())?;
        let request = Request::Apply(changes(steps, &manifest.services));
        let goal = Goal::of(&request);
        let actions = self.supervisor.handle(self.now(), Event::Request(request))?;
        // From here on everything is as the manifest says, and what starts finds it so.
        self.listeners.commit(staged);
        self.shipper = Arc::new(shipper.with_programs_of(&self.shipper));
        self.children = children;
        self.recycling_due = self.recycling_due.or_else(|| first_look(manifest.services.values()));
        for (name, service) in manifest.services {
            self.router.know(&service);
            self.services.insert(name, Arc::new(service));
        }
        self.events.publish(EventKind::Applied { steps: steps.to_vec() });
        self.perform_all(actions);
        Ok(goal)
    }

    fn answer_when(
        &mut self,
        goal: Goal,
        steps: Vec<Step>,
        answer: oneshot::Sender<Result<Vec<Step>, ApplyError>>,
    ) {
        let (settled, settles) = oneshot::channel();
        self.waiting.push(Waiting { goal, answer: settled });
        tokio::spawn(async move {
            let settled = settles.await.unwrap_or(Err(RequestError::Ended));
            let _ = answer.send(settled.map(|()| steps).map_err(ApplyError::from));
        });
    }
}

impl From<RequestError> for ApplyError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Refused(refusal) => refusal.into(),
            RequestError::Unmet(unmet) => Self::Unmet(unmet.into()),
            RequestError::Ended => Self::Ended,
        }
    }
}
