//! [`DockerEnvironment`]: one container for one start, from what is asked of the engine to its end.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{AttachContainerOptionsBuilder, CreateContainerOptionsBuilder};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, StreamExt};
use orchestrator_core::StartId;
use orchestrator_core::manifest::Service;
use orchestrator_port::container::{FOLDER, HAND_OVER};
use orchestrator_port::keeper::Limits;
use orchestrator_port::launch::Ticket;
use orchestrator_sandbox::descriptors::{accept_packets, packet_listener, send_packet};
use orchestrator_sandbox::users::UserPair;
use orchestrator_sandbox::{Pid, tree};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::{Environment, EnvironmentError, Given, ticket_text};
use super::containers::Containers;
use super::engine::Engine;
use super::engine_error::{EngineError, refused};
use super::host_config::{Plan, User, body};
use super::life::{self, First, Life, watch_life};
use super::{sweep, verify};
use crate::confinement::group_limits;

/// The most bytes of what a runner complains of that are told at once.
const COMPLAINT: usize = 4096;

/// A runner in a container.
pub(crate) struct DockerEnvironment {
    containers: Containers,
    /// What it is called: no other container has the name.
    name: String,
    labels: HashMap<String, String>,
    limits: Limits,
    /// The image that the manifest names; none where the runner is all that is needed.
    image: Option<String>,
    /// The start's own folder.
    folder: PathBuf,
    /// Its users on the host are nobody else's until this is gone.
    user: Option<UserPair>,
    /// The container that is being made. Whoever wants it gone has to know first what it is.
    creation: Option<JoinHandle<Result<String, EngineError>>>,
    /// The container, once it is made.
    id: Option<String>,
    /// Its first process, where that is a process of this host.
    first: Option<First>,
    /// None before it has been started.
    life: Option<watch::Receiver<Life>>,
}

impl DockerEnvironment {
    /// An environment for a start that is not there yet, with these limits and this folder.
    pub(crate) fn new(containers: &Containers, start: &StartId, service: &Service, folder: PathBuf) -> Self {
        let containers = containers.clone();
        let replica = start.replica.to_string().replace('/', ".");
        let number = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let labels = [
            (sweep::LOCK, containers.lock.to_string_lossy().into_owned()),
            (sweep::PROJECT, containers.project.clone()),
            (sweep::SERVICE, start.replica.to_string()),
            (sweep::GENERATION, start.generation.0.to_string()),
        ];
        Self {
            name: format!("{}-{replica}-{}-{number}", containers.project, std::process::id()),
            labels: labels.map(|(label, value)| (label.to_owned(), value)).into(),
            limits: group_limits(service, containers.engine.controllers),
            image: service.image.clone(),
            containers,
            folder,
            user: None,
            creation: None,
            id: None,
            first: None,
            life: None,
        }
    }

    async fn bring_up(&mut self, ticket: Ticket, given: Given) -> Result<(), EnvironmentError> {
        let creations = Arc::clone(&self.containers.engine.creations);
        let _place = creations.acquire_owned().await.map_err(|_| EngineError::Ended)?;
        let plan = self.plan(&ticket)?;
        let text = ticket_text(&inside(ticket, &plan.volumes)).map_err(EnvironmentError::Ticket)?;
        let hand_over = self.listen().map_err(EngineError::Sockets)?;
        self.open_folder().map_err(EngineError::Sockets)?;
        let id = self.create(body(&plan)).await?;
        self.start_with(&id, &text).await?;
        Ok(self.hand_over(&hand_over, given).await?)
    }

    /// What is asked of the engine for this ticket.
    fn plan(&mut self, ticket: &Ticket) -> Result<Plan, EnvironmentError> {
        let confinement = ticket.confinement.clone().ok_or(EnvironmentError::NoConfinement)?;
        let image = self.image.as_ref().map(|name| {
            let missing = || EngineError::ImageMissing { name: name.clone(), why: None };
            self.containers.images.get(name).cloned().ok_or_else(missing)
        });
        let image = image.transpose()?;
        let (of_image, volumes) =
            image.as_ref().map_or_else(Default::default, |image| (image.user.clone(), image.volumes.clone()));
        Ok(Plan {
            runner: image.is_some().then(|| self.containers.runner.clone()),
            image: image.map_or_else(|| self.containers.runner_image.clone(), |image| image.id),
            user: match of_image {
                Some(user) => User::OfImage(user),
                None => self.choose_user()?,
            },
            volumes,
            folder: self.folder.clone(),
            limits: self.limits,
            confinement,
            labels: self.labels.clone(),
        })
    }

    /// As root, a user of its own that nobody else on the host is; else who runs the orchestrator.
    fn choose_user(&mut self) -> Result<User, EnvironmentError> {
        use rustix::process::{getegid, geteuid};
        if !geteuid().is_root() {
            return Ok(User::Own { uid: geteuid().as_raw(), gid: getegid().as_raw() });
        }
        let pair = UserPair::claim().map_err(|error| EnvironmentError::Runner(error.to_string()))?;
        let own = pair.service();
        self.user = Some(pair);
        Ok(User::Own { uid: own.uid, gid: own.gid })
    }

    /// The start's folder is below one that only the orchestrator's user can enter, so these rights are the container's
    /// alone.
    fn open_folder(&self) -> io::Result<()> {
        fs::set_permissions(&self.folder, Permissions::from_mode(0o711))?;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                fs::set_permissions(entry.path(), Permissions::from_mode(0o666))?;
            }
        }
        Ok(())
    }

    /// The runner asks here for what cannot be inherited. `descriptors` accepts; tokio only tells when.
    fn listen(&self) -> io::Result<UnixStream> {
        UnixStream::from_std(packet_listener(&self.folder.join(HAND_OVER))?.into())
    }

    /// Has the container made, as it was asked for and not otherwise.
    async fn create(&mut self, asked: ContainerCreateBody) -> Result<String, EngineError> {
        let creation = tokio::spawn(create(self.containers.engine.clone(), self.name.clone(), asked.clone()));
        let created = self.creation.insert(creation).await;
        self.creation = None;
        let id = created.map_err(|_| EngineError::Ended)??;
        self.id = Some(id.clone());
        let api = &self.containers.engine.api;
        let made = api.inspect_container(&id, None).await.map_err(refused("say what it has made"))?;
        match verify::difference(&asked, &made) {
            Some(difference) => Err(EngineError::Different(difference)),
            None => Ok(id),
        }
    }

    /// Starts it, with its ticket in its standard input.
    async fn start_with(&mut self, id: &str, ticket: &[u8]) -> Result<(), EngineError> {
        let api = &self.containers.engine.api;
        let events = life::events(&self.containers.engine, id);
        let streams = AttachContainerOptionsBuilder::new().stream(true).stdin(true).stdout(true).stderr(true);
        let attached = api.attach_container(id, Some(streams.build())).await;
        let AttachContainerResults { output, mut input } =
            attached.map_err(refused("attach to a container"))?;
        api.start_container(id, None).await.map_err(refused("start a container"))?;
        tokio::spawn(complain(self.name.clone(), output));
        let given = async {
            input.write_all(ticket).await?;
            input.shutdown().await
        };
        given.await.map_err(EngineError::Ticket)?;
        let made = api.inspect_container(id, None).await;
        let state = made.ok().and_then(|made| made.state);
        let pid = state.and_then(|state| u32::try_from(state.pid?).ok()).filter(|pid| *pid != 0);
        self.first = pid.and_then(|pid| First::hold(pid).ok());
        self.life = Some(watch_life(events, self.first.clone()));
        Ok(())
    }

    /// Hands the runner what it is given, and nobody else: by then nobody else is in the container, and the kernel says who
    /// asks.
    async fn hand_over(&mut self, listener: &UnixStream, given: Given) -> Result<(), EngineError> {
        let given: Vec<_> = given.descriptors().collect();
        let descriptors: Vec<_> = given.iter().map(AsFd::as_fd).collect();
        let handed = async {
            loop {
                let accepted = listener.async_io(Interest::READABLE, || accept_packets(listener));
                let (socket, pid) = accepted.await?;
                if u32::try_from(pid).ok() == self.runner() {
                    // A packet into a new socket finds room.
                    return send_packet(&socket, b"given", &descriptors);
                }
                tracing::warn!(pid, "somebody else asked for what a start's runner is given");
            }
        };
        let mut life = self.life.clone();
        let gone = async {
            match &mut life {
                Some(life) => life.changed().await.is_ok(),
                None => false,
            }
        };
        let handed = tokio::select! {
            handed = handed => handed.map_err(EngineError::Sockets),
            _ = gone => Err(EngineError::Ended),
        };
        // The listener goes now, and its path with it: before any code is there.
        let _ = fs::remove_file(self.folder.join(HAND_OVER));
        handed
    }
}

/// The ticket as it is true in a container whose image wants to write to these folders.
fn inside(ticket: Ticket, volumes: &[PathBuf]) -> Ticket {
    let name = ticket.socket.file_name().unwrap_or_default().to_owned();
    let confinement = ticket.confinement.map(|mut confinement| {
        confinement.write.extend_from_slice(volumes);
        confinement
    });
    Ticket { socket: Path::new(FOLDER).join(name), confinement, ..ticket }
}

async fn create(engine: Engine, name: String, asked: ContainerCreateBody) -> Result<String, EngineError> {
    let options = CreateContainerOptionsBuilder::new().name(&name).build();
    let created = engine.api.create_container(Some(options), asked).await.map_err(|error| match error {
        Error::DockerResponseServerError { status_code: 409, .. } => EngineError::NameTaken(name),
        Error::DockerResponseServerError { status_code: 404, message } => EngineError::ImageGone(message),
        error => refused("make a container")(error),
    })?;
    if created.warnings.is_empty() {
        return Ok(created.id);
    }
    // Nobody else knows of it.
    if let Err(error) = sweep::remove(&engine, &created.id).await {
        tracing::warn!(%error, "a container that was refused is left");
    }
    Err(EngineError::Different(created.warnings.join("; ")))
}

/// Tells what the runner writes: nothing, unless something is wrong with it.
async fn complain(container: String, mut output: impl Stream<Item = Result<LogOutput, Error>> + Unpin) {
    while let Some(Ok(said)) = output.next().await {
        let mut said = said.into_bytes();
        said.truncate(COMPLAINT);
        tracing::warn!(container, said = %String::from_utf8_lossy(&said).trim_end(), "from a container's runner");
    }
}

impl Environment for DockerEnvironment {
    fn start(&mut self, ticket: Ticket, given: Given) -> BoxFuture<'_, Result<(), EnvironmentError>> {
        self.bring_up(ticket, given).boxed()
    }

    fn runner(&self) -> Option<u32> {
        self.first.as_ref().map(|first| first.pid)
    }

    fn was_out_of_memory(&mut self) -> BoxFuture<'_, bool> {
        async {
            let Some(life) = &mut self.life else { return false };
            // The engine tells it no later than that the container is gone.
            let gone = life.wait_for(|life| matches!(life, Life::Gone { .. })).await;
            gone.is_ok_and(|life| *life == Life::Gone { out_of_memory: true })
        }
        .boxed()
    }

    fn pid_on_host(&self, inside: u32) -> u32 {
        let first = self.runner().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let found = first.and_then(|first| tree::called(first, inside));
        found.map_or(inside, |pid| pid.as_raw_nonzero().get().unsigned_abs())
    }

    fn kill(&mut self) -> BoxFuture<'_, ()> {
        async {
            if let Some(creation) = self.creation.take() {
                self.id = creation.await.ok().and_then(Result::ok);
            }
            let Some(id) = &self.id else { return };
            if self.first.as_ref().is_some_and(|first| first.kill().is_ok()) {
                // The engine removes what has ended.
                return;
            }
            if let Err(error) = sweep::remove(&self.containers.engine, id).await {
                tracing::warn!(container = self.name, %error, "a container cannot be removed");
            }
        }
        .boxed()
    }

    fn gone(&mut self) -> BoxFuture<'_, ()> {
        async {
            if let Some(life) = &mut self.life {
                // An error would mean that nobody watches any more.
                let _ = life.wait_for(|life| *life != Life::Runs).await;
            }
        }
        .boxed()
    }
}
