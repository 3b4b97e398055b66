//! What a ServiceController and its RemoteService say to each other. Services never see
//! these, and no service message is ever one of them (lifecycle rule 14).
//!
//! One start, in order: the remote connects and is authenticated by the WebSocket's handshake, then
//!
//! ```text
//!   remote                                   controller
//!     Ready                      ->
//!                                <-          Ship, then an Entry a file (with its bytes), in pieces
//!                                <-          Run
//!     Running | StartFailed      ->          the process is there | cannot be
//!     Output, Usage, Refused, Recorded  ->   whenever
//!                                <-          Probe                     answered by Probed
//!                                <-          Close
//!     Exited                     ->          all output has been sent before it; the last message
//! ```
//!
//! What the service's own process has to say goes another way: [`HostMessages`](crate::HostMessages).
//!
//! Either end going away ends the other (lifecycle rule 9). Who is silent for [`SILENCE_LIMIT`] is gone: the
//! controller pings every [`PING_EVERY`], and the remote answers as RFC 6455 5.5.3 says.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How often the controller pings.
pub const PING_EVERY: Duration = Duration::from_secs(5);

/// How long either end waits for any sign of the other.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(20);

/// What a controller says to its remote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToRemote {
    /// The files of a start follow, as that many entries.
    Ship {
        /// How many entries follow.
        entries: u32,
        /// How many bytes they hold together.
        bytes: u64,
        /// SHA-256 over all entries, in hexadecimal: see [`crate::bundle::digest`].
        sha256: String,
    },
    /// A file, or a piece of it: the payload is its bytes.
    Entry {
        /// Where it belongs, relative to the start's root folder: see [`crate::bundle::EntryPath`].
        path: String,
        /// Whether it can be executed.
        executable: bool,
        /// Whether another piece of the same file follows.
        more: bool,
    },
    /// Everything is there: run it.
    Run(Order),
    /// Try something from inside the environment.
    Probe {
        /// Comes back in the answer.
        id: u64,
        /// What to try.
        probe: Probe,
        /// How long the try may take, in milliseconds.
        timeout: u64,
    },
    /// Send SIGTERM to the service's process group; before it runs: end. Who speaks the host protocol is told there instead.
    /// There is no deadline here: who waits too long destroys the environment.
    Close,
}

/// What to run and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The service's name, for the service to know.
    pub service: String,
    /// The replica's number, for the service to know.
    pub replica: u32,
    /// The program and its arguments. `{root}` stands for the start's root folder, `{code}` for the entry file as
    /// an absolute path, `{runner}` for the runner's own program.
    pub command: Vec<String>,
    /// The file that is run, relative to the root folder.
    pub code: String,
    /// The folder that it is run in, relative to the root folder; or absolute, one of an image.
    pub folder: String,
    /// What the paths are relative to that a service opens as its manifest names them; empty where there is no such folder.
    #[serde(default)]
    pub base: String,
    /// The whole environment of the process, but for the few variables that the runner sets: see the runner.
    pub env: BTreeMap<String, String>,
    /// What it is given as files that nobody else sees, by their names.
    #[serde(default)]
    pub secrets: BTreeMap<String, Secret>,
    /// Whether what it uses is recorded, while nothing is denied to it. Only where it is held to nothing.
    #[serde(default)]
    pub recorded: bool,
    /// The most bytes of output in a second, after a first second's worth at once. None: as many as are taken.
    #[serde(default)]
    pub output_rate: Option<u64>,
    /// The most bytes of what it is sent at one time. None: 4 MiB.
    #[serde(default)]
    pub longest_message: Option<u64>,
}

/// Bytes that are in no output. Written as hexadecimal digits.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        serializer.serialize_str(&digits)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = String::deserialize(deserializer)?;
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes = digits.as_bytes().chunks(2).map(pair).collect::<Option<_>>();
        bytes.map(Self).ok_or_else(|| D::Error::custom("a secret is written in hexadecimal digits"))
    }
}

/// Something that is tried inside the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// Connect to this port of the loopback interface.
    Tcp(u16),
    /// GET this path from this port of the loopback interface, and expect a status from 200 to 399.
    Http {
        /// The port.
        port: u16,
        /// The path, with its leading slash.
        path: String,
    },
    /// Run this command beside the service, and expect exit code 0.
    Exec(Vec<String>),
}

/// What a remote says to its controller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromRemote {
    /// The environment is as it should be: code may come.
    Ready {
        /// What the sandbox was checked for, and held; empty where there is none.
        checks: Vec<String>,
    },
    /// The service's process runs.
    Running {
        /// Its process id, as seen in the environment.
        pid: u32,
    },
    /// Its program could not be run at all. `Exited` follows.
    StartFailed(Thrown),
    /// Something it wrote: the payload is the bytes, as they came, cut anywhere.
    Output {
        /// Where it was written to.
        stream: Stream,
        /// How many bytes of this stream were dropped before these.
        lost: u64,
    },
    /// What the service's process tree uses, measured about once a second.
    Usage(Usage),
    /// The answer to a probe.
    Probed {
        /// The probe's.
        id: u64,
        /// None if it succeeded, else what went wrong, in a few words.
        failure: Option<String>,
    },
    /// The service tried what it is not granted. Each thing is said once, and not many of them.
    Refused {
        /// What, and what would allow it: the end of a sentence that begins with the replica.
        what: String,
    },
    /// What it used, each thing once: the payload is a list of [`Use`], as JSON. Only where it is recorded.
    Recorded {
        /// How many further uses could not be read or kept.
        lost: u64,
    },
    /// The service's process has ended, and all that it wrote has been sent. Exactly one of the two is there.
    Exited {
        /// Its exit code.
        code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
    },
    /// The remote could not do what it was told: the environment is of no use.
    Broken {
        /// What failed, with its causes.
        error: String,
    },
}

/// Where something was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// An exception, in the service's own words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thrown {
    /// Its type.
    #[serde(default)]
    pub name: String,
    /// Its message.
    #[serde(default)]
    pub message: String,
    /// Its stack, a frame a line, in the service's own file names.
    #[serde(default)]
    pub stack: String,
}

/// Something that a recorded service asked the kernel for. Paths are absolute, without links, and were there at that time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// To read a file.
    Read(PathBuf),
    /// To list a folder.
    List(PathBuf),
    /// To change a file that is there.
    Write(PathBuf),
    /// To make or to remove what this path names. Only its folder was there for certain.
    Make(PathBuf),
    /// To execute a file.
    Run(PathBuf),
    /// One of these, by a path that leads through a link.
    Link {
        /// As it was named, absolute.
        from: PathBuf,
        /// Where it led.
        to: PathBuf,
    },
    /// To make a new process.
    Process,
    /// To connect to a socket in the file system.
    Socket(PathBuf),
    /// To connect to a TCP port.
    Connect(SocketAddr),
    /// To send a datagram there, other than to look up a name.
    Datagram(SocketAddr),
    /// To wait for connections at this TCP port.
    Listen(u16),
    /// The address of a name.
    Lookup(String),
}

/// What a process tree uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time since the start, in microseconds.
    pub cpu_time: u64,
    /// Resident memory, in bytes.
    pub memory: u64,
    /// How many processes there are.
    pub processes: u32,
}
