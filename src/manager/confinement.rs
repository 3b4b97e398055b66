//! From what a service is granted to what its runner is told: [`confinement`].

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use orchestrator_core::manifest::{RuntimeSpec, Service};
use orchestrator_core::permissions::{Controllers, Host, Isolation, NetGrants, Sandbox};
use orchestrator_port::gateway::Relay;
use orchestrator_port::keeper::Limits;
use orchestrator_port::launch::{Confinement, Sandbox as Tightness};

use crate::Plugins;

/// What the kernel allows a process to have open, unless the manifest says otherwise.
const DESCRIPTORS: u64 = 1024;

/// The address that stands for the first name: 127.1.0.2, and so on. All of 127 is the loopback interface's.
const FIRST_NAME: u32 = 0x7f01_0002;

/// What a service's runtime brings into its sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runtime {
    /// The host's files and folders, read and executed where they are there.
    pub files: Vec<PathBuf>,
    /// The folders in which programs are looked for, with colons between them.
    pub path: String,
}

impl Runtime {
    /// That of a service; nothing where its plugin is not there, or its files are an image's.
    #[must_use]
    pub fn of(service: &Service, plugins: &Plugins) -> Self {
        let runtime = plugins.runtime(&service.runtime).filter(|_| service.isolation == Isolation::Process);
        let Some((runtime, _)) = runtime else { return Self::default() };
        Self { files: runtime_files(runtime), path: visible_path(runtime) }
    }
}

/// What a service is held to; none where the manifest says that it is not.
pub(crate) fn confinement(service: &Service, runtime: Option<&RuntimeSpec>) -> Option<Confinement> {
    let in_container = service.isolation == Isolation::Docker;
    let sandbox = match (service.isolation, service.sandbox) {
        (Isolation::Docker, _) => Tightness::Container,
        (Isolation::Process, Sandbox::None) => return None,
        (Isolation::Process, Sandbox::Landlock) => Tightness::Landlock,
        (Isolation::Process, Sandbox::Strict) => Tightness::Strict,
    };
    let permissions = &service.permissions;
    let paths = |paths: &BTreeSet<PathBuf>| paths.iter().cloned().collect();
    let limits = &permissions.limits;
    let (relays, hosts) = relays(&permissions.net);
    Some(Confinement {
        sandbox,
        hostname: service.name.as_str().rsplit('/').next().unwrap_or_default().to_owned(),
        read: paths(&permissions.fs.read),
        write: paths(&permissions.fs.write),
        // A container has its image's files.
        runtime: runtime.filter(|_| !in_container).map(runtime_files).unwrap_or_default(),
        user: permissions.fs.user.map(|user| (user.uid, user.gid)),
        devices: paths(&permissions.devices),
        scratch_bytes: permissions.fs.scratch.size,
        scratch_entries: permissions.fs.scratch.inodes,
        subprocess: permissions.subprocess,
        // Some programs make a socket, and put what they were passed in its place.
        network: !permissions.net.connect.is_empty()
            || !permissions.net.listen.is_empty()
            || !service.listen.is_empty(),
        relays,
        hosts,
        descriptors: Some(limits.fds.map_or(DESCRIPTORS, u64::from)),
        // The engine counts those of a container; the kernel would count all of its user's.
        processes: limits.pids.map(u64::from).filter(|_| !in_container),
        cpu_seconds: limits.cpu_time.map(|time| time.as_secs().max(1)),
    })
}

/// What all of a service's processes may use together, where this host can hold them to it: what it cannot was refused
/// before, unless it was to be soft.
pub(crate) fn group_limits(service: &Service, host: Controllers) -> Limits {
    let limits = &service.permissions.limits;
    Limits {
        memory: limits.memory.filter(|_| host.memory),
        cpu: limits.cpu.filter(|_| host.cpu),
        pids: limits.pids.filter(|_| host.pids).map(u64::from),
    }
}

/// What is made inside of what is granted outside: an address of the loopback interface for each name, and the address
/// itself where that is granted.
fn relays(net: &NetGrants) -> (Vec<Relay>, BTreeMap<String, String>) {
    let mut hosts = BTreeMap::new();
    let mut relays = Vec::new();
    for endpoint in &net.connect {
        let address = match &endpoint.host {
            Host::Address(address) => *address,
            Host::Name(name) => {
                let number = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
                let address: &mut Ipv4Addr =
                    hosts.entry(name.clone()).or_insert_with(|| Ipv4Addr::from(FIRST_NAME + number));
                (*address).into()
            }
        };
        relays.push(Relay { address, port: endpoint.port, to: endpoint.to_string() });
    }
    let hosts = hosts.into_iter().map(|(name, address)| (name, address.to_string()));
    (relays, hosts.collect())
}

/// The host's files that a runtime needs: those that its plugin names, and its program where that is elsewhere.
fn runtime_files(runtime: &RuntimeSpec) -> Vec<PathBuf> {
    let mut files = runtime.files.clone();
    files.extend(program(runtime).filter(|program| !is_among(&runtime.files, program)));
    files
}

/// The folders in which programs are looked for that a confined service finds too.
pub(crate) fn visible_path(runtime: &RuntimeSpec) -> String {
    let path = env::var_os("PATH").unwrap_or_default();
    let program = program(runtime);
    let own = program.as_deref().and_then(Path::parent);
    let seen = |folder: &PathBuf| is_among(&runtime.files, folder) || own == Some(folder);
    let folders: Vec<_> = env::split_paths(&path).filter(seen).collect();
    // A folder with a colon in its name is in no PATH.
    env::join_paths(folders).map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Where the runtime's program is: among what its plugin names, or else where it is found first.
fn program(runtime: &RuntimeSpec) -> Option<PathBuf> {
    let name = runtime.command.first().filter(|program| !program.contains(['/', '{']))?;
    let path = env::var_os("PATH")?;
    let found: Vec<_> = env::split_paths(&path)
        .map(|folder| folder.join(name))
        .filter(|program| program.is_file())
        .filter_map(|program| program.canonicalize().ok())
        .collect();
    found.iter().find(|program| is_among(&runtime.files, program)).or(found.first()).cloned()
}

fn is_among(files: &[PathBuf], path: &Path) -> bool {
    files.iter().any(|file| path.starts_with(file))
}
