//! What a runner is told at its start, through an inherited descriptor, or in a container through its standard input:
//! [`Ticket`].

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::gateway::Relay;
use crate::token::{NotAToken, Token};

/// The descriptor through which a runner reads its ticket, and a keeper speaks.
pub const DESCRIPTOR: i32 = 3;

/// The runner's descriptor that becomes number 3 of its service's process: the host protocol's.
pub const HOST_DESCRIPTOR: i32 = 4;

/// The longest ticket, in bytes: less than a pipe holds, so that nobody waits for its reader.
pub const LONGEST_TICKET: usize = 60 * 1024;

/// Where a runner connects, as whom, and where it works. Written as JSON; the descriptor's end is the ticket's end.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The start's own Unix socket.
    pub socket: PathBuf,
    /// The start's token, in hexadecimal: see [`Token::to_hex`].
    pub token: String,
    /// The start's own folder, which is there, is empty, and is nobody else's.
    pub root: PathBuf,
    /// What the service is held to; none where it may do all that its user may.
    pub confinement: Option<Confinement>,
    /// The sockets that it listens on. The runner inherits one descriptor for each, after the others and in this order.
    #[serde(default)]
    pub listen: Vec<Listener>,
}

/// A socket that is bound and listens, whichever start of the service accepts from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// As the manifest calls it.
    pub name: String,
    /// Where it listens: `0.0.0.0:8080`, `[::]:80`, or a path from `/` on.
    pub address: String,
}

/// What a service is held to. What is not in here it does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// How tight it is.
    pub sandbox: Sandbox,
    /// The host's name, as the service sees it. In a sandbox with namespaces only.
    pub hostname: String,
    /// Files and folders of the host, absolute and without symbolic links on the way, to be read.
    pub read: Vec<PathBuf>,
    /// Those to be read and written.
    pub write: Vec<PathBuf>,
    /// Those that the service's runtime needs, to be read and executed, where they are there.
    pub runtime: Vec<PathBuf>,
    /// The user and the group of the host as whom it uses what it may read and write; none for the owner of each of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<(u32, u32)>,
    /// Device nodes.
    pub devices: Vec<PathBuf>,
    /// The bytes of its own temporary folder, which is in memory.
    pub scratch_bytes: u64,
    /// The most files and folders there.
    pub scratch_entries: u64,
    /// Whether it may start processes.
    pub subprocess: bool,
    /// Whether there is anything that it may connect to or listen on.
    pub network: bool,
    /// What is made inside of what it may connect to.
    pub relays: Vec<Relay>,
    /// Names of hosts beyond `localhost`, with the loopback addresses that stand for them.
    pub hosts: BTreeMap<String, String>,
    /// The most open descriptors of a process.
    pub descriptors: Option<u64>,
    /// The most processes and threads, of all of it.
    pub processes: Option<u64>,
    /// The most seconds of processor time of a process.
    pub cpu_seconds: Option<u64>,
}

/// What a host can enforce, as a runner has tried it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// Why no namespaces can be made; none where they can.
    pub namespaces: Option<String>,
    /// The version of Landlock; 0 without.
    pub landlock: u32,
    /// Whether groups of memory can be made.
    pub memory: bool,
    /// Whether groups of processor time can be made.
    pub cpu: bool,
    /// Whether groups of processes can be made.
    pub pids: bool,
    /// Why no process can be held by Landlock and system call filters; none where one can.
    pub confinement: Option<String>,
}

/// How tight a sandbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sandbox {
    /// Namespaces, and a root folder of its own; inside of that what `Landlock` is.
    Strict,
    /// The host's own files and processes, as far as Landlock and system call filters let through.
    Landlock,
    /// A container, made by its engine around the runner; inside of that what `Landlock` is.
    Container,
}

impl Ticket {
    /// The token, read.
    ///
    /// # Errors
    /// Where the ticket holds none.
    pub fn token(&self) -> Result<Token, NotAToken> {
        Token::from_hex(&self.token)
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("socket", &self.socket)
            .field("root", &self.root)
            .field("confinement", &self.confinement)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}
