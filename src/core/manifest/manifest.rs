//! [`Manifest`]: what a manifest file means, complete and checked. Nothing here is optional that resolving
//! should have filled, and nothing here remembers how it was written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fabric::Fabric;
use super::listener::Listener;
use crate::name::ServiceName;
use crate::permissions::{Isolation, Permissions, Sandbox, Share};

/// A project: its services and how they hang together.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The project's name, a DNS label: what its folders, its control socket and its logs are named after.
    pub name: ServiceName,
    /// Where it finds services of other hosts, and is found; none where it stays by itself.
    pub fabric: Option<Fabric>,
    /// Services that others have, and that its own may be granted.
    pub elsewhere: BTreeSet<ServiceName>,
    /// Its services, by name. Their dependencies exist and form no cycle.
    pub services: BTreeMap<ServiceName, Service>,
}

/// One service as the manifest declares it.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its name, unique in the project.
    pub name: ServiceName,
    /// Whether it runs on or runs to completion.
    pub kind: Kind,
    /// What is shipped to its environment.
    pub code: Code,
    /// The folder of its manifest, absolute: what the paths of its grants are relative to.
    pub folder: PathBuf,
    /// The plugin that runs the code: `js`, `node`, `python`, `exec`, or an installed one; `image` for an image's program.
    pub runtime: String,
    /// Arguments for the program.
    pub args: Vec<String>,
    /// The environment variables it gets, beyond the fixed few that every service has.
    pub env: BTreeMap<String, String>,
    /// What its environment is made of.
    pub isolation: Isolation,
    /// The image whose files its container has; none for a process, and where the runner is all that it needs.
    pub image: Option<String>,
    /// How tight it is held.
    pub sandbox: Sandbox,
    /// What it is allowed.
    pub permissions: Permissions,
    /// What it depends on, and how.
    pub depends_on: BTreeMap<ServiceName, Dependency>,
    /// How many replicas run.
    pub replicas: NonZeroU32,
    /// How many calls one replica has under way at a time; none where the Router's own limit is enough.
    pub max_in_flight: Option<NonZeroU32>,
    /// How many replicas a reload replaces at a time.
    pub max_surge: NonZeroU32,
    /// The sockets that it serves, in the order of the file.
    pub listen: Vec<Listener>,
    /// Who of other members of the fabric may call it.
    pub share: Share,
    /// What must answer before it counts as running. None: its own `start()` having returned is enough.
    pub ready: Option<Readiness>,
    /// How it is checked while it runs. An exported `health()` is asked whenever there is one.
    pub alive: Liveness,
    /// After how much a start of it is replaced by a new one.
    pub recycle: Recycle,
    /// What happens when it crashes.
    pub restart: Restart,
    /// What is done, outside of the project, when a replica of it gives up.
    pub on_give_up: OnGiveUp,
    /// How long a start may take, from the creation of the environment to ready.
    pub start_timeout: Duration,
    /// How long a graceful close may take before it is forced.
    pub close_timeout: Duration,
    /// Whether everything ends when this ends, with its exit code.
    pub essential: bool,
}

/// Whether a service runs on, or runs to completion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Runs until it is closed.
    #[default]
    Service,
    /// Runs to completion; others may wait for it to have completed.
    Job,
}

/// What is shipped to a service's environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    /// A file or a folder, as an absolute path.
    Path(PathBuf),
    /// The source text itself.
    Inline(String),
    /// Nothing: the program of its image runs.
    Image,
}

/// One arrow of the graph: what a service needs of a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Dependency {
    /// What must be true of the dependency before the dependent starts.
    pub condition: Condition,
    /// What the dependency's crash does to the dependent.
    pub on_crash: OnCrash,
}

/// What must be true of a dependency before its dependent starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// It is running and ready. The only condition for a service.
    #[default]
    Ready,
    /// It has run to completion with exit code 0. The only condition for a job, and its default.
    Completed,
}

/// What a dependency's crash does to its dependent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnCrash {
    /// The dependent closes, and starts again when the dependency runs again (lifecycle rules 5 and 12).
    #[default]
    Close,
    /// The dependent runs on.
    Ignore,
}

/// What is done when a replica crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Restart {
    /// Which ends are followed by a restart.
    pub policy: RestartPolicy,
    /// The wait before the first restart.
    pub backoff_min: Duration,
    /// What the wait, doubled at each crash within the window, never exceeds.
    pub backoff_max: Duration,
    /// How many crashes within the window are followed by a restart. One more, and the replica gives up.
    pub max: u32,
    /// The window in which crashes are counted.
    pub within: Duration,
}

/// Which ends of a service are followed by a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// None.
    Never,
    /// Every crash: a failed start, an exit code other than 0, a signal, a lost connection, failed health checks.
    #[default]
    OnFailure,
    /// Those, and an exit with code 0 that nobody asked for.
    Always,
}

/// After how much one start of a replica is replaced by a new one: whichever comes first, never where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recycle {
    /// After so many calls that it has answered.
    pub requests: Option<NonZeroU32>,
    /// When it uses more memory than this, in bytes.
    pub memory: Option<u64>,
    /// After so long.
    pub age: Option<Duration>,
}

/// What is done when a replica gives up: nothing, where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnGiveUp {
    /// A program with its arguments, which the orchestrator runs as itself. Never empty.
    pub exec: Option<Vec<String>>,
    /// Where it is posted.
    pub webhook: Option<Webhook>,
}

/// Where something is posted over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Whether that is over TLS.
    pub tls: bool,
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path with its leading slash, and its query.
    pub path: String,
}

/// When a started service counts as running.
#[derive(Clone, Debug, PartialEq)]
pub struct Readiness {
    /// What is tried.
    pub check: ReadyCheck,
    /// The wait between two tries.
    pub interval: Duration,
}

/// What says that a service is ready.
#[derive(Clone, Debug, PartialEq)]
pub enum ReadyCheck {
    /// A probe that succeeds.
    Probe(Probe),
    /// A line of its output that matches this regular expression.
    Log(String),
    /// The service says so itself, with `started` on the host protocol.
    Notify,
}

/// Something tried from inside the service's environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Something accepts TCP connections on this port of the loopback interface.
    Tcp(u16),
    /// A GET of this path on this port of the loopback interface answers with a status from 200 to 399.
    Http {
        /// The port.
        port: u16,
        /// The path, with its leading slash.
        path: String,
    },
    /// A command that exits with code 0.
    Exec(Vec<String>),
}

/// How a running service is checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Liveness {
    /// What is tried, besides an exported `health()`.
    pub probe: Option<Probe>,
    /// The wait between two tries.
    pub interval: Duration,
    /// How long one try may take.
    pub timeout: Duration,
    /// How many failures in a row are a crash.
    pub failures: NonZeroU32,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            policy: RestartPolicy::default(),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            max: 5,
            within: Duration::from_secs(60),
        }
    }
}

impl Default for Liveness {
    fn default() -> Self {
        Self {
            probe: None,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            failures: NonZeroU32::new(3).expect("three is not zero"),
        }
    }
}

impl Dependency {
    /// What a name in a list of dependencies means.
    #[must_use]
    pub fn on(kind: Kind) -> Self {
        let condition = match kind {
            Kind::Service => Condition::Ready,
            Kind::Job => Condition::Completed,
        };
        Self { condition, on_crash: OnCrash::default() }
    }
}

impl fmt::Display for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tls, host, port, path } = self;
        write!(f, "{}://{host}:{port}{path}", if *tls { "https" } else { "http" })
    }
}
