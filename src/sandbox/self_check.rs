//! What a confined process finds when it looks at itself, before any code of a service runs in its place: [`Found`] is
//! looked up by the kernel's own answers, [`Found::checks`] says what of it is as it should be.

use std::fs::{self, File};
use std::path::Path;

use rustix::io::Errno;

use crate::users::SERVICE;

/// One thing that has to be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What, in a few words.
    pub what: &'static str,
    /// Whether it is.
    pub holds: bool,
}

/// Where the process is that looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Around {
    /// Among the host's own files and processes.
    Host,
    /// In namespaces that the runner has made.
    Namespaces,
    /// In a container that an engine has made.
    Container,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Whether it can gain privileges.
    pub no_new_privileges: bool,
    /// Whether there are system call filters over it.
    pub filtered: bool,
    /// Its capabilities, in any set.
    pub capabilities: u64,
    /// What asking for a user namespace was answered.
    pub namespace: Option<Errno>,
    /// What asking for a socket that sees every packet was answered.
    pub packets: Option<Errno>,
    /// What sending no signal to the runner was answered.
    pub signal: Option<Errno>,
    /// What opening a file that it was not granted was answered.
    pub canary: Option<Errno>,
    /// What opening a file of its own for writing was answered, where only reading is granted: by nobody but Landlock.
    pub own_file: Option<Errno>,
    /// Descriptors beyond the standard streams.
    pub descriptors: usize,
    /// The rest is only so in namespaces and in containers.
    pub inside: Option<Inside>,
}

/// What was found in namespaces or in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// Whether it is in a container: there it is whoever the image wants it to be.
    pub in_container: bool,
    /// Who it is.
    pub uid: u32,
    /// Its network interfaces.
    pub interfaces: Vec<String>,
    /// Whether the root of its files can be written.
    pub root_is_writable: bool,
    /// Whether it sees the runner.
    pub sees_runner: bool,
}

impl Found {
    /// Looks at the calling process, which is confined. `runner` is the process that it must not reach, `canary` a file
    /// that is there and was not granted.
    #[must_use]
    pub fn look(around: Around, runner: i32, canary: &Path) -> Self {
        let inside = around != Around::Host;
        // SAFETY: questions about the calling process, and attempts that change nothing where they succeed.
        unsafe {
            let bounding =
                (0..64).filter(|capability| libc::prctl(libc::PR_CAPBSET_READ, *capability, 0, 0, 0) == 1);
            let bounding = bounding.fold(0u64, |set, capability| set | 1 << capability);
            Self {
                no_new_privileges: libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1,
                filtered: libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) == libc::SECCOMP_MODE_FILTER as i32,
                // Who may not drop the bounding set cannot use it either: nothing can be gained.
                capabilities: crate::privileges::held() | if inside { bounding } else { 0 },
                namespace: refusal(libc::unshare(libc::CLONE_NEWUSER)),
                packets: refusal(libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0)),
                signal: refusal(libc::kill(runner, 0)),
                canary: File::open(canary).err().and_then(|error| Errno::from_io_error(&error)),
                own_file: File::options()
                    .write(true)
                    .open("/proc/self/comm")
                    .err()
                    .and_then(|error| Errno::from_io_error(&error)),
                descriptors: (3..1024).filter(|fd| libc::fcntl(*fd, libc::F_GETFD) >= 0).count(),
                inside: inside.then(|| Inside::look(around == Around::Container)),
            }
        }
    }

    /// Everything that has to be so, in order.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        let denied = |answer: Option<Errno>| {
            matches!(answer, Some(Errno::PERM | Errno::ACCESS | Errno::NOENT | Errno::NOSYS | Errno::SRCH))
        };
        let mut checks = vec![
            Check { what: "no new privileges", holds: self.no_new_privileges },
            Check { what: "system call filters", holds: self.filtered },
            Check { what: "no capabilities", holds: self.capabilities == 0 },
            Check { what: "no namespaces of its own", holds: denied(self.namespace) },
            Check { what: "no packet sockets", holds: denied(self.packets) },
            Check { what: "no signals to its runner", holds: denied(self.signal) },
            Check { what: "no files but the granted", holds: denied(self.canary) },
            Check {
                what: "no writing of what may only be read",
                holds: self.own_file == Some(Errno::ACCESS),
            },
            Check { what: "no inherited descriptors", holds: self.descriptors == 0 },
        ];
        if let Some(inside) = &self.inside {
            let user = if inside.in_container {
                Check { what: "a user other than root", holds: inside.uid != 0 }
            } else {
                Check { what: "a user of its own namespace", holds: inside.uid == SERVICE.uid }
            };
            checks.extend([
                user,
                Check { what: "loopback only", holds: inside.interfaces == ["lo"] },
                Check { what: "a root that cannot be written", holds: !inside.root_is_writable },
                Check { what: "no sight of its runner", holds: !inside.sees_runner },
            ]);
        }
        checks
    }
}

impl Inside {
    fn look(in_container: bool) -> Self {
        let interfaces = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
        let interfaces = interfaces.lines().skip(2).filter_map(|line| line.split_once(':'));
        Self {
            in_container,
            uid: rustix::process::geteuid().as_raw(),
            interfaces: interfaces.map(|(name, _)| name.trim().to_owned()).collect(),
            root_is_writable: fs::create_dir("/written").is_ok(),
            sees_runner: Path::new("/proc/1/root").exists(),
        }
    }
}

/// Why a call was refused; none where it was not.
fn refusal(answer: i32) -> Option<Errno> {
    (answer < 0).then(|| Errno::from_io_error(&std::io::Error::last_os_error())).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Found {
        Found {
            no_new_privileges: true,
            filtered: true,
            capabilities: 0,
            namespace: Some(Errno::PERM),
            packets: Some(Errno::ACCESS),
            signal: Some(Errno::PERM),
            canary: Some(Errno::NOENT),
            own_file: Some(Errno::ACCESS),
            descriptors: 0,
            inside: Some(Inside {
                in_container: false,
                uid: SERVICE.uid,
                interfaces: vec!["lo".into()],
                root_is_writable: false,
                sees_runner: false,
            }),
        }
    }

    fn broken(change: impl FnOnce(&mut Found)) -> Vec<&'static str> {
        let mut found = good();
        change(&mut found);
        found.checks().into_iter().filter(|check| !check.holds).map(|check| check.what).collect()
    }

    fn inside(found: &mut Found) -> &mut Inside {
        found.inside.as_mut().unwrap()
    }

    #[test]
    fn each_mechanism_that_does_not_hold_is_named() {
        assert_eq!(broken(|_| ()), [""; 0]);
        assert_eq!(broken(|found| found.no_new_privileges = false), ["no new privileges"]);
        assert_eq!(broken(|found| found.filtered = false), ["system call filters"]);
        assert_eq!(broken(|found| found.capabilities = 1 << 21), ["no capabilities"]);
        assert_eq!(broken(|found| found.namespace = None), ["no namespaces of its own"]);
        assert_eq!(broken(|found| found.packets = None), ["no packet sockets"]);
        assert_eq!(broken(|found| found.signal = None), ["no signals to its runner"]);
        assert_eq!(broken(|found| found.canary = None), ["no files but the granted"]);
        assert_eq!(broken(|found| found.own_file = None), ["no writing of what may only be read"]);
        assert_eq!(broken(|found| found.descriptors = 1), ["no inherited descriptors"]);
        assert_eq!(broken(|found| inside(found).uid = 0), ["a user of its own namespace"]);
        let container = |found: &mut Found, uid| {
            inside(found).in_container = true;
            inside(found).uid = uid;
        };
        assert_eq!(broken(|found| container(found, 7)), [""; 0]);
        assert_eq!(broken(|found| container(found, 0)), ["a user other than root"]);
        assert_eq!(broken(|found| inside(found).interfaces.push("eth0".into())), ["loopback only"]);
        assert_eq!(broken(|found| inside(found).interfaces.clear()), ["loopback only"]);
        assert_eq!(broken(|found| inside(found).root_is_writable = true), ["a root that cannot be written"]);
        assert_eq!(broken(|found| inside(found).sees_runner = true), ["no sight of its runner"]);
    }
}
