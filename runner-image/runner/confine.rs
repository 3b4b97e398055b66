//! From what a ticket says a service is held to, to the runner's own place and to that of the service's processes.
//!
//! With namespaces, the runner enters them first and is the first process there; whatever it starts is held further. In
//! a container it is the first process already. Without either, only what it starts is held.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use orchestrator_port::container::{self, NOT_OF_IMAGE};
use orchestrator_port::launch::{Confinement as Wanted, Sandbox, Ticket};
use orchestrator_sandbox::confinement::{Confinement, ConfinementError, Counted, Grants, Identity, Limit};
use orchestrator_sandbox::landlock::{Access, Reach};
use orchestrator_sandbox::mounts::{Place, PlaceKind, View};
use orchestrator_sandbox::namespaces::{EnterError, enter};
use orchestrator_sandbox::privileges::settle;
use orchestrator_sandbox::seccomp::Granted;
use orchestrator_sandbox::users::{SERVICE, Users};

use crate::root_folder::RootFolder;
use crate::self_check::{self, SelfCheckError};
use crate::service_process::Environs;

/// The most bytes of code: what a bundle may have, and the plugin's own files.
const CODE_BYTES: u64 = 2 << 30;

/// The devices that every service has.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// What of the host's files every service without a file tree of its own may read.
const HOST_FILES: [&str; 6] =
    ["/etc/hosts", "/etc/localtime", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/ld.so.cache"];

/// Why there is no place for a service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfineError {
    #[error("failed to make the sandbox")]
    Enter(#[from] EnterError),
    #[error("failed to confine the service")]
    Confinement(#[from] ConfinementError),
    #[error(transparent)]
    SelfCheck(#[from] SelfCheckError),
    #[error("failed to give up privileges")]
    Settle(#[source] io::Error),
    #[error("failed to open the runner's own program")]
    Program(#[source] io::Error),
    #[error("failed to listen for what the service may connect to")]
    Relays(#[source] io::Error),
    #[error("failed to use the start's folder")]
    Root(#[source] io::Error),
}

/// Makes the place that the ticket asks for. The calling process must have one thread; with namespaces it is another
/// process that returns.
pub(crate) fn confine(ticket: &Ticket) -> Result<Environs, ConfineError> {
    // Before its path leads nowhere.
    let runner = File::open("/proc/self/exe").map_err(ConfineError::Program)?.into();
    let on_host = || RootFolder::prepare(ticket.root.clone()).map_err(ConfineError::Root);
    match &ticket.confinement {
        None => {
            let root = on_host()?;
            Ok(Environs {
                root,
                runner,
                confinement: None,
                wanted: None,
                js_io: None,
                js_http: None,
                checks: Vec::new(),
            })
        }
        Some(wanted) if wanted.sandbox == Sandbox::Landlock => {
            checked(on_host()?, runner, wanted, Users::One, &ticket.socket)
        }
        Some(wanted) if wanted.sandbox == Sandbox::Container => settle_in_container(wanted, ticket, runner),
        Some(wanted) => enter_namespaces(wanted, ticket, runner),
    }
}

fn enter_namespaces(wanted: &Wanted, ticket: &Ticket, runner: OwnedFd) -> Result<Environs, ConfineError> {
    let users = Users::possible();
    let own = |address: &IpAddr| *address != IpAddr::V6(Ipv6Addr::LOCALHOST) && !is_v4_loopback(address);
    let addresses: BTreeSet<_> = wanted.relays.iter().map(|relay| relay.address).filter(own).collect();
    enter(&view(wanted, users), &ticket.root, &wanted.hostname, &Vec::from_iter(addresses))?;
    checked(RootFolder::in_view(), runner, wanted, users, &ticket.socket)
}

/// The engine has made the place; what is left is to hold the service to what it is granted there.
fn settle_in_container(wanted: &Wanted, ticket: &Ticket, runner: OwnedFd) -> Result<Environs, ConfineError> {
    settle(false).map_err(ConfineError::Settle)?;
    checked(RootFolder::in_view(), runner, wanted, Users::One, &ticket.socket)
}

/// A place that has been looked at from inside. The controller's socket is what no service may reach.
fn checked(
    root: RootFolder,
    runner: OwnedFd,
    wanted: &Wanted,
    users: Users,
    canary: &Path,
) -> Result<Environs, ConfineError> {
    let confinement = Confinement::new(&grants(wanted, &root, users))?;
    let checks = self_check::check(&confinement, wanted.sandbox, runner.as_fd(), canary)?;
    let js_io = Some(js_io_grants(wanted, &root, users));
    let js_http = Some(js_http_grants(wanted, &root, users));
    let (confinement, wanted) = (Some(confinement), Some(wanted.clone()));
    Ok(Environs { root, runner, confinement, wanted, js_io, js_http, checks })
}

/// Those are the loopback interface's anyway.
fn is_v4_loopback(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.is_loopback())
}

/// The files that the service finds.
fn view(wanted: &Wanted, users: Users) -> View {
    let place = |kind| move |path: &PathBuf| Place { path: path.clone(), kind };
    let places = (wanted.runtime.iter().map(place(PlaceKind::Runtime)))
        .chain(wanted.read.iter().map(place(PlaceKind::Read)))
        .chain(wanted.write.iter().map(place(PlaceKind::Write)))
        .chain(wanted.devices.iter().map(place(PlaceKind::Device)));
    View {
        places: places.collect(),
        scratch_bytes: wanted.scratch_bytes,
        scratch_entries: wanted.scratch_entries,
        code_bytes: CODE_BYTES,
        hosts: wanted.hosts.iter().map(|(name, address)| (name.clone(), address.clone())).collect(),
        two_users: users == Users::Two,
        files_of: wanted.user.map(|(uid, gid)| Identity { uid, gid }),
    }
}

/// What each of the service's processes is granted.
fn grants(wanted: &Wanted, root: &RootFolder, users: Users) -> Grants {
    let among_host = wanted.sandbox == Sandbox::Landlock;
    let limits = [
        (Counted::Descriptors, wanted.descriptors),
        (Counted::Processes, wanted.processes),
        (Counted::CpuSeconds, wanted.cpu_seconds),
    ];
    Grants {
        reaches: reaches(wanted, root, among_host),
        calls: Granted {
            subprocess: wanted.subprocess,
            network: wanted.network,
            among_host,
            below_handles: false,
        },
        limits: limits.into_iter().filter_map(|(what, most)| Some(Limit { what, most: most? })).collect(),
        identity: (users == Users::Two).then_some(SERVICE),
    }
}

/// What the runner's own program is held to that opens files and connections for a js service: less than the service.
fn js_io_grants(wanted: &Wanted, root: &RootFolder, users: Users) -> Grants {
    let service = grants(wanted, root, users);
    let scratch = root.temporary().to_owned();
    let lists = [
        (Access::Execute, own_program(wanted)),
        (Access::Read, wanted.read.clone()),
        (Access::Write, [wanted.write.clone(), vec![scratch]].concat()),
    ];
    let reach =
        |(access, paths): (Access, Vec<PathBuf>)| paths.into_iter().map(move |path| Reach { path, access });
    Grants {
        reaches: lists.into_iter().flat_map(reach).collect(),
        calls: Granted { subprocess: false, below_handles: true, ..service.calls },
        ..service
    }
}

/// What the runner's own program is held to that accepts for a js service: nothing but what it is started with.
fn js_http_grants(wanted: &Wanted, root: &RootFolder, users: Users) -> Grants {
    let service = grants(wanted, root, users);
    let program = |path| Reach { path, access: Access::Execute };
    Grants {
        reaches: own_program(wanted).into_iter().map(program).collect(),
        calls: Granted { subprocess: false, network: false, ..service.calls },
        ..service
    }
}

/// The files that the runner's own program needs to be executed: of the runtime's none, unless it is not the static one. In
/// a container it is a file among others.
fn own_program(wanted: &Wanted) -> Vec<PathBuf> {
    let in_container = wanted.sandbox == Sandbox::Container;
    let program = in_container.then(|| PathBuf::from(container::RUNNER));
    wanted.runtime.iter().filter(|path| path.exists()).cloned().chain(program).collect()
}

fn reaches(wanted: &Wanted, root: &RootFolder, among_host: bool) -> Vec<Reach> {
    let own: &[&str] = if among_host { &HOST_FILES } else { &["/etc", "/proc", "/run"] };
    let memory: &[&str] = if among_host { &[] } else { &["/dev/shm"] };
    // Everything in its own tree is its to know.
    let listed: &[&str] = if among_host { &[] } else { &["/"] };
    // All that the image brings, and the runner itself, by which its descriptor is executed.
    let image = if wanted.sandbox == Sandbox::Container { image_files() } else { Vec::new() };
    let there = |path: &&PathBuf| path.exists();
    let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
    let lists: [(Access, Vec<PathBuf>); 8] = [
        (Access::List, paths(listed)),
        (Access::Execute, vec![root.path().into()]),
        (Access::Execute, wanted.runtime.iter().filter(there).cloned().collect()),
        (Access::Execute, image),
        (Access::Read, [paths(own), wanted.read.clone()].concat()),
        (Access::Write, [paths(memory), vec![root.temporary().into()], wanted.write.clone()].concat()),
        (Access::Device, paths(&DEVICES)),
        (Access::Device, wanted.devices.clone()),
    ];
    let reach =
        |(access, paths): (Access, Vec<PathBuf>)| paths.into_iter().map(move |path| Reach { path, access });
    // Of the host's own small files some may be missing, and of an image's as well.
    let may_be_missing = wanted.sandbox != Sandbox::Strict;
    lists.into_iter().flat_map(reach).filter(|reach| !may_be_missing || reach.path.exists()).collect()
}

/// What is in the root of a container's files and is its image's, and the runner's program.
fn image_files() -> Vec<PathBuf> {
    let entries = fs::read_dir("/").into_iter().flatten().flatten();
    let own = entries.filter(|entry| !NOT_OF_IMAGE.iter().any(|name| entry.file_name() == *name));
    own.map(|entry| entry.path()).chain([container::RUNNER.into()]).collect()
}
