//! [`EngineError`]: why there is no container engine to use, or why it did not do what was asked; and what to do about it.

use std::io;
use std::path::PathBuf;

use bollard::errors::Error;

/// Why there is no engine to use, or why it did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// None is there.
    #[error("no container engine is there: not at {}", shown(.0))]
    NotThere(
        /// Where it was looked for.
        Vec<PathBuf>,
    ),
    /// It is on another machine.
    #[error(
        "the container engine at {0} may be on another machine: one with a Unix socket is needed, on this one"
    )]
    Remote(
        /// Its address.
        String,
    ),
    /// The Docker context that was asked for cannot be read.
    #[error("cannot read the Docker context '{name}'")]
    Context {
        /// Its name.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// Its socket is there, and nobody listens.
    #[error("no container engine answers at {}: it is stopped", .0.display())]
    Stopped(
        /// Its socket.
        PathBuf,
    ),
    /// Its socket is others'.
    #[error("this user may not use the container engine at {}", .0.display())]
    NotAllowed(
        /// Its socket.
        PathBuf,
    ),
    /// It answers nothing that can be understood.
    #[error("the container engine at {} does not answer: {why}", .socket.display())]
    Unreachable {
        /// Its socket.
        socket: PathBuf,
        /// What came instead.
        why: String,
    },
    /// It is too old.
    #[error(
        "the container engine speaks version {0} of its interface; 1.41 (Docker 20.10) or later is needed"
    )]
    TooOld(
        /// What it speaks.
        String,
    ),
    /// It does not run Linux containers, or leaves them unfiltered.
    #[error("the container engine cannot be used: {0}")]
    Unfit(
        /// Why.
        &'static str,
    ),
    /// It has answered before, and does so no more.
    #[error("the container engine cannot {what}: it does not answer any more ({why})")]
    Lost {
        /// What it was asked for.
        what: &'static str,
        /// What happened to the connection.
        why: String,
    },
    /// Its disk is full.
    #[error("the container engine cannot {what}: its disk is full")]
    NoSpace {
        /// What it was asked for.
        what: &'static str,
    },
    /// Another container has the name.
    #[error("the container engine has another container of the name {0}")]
    NameTaken(
        /// The name.
        String,
    ),
    /// An image that was there at the beginning is no more.
    #[error("the container engine cannot make a container: {0}")]
    ImageGone(
        /// What it said.
        String,
    ),
    /// It did not do something.
    #[error("the container engine cannot {what}: {why}")]
    Refused {
        /// What.
        what: &'static str,
        /// What it said.
        why: String,
    },
    /// An image is not there.
    #[error("the image '{name}' is not there and cannot be pulled{}", because(.why.as_ref()))]
    ImageMissing {
        /// Its name.
        name: String,
        /// What the engine, or a registry, said.
        why: Option<String>,
    },
    /// A registry gives an image to others only.
    #[error("the image '{name}' is not there, and {registry} does not give it to this user: {why}")]
    ImageNotAllowed {
        /// Its name.
        name: String,
        /// Who was asked.
        registry: String,
        /// What the registry said.
        why: String,
    },
    /// An image wants to write where it cannot be let.
    #[error("the image '{name}' wants a volume at {}, which is no place of its own", .volume.display())]
    Volume {
        /// Its name.
        name: String,
        /// The folder.
        volume: PathBuf,
    },
    /// An image's name means something else than before.
    #[error("the image '{name}' is not what it was: {found} instead of {locked}")]
    Drift {
        /// Its name.
        name: String,
        /// What it meant.
        locked: String,
        /// What it means now.
        found: String,
    },
    /// The file that keeps what images' names mean cannot be used.
    #[error("cannot use {}", .file.display())]
    ImageLock {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The runner cannot be put where containers find it.
    #[error("cannot write the runner's program for containers")]
    Program(#[source] io::Error),
    /// It would have made another container than it was asked for.
    #[error("the container engine would make another container than it was asked for: {0}")]
    Different(
        /// What is different.
        String,
    ),
    /// The start's sockets cannot be made ready for its container.
    #[error("cannot make a start's sockets ready for its container")]
    Sockets(#[source] io::Error),
    /// The runner could not be given its ticket.
    #[error("cannot give the container's runner its ticket")]
    Ticket(#[source] io::Error),
    /// The container ended before its runner had done anything.
    #[error("the container ended at once")]
    Ended,
}

impl EngineError {
    /// What to do about it, in one line.
    #[must_use]
    pub fn fix(&self) -> String {
        let fix = match self {
            Self::NotThere(_) => {
                "install and start Docker, or say where it is with DOCKER_HOST, or write 'isolation: process'"
            }
            Self::Remote(_) => {
                "name a Unix socket of this machine with DOCKER_HOST, or write 'isolation: process'"
            }
            Self::Context { .. } => "see 'docker context ls', or name another one with DOCKER_CONTEXT",
            Self::Stopped(_) => "start it, as with 'systemctl start docker', or write 'isolation: process'",
            Self::NotAllowed(_) => {
                "join the group that the socket is of, which is as good as being root, or run an engine of your own \
                 ('dockerd-rootless-setuptool.sh install')"
            }
            Self::TooOld(_) => "install a later one, or write 'isolation: process'",
            Self::Lost { .. } => "start it again, as with 'systemctl start docker'",
            Self::NoSpace { .. } => "make room, as with 'docker system prune'",
            Self::NameTaken(name) => {
                return format!("remove that one, if nobody needs it: 'docker rm -f {name}'");
            }
            Self::ImageGone(_) => "run 'orchestrator up' again: what was removed is made or fetched anew",
            Self::ImageMissing { .. } => {
                "see that the name is right and that its registry can be reached, or bring the image with 'docker load'"
            }
            Self::ImageNotAllowed { registry, .. } => {
                return format!("log in with 'docker login {registry}', as a user who may have it");
            }
            Self::Volume { .. } => "name another image, or make one of it that has no such VOLUME",
            Self::Drift { .. } => "where that is meant, run 'orchestrator lock --update'",
            Self::ImageLock { .. } => "see who may read and write it, or have it made anew by removing it",
            Self::Program(_) | Self::Sockets(_) => "see that XDG_RUNTIME_DIR is this user's own and has room",
            Self::Different(_) => "see the engine's own settings in /etc/docker/daemon.json",
            Self::Unreachable { .. }
            | Self::Unfit(_)
            | Self::Refused { .. }
            | Self::Ticket(_)
            | Self::Ended => {
                "see that 'docker version' and 'docker info' show nothing wrong, or write 'isolation: process'"
            }
        };
        fix.to_owned()
    }
}

/// Says that the engine, which has answered before, did not do something.
pub(super) fn refused(what: &'static str) -> impl FnOnce(Error) -> EngineError {
    move |error| match said(&error) {
        Some(why) if is_full(why) => EngineError::NoSpace { what },
        Some(why) => EngineError::Refused { what, why: why.to_owned() },
        None => EngineError::Lost { what, why: first_cause(&error) },
    }
}

/// What the engine itself has said; none where it has said nothing.
pub(super) fn said(error: &Error) -> Option<&str> {
    match error {
        Error::DockerResponseServerError { message, .. } => Some(message.trim_end()),
        Error::DockerStreamError { error } => Some(error.trim_end()),
        _ => None,
    }
}

/// Whether what the engine said means that its disk is full.
pub(super) fn is_full(why: &str) -> bool {
    why.contains("no space left on device")
}

/// What everything else came of: what is told around it says less, several times.
pub(super) fn first_cause(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.last().map_or_else(|| error.to_string(), ToString::to_string)
}

/// What the system said where a connection could not be made.
pub(super) fn system_error(error: &Error) -> Option<io::ErrorKind> {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    { causes }.find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind)
}

fn because(why: Option<&String>) -> String {
    why.map(|why| format!(": {why}")).unwrap_or_default()
}

fn shown(places: &[PathBuf]) -> String {
    places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ")
}
