//! [`ServiceProcess`]: the process that runs a service's code, and what is run beside it: in the same folder, with the
//! same environment, below the same runner.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orchestrator_port::bundle::{EntryPath, PathError};
use orchestrator_port::launch::{Confinement as Wanted, Listener};
use orchestrator_port::message::control::Order;
use orchestrator_sandbox::Pid;
use orchestrator_sandbox::confinement::{Confinement, ConfinementError, Grants};
use orchestrator_sandbox::recording::Recorder;
use orchestrator_sandbox::spawn::{Child, LISTEN_PID, Launch, Program, SpawnError};
use rustix::fs::{Mode, fchmod};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::command::{CommandError, Places, explain, find};
use crate::js_http::launch::JsHttp;
use crate::js_io::JsGrants;
use crate::js_io::launch::{JsIo, asks};
use crate::root_folder::RootFolder;

/// The first descriptor of a service's process that is neither input nor output: of the sockets that it serves, or of the host
/// protocol, which comes behind them.
const FIRST_DESCRIPTOR: usize = 3;

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
    /// What accepts for it and hands it requests, where it listens and cannot accept anything itself.
    pub(crate) js_http: Option<JsHttp>,
}

/// The sockets that a service's process is for.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// The host protocol's.
    pub(crate) host: OwnedFd,
    pub(crate) listening: Listening,
}

/// What a service listens on.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    /// What they are called, and where they are.
    pub(crate) listen: Vec<Listener>,
    /// A socket for each.
    pub(crate) sockets: Vec<OwnedFd>,
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
    /// What `js-http` is held to: the sockets that it is started with.
    pub(crate) js_http: Option<Grants>,
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
    #[error("failed to confine what is run beside the service's process")]
    Confine(#[from] ConfinementError),
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
        self.start_noted(command, Vec::new(), descriptors, places, None)
    }

    fn start_noted(
        &self,
        command: Vec<OsString>,
        own: Vec<(OsString, OsString)>,
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
            environment: self.environment.clone().into_iter().chain(own).collect(),
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
        let (reader, mut writer) = io::pipe().map_err(StartError::System)?;
        let text = serde_json::to_vec(grants).map_err(|error| StartError::System(error.into()))?;
        // A ticket fits into a pipe, and so does this part of it.
        writer.write_all(&text).map_err(StartError::System)?;
        drop(writer);
        let descriptors = [&null()?, stdout, stderr, &reader.into(), socket];
        self.start_own(&["js-io"], &descriptors, self.environs.js_io.as_ref(), self.recorder.as_ref())
    }

    /// Starts the process that accepts for a js service, on the other end of its socket. Bodies have at most that many bytes.
    /// What it uses is nothing that a service is granted, and is not recorded.
    pub(crate) fn start_js_http(
        &self,
        longest_body: u64,
        socket: &OwnedFd,
        listeners: &[OwnedFd],
        stderr: &OwnedFd,
    ) -> Result<Child, StartError> {
        let null = null()?;
        let descriptors: Vec<_> = [&null, &null, stderr, socket].into_iter().chain(listeners).collect();
        let arguments = ["js-http", &listeners.len().to_string(), &longest_body.to_string()];
        self.start_own(&arguments, &descriptors, self.environs.js_http.as_ref(), None)
    }

    /// Starts the runner's own program in another role.
    fn start_own(
        &self,
        arguments: &[&str],
        descriptors: &[&OwnedFd],
        grants: Option<&Grants>,
        recorder: Option<&Recorder>,
    ) -> Result<Child, StartError> {
        let grants_left = grants.cloned().map(|mut grants| {
            // What has gone meanwhile is an error of who tries it, not the end of the service.
            grants.reaches.retain(|reach| reach.path.exists());
            grants
        });
        let confinement = grants_left.as_ref().map(Confinement::new).transpose()?;
        let launch = Launch {
            program: Program::Descriptor(self.environs.runner.as_fd()),
            arguments: ["runner"].iter().chain(arguments).map(Into::into).collect(),
            environment: Vec::new(),
            folder: Some(&self.folder),
            descriptors: descriptors.iter().map(AsFd::as_fd).collect(),
            die_with_parent: true,
            groups: &[],
            confinement: confinement.as_ref(),
        };
        spawn(&launch, recorder).map_err(StartError::Spawn)
    }
}

impl ServiceProcess {
    /// Starts the process of this order, with the sockets that it serves from descriptor 3 on, and the host protocol's behind
    /// them. When this returns, its program runs.
    pub(crate) fn start(
        order: &Order,
        surroundings: &Surroundings,
        root: &Path,
        sockets: Sockets,
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
        let Sockets { host, listening } = sockets;
        let own = listening.variables(asks(order), &order.env);
        let mut descriptors = vec![&null, &stdout_end, &stderr_end];
        if !asks(order) {
            descriptors.extend(&listening.sockets);
        }
        descriptors.push(&host);
        let asking = if asks(order) { Some(surroundings.ask(order, &stderr_end)?) } else { None };
        descriptors.extend(asking.as_ref().map(|(_, end)| end));
        let asked = if asks(order) { JsHttp::new(order, &listening.sockets, &stderr_end)? } else { None };
        descriptors.extend(asked.as_ref().map(|(_, end)| end));
        let recorder = surroundings.recorder.as_ref();
        let child = surroundings.start_noted(command, own, &descriptors, &places, recorder)?;
        let (js_io, js_http) = (asking.map(|(js_io, _)| js_io), asked.map(|(js_http, _)| js_http));
        Ok(Self { pid: child.pid, stdout, stderr, js_io, js_http })
    }
}

impl Listening {
    /// What the service's own process is told: where the host protocol is, and what it was passed. `js` accepts nothing itself.
    fn variables(&self, js: bool, env: &BTreeMap<String, String>) -> Vec<(OsString, OsString)> {
        let passed = if js { 0 } else { self.sockets.len() };
        let mut own = vec![("ORCHESTRATOR_HOST_FD", (FIRST_DESCRIPTOR + passed).to_string())];
        if !self.listen.is_empty() {
            own.push(("ORCHESTRATOR_LISTEN", self.to_string()));
        }
        if passed > 0 {
            let names: Vec<_> = self.listen.iter().map(|socket| socket.name.as_str()).collect();
            own.extend([
                ("LISTEN_FDS", passed.to_string()),
                ("LISTEN_FDNAMES", names.join(":")),
                // The process's own number is filled in when it is there.
                (LISTEN_PID, String::new()),
            ]);
        }
        if let Some(port) = self.port().filter(|_| !env.contains_key("PORT")) {
            own.push(("PORT", port.to_owned()));
        }
        own.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    /// The port that a program means which asks for one: that of `http`, or the only one.
    fn port(&self) -> Option<&str> {
        let has_port = |listener: &&Listener| !listener.address.starts_with('/');
        let mut ports = self.listen.iter().filter(has_port);
        let http = self.listen.iter().filter(has_port).find(|listener| listener.name == "http");
        let only = ports.next().filter(|_| ports.next().is_none());
        http.or(only)?.address.rsplit_once(':').map(|(_, port)| port)
    }
}

impl fmt::Display for Listening {
    /// As a process is told: `http=0.0.0.0:8080;ipc=/run/app.sock`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Listener { name, address }) in self.listen.iter().enumerate() {
            let before = if index == 0 { "" } else { ";" };
            write!(f, "{before}{name}={address}")?;
        }
        Ok(())
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
