//! [`Remark`]: what a service used and what no grant, or not this grant, gives it in a sandbox.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::name::ServiceName;

/// Something to know about learned grants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remark {
    /// Nobody is ever granted it.
    Never {
        /// What was done.
        verb: Verb,
        /// With what.
        path: PathBuf,
        /// Why it is not granted.
        why: &'static str,
    },
    /// It was made where nothing may be written, and is gone again.
    Gone(PathBuf),
    /// It is among the code.
    OwnCode(PathBuf),
    /// It is a program that the runtime does not bring.
    Program(PathBuf),
    /// A socket in the file system.
    Socket(PathBuf),
    /// Granted, but named by a path that is not there in a sandbox.
    Link {
        /// The path.
        from: PathBuf,
        /// Where it leads.
        to: PathBuf,
    },
    /// Granted, and written by another service too.
    Shared {
        /// What.
        path: PathBuf,
        /// By whom.
        with: ServiceName,
    },
    /// A datagram.
    Datagram(SocketAddr),
    /// The port is another service's, reached without its name.
    ByAddress {
        /// Where it connected to.
        to: SocketAddr,
        /// Whose port that is.
        service: ServiceName,
    },
    /// The service's name was looked up, and is known in a sandbox only.
    ByName(ServiceName),
    /// A name that leads to this host or its network.
    Private {
        /// The name.
        name: String,
        /// Where it leads.
        address: IpAddr,
    },
    /// No name is known that leads there.
    Nameless(SocketAddr),
    /// So many uses could not be seen.
    Lost(u64),
}

/// What was done with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// It was read.
    Reads,
    /// It was written.
    Writes,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never { verb, path, why } => {
                let verb = match verb {
                    Verb::Reads => "reads",
                    Verb::Writes => "writes",
                };
                write!(f, "{verb} {}, which is never granted: {why}", path.display())
            }
            Self::Gone(path) => {
                let path = path.display();
                write!(
                    f,
                    "makes {path}, which is gone and where it may not write: give it a folder of its own for that"
                )
            }
            Self::OwnCode(path) => {
                write!(f, "writes {}, among its code, which it can only read", path.display())
            }
            Self::Program(path) => {
                let path = path.display();
                write!(
                    f,
                    "runs {path}: no grant makes a file executable, only 'runtime.files' of a plugin does"
                )
            }
            Self::Socket(path) => {
                write!(f, "connects to the socket {}, which cannot be granted", path.display())
            }
            Self::Link { from, to } => {
                let (from, to) = (from.display(), to.display());
                write!(f, "names {from}, which is a link and not there in a sandbox: let it name {to}")
            }
            Self::Shared { path, with } => {
                let path = path.display();
                write!(f, "writes {path} as '{with}' does: write 'shared: true' there too")
            }
            Self::Datagram(to) => write!(f, "sends datagrams to {to}: they go nowhere in a sandbox"),
            Self::ByAddress { to, service } => {
                write!(
                    f,
                    "connects to {to}, a port of '{service}': let it use the name '{service}', which is known in a sandbox"
                )
            }
            Self::ByName(service) => {
                write!(
                    f,
                    "looks up '{service}', which is known in a sandbox only: what it does there was not seen"
                )
            }
            Self::Private { name, address } => {
                write!(
                    f,
                    "finds {address} by the name '{name}', which will be refused, for it leads to this host or its network: let it use the address"
                )
            }
            Self::Nameless(to) => {
                write!(f, "connects to {to} by no name that was seen: if it has one, grant that instead")
            }
            Self::Lost(count) => write!(f, "{count} of its calls could not be seen"),
        }
    }
}
