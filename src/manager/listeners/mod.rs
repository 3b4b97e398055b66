//! [`Listeners`]: the sockets of a project. They are bound before anything starts and kept until everything is gone, so
//! replicas come and go behind them and nobody's connection is refused.
//!
//! Each replica of a service has a socket of its own for each TCP address, the same for all its starts; the kernel parts
//! connections among those whose replicas are ready ([`orchestrator_sandbox::steering`]). So they are spread evenly, any program
//! that can use a passed socket is served, and no connection is touched by anybody on its way. The replicas of a service share
//! its Unix sockets, and those that the orchestrator itself was passed (`activation.rs`), which have no others beside them. While no replica is ready, HTTP connections go to a socket that the orchestrator keeps for itself (`door.rs`);
//! what has come to the socket of a replica that is gone is not forgotten (`orphan.rs`).

mod activation;
mod bind;
mod door;
mod orphan;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use orchestrator_core::ServiceName;
use orchestrator_core::manifest::{self, ListenAddress, Service};
use orchestrator_core::report::{ServiceView, State};
use orchestrator_port::launch::Listener;
use orchestrator_sandbox::steering::steer;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use self::activation::{ActivationError, SocketActivation};
use self::activation::{Address, Given};
pub use self::bind::BindError;
use self::door::Door;
use self::orphan::{Orphan, Whose};

/// Why the sockets of a project cannot be had. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// One cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// One was passed that cannot be used.
    #[error(transparent)]
    Activation(#[from] ActivationError),
}

/// What one start is given.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// What the sockets are.
    pub(crate) listen: Vec<Listener>,
    /// The sockets, in the same order.
    pub(crate) sockets: Vec<OwnedFd>,
}

/// The sockets of a project.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    services: HashMap<ServiceName, OfService>,
    /// The Unix sockets that were made, to be removed.
    paths: Vec<PathBuf>,
}

/// The sockets of a service.
#[derive(Debug, Default)]
struct OfService {
    sockets: Vec<Socket>,
    attendance: watch::Sender<Attendance>,
    /// They see to who comes while nobody serves.
    keepers: JoinSet<()>,
}

/// The places of replicas, from 0.
#[derive(Debug, Default, PartialEq, Eq)]
struct Attendance {
    /// Those that are ready.
    ready: Vec<u32>,
    /// Those that are anything but closed: they may have their sockets.
    there: Vec<u32>,
}

/// One entry of `listen`.
#[derive(Debug)]
struct Socket {
    name: String,
    /// Where it is reached, as processes are told.
    address: String,
    bound: Bound,
}

#[derive(Debug)]
enum Bound {
    /// One for each replica, in the order in which they began to listen; for HTTP, the door's began before them.
    Tcp { address: SocketAddr, http: bool, slots: Vec<Arc<OwnedFd>> },
    /// One for all of them: at a path, or passed by who started the orchestrator.
    Shared(Arc<OwnedFd>),
}

impl Listeners {
    /// Binds everything that these services listen on, but for what was passed.
    ///
    /// # Errors
    /// With the first that cannot be had, or was passed and is nobody's. None is kept then.
    pub(crate) fn bind<'a>(
        services: impl Iterator<Item = &'a Service> + Clone,
        activation: &SocketActivation,
    ) -> Result<Self, ListenError> {
        let wanted = services.clone().flat_map(|service| &service.listen);
        activation.check(wanted.map(|listener| &listener.address))?;
        let mut listeners = Self::default();
        for service in services.filter(|service| !service.listen.is_empty()) {
            let mut of_service = OfService::default();
            for listener in &service.listen {
                let refused = |why| BindError::new(service, listener, why);
                if let Some(given) = activation.at(&listener.address) {
                    of_service.add_given(&service.name, listener, given);
                } else if let ListenAddress::Unix(path) = &listener.address {
                    of_service.add_unix(&service.name, listener, bind::unix(path).map_err(refused)?);
                    listeners.paths.push(path.clone());
                } else {
                    let address = bind::claim(&listener.address).map_err(refused)?;
                    let added = of_service.add_tcp(&service.name, listener, address);
                    added.map_err(|error| refused(error.into()))?;
                }
            }
            let grown = of_service.grow(&service.name, service.replicas.get() as usize);
            grown.map_err(|error| BindError::new(service, &service.listen[0], error.into()))?;
            listeners.services.insert(service.name.clone(), of_service);
        }
        Ok(listeners)
    }

    /// What a start of the replica with this number is given, from 1. From then on nobody else touches the sockets.
    ///
    /// # Errors
    /// Where a further socket cannot be had.
    pub(crate) fn pass(&mut self, service: &ServiceName, replica: u32) -> io::Result<Passed> {
        let Some(of_service) = self.services.get_mut(service) else { return Ok(Passed::default()) };
        let place = replica.saturating_sub(1);
        of_service.grow(service, place as usize + 1)?;
        of_service.attendance.send_if_modified(|attendance| {
            let comes = !attendance.there.contains(&place);
            if comes {
                attendance.there.push(place);
            }
            comes
        });
        let mut passed = Passed::default();
        for Socket { name, address, bound, .. } in &of_service.sockets {
            let socket = match bound {
                Bound::Tcp { slots, .. } => &slots[place as usize],
                Bound::Shared(socket) => socket,
            };
            passed.sockets.push(socket.try_clone()?);
            passed.listen.push(Listener { name: name.clone(), address: address.clone() });
        }
        Ok(passed)
    }

    /// From now on new connections go to those replicas that are ready.
    pub(crate) fn attend(&self, view: &ServiceView) {
        let Some(of_service) = self.services.get(&view.name) else { return };
        let places = |those: &dyn Fn(State) -> bool| {
            let replicas = view.replicas.iter().filter(|replica| those(replica.state));
            replicas.map(|replica| replica.index.saturating_sub(1)).collect()
        };
        let attendance = Attendance {
            ready: places(&|state| state == State::Running),
            there: places(&|state| state != State::Closed),
        };
        let before = of_service.attendance.borrow().ready == attendance.ready;
        if !before {
            of_service.sockets.iter().for_each(|socket| socket.steer(&attendance.ready));
        }
        of_service.attendance.send_if_modified(|present| {
            let changed = *present != attendance;
            *present = attendance;
            changed
        });
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for path in &self.paths {
            // Somebody may have removed it.
            let _ = fs::remove_file(path);
        }
    }
}

impl OfService {
    fn add_unix(&mut self, service: &ServiceName, listener: &manifest::Listener, socket: OwnedFd) {
        self.share(service, listener, listener.address.to_string(), Arc::new(socket));
    }

    fn add_given(&mut self, service: &ServiceName, listener: &manifest::Listener, given: &Given) {
        let address = match &given.address {
            // Of a port of the host, what it is bound to.
            Address::Tcp(address) => address.to_string(),
            Address::Unix(_) => listener.address.to_string(),
        };
        self.share(service, listener, address, Arc::clone(&given.socket));
    }

    fn share(
        &mut self,
        service: &ServiceName,
        listener: &manifest::Listener,
        address: String,
        socket: Arc<OwnedFd>,
    ) {
        self.watch(service, &socket, Whose::All { http: listener.is_http() });
        self.sockets.push(Socket { name: listener.name.clone(), address, bound: Bound::Shared(socket) });
    }

    fn add_tcp(
        &mut self,
        service: &ServiceName,
        listener: &manifest::Listener,
        address: SocketAddr,
    ) -> io::Result<()> {
        let http = listener.is_http();
        if http {
            let socket = bind::tcp(address)?;
            // Nobody is ready yet.
            steer(socket.as_fd(), &[0])?;
            let attendance = self.attendance.subscribe();
            let door = Door { service: service.clone(), socket, address, attendance };
            self.keep(service, door.keep());
        }
        let bound = Bound::Tcp { address, http, slots: Vec::new() };
        self.sockets.push(Socket { name: listener.name.clone(), address: address.to_string(), bound });
        Ok(())
    }

    /// Makes sockets for so many replicas, where there are fewer.
    fn grow(&mut self, service: &ServiceName, replicas: usize) -> io::Result<()> {
        let mut grown = Vec::new();
        for socket in &mut self.sockets {
            if let Bound::Tcp { address, http, slots } = &mut socket.bound {
                for place in (0..).take(replicas).skip(slots.len()) {
                    let slot = Arc::new(bind::tcp(*address)?);
                    slots.push(Arc::clone(&slot));
                    grown.push((slot, Whose::One { place, address: *address, http: *http }));
                }
            }
        }
        for (slot, whose) in grown {
            self.watch(service, &slot, whose);
        }
        Ok(())
    }

    /// Has somebody see to a socket while no process has it.
    fn watch(&mut self, service: &ServiceName, socket: &Arc<OwnedFd>, whose: Whose) {
        let attendance = self.attendance.subscribe();
        let (socket, service) = (Arc::clone(socket), service.clone());
        self.keep(&service.clone(), Orphan { service, socket, whose, attendance }.watch());
    }

    fn keep(&mut self, service: &ServiceName, keeper: impl Future<Output = io::Result<()>> + Send + 'static) {
        let service = service.clone();
        self.keepers.spawn(async move {
            if let Err(error) = keeper.await {
                tracing::warn!(%service, %error, "a socket cannot be watched while nobody serves it");
            }
        });
    }
}

impl Socket {
    /// New connections go to these members only; where there are none, to the door.
    fn steer(&self, ready: &[u32]) {
        let Bound::Tcp { address, http, slots } = &self.bound else { return };
        let Some(slot) = slots.first() else { return };
        let steered = match (http, ready) {
            (false, ready) => steer(slot.as_fd(), ready),
            (true, []) => steer(slot.as_fd(), &[0]),
            // The door listens before them.
            (true, ready) => steer(slot.as_fd(), &ready.iter().map(|place| place + 1).collect::<Vec<_>>()),
        };
        if let Err(error) = steered {
            tracing::warn!(%address, %error, "connections cannot be steered: the kernel parts them as it does");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpStream, UnixStream};

    use super::*;

    fn name() -> ServiceName {
        "web".parse().unwrap()
    }

    fn listener(name: &str, address: ListenAddress) -> manifest::Listener {
        manifest::Listener { name: name.into(), address }
    }

    fn of(service: OfService) -> Listeners {
        Listeners { services: HashMap::from([(name(), service)]), paths: Vec::new() }
    }

    /// Two replicas in these states.
    fn view(states: [&str; 2]) -> ServiceView {
        let replica = |(index, state)| serde_json::json!({ "index": index, "state": state, "generation": 1, "restarts": 0 });
        let replicas: Vec<_> = (1..).zip(states).map(replica).collect();
        let view = serde_json::json!({
            "name": "web", "kind": "service", "state": "running", "depends_on": [], "replicas": replicas
        });
        serde_json::from_value(view).unwrap()
    }

    fn has_come(socket: &OwnedFd) -> bool {
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&none)).unwrap() > 0
    }

    #[tokio::test]
    async fn who_has_come_to_a_replica_that_goes_is_carried_to_another() {
        for kind in ["http", "raw"] {
            let mut service = OfService::default();
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
            service.add_tcp(&name(), &listener(kind, ListenAddress::Tcp(free)), free).unwrap();
            let mut listeners = of(service);
            let going = listeners.pass(&name(), 1).unwrap().sockets.remove(0);
            let serving = listeners.pass(&name(), 2).unwrap().sockets.remove(0);
            listeners.attend(&view(["running", "running"]));
            let mut before = Vec::new();
            let mut client = loop {
                let client = TcpStream::connect(free).await.unwrap();
                if has_come(&going) {
                    break client;
                }
                before.push(client);
            };
            thread::spawn(move || {
                for mut client in TcpListener::from(serving).incoming().flatten() {
                    io::Write::write_all(&mut client, b"served").unwrap();
                }
            });
            listeners.attend(&view(["closed", "running"]));
            let mut heard = String::new();
            client.read_to_string(&mut heard).await.unwrap();
            assert_eq!(heard, "served", "{kind}");
        }
    }

    #[tokio::test]
    async fn http_on_a_path_is_told_to_come_again_when_nobody_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let mut service = OfService::default();
        let socket = bind::unix(&path).unwrap();
        service.add_unix(&name(), &listener("http", ListenAddress::Unix(path.clone())), socket);
        let listeners = of(service);
        let mut client = UnixStream::connect(&path).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.unwrap();
        assert!(heard.starts_with("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"), "{heard}");
        assert!(heard.ends_with("no replica of web is ready\n"), "{heard}");
        drop(listeners);
    }
}
