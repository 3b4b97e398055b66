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
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orchestrator_core::ServiceName;
use orchestrator_core::manifest::{self, ListenAddress, Service};
use orchestrator_core::report::{ServiceView, State};
use orchestrator_port::launch::Listener;
use orchestrator_sandbox::steering::steer;
use tokio::sync::{Semaphore, watch};
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
    /// What was passed by who started the orchestrator.
    activation: SocketActivation,
}

/// Sockets that are to be those of a project.
#[derive(Debug)]
pub(crate) struct Staged(Vec<(ServiceName, watch::Sender<Attendance>, Vec<Next>)>);

/// One of them.
#[derive(Debug)]
enum Next {
    /// It is there already, at this place among the sockets of its service; and what it is called now.
    There {
        place: usize,
        name: String,
    },
    New(Socket),
}

/// The sockets of a service.
#[derive(Debug, Default)]
struct OfService {
    sockets: Vec<Socket>,
    attendance: watch::Sender<Attendance>,
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
    /// What the manifest asked for when it was bound.
    wanted: manifest::Listener,
    /// Where it is reached, as processes are told.
    address: String,
    bound: Bound,
    keepers: Keepers,
}

/// Tasks that see to who comes while nobody serves.
#[derive(Debug, Default)]
struct Keepers(JoinSet<()>);

/// A file that was made, and goes with this.
#[derive(Debug)]
struct Made(PathBuf);

#[derive(Debug)]
enum Bound {
    /// One for each replica, in the order in which they began to listen; for HTTP, the door's began before them.
    Tcp { address: SocketAddr, http: bool, slots: Vec<Arc<OwnedFd>> },
    /// One for all of them: at a path, or passed by who started the orchestrator.
    Shared {
        socket: Arc<OwnedFd>,
        #[expect(dead_code, reason = "kept for its end")]
        path: Option<Made>,
    },
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
        let mut listeners = Self { activation: activation.clone(), ..Self::default() };
        let staged = listeners.stage(services)?;
        listeners.commit(staged);
        Ok(listeners)
    }

    /// Binds what these services listen on and there is not yet.
    ///
    /// # Errors
    /// With the first that cannot be had. Nothing has changed then.
    pub(crate) fn stage<'a>(&self, services: impl Iterator<Item = &'a Service>) -> Result<Staged, BindError> {
        let mut staged = Vec::new();
        for service in services.filter(|service| !service.listen.is_empty()) {
            let before = self.services.get(&service.name);
            let attendance = before.map_or_else(watch::Sender::default, |before| before.attendance.clone());
            let mut sockets = Vec::new();
            for listener in &service.listen {
                let there =
                    before.and_then(|before| before.sockets.iter().position(|there| there.is(listener)));
                sockets.push(match there {
                    Some(place) => Next::There { place, name: listener.name.clone() },
                    None => Next::New(self.socket(service, listener, &attendance)?),
                });
            }
            staged.push((service.name.clone(), attendance, sockets));
        }
        Ok(Staged(staged))
    }

    /// One that was passed, or a new one.
    fn socket(
        &self,
        service: &Service,
        listener: &manifest::Listener,
        attendance: &watch::Sender<Attendance>,
    ) -> Result<Socket, BindError> {
        match self.activation.at(&listener.address) {
            Some(given) => Ok(Socket::given(&service.name, listener, given, attendance)),
            None => Socket::new(service, listener, attendance),
        }
    }

    /// From now on these are the sockets; those that were not staged are closed.
    pub(crate) fn commit(&mut self, staged: Staged) {
        let mut before = std::mem::take(&mut self.services);
        for (service, attendance, sockets) in staged.0 {
            let mut old: Vec<_> =
                before.remove(&service).into_iter().flat_map(|old| old.sockets).map(Some).collect();
            let ready = attendance.borrow().ready.clone();
            let sockets = sockets.into_iter().filter_map(|next| match next {
                Next::There { place, name } => old[place].take().map(|socket| Socket { name, ..socket }),
                Next::New(socket) => {
                    // The next start of who is ready will serve it.
                    socket.steer(&ready);
                    Some(socket)
                }
            });
            self.services.insert(service, OfService { sockets: sockets.collect(), attendance });
        }
    }

    /// A service is no longer part of the project.
    pub(crate) fn forget(&mut self, service: &ServiceName) {
        self.services.remove(service);
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
                Bound::Shared { socket, .. } => socket,
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

impl OfService {
    /// Makes sockets for so many replicas, where there are fewer.
    fn grow(&mut self, service: &ServiceName, replicas: usize) -> io::Result<()> {
        self.sockets.iter_mut().try_for_each(|socket| socket.grow(service, &self.attendance, replicas))
    }
}

impl Socket {
    fn new(
        service: &Service,
        listener: &manifest::Listener,
        attendance: &watch::Sender<Attendance>,
    ) -> Result<Self, BindError> {
        let refused = |why| BindError::new(service, listener, why);
        if let ListenAddress::Unix(path) = &listener.address {
            let socket = bind::unix(path).map_err(refused)?;
            return Ok(Self::unix(&service.name, listener, path, socket, attendance));
        }
        let address = bind::claim(&listener.address).map_err(refused)?;
        let tcp = || {
            let mut socket = Self::tcp(&service.name, listener, address, attendance)?;
            socket.grow(&service.name, attendance, service.replicas.get() as usize)?;
            Ok(socket)
        };
        tcp().map_err(|error: io::Error| refused(error.into()))
    }

    fn unix(
        service: &ServiceName,
        listener: &manifest::Listener,
        path: &Path,
        socket: OwnedFd,
        attendance: &watch::Sender<Attendance>,
    ) -> Self {
        let path = Some(Made(path.to_owned()));
        Self::shared(service, listener, attendance, Arc::new(socket), path)
    }

    fn given(
        service: &ServiceName,
        listener: &manifest::Listener,
        given: &Given,
        attendance: &watch::Sender<Attendance>,
    ) -> Self {
        let shared = Self::shared(service, listener, attendance, Arc::clone(&given.socket), None);
        match &given.address {
            // Of a port of the host, what it is bound to.
            Address::Tcp(address) => Self { address: address.to_string(), ..shared },
            Address::Unix(_) => shared,
        }
    }

    fn shared(
        service: &ServiceName,
        listener: &manifest::Listener,
        attendance: &watch::Sender<Attendance>,
        socket: Arc<OwnedFd>,
        path: Option<Made>,
    ) -> Self {
        let mut keepers = Keepers::default();
        let orphan = Orphan {
            service: service.clone(),
            socket: Arc::clone(&socket),
            whose: Whose::All { http: listener.is_http() },
            attendance: attendance.subscribe(),
            room: Arc::new(Semaphore::new(orphan::AT_ONCE)),
        };
        keepers.keep(service, orphan.watch());
        let (name, wanted) = (listener.name.clone(), listener.clone());
        let address = listener.address.to_string();
        Self { name, wanted, address, bound: Bound::Shared { socket, path }, keepers }
    }

    fn tcp(
        service: &ServiceName,
        listener: &manifest::Listener,
        address: SocketAddr,
        attendance: &watch::Sender<Attendance>,
    ) -> io::Result<Self> {
        let (http, mut keepers) = (listener.is_http(), Keepers::default());
        if http {
            let socket = bind::tcp(address)?;
            // Nobody is ready yet.
            steer(socket.as_fd(), &[0])?;
            let attendance = attendance.subscribe();
            keepers.keep(service, Door { service: service.clone(), socket, address, attendance }.keep());
        }
        let bound = Bound::Tcp { address, http, slots: Vec::new() };
        let (name, wanted) = (listener.name.clone(), listener.clone());
        Ok(Self { name, wanted, address: address.to_string(), bound, keepers })
    }

    /// Whether it is what this entry of a manifest asks for, whatever it is called.
    fn is(&self, listener: &manifest::Listener) -> bool {
        self.wanted.address == listener.address && self.wanted.is_http() == listener.is_http()
    }

    /// Makes one more for each further replica.
    fn grow(
        &mut self,
        service: &ServiceName,
        attendance: &watch::Sender<Attendance>,
        replicas: usize,
    ) -> io::Result<()> {
        let Bound::Tcp { address, http, slots } = &mut self.bound else { return Ok(()) };
        for place in (0..).take(replicas).skip(slots.len()) {
            let socket = Arc::new(bind::tcp(*address)?);
            slots.push(Arc::clone(&socket));
            let orphan = Orphan {
                service: service.clone(),
                socket,
                whose: Whose::One { place, address: *address, http: *http },
                attendance: attendance.subscribe(),
                room: Arc::new(Semaphore::new(orphan::AT_ONCE)),
            };
            self.keepers.keep(service, orphan.watch());
        }
        Ok(())
    }

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

impl Keepers {
    fn keep(&mut self, service: &ServiceName, keeper: impl Future<Output = io::Result<()>> + Send + 'static) {
        let service = service.clone();
        self.0.spawn(async move {
            if let Err(error) = keeper.await {
                tracing::warn!(%service, %error, "a socket cannot be watched while nobody serves it");
            }
        });
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // Somebody may have removed it.
        let _ = fs::remove_file(&self.0);
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

    fn of(socket: impl FnOnce(&watch::Sender<Attendance>) -> Socket) -> Listeners {
        let attendance = watch::Sender::default();
        let service = OfService { sockets: vec![socket(&attendance)], attendance };
        Listeners { services: HashMap::from([(name(), service)]), ..Listeners::default() }
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
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
            let wanted = listener(kind, ListenAddress::Tcp(free));
            let mut listeners = of(|attendance| Socket::tcp(&name(), &wanted, free, attendance).unwrap());
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
        let socket = bind::unix(&path).unwrap();
        let wanted = listener("http", ListenAddress::Unix(path.clone()));
        let listeners = of(|attendance| Socket::unix(&name(), &wanted, &path, socket, attendance));
        let mut client = UnixStream::connect(&path).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.unwrap();
        assert!(heard.starts_with("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"), "{heard}");
        assert!(heard.ends_with("no replica of web is ready\n"), "{heard}");
        drop(listeners);
    }
}
