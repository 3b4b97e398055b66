//! What the orchestrator and its keeper say to each other: one JSON text a packet, over a pair of
//! `SOCK_SEQPACKET` sockets. The keeper is the parent of a project's runners; it is why nothing of a project
//! outlives its orchestrator, however that ends.
//!
//! ```text
//!   orchestrator               keeper
//!     Start + descriptor  ->
//!                         <-   Started | Failed
//!     Kill                ->
//!                         <-   Gone           after each Started, once, whether it was killed or not
//!     end of the socket   ->                  everything is killed, the folder removed, the keeper exits
//! ```

use serde::{Deserialize, Serialize};

/// The longest packet, in bytes.
pub const LONGEST_PACKET: usize = 16 * 1024;

/// What the orchestrator tells the keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToKeeper {
    /// Start a runner. The packet carries a descriptor from which the runner reads its
    /// [`Ticket`](crate::launch::Ticket), the one for its service's process to speak on, where its service has a network
    /// its line to the [gateway](crate::gateway), and the sockets that the service serves.
    Start {
        /// The orchestrator's number for this start; each is used once.
        id: u64,
        /// What all of its processes may use together.
        limits: Limits,
    },
    /// Kill that runner and everything that it started. Nothing happens where it is gone already.
    Kill {
        /// The start's number.
        id: u64,
    },
}

/// The most that the processes of a start may use together. None: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Thousandths of a processor core.
    pub cpu: Option<u32>,
    /// Processes and threads of the service.
    pub pids: Option<u64>,
}

/// What the keeper tells the orchestrator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromKeeper {
    /// The runner runs.
    Started {
        /// The start's number.
        id: u64,
        /// The runner's process id.
        pid: u32,
    },
    /// There will be no runner.
    Failed {
        /// The start's number.
        id: u64,
        /// What failed, with its causes.
        error: String,
    },
    /// Nothing of this start is left: the runner has ended, and so has every process below it. Exactly one of the
    /// two is there.
    Gone {
        /// The start's number.
        id: u64,
        /// The runner's exit code.
        code: Option<i32>,
        /// The signal that ended the runner.
        signal: Option<i32>,
        /// Whether one of its processes was killed because it had used up its memory.
        out_of_memory: bool,
    },
}
