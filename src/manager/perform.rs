//! One action of the Supervisor, one effect.

use std::path::Path;
use std::sync::Arc;

use orchestrator_core::StartId;
use orchestrator_core::giving_up::{Notice, notice};
use orchestrator_core::manifest::Service;
use orchestrator_core::permissions::Isolation;
use orchestrator_core::report::{CrashReason, EventKind};
use orchestrator_core::supervisor::Action;
use tokio::sync::mpsc;

use crate::confinement::group_limits;
use crate::environment::{DockerEnvironment, Environment, ProcessEnvironment};
use crate::inbox::{Happening, Inbox};
use crate::service_container::ServiceContainer;
use crate::service_controller::Command;
use crate::services_manager::ServicesManager;

/// How many commands one start can have waiting: it is told to close once and to end once.
const COMMANDS: usize = 4;

impl ServicesManager {
    /// Performs actions in the order in which they were decided.
    pub(crate) fn perform_all(&mut self, actions: Vec<Action>) {
        for action in actions {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Create(start) => self.create(start),
            Action::Close(start) => self.command(&start, Command::Close),
            Action::Destroy(start) => self.command(&start, Command::Destroy),
            Action::Forget(service) => {
                self.services.remove(&service);
                self.facts.forget(&service);
                self.router.forget(&service);
                self.listeners.forget(&service);
            }
            Action::Report(kind) => self.report(kind),
            Action::Finish(finish) => self.finish = Some(finish),
        }
    }

    /// Brings up the container of a start. Its way in is there before its first effect, so no close can miss it.
    fn create(&mut self, start: StartId) {
        let (commands, commanded) = mpsc::channel(COMMANDS);
        self.containers.insert(start.clone(), commands);
        self.facts.began(&start);
        self.starts += 1;
        let Some(service) = self.services.get(&start.replica.service) else {
            tokio::spawn(fail(Inbox::new(start, self.inbox.clone()), "no code is known for this service"));
            return;
        };
        let folder = self.project.runtime().join(format!("s{}", self.starts));
        let passed = self.listeners.pass(&service.name, start.replica.index);
        let Ok(passed) =
            passed.inspect_err(|error| tracing::error!(%error, %start.replica, "no further socket"))
        else {
            tokio::spawn(fail(Inbox::new(start, self.inbox.clone()), "a further socket cannot be had"));
            return;
        };
        let Some(environment) = self.environment(service, &start, &folder) else {
            tokio::spawn(fail(Inbox::new(start, self.inbox.clone()), "no container engine is known"));
            return;
        };
        let container = ServiceContainer {
            service: Arc::clone(service),
            inbox: Inbox::new(start, self.inbox.clone()),
            commands: commanded,
            logs: self.logs.clone(),
            shipper: Arc::clone(&self.shipper),
            environment,
            gateway: self.gateway.clone(),
            router: self.router.clone(),
            recording: self.recording.clone().filter(|recording| *recording.service() == service.name),
            children: self.children.clone(),
            config: self.config.clone(),
            passed,
            folder,
        };
        tokio::spawn(container.run());
    }

    /// What the manifest says that the service runs in.
    fn environment(&self, service: &Service, start: &StartId, folder: &Path) -> Option<Box<dyn Environment>> {
        match service.isolation {
            Isolation::Process => {
                let limits = group_limits(service, self.capabilities.controllers);
                Some(Box::new(ProcessEnvironment::new(&self.keeper, limits)))
            }
            Isolation::Docker => {
                let containers = self.docker.as_ref()?;
                Some(Box::new(DockerEnvironment::new(containers, start, service, folder.to_owned())))
            }
        }
    }

    /// A start that has ended by itself in the meantime has nothing to be told.
    fn command(&self, start: &StartId, command: Command) {
        if let Some(commands) = self.containers.get(start) {
            let _ = commands.try_send(command);
        }
    }

    fn report(&mut self, kind: EventKind) {
        tracing::debug!(?kind, "event");
        let told_by = |name: &_| self.services.get(name).map(|service| &service.on_give_up);
        let notice = notice(self.project.name(), &kind, told_by);
        self.events.publish(kind);
        if let Some(notice) = notice {
            self.tell_outside(notice);
        }
    }

    fn tell_outside(&mut self, notice: Notice) {
        let Some(service) = self.services.get(&notice.facts.service) else { return };
        let failure = self.notices.begin(notice, service.folder.clone());
        self.note(failure);
    }
}

/// The start of a child that was created without code: it fails like any other start that cannot be made.
async fn fail(inbox: Inbox, why: &str) {
    let error = why.into();
    inbox.tell(Happening::Crashed(CrashReason::Environment { error })).await;
    inbox.tell(Happening::Ended).await;
}
