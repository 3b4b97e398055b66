//! [`ServiceProcess`]: the process that runs a service's code, and what is run beside it: in the same folder, with the
//! same environment, below the same runner.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orchestrator_port::bundle::{EntryPath, PathError};
use orchestrator_port::launch::Confinement as Wanted;
use orchestrator_port::message::control::Order;
use orchestrator_sandbox::Pid;
use orchestrator_sandbox::confinement::{Confinement, ConfinementError, Grants};
use orchestrator_sandbox::recording::Recorder;
use orchestrator_sandbox::spawn::{Child, Launch, Program, SpawnError};
use rustix::fs::{Mode, fchmod};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::command::{CommandError, Places, explain, find};
use crate::js_io::JsGrants;
use crate::js_io::launch::{JsIo, asks};
use crate::root_folder::RootFolder;

/// The number of the host protocol's descriptor in a service's process.
const HOST_DESCRIPTOR: &str = "3";

/// What a process has that an order says nothing about. An order's own variables come over these.
const DEFAULTS: [(&str, &str); 2] =
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("LANG", "C.UTF-8")];

/// A service's process, as it was started, with the runner's ends of its pipes.
#[derive(Debug)]
pub(crate) struct ServiceProcess {
    pub(crate) pid: Pid,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    /// What it asks for files and requests, where it cannot open anything itself.
    pub(crate) js_io: Option<JsIo>,
}

/// Where a service's processes run, and what they are held to.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    folder: PathBuf,
    environment: BTreeMap<OsString, OsString>,
    path: String,
    environs: Arc<Environs>,
    /// Notes what the service's own processes use; none where nothing is recorded. What is run beside it, to probe it, is not
    /// the service.
    pub(crate) recorder: Option<Recorder>,
}

/// What the runner has prepared for every process of its service before any code came.
#[derive(Debug)]
pub(crate) struct Environs {
    pub(crate) root: RootFolder,
    /// The runner's own program. In a service's process its path leads elsewhere, or nowhere.
    pub(crate) runner: OwnedFd,
    pub(crate) confinement: Option<Confinement>,
    /// What the ticket grants; none where nothing is kept from the service.
    pub(crate) wanted: Option<Wanted>,
    /// What `js-io` is held to: the service's own files and connections, and nothing else of it.
    pub(crate) js_io: Option<Grants>,
    /// What the confinement was checked for, and held.
    pub(crate) checks: Vec<String>,
}

/// Why no process was started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The service is at fault: its plugin, its code, or what it needs on this machine.
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("order names the path {path:?}")]
    Path {
        path: String,
        #[source]
        source: PathError,
    },
    #[error("failed to start the service's process")]
    System(#[source] io::Error),
    #[error(transparent)]
    Spawn(SpawnError),
    #[error("failed to confine what opens files and connections for the service")]
    JsIo(#[from] ConfinementError),
}

impl Surroundings {
    /// As an order says.
    pub(crate) fn new(order: &Order, environs: &Arc<Environs>) -> Result<Self, StartError> {
        let root = &environs.root;
        let temporary = root.temporary().as_os_str().to_owned();
        let mut environment = BTreeMap::from(DEFAULTS.map(|(name, value)| (name.into(), value.into())));
        environment.extend([("HOME".into(), temporary.clone()), ("TMPDIR".into(), temporary)]);
        if !order.secrets.is_empty() {
            // By the name that systemd has made common.
            environment.insert("CREDENTIALS_DIRECTORY".into(), root.secrets().as_os_str().to_owned());
        }
        environment.extend(order.env.iter().map(|(name, value)| (name.into(), value.into())));
        environment.extend([
            ("ORCHESTRATOR_SERVICE".into(), order.service.as_str().into()),
            ("ORCHESTRATOR_REPLICA".into(), order.replica.to_string().into()),
            ("ORCHESTRATOR_HOST_FD".into(), HOST_DESCRIPTOR.into()),
        ]);
        let path =
            environment.get(OsStr::new("PATH")).and_then(|path| path.to_str()).unwrap_or_default().into();
        // In a container an image may say where its program runs.
        let folder = match order.folder.strip_prefix('/') {
            Some(_) => PathBuf::from(&order.folder),
            None => below(root.path(), &order.folder)?,
        };
        // Who is held is seen by what it is denied.
        let recorder = (order.recorded && environs.confinement.is_none()).then(Recorder::default);
        Ok(Self { folder, environment, path, environs: environs.clone(), recorder })
    }

    /// Starts a process with these descriptors, in a session of its own, beside the service.
    pub(crate) fn start(
        &self,
        command: Vec<OsString>,
        descriptors: &[&OwnedFd],
        places: &Places,
    ) -> Result<Child, StartError> {
        self.start_noted(command, descriptors, places, None)
    }

    fn start_noted(
        &self,
        command: Vec<OsString>,
        descriptors: &[&OwnedFd],
        places: &Places,
        recorder: Option<&Recorder>,
    ) -> Result<Child, StartError> {
        let name = command.first().ok_or(CommandError::Empty)?;
        let program = find(Path::new(name), &self.folder, &self.path)?;
        let is_runner = program == places.runner;
        let launch = Launch {
            program: if is_runner {
                Program::Descriptor(self.environs.runner.as_fd())
            } else {
                Program::Path(&program)
            },
            arguments: command,
            environment: self.environment.clone().into_iter().collect(),
            folder: Some(&self.folder),
            descriptors: descriptors.iter().map(AsFd::as_fd).collect(),
            die_with_parent: true,
            groups: &[],
            confinement: self.environs.confinement.as_ref(),
        };
        spawn(&launch, recorder).map_err(|error| match error {
            SpawnError::Program(error) => explain(&program, places.show(&program), &error).into(),
            SpawnError::Folder(error) => {
                let folder = places.show(&self.folder);
                CommandError::Folder { folder, error: error.to_string() }.into()
            }
            other => StartError::Spawn(other),
        })
    }
}

impl Surroundings {
    fn ask(&self, order: &Order, stderr: &OwnedFd) -> Result<(JsIo, OwnedFd), StartError> {
        let (environs, scratch) = (&self.environs, self.environs.root.temporary().to_owned());
        let grants = JsGrants::new(order, scratch, environs.wanted.as_ref());
        stderr.try_clone().and_then(|stderr| JsIo::new(grants, stderr)).map_err(StartError::System)
    }

    /// Starts the process that opens files and connections for a js service, on the other end of its socket.
    pub(crate) fn start_js_io(
        &self,
        grants: &JsGrants,
        socket: &OwnedFd,
        stdout: &OwnedFd,
        stderr: &OwnedFd,
    ) -> Result<Child, StartError> {
        let grants_left = self.environs.js_io.clone().map(|mut grants| {
            // What has gone meanwhile is an error of who tries it, not the end of the service.
            grants.reaches.retain(|reach| reach.path.exists());
            grants
        });
        let confinement = grants_left.as_ref().map(Confinement::new).transpose()?;
        let (reader, mut writer) = io::pipe().map_err(StartError::System)?;
        let text = serde_json::to_vec(grants).map_err(|error| StartError::System(error.into()))?;
        // A ticket fits into a pipe, and so does this part of it.
        writer.write_all(&text).map_err(StartError::System)?;
        drop(writer);
        let null = null()?;
        let launch = Launch {
            program: Program::Descriptor(self.environs.runner.as_fd()),
            arguments: vec!["runner".into(), "js-io".into()],
            environment: Vec::new(),
            folder: Some(&self.folder),
            descriptors: vec![null.as_fd(), stdout.as_fd(), stderr.as_fd(), reader.as_fd(), socket.as_fd()],
            die_with_parent: true,
            groups: &[],
            confinement: confinement.as_ref(),
        };
        spawn(&launch, self.recorder.as_ref()).map_err(StartError::Spawn)
    }
}

impl ServiceProcess {
    /// Starts the process of this order, with `host` as its descriptor 3. When this returns, its program runs.
    pub(crate) fn start(
        order: &Order,
        surroundings: &Surroundings,
        root: &Path,
        host: &OwnedFd,
    ) -> Result<Self, StartError> {
        let places = places(order, root)?;
        let command = order.command.iter().map(|argument| places.fill(argument)).collect();
        let null = null()?;
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|error| StartError::System(error.into()));
        let ((stdout, stdout_end), (stderr, stderr_end)) = (pipe()?, pipe()?);
        // The service may be another user; by `/dev/stdout` it opens them again, to write.
        for end in [&stdout_end, &stderr_end] {
            fchmod(end, Mode::from_raw_mode(0o622)).map_err(|error| StartError::System(error.into()))?;
        }
        let mut descriptors = vec![&null, &stdout_end, &stderr_end, host];
        let asking = if asks(order) { Some(surroundings.ask(order, &stderr_end)?) } else { None };
        descriptors.extend(asking.as_ref().map(|(_, end)| end));
        let recorder = surroundings.recorder.as_ref();
        let child = surroundings.start_noted(command, &descriptors, &places, recorder)?;
        Ok(Self { pid: child.pid, stdout, stderr, js_io: asking.map(|(js_io, _)| js_io) })
    }
}

fn spawn(launch: &Launch<'_>, recorder: Option<&Recorder>) -> Result<Child, SpawnError> {
    match recorder {
        Some(recorder) => launch.spawn_recorded(recorder),
        None => launch.spawn(),
    }
}

/// What the places in this order's commands stand for.
pub(crate) fn places(order: &Order, root: &Path) -> Result<Places, StartError> {
    let code = below(root, &order.code)?;
    // Not `/proc/self/exe`: by then that is another program.
    let runner = format!("/proc/{}/exe", std::process::id()).into();
    Ok(Places { root: root.into(), code, runner })
}

/// For a process that reads or writes nothing.
pub(crate) fn null() -> Result<OwnedFd, StartError> {
    let null = File::options().read(true).write(true).open("/dev/null");
    Ok(null.map_err(StartError::System)?.into())
}

/// A path of an order: below the root folder, or the root folder itself.
fn below(root: &Path, path: &str) -> Result<PathBuf, StartError> {
    if path.is_empty() {
        return Ok(root.into());
    }
    let parsed = EntryPath::parse(path).map_err(|source| StartError::Path { path: path.into(), source })?;
    Ok(root.join(parsed.as_str()))
}
