//! [`Permissions`]: everything that is granted to a service, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::endpoint::Endpoint;
use super::pattern::Pattern;
use crate::name::ServiceName;

/// What a service is allowed. The default is nothing but the small things that every service has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Permissions {
    /// Files and folders.
    pub fs: FileGrants,
    /// Connections.
    pub net: NetGrants,
    /// What it may say to other services, and hear from them.
    pub services: BTreeMap<ServiceName, ServiceGrants>,
    /// The services that it may open below itself. None: none at all.
    pub children: Option<ChildGrants>,
    /// What it is given as files, by their names.
    pub secrets: BTreeMap<String, Secret>,
    /// Whether it may start processes.
    pub subprocess: bool,
    /// Device nodes, absolute.
    pub devices: BTreeSet<PathBuf>,
    /// The most that it may use.
    pub limits: Limits,
}

/// Something that nobody else is to see. Where it is kept, not what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Where it is kept.
    pub source: SecretSource,
    /// Whether children can be given it.
    pub delegable: bool,
}

/// Where a secret is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretSource {
    /// In this file, which is absolute.
    File(PathBuf),
    /// In this variable of the environment of who starts the orchestrator.
    Env(String),
}

/// What of the host's files is granted. A folder stands for all that is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileGrants {
    /// To be read.
    pub read: BTreeSet<PathBuf>,
    /// To be read and written.
    pub write: BTreeSet<PathBuf>,
    /// The service's own folder for what it needs only while it runs.
    pub scratch: Scratch,
    /// As whom it uses what is granted; none for the owner of each granted folder.
    pub user: Option<HostUser>,
}

/// A user of the host, and a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostUser {
    /// The user's number.
    pub uid: u32,
    /// The group's.
    pub gid: u32,
}

impl fmt::Display for HostUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// A folder in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scratch {
    /// The most bytes.
    pub size: u64,
    /// The most files and folders.
    pub inodes: u64,
}

/// What connections are granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetGrants {
    /// Where it may connect to.
    pub connect: BTreeSet<Endpoint>,
    /// The ports of its own loopback on which it may listen, and on which services that are granted it reach it.
    pub listen: BTreeSet<u16>,
}

/// What a service may say to one other service, and hear from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceGrants {
    /// The methods of the other that it may call.
    pub call: BTreeSet<Pattern>,
    /// Its own events that reach the other.
    pub emit: BTreeSet<Pattern>,
    /// Events of the other that reach it.
    pub hear: BTreeSet<Pattern>,
}

/// What a service may open below itself. How many there are, and how deep, is counted over all that is below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildGrants {
    /// The most that there are at a time.
    pub max: u32,
    /// The most levels: 1 means children that have none themselves.
    pub depth: u32,
    /// The most that any of them is granted. Its own `children` is none: `depth` says whether there are any.
    pub ceiling: Box<Permissions>,
}

/// The most that a service may use. None: no limit but the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Limits {
    /// Bytes of memory, of all its processes together.
    pub memory: Option<u64>,
    /// Thousandths of a processor core.
    pub cpu: Option<u32>,
    /// Processes and threads.
    pub pids: Option<u32>,
    /// Open descriptors of one process.
    pub fds: Option<u32>,
    /// Processor time of one process.
    pub cpu_time: Option<Duration>,
    /// Bytes of output in a second. Who writes more is made to wait.
    pub logs: Option<u64>,
    /// Bytes of one message to another service.
    pub message: Option<u64>,
    /// What happens where this host cannot enforce one of them.
    pub enforce: Enforce,
}

/// What happens where a limit cannot be enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Enforce {
    /// Nothing starts.
    #[default]
    Hard,
    /// It is said, and the service runs without.
    Soft,
}

/// How tight a service is held. The later, the tighter.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Sandbox {
    /// Not at all: it may do what its user may. Only together with `--allow-unconfined`.
    None,
    /// By Landlock and system call filters, among the host's own files and processes.
    Landlock,
    /// By those, in namespaces of its own, where there is nothing but what was granted.
    #[default]
    Strict,
}

/// What a service's environment is made of.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// A process of this host.
    #[default]
    Process,
    /// A container of the Docker engine.
    Docker,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { size: 16 << 20, inodes: 4096 }
    }
}
