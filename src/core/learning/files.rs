//! The files of a record: which of them are to be granted, and how many of them as one folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Known, Learned, Record, Remark, Use, Verb};
use crate::manifest::{Code, OnDisk, never_granted};

/// So many things in one folder, and the folder is granted.
const MANY: usize = 8;

/// What a sandbox has of its own, under these names.
const OWN: [&str; 12] = [
    "/etc/passwd",
    "/etc/group",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/shm",
    "/run/secrets",
];

/// What libraries and runtimes look at wherever they run, and do without.
const OPTIONAL: [&str; 11] = [
    "/etc/resolv.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/hostname",
    "/etc/ld.so.preload",
    "/etc/timezone",
    "/run/systemd",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/sys/fs/cgroup",
    "/sys/kernel/mm/transparent_hugepage",
];

/// The folder in memory that every service has.
const SCRATCH: &str = "/tmp";

pub(super) fn learn(record: &Record, known: &Known<'_>, learned: &mut Learned) {
    let mut files =
        Files { record, known, remarks: BTreeSet::new(), reads: BTreeSet::new(), writes: BTreeSet::new() };
    for used in &record.uses {
        match used {
            Use::Read(path) => files.read(path),
            Use::List(path) => files.list(path),
            Use::Write(path) => files.write(path),
            Use::Make(path) => files.make(path),
            Use::Run(path) if !files.is_brought(path) => {
                files.remarks.insert(Remark::Program(path.clone()));
            }
            Use::Socket(path) if !is_below(path, &OPTIONAL) => {
                files.remarks.insert(Remark::Socket(path.clone()));
            }
            _ => {}
        }
    }
    let Files { mut remarks, reads, writes, .. } = files;
    let writes = gather(writes, &|path| known.refuses(path, Verb::Writes).is_some());
    let reads = reads.into_iter().filter(|path| !is_within(path, &writes)).collect();
    let manifest = known.around.folder;
    let too_much = |path: &Path| manifest.starts_with(path) || known.refuses(path, Verb::Reads).is_some();
    let reads = gather(reads, &too_much);
    remarks.extend(links(record, &reads.union(&writes).collect()));
    for path in &writes {
        if let Some(with) = known.other_writer(path) {
            learned.shared.insert(path.clone());
            remarks.insert(Remark::Shared { path: path.clone(), with });
        }
    }
    learned.permissions.fs.read = reads;
    learned.permissions.fs.write = writes;
    learned.remarks.extend(remarks);
}

/// What has been found out so far.
struct Files<'a> {
    record: &'a Record,
    known: &'a Known<'a>,
    remarks: BTreeSet<Remark>,
    reads: BTreeSet<PathBuf>,
    writes: BTreeSet<PathBuf>,
}

impl Files<'_> {
    fn read(&mut self, path: &Path) {
        // What the runtime brings may be a link to something else; then it does without.
        let by_runtime =
            |used: &Use| matches!(used, Use::Link { from, to } if to == path && self.is_brought(from));
        if self.is_brought(path) || self.is_there_anyway(path) || self.record.uses.iter().any(by_runtime) {
            return;
        }
        self.add(path, Verb::Reads);
    }

    /// In a sandbox, what there is can be listed.
    fn list(&mut self, path: &Path) {
        let shown = ["/", "/etc", "/dev", "/run", SCRATCH];
        if !shown.iter().any(|shown| path == Path::new(shown)) {
            self.read(path);
        }
    }

    fn write(&mut self, path: &Path) {
        if self.is_own_code(path) {
            self.remarks.insert(Remark::OwnCode(path.into()));
        } else if !self.is_there_anyway(path) {
            self.add(path, Verb::Writes);
        }
    }

    /// Something new needs its folder; where that cannot be granted, it has to be there before.
    fn make(&mut self, path: &Path) {
        let Some(folder) = path.parent() else { return };
        if self.is_own_code(path) {
            self.remarks.insert(Remark::OwnCode(path.into()));
        } else if self.is_there_anyway(path) {
        } else if self.known.refuses(folder, Verb::Writes).is_none() {
            self.writes.insert(folder.into());
        } else if (self.known.around.look)(path) == OnDisk::Missing {
            self.remarks.insert(Remark::Gone(path.into()));
        } else {
            self.add(path, Verb::Writes);
        }
    }

    fn add(&mut self, path: &Path, verb: Verb) {
        let why = match (self.known.around.look)(path) {
            // It was there for a while.
            OnDisk::Missing => return,
            OnDisk::Refused(_) => Some("it cannot be read, or is neither a file nor a folder"),
            OnDisk::File { .. } | OnDisk::Folder(_) => self.known.refuses(path, verb),
        };
        let path = path.to_owned();
        match (why, verb) {
            (Some(why), verb) => drop(self.remarks.insert(Remark::Never { verb, path, why })),
            (None, Verb::Reads) => drop(self.reads.insert(path)),
            (None, Verb::Writes) => drop(self.writes.insert(path)),
        }
    }

    fn is_brought(&self, path: &Path) -> bool {
        self.known.runtime.iter().any(|file| path.starts_with(file))
    }

    /// The orchestrator keeps the code while it runs.
    fn is_own_code(&self, path: &Path) -> bool {
        self.known.around.own.iter().any(|own| path.starts_with(own))
    }

    /// Whether a sandbox has it, or something in its place; below `/tmp`, what the service has made itself.
    fn is_there_anyway(&self, path: &Path) -> bool {
        let top = |inner: &Path| Some(Path::new(SCRATCH).join(inner.components().next()?));
        let made = path.strip_prefix(SCRATCH).ok().and_then(top);
        is_below(path, &OWN)
            || is_below(path, &OPTIONAL)
            || made.is_some_and(|made| self.record.uses.contains(&Use::Make(made)))
    }
}

impl Known<'_> {
    /// Why this cannot be granted.
    fn refuses(&self, path: &Path, verb: Verb) -> Option<&'static str> {
        if verb == Verb::Reads {
            return never_granted(path, self.around);
        }
        let manifest = self.around.files.iter().map(PathBuf::as_path).chain([self.around.folder]);
        let codes = self.manifest.services.values().filter_map(|service| match &service.code {
            Code::Path(code) => Some(code),
            Code::Inline(_) | Code::Image => None,
        });
        let overlaps = |code: &PathBuf| code.starts_with(path) || path.starts_with(code);
        never_granted(path, self.around)
            .or(manifest
                .into_iter()
                .any(|file| file.starts_with(path))
                .then_some("who writes there can change the manifest"))
            .or(codes.into_iter().any(overlaps).then_some("a service's code is there"))
    }

    fn other_writer(&self, path: &Path) -> Option<crate::ServiceName> {
        let others = self.manifest.services.values().filter(|other| other.name != self.service.name);
        let writes = |write: &PathBuf| write.starts_with(path) || path.starts_with(write);
        others
            .into_iter()
            .find(|other| other.permissions.fs.write.iter().any(writes))
            .map(|other| other.name.clone())
    }
}

fn is_below(path: &Path, folders: &[&str]) -> bool {
    folders.iter().any(|folder| path.starts_with(folder))
}

fn is_within(path: &Path, granted: &BTreeSet<PathBuf>) -> bool {
    path.ancestors().any(|above| granted.contains(above))
}

/// The paths that are named through a link, of those that are granted.
fn links(record: &Record, granted: &BTreeSet<&PathBuf>) -> Vec<Remark> {
    let within = |path: &Path| path.ancestors().any(|above| granted.iter().any(|granted| *granted == above));
    let links = record.uses.iter().filter_map(|used| match used {
        Use::Link { from, to } if within(to) && !within(from) => Some((from.clone(), to.clone())),
        _ => None,
    });
    links.map(|(from, to)| Remark::Link { from, to }).collect()
}

/// The same in fewer paths: what lies in another one is left out, and many in one folder become that folder, where it may be
/// granted and is deeper than the root's own folders.
fn gather(mut paths: BTreeSet<PathBuf>, refused: &dyn Fn(&Path) -> bool) -> BTreeSet<PathBuf> {
    let mut folders: Vec<PathBuf> =
        paths.iter().flat_map(|path| path.ancestors().skip(1)).map(Path::to_owned).collect();
    // The deepest first, so that a folder is no larger than it has to be.
    folders.sort_by_key(|folder| std::cmp::Reverse((folder.components().count(), folder.clone())));
    folders.dedup();
    for folder in folders.into_iter().filter(|folder| folder.components().count() > 2) {
        let inside = paths.iter().filter(|path| path.starts_with(&folder)).count();
        if inside >= MANY && !refused(&folder) {
            paths.retain(|path| !path.starts_with(&folder));
            paths.insert(folder);
        }
    }
    let all = paths.clone();
    paths.retain(|path| !path.ancestors().skip(1).any(|above| all.contains(above)));
    paths
}
