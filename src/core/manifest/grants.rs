//! From the permissions as they are written to [`Permissions`]: paths become absolute and are compared with what is on
//! disk, hosts are compared with the services that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::element::permissions::{RawPermissions, RawSecret, RawSource};
use super::problem::{Hint, Placed, ProblemKind};
use super::raw::NamedService;
use super::reader::Reader;
use super::{Code, OnDisk, Probe, ReadyCheck, Service, Surroundings, suggest};
use crate::name::ServiceName;
use crate::permissions::{Endpoint, Host, NetGrants, Permissions, Sandbox, Secret, SecretSource};

/// Fewer threads than this, and Node does not fail but hang.
const LEAST_PIDS_OF_NODE: u32 = 16;

/// What is never granted, with everything below it.
const NEVER: [(&str, &str); 6] = [
    ("/proc", "it shows and changes the host's processes"),
    ("/sys", "it shows and changes the host's devices"),
    ("/dev", "devices are granted one by one, with 'devices'"),
    ("/run", "it holds the sockets of the host's services"),
    ("/var/run", "it holds the sockets of the host's services"),
    ("/var/lib/docker", "who writes there is root"),
];

/// The folders of a home that hold keys.
const KEYS: [&str; 7] = [".ssh", ".gnupg", ".aws", ".kube", ".docker", ".config/gcloud", ".password-store"];

/// Devices that are the machine itself.
const NEVER_DEVICES: [&str; 6] = ["/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg", "/dev/kvm", "/dev/fuse"];

/// How the names of disks begin, and of the folders of them.
const DISKS: [&str; 11] = ["sd", "hd", "vd", "xvd", "nvme", "mmcblk", "loop", "dm-", "md", "disk", "mapper"];

/// The permissions that are meant, where the reader has recorded no problem.
pub(super) fn resolve(
    named: &NamedService,
    around: &Surroundings<'_>,
    reader: &mut Reader<'_>,
) -> Permissions {
    let raw = &named.service.permissions;
    let mut permissions = Permissions {
        subprocess: raw.subprocess.unwrap_or_default(),
        limits: raw.limits.clone().unwrap_or_default(),
        ..Permissions::default()
    };
    let mut grants = Grants { service: &named.written.value, around, reader };
    if let Some(files) = &raw.fs {
        permissions.fs.read = grants.paths(&files.read);
        permissions.fs.write = grants.writes(&files.write);
        permissions.fs.scratch = files.scratch.unwrap_or_default();
    }
    permissions.secrets = grants.secrets(raw.secrets.as_deref().unwrap_or_default());
    permissions.devices = raw.devices.iter().flatten().filter_map(|path| grants.device(path)).collect();
    permissions.net = net(named, raw);
    if let Some(pids) = permissions.limits.pids
        && pids < LEAST_PIDS_OF_NODE
        && let Some(runtime) = named.service.runtime.as_ref().filter(|runtime| runtime.value == "node")
    {
        let (service, least) = (named.written.value.clone(), LEAST_PIDS_OF_NODE);
        let kind = ProblemKind::FewPids { service, runtime: runtime.value.clone(), least };
        reader.report(&runtime.place, kind, Hint::advise(format!("write 'pids: {least}' or more")));
    }
    permissions
}

/// The ports that are tried from inside are ports that it listens on.
fn net(named: &NamedService, raw: &RawPermissions) -> NetGrants {
    let mut net = NetGrants::default();
    if let Some(written) = &raw.net {
        net.connect = written.connect.iter().map(|endpoint| endpoint.value.clone()).collect();
        net.listen.clone_from(&written.listen);
    }
    let ready = named.service.ready.as_ref().and_then(|ready| match &ready.value.check {
        ReadyCheck::Probe(probe) => port(probe),
        ReadyCheck::Log(_) | ReadyCheck::Notify => None,
    });
    let alive = named.service.alive.as_ref().and_then(|alive| alive.value.probe.as_ref()).and_then(port);
    net.listen.extend(ready.into_iter().chain(alive));
    net
}

fn port(probe: &Probe) -> Option<u16> {
    match probe {
        Probe::Tcp(port) | Probe::Http { port, .. } => Some(*port),
        Probe::Exec(_) => None,
    }
}

/// Records where a service is granted another one's port that the other does not listen on. `listens` has the ports of
/// every service.
pub(super) fn check_services(
    services: &[NamedService],
    listens: &BTreeMap<String, BTreeSet<u16>>,
    reader: &mut Reader<'_>,
) {
    for named in services {
        let Some(net) = &named.service.permissions.net else { continue };
        for endpoint in &net.connect {
            let Endpoint { host: Host::Name(target), port } = &endpoint.value else { continue };
            let service = named.written.value.clone();
            match listens.get(target) {
                Some(ports) if !ports.contains(port) => {
                    let hint = format!("add 'permissions: {{ net: {{ listen: [{port}] }} }}' to '{target}'");
                    let (endpoint_text, target) = (endpoint.value.to_string(), target.clone());
                    let kind = ProblemKind::NotListening { service, endpoint: endpoint_text, target };
                    reader.report(&endpoint.place, kind, Some(Hint::Do(hint)));
                }
                // A name without a dot that is nearly a service's is more likely that than a host.
                None if !target.contains('.') => {
                    let near = suggest::nearest(target, listens.keys().map(String::as_str));
                    if let Some(near) = near.filter(|near| *near != service) {
                        let (endpoint_text, target) = (endpoint.value.to_string(), target.clone());
                        let kind = ProblemKind::NoSuchTarget { service, endpoint: endpoint_text, target };
                        reader.report(
                            &endpoint.place,
                            kind,
                            Some(Hint::DidYouMean(format!("{near}:{port}"))),
                        );
                    }
                }
                _ => {}
            }
        }
    }
}

/// How tight a service is held: as the top says, or tighter.
pub(super) fn sandbox(
    named: &NamedService,
    top: Option<&Placed<Sandbox>>,
    reader: &mut Reader<'_>,
) -> Sandbox {
    let all = top.map(|top| top.value).unwrap_or_default();
    let Some(own) = &named.service.sandbox else { return all };
    if own.value < all {
        let service = named.written.value.clone();
        let hint = "leave it out; or say it at the top, and 'strict' in each service that can be";
        reader.report(&own.place, ProblemKind::LooserSandbox { service }, Hint::advise(hint));
    }
    own.value
}

struct Grants<'a, 'r, 's> {
    service: &'a str,
    around: &'a Surroundings<'s>,
    reader: &'a mut Reader<'r>,
}

impl Grants<'_, '_, '_> {
    fn paths(&mut self, written: &[Placed<String>]) -> BTreeSet<PathBuf> {
        written.iter().filter_map(|path| self.path(path)).collect()
    }

    fn path(&mut self, written: &Placed<String>) -> Option<PathBuf> {
        let path = plain(&self.around.folder.join(&written.value));
        if let Some(why) = never(&path, self.around) {
            return self.refuse(written, why, "grant a folder that holds only what the service needs");
        }
        let path = self.there(written, path)?;
        // A socket can be connected to by whoever can only read it.
        if matches!((self.around.look)(&path), OnDisk::Refused(_)) {
            let why = "it cannot be read, or is neither a file nor a folder";
            return self.refuse(written, why, "grant a file or a folder");
        }
        Some(path)
    }

    /// Paths to write to: not the manifest, or the service could grant itself anything.
    fn writes(&mut self, written: &[Placed<String>]) -> BTreeSet<PathBuf> {
        let mut paths = BTreeSet::new();
        for written in written {
            let Some(path) = self.path(written) else { continue };
            let manifest = self.around.files.iter().map(PathBuf::as_path).chain([self.around.folder]);
            if manifest.into_iter().any(|file| file.starts_with(&path)) {
                let hint = "grant a folder of its own, as in './state'";
                self.refuse(written, "who writes there can change the manifest", hint);
            }
            paths.insert(path);
        }
        paths
    }

    fn secrets(&mut self, written: &[RawSecret]) -> BTreeMap<String, Secret> {
        let mut secrets = BTreeMap::new();
        for raw in written {
            let source = match &raw.source {
                RawSource::Env(name) => SecretSource::Env(name.clone()),
                RawSource::File(file) => {
                    let path = plain(&self.around.folder.join(&file.value));
                    if !matches!((self.around.look)(&path), OnDisk::File { .. }) {
                        let (service, path) = (self.service.to_owned(), file.value.clone());
                        let hint = Hint::advise("a secret is kept in a file, or in a variable ('env:')");
                        self.reader.report(&file.place, ProblemKind::GrantMissing { service, path }, hint);
                    }
                    SecretSource::File(path)
                }
            };
            secrets.insert(raw.name.value.clone(), Secret { source, delegable: raw.delegable });
        }
        secrets
    }

    fn device(&mut self, written: &Placed<String>) -> Option<PathBuf> {
        let path = plain(&self.around.folder.join(&written.value));
        if !path.starts_with("/dev") {
            return self.refuse(written, "it is no device", "name a node below /dev");
        }
        let name = path.strip_prefix("/dev").unwrap_or(&path).to_string_lossy();
        let disk = DISKS.iter().any(|kind| name.starts_with(kind));
        if disk || NEVER_DEVICES.iter().any(|never| path == Path::new(never)) || path == Path::new("/dev") {
            return self.refuse(written, "who has it has the machine", "grant another device");
        }
        self.there(written, path)
    }

    /// What is granted has to be there, and to be what it says: a link could lead elsewhere tomorrow.
    fn there(&mut self, written: &Placed<String>, path: PathBuf) -> Option<PathBuf> {
        let (service, shown) = (self.service.to_owned(), written.value.clone());
        match (self.around.real)(&path) {
            Some(real) if real == path => return Some(path),
            Some(real) => {
                let kind = ProblemKind::GrantLinked { service, path: shown };
                let hint = format!("write where it leads: '{}'", real.display());
                self.reader.report(&written.place, kind, Some(Hint::Do(hint)));
            }
            None if matches!((self.around.look)(&path), OnDisk::Missing) => {
                let kind = ProblemKind::GrantMissing { service, path: shown };
                let hint = format!("make it (mkdir -p {}), or remove it here", path.display());
                self.reader.report(&written.place, kind, Some(Hint::Do(hint)));
            }
            None => {
                let kind = ProblemKind::GrantRefused { service, path: shown, why: "it cannot be looked at" };
                self.reader.report(&written.place, kind, Hint::advise("make it readable"));
            }
        }
        None
    }

    fn refuse(&mut self, written: &Placed<String>, why: &'static str, hint: &str) -> Option<PathBuf> {
        let (service, path) = (self.service.to_owned(), written.value.clone());
        self.reader.report(
            &written.place,
            ProblemKind::GrantRefused { service, path, why },
            Hint::advise(hint),
        );
        None
    }
}

/// Why a path is never granted: for what it is, or for what it holds.
fn never(path: &Path, around: &Surroundings<'_>) -> Option<&'static str> {
    if path == Path::new("/") {
        return Some("it is everything");
    }
    if let Some((_, why)) = NEVER.iter().find(|(never, _)| path.starts_with(never)) {
        return Some(why);
    }
    if around.own.iter().any(|own| path.starts_with(own)) {
        return Some("it is the orchestrator's own");
    }
    let homes = home(path).into_iter().chain(around.home.map(Path::to_owned));
    for home in homes.filter(|home| home != Path::new("/")) {
        if path == home {
            return Some("a whole home holds what decides over its user");
        }
        let Ok(inner) = path.strip_prefix(&home) else { continue };
        if KEYS.iter().any(|keys| inner.starts_with(keys) || Path::new(keys).starts_with(inner)) {
            return Some("it holds a person's keys");
        }
    }
    let never = NEVER.iter().map(|(never, _)| Path::new(never)).chain(["/home", "/root"].map(Path::new));
    let mut refused = never.chain(around.home).chain(around.own.iter().map(PathBuf::as_path));
    refused.any(|refused| refused.starts_with(path)).then_some("it holds what is never granted")
}

/// The home that a path lies in, by where homes are.
fn home(path: &Path) -> Option<PathBuf> {
    if path.starts_with("/root") {
        return Some("/root".into());
    }
    let user = path.strip_prefix("/home").ok()?.components().next()?;
    Some(Path::new("/home").join(user))
}

/// Records what a service may write to and somebody else runs: then it could change what is started next.
pub(super) fn check_code(
    services: &BTreeMap<ServiceName, Service>,
    named: &[NamedService],
    around: &Surroundings<'_>,
    reader: &mut Reader<'_>,
) {
    let codes = services.values().filter_map(|service| match &service.code {
        Code::Path(code) => Some(plain(code)),
        Code::Inline(_) => None,
    });
    let codes: BTreeSet<_> = codes.collect();
    for named in named {
        let files = named.service.permissions.fs.iter().flat_map(|files| &files.write);
        for written in files {
            let path = plain(&around.folder.join(&written.value));
            // What is below a path comes right after it.
            let below = codes.range(path.clone()..).next().is_some_and(|code| code.starts_with(&path));
            if below || path.ancestors().any(|above| codes.contains(above)) {
                let (service, path) = (named.written.value.clone(), written.value.clone());
                let kind = ProblemKind::GrantRefused { service, path, why: "a service's code is there" };
                let hint = Hint::advise("keep what is written and what is run in folders of their own");
                reader.report(&written.place, kind, hint);
            }
        }
    }
}

/// The path without `.` and `..`. Nothing of it is looked up: what follows checks that no link is on the way.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_plain_without_looking_at_them() {
        for (path, expected) in
            [("/a/./b//c/", "/a/b/c"), ("/a/../b", "/b"), ("/../..", "/"), ("/a/b/../../..", "/")]
        {
            assert_eq!(plain(Path::new(path)), Path::new(expected), "{path}");
        }
    }

    #[test]
    fn what_leads_beyond_a_service_is_never_granted() {
        let around = Surroundings {
            folder: Path::new("/shop"),
            project: ServiceName::parse("shop").unwrap(),
            variables: &BTreeMap::new(),
            plugins: &BTreeMap::new(),
            look: &|_| OnDisk::Missing,
            real: &|_| None,
            home: Some(Path::new("/users/bob")),
            own: &[PathBuf::from("/var/tmp/orchestrator")],
            files: &[],
            check_regex: &|_| Ok(()),
        };
        for path in [
            "/",
            "/proc",
            "/proc/1",
            "/sys/fs/cgroup",
            "/dev/sda",
            "/run/docker.sock",
            "/var/run/docker.sock",
            "/var/lib/docker/overlay2",
            "/var/lib",
            "/var",
            "/var/tmp",
            "/var/tmp/orchestrator/shop",
            "/root",
            "/home",
            "/home/ann",
            "/home/ann/.ssh",
            "/home/ann/.ssh/id_rsa",
            "/home/ann/.config",
            "/root/.aws",
            "/users",
            "/users/bob",
            "/users/bob/.ssh",
        ] {
            assert!(never(Path::new(path), &around).is_some(), "{path}");
        }
        for path in [
            "/srv/data",
            "/home/ann/shop/data",
            "/procs",
            "/running",
            "/home/ann/.sshx",
            "/var/lib/x",
            "/users/bob/shop",
            "/users/eve",
        ] {
            assert_eq!(never(Path::new(path), &around), None, "{path}");
        }
    }
}
