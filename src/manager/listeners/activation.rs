//! [`SocketActivation`]: the listening sockets that the orchestrator itself was passed by who started it, as `sd_listen_fds(3)`
//! describes. They stay open in whoever passed them, so all replicas share each of them.

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;

use orchestrator_core::manifest::ListenAddress;
use orchestrator_sandbox::spawn::LISTEN_PID;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::net::sockopt::{socket_acceptconn, socket_type};
use rustix::net::{SocketAddrAny, SocketAddrUnix, SocketType, getsockname};

/// The descriptor of the first socket that is passed.
const FIRST: RawFd = 3;

/// The most sockets that are passed: more is a mistake.
const MOST: RawFd = 1024;

/// The sockets that the orchestrator was passed; none, mostly. The descriptors close when the last clone is dropped.
#[derive(Clone, Debug, Default)]
pub struct SocketActivation {
    sockets: Vec<Given>,
}

/// A socket that was passed.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// What it is called: in systemd, after its unit.
    name: String,
    pub(super) address: Address,
    pub(super) socket: Arc<OwnedFd>,
}

/// What a socket is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Sockets that were passed and cannot be used. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// The number of sockets is none.
    #[error(
        "LISTEN_FDS is '{0}', which is no number of sockets; correct or unset it where the orchestrator is started"
    )]
    Count(
        /// What it is.
        String,
    ),
    /// There is no descriptor where one was passed.
    #[error(
        "LISTEN_FDS says that descriptor {0} was passed, and it is not; correct it where the orchestrator is started"
    )]
    NotPassed(
        /// The number of the descriptor.
        RawFd,
    ),
    /// It is something else than a socket that listens on an address.
    #[error(
        "'{name}', which was passed as descriptor {number}, is no socket that connections are accepted from; \
         write 'ListenStream=' and 'Accept=no' in its .socket unit"
    )]
    NotListening {
        /// What it is called.
        name: String,
        /// The number of the descriptor.
        number: RawFd,
    },
    /// Two of them are what one entry of `listen` means.
    #[error(
        "the sockets '{one}' and '{other}' were both passed for what one 'listen' means; take one of them out of the .socket unit"
    )]
    Twice {
        /// What one is called.
        one: String,
        /// And the other.
        other: String,
    },
    /// No service listens there.
    #[error(
        "the socket '{name}' was passed for {address}, where no service listens; add that to the 'listen' of a service, \
         or take it out of the .socket unit"
    )]
    Unclaimed {
        /// What it is called.
        name: String,
        /// What it is bound to.
        address: String,
    },
}

impl SocketActivation {
    /// Takes over the sockets that this process was passed, if it was any. To be called before anything else opens
    /// descriptors. No program that is started from now on inherits them.
    ///
    /// # Errors
    /// Where what was passed is not what was said, or does not listen.
    pub fn of_process() -> Result<Self, ActivationError> {
        let said = |name| env::var(name).ok();
        // The variables may be meant for who started this process.
        if said(LISTEN_PID).and_then(|pid| pid.parse().ok()) != Some(process::id()) {
            return Ok(Self::default());
        }
        let count = said("LISTEN_FDS").unwrap_or_default();
        let number = count.parse().ok().filter(|number| (0..=MOST).contains(number));
        let number: RawFd = number.ok_or(ActivationError::Count(count))?;
        let names = said("LISTEN_FDNAMES").unwrap_or_default();
        let names = names.split(':').filter(|name| !name.is_empty()).chain(std::iter::repeat("unknown"));
        let sockets = (FIRST..FIRST + number).zip(names).map(|(number, name)| Given::take(number, name));
        Ok(Self { sockets: sockets.collect::<Result<_, _>>()? })
    }

    /// Whether none was passed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Whether each is bound to one of these addresses.
    pub(super) fn check<'a>(
        &self,
        wanted: impl Iterator<Item = &'a ListenAddress>,
    ) -> Result<(), ActivationError> {
        let wanted: Vec<_> = wanted.collect();
        for address in &wanted {
            let mut meant = self.sockets.iter().filter(|given| given.address.is(address));
            if let (Some(one), Some(other)) = (meant.next(), meant.next()) {
                return Err(ActivationError::Twice { one: one.name.clone(), other: other.name.clone() });
            }
        }
        let is_wanted = |given: &&Given| wanted.iter().any(|address| given.address.is(address));
        match self.sockets.iter().find(|given| !is_wanted(given)) {
            None => Ok(()),
            Some(Given { name, address, .. }) => {
                Err(ActivationError::Unclaimed { name: name.clone(), address: address.to_string() })
            }
        }
    }

    /// The socket that is bound to this address.
    pub(super) fn at(&self, address: &ListenAddress) -> Option<&Given> {
        self.sockets.iter().find(|given| given.address.is(address))
    }
}

impl Given {
    fn take(number: RawFd, name: &str) -> Result<Self, ActivationError> {
        let socket =
            orchestrator_sandbox::inherited(number).map_err(|_| ActivationError::NotPassed(number))?;
        let address = listens_on(&socket);
        let address =
            address.ok_or_else(|| ActivationError::NotListening { name: name.to_owned(), number })?;
        Ok(Self { name: name.to_owned(), address, socket: Arc::new(socket) })
    }
}

/// Where a socket listens; none where it does not, or nowhere that a manifest could name.
fn listens_on(socket: &OwnedFd) -> Option<Address> {
    if socket_type(socket).ok()? != SocketType::STREAM || !socket_acceptconn(socket).ok()? {
        return None;
    }
    // Services get sockets on which accepting waits, as from the orchestrator's own.
    wait_at(socket).ok()?;
    Address::of(getsockname(socket).ok()?)
}

fn wait_at(socket: impl AsFd) -> io::Result<()> {
    let flags = fcntl_getfl(&socket)?;
    Ok(fcntl_setfl(&socket, flags - OFlags::NONBLOCK)?)
}

impl Address {
    fn of(address: SocketAddrAny) -> Option<Self> {
        if let Ok(address) = SocketAddr::try_from(address.clone()) {
            return Some(Self::Tcp(address));
        }
        let address = SocketAddrUnix::try_from(address).ok()?;
        let path = std::ffi::OsStr::from_bytes(address.path_bytes()?);
        Some(Self::Unix(path.into()))
    }

    /// Whether this is what a manifest means.
    fn is(&self, wanted: &ListenAddress) -> bool {
        match (self, wanted) {
            (Self::Tcp(address), ListenAddress::Tcp(wanted)) => address == wanted,
            (Self::Tcp(address), ListenAddress::Port(port)) => {
                address.ip().is_unspecified() && address.port() == *port
            }
            (Self::Unix(path), ListenAddress::Unix(wanted)) => path == wanted || is_same(path, wanted),
            _ => false,
        }
    }
}

/// Whether both lead to one file, as `/run` and `/var/run` do.
fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path| fs::canonicalize(path).ok();
    real(one).is_some_and(|one| real(other).is_some_and(|other| one == other))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn means(address: &str, wanted: &str) -> bool {
        let wanted = ListenAddress::parse(wanted, Path::new("/shop")).unwrap();
        let address = match address.parse() {
            Ok(address) => Address::Tcp(address),
            Err(_) => Address::Unix(address.into()),
        };
        address.is(&wanted)
    }

    #[test]
    fn a_socket_is_meant_by_the_address_that_it_is_bound_to() {
        for (address, wanted, expected) in [
            ("[::]:8080", "8080", true),
            ("0.0.0.0:8080", "8080", true),
            ("127.0.0.1:8080", "8080", false),
            ("127.0.0.1:8080", "localhost:8080", true),
            ("127.0.0.1:8080", "127.0.0.1:8081", false),
            ("[::]:8080", "0.0.0.0:8080", false),
            ("/shop/app.sock", "./app.sock", true),
            ("/shop/app.sock", "/run/app.sock", false),
            ("/shop/app.sock", "8080", false),
        ] {
            assert_eq!(means(address, wanted), expected, "{address} {wanted}");
        }
    }

    #[test]
    fn only_what_listens_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let socket = OwnedFd::from(listener);
        assert_eq!(listens_on(&socket), Some(Address::Tcp(address)));
        assert!(!fcntl_getfl(&socket).unwrap().contains(OFlags::NONBLOCK));
        let connected = OwnedFd::from(std::net::TcpStream::connect(address).unwrap());
        assert_eq!(listens_on(&connected), None);
        let file = OwnedFd::from(fs::File::open("/dev/null").unwrap());
        assert_eq!(listens_on(&file), None);
    }

    #[test]
    fn two_sockets_for_one_entry_are_one_too_many() {
        let given = |name: &str, address: &str| Given {
            name: name.into(),
            address: Address::Tcp(address.parse().unwrap()),
            socket: Arc::new(TcpListener::bind("127.0.0.1:0").unwrap().into()),
        };
        let activation =
            SocketActivation { sockets: vec![given("four", "0.0.0.0:80"), given("six", "[::]:80")] };
        let refused = activation.check([&ListenAddress::Port(80)].into_iter()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the sockets 'four' and 'six' were both passed for what one 'listen' means; take one of them out of the .socket unit"
        );
    }
}
