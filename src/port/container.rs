//! Where a runner in a container finds what it is given: the manager puts it there, the runner looks there.
//!
//! A container inherits no descriptors. Its runner reads the ticket from its standard input, and is handed what else a
//! process would be born with over a socket of its own beside the start's, [`HAND_OVER`]: one packet, with the
//! descriptor for its service's process, and the line to the gateway where there is one. Both sockets are gone before any code of a service is there.

/// The runner's program.
pub const RUNNER: &str = "/orchestrator/runner";

/// The start's own folder, with its sockets in it.
pub const FOLDER: &str = "/orchestrator/start";

/// The name of the socket over which descriptors are handed over, in the start's folder. It keeps packets apart.
pub const HAND_OVER: &str = "hand-over.sock";

/// What in the root of a container's files is not its image's: everything else there is the service's to read and
/// execute.
pub const NOT_OF_IMAGE: [&str; 7] = ["dev", "orchestrator", "proc", "run", "service", "sys", "tmp"];
