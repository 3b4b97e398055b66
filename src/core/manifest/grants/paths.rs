//! [`Paths`]: the files, folders, secrets and devices that are granted, each compared with what is on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use crate::manifest::element::permissions::{RawSecret, RawSource, RawWrite};
use crate::manifest::problem::{Hint, Placed, ProblemKind};
use crate::manifest::reader::Reader;
use crate::manifest::{OnDisk, Surroundings};
use crate::permissions::{Secret, SecretSource};

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

/// Reads the paths that are granted to one service.
pub(super) struct Paths<'a, 'r, 's> {
    pub(super) service: &'a str,
    pub(super) around: &'a Surroundings<'s>,
    pub(super) reader: &'a mut Reader<'r>,
}

impl Paths<'_, '_, '_> {
    /// Paths to read.
    pub(super) fn reads(&mut self, written: &[Placed<String>]) -> BTreeSet<PathBuf> {
        written.iter().filter_map(|path| self.path(path)).collect()
    }

    fn path(&mut self, written: &Placed<String>) -> Option<PathBuf> {
        let path = plain(&self.around.folder.join(&written.value));
        if let Some(why) = never_granted(&path, self.around) {
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
    pub(super) fn writes(&mut self, written: &[RawWrite]) -> BTreeSet<PathBuf> {
        let mut paths = BTreeSet::new();
        for RawWrite { path: written, .. } in written {
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

    /// Secrets, by their names.
    pub(super) fn secrets(&mut self, written: &[RawSecret]) -> BTreeMap<String, Secret> {
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

    /// A device node.
    pub(super) fn device(&mut self, written: &Placed<String>) -> Option<PathBuf> {
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

/// Why a path is never granted, whoever asks: for what it is, or for what it holds; none where it may be.
#[must_use]
pub fn never_granted(path: &Path, around: &Surroundings<'_>) -> Option<&'static str> {
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

/// The path without `.` and `..`. Nothing of it is looked up: what follows checks that no link is on the way.
pub(super) fn plain(path: &Path) -> PathBuf {
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
    use std::num::NonZeroU32;

    use super::*;
    use crate::name::ServiceName;

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
            others: &[],
            accounts: crate::manifest::Accounts::default(),
            cores: NonZeroU32::MIN,
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
            assert!(never_granted(Path::new(path), &around).is_some(), "{path}");
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
            assert_eq!(never_granted(Path::new(path), &around), None, "{path}");
        }
    }
}
