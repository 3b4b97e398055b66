//! What a confined service can do and what it cannot, as root and as an ordinary user: the kernel's own answers.

#![expect(clippy::unwrap_used, reason = "the helpers of tests, too, may fail by panicking")]

mod support;

use std::fs::Permissions;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use orchestrator_port::launch::{Confinement, Sandbox};
use orchestrator_port::message::control::{FromRemote, Order};
use orchestrator_sandbox::descriptors::packet_pair;
use rustix::process::geteuid;
use support::{Booth, Controller, Rest, RunnerProcess, runner, runner_as, shell};

/// A user without any rights.
const NOBODY: u32 = 65534;

/// Nothing granted but what a shell needs.
fn nothing() -> Confinement {
    Confinement { hostname: "cart".into(), subprocess: true, ..support::nothing(Sandbox::Strict) }
}

/// A confined start, before any code has come.
struct Confined {
    booth: Booth,
    process: RunnerProcess,
    controller: Controller,
}

impl Confined {
    async fn start(confinement: Confinement, user: Option<u32>) -> Self {
        let mut booth = Booth::new();
        let host_end = booth.host_end.take().unwrap();
        if let Some(user) = user {
            let folder = booth.folder.path();
            std::fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
            std::fs::set_permissions(folder.join("port"), Permissions::from_mode(0o777)).unwrap();
            chown(&booth.root, Some(user), Some(user)).unwrap();
        }
        let ticket = booth.ticket_to(&booth.token, Some(confinement));
        // Where there is a network, there is a line to the gateway; here nobody listens to it.
        let (_gateway, line) = packet_pair().unwrap();
        let descriptors = [ticket.as_fd(), host_end.as_fd(), line.as_fd()];
        let process = match user {
            Some(user) => runner_as(user, &["remote"], &descriptors),
            None => runner(&["remote"], &descriptors),
        };
        let (sender, receiver) = booth.accept().await;
        Self { booth, process, controller: Controller { sender, receiver } }
    }

    /// What a shell script prints, and how it ends.
    async fn shell(mut self, script: &str) -> Rest {
        assert!(matches!(self.controller.hear().await, FromRemote::Ready { .. }));
        self.controller.run(shell(script)).await;
        let rest = self.controller.rest().await;
        self.process.wait().await;
        assert!(self.booth.root.is_dir());
        rest
    }
}

/// The users as whom the tests can run: this one, and nobody where this is root.
fn users() -> Vec<Option<u32>> {
    if geteuid().is_root() { vec![None, Some(NOBODY)] } else { vec![None] }
}

async fn outcome(confinement: &Confinement, user: Option<u32>, script: &str) -> String {
    let rest = Confined::start(confinement.clone(), user).await.shell(script).await;
    let output = String::from_utf8(rest.stdout).unwrap();
    assert_eq!(rest.stderr, b"", "{}", String::from_utf8_lossy(&rest.stderr));
    output
}

#[tokio::test]
async fn a_service_finds_only_what_it_needs() {
    for user in users() {
        let listing = outcome(&nothing(), user, "ls /; ls /etc /dev; hostname; pwd; id -u; id -G").await;
        let expected = "bin\ndev\netc\nlib\nlib64\nproc\nrun\nsbin\nservice\ntmp\nusr\n\
                        /dev:\nfd\nfull\nnull\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n\n\
                        /etc:\ngroup\nhosts\nld.so.cache\nnsswitch.conf\npasswd\ncart\n/service\n1000\n1000\n";
        assert_eq!(listing, expected, "as {user:?}");
    }
}

#[tokio::test]
async fn it_sees_its_own_processes_and_has_no_rights() {
    let script = "ls /proc | grep -v self | grep -c . ; cat /proc/1/environ 2>&1; kill -9 1 2>&1; \
                  grep -E '^(CapEff|CapPrm|CapBnd|CapAmb|NoNewPrivs|Seccomp|Groups):' /proc/self/status; umask";
    for user in users() {
        let status = outcome(&nothing(), user, script).await;
        assert!(status.contains("/proc/1/environ: No such file or directory\n"), "{status}");
        assert!(status.contains("CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"), "{status}");
        assert!(status.contains("CapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\n"), "{status}");
        assert!(status.contains("NoNewPrivs:\t1\nSeccomp:\t2\n"), "{status}");
        assert!(status.contains("Operation not permitted\n"), "{status}");
        assert!(status.ends_with("0077\n"), "{status}");
    }
}

#[tokio::test]
async fn granted_folders_are_read_and_written_and_nothing_else_is() {
    for user in users() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let place = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
            std::fs::write(path.join("file"), "hello\n").unwrap();
            path
        };
        let (read, write) = (place("read"), place("write"));
        place("secret");
        let confinement = Confinement { read: vec![read], write: vec![write.clone()], ..nothing() };
        let script = format!(
            "cd {}; ls; cat read/file; (echo x > read/new) 2>&1 | grep -o 'Read-only.*'; \
             echo kept > write/new; cat write/new; cp /bin/true write/run; write/run 2>&1 | grep -o 'Perm.*'; \
             (echo x > /new) 2>&1 | grep -o 'Read-only.*'; (echo x > /service/new) 2>&1 | grep -o 'Perm.*'; \
             echo x > /tmp/file && echo scratch",
            folder.path().display()
        );
        let expected = "read\nwrite\nhello\nRead-only file system\nkept\nPermission denied\n\
                        Read-only file system\nPermission denied\nscratch\n";
        assert_eq!(outcome(&confinement, user, &script).await, expected, "as {user:?}");
        assert_eq!(std::fs::read(write.join("new")).unwrap(), b"kept\n");
    }
}

#[tokio::test]
async fn a_link_on_the_way_to_a_grant_refuses_the_start() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/etc", folder.path().join("link")).unwrap();
    let confinement = Confinement { read: vec![folder.path().join("link")], ..nothing() };
    let mut start = Confined::start(confinement, None).await;
    let FromRemote::Broken { error } = start.controller.hear().await else { panic!("it was started") };
    let path = folder.path().join("link");
    let expected = format!(
        "failed to make the sandbox: failed to open without following a symbolic link {}: Too many levels of symbolic \
         links (os error 40)",
        path.display()
    );
    assert_eq!(error, expected);
}

#[tokio::test]
async fn nothing_new_is_started_where_that_is_not_granted() {
    let order =
        |code: &str| Order { command: ["/usr/bin/perl", "-e", code].map(Into::into).into(), ..shell("") };
    if !Path::new("/usr/bin/perl").exists() {
        eprintln!("skipped: perl is not installed");
        return;
    }
    for user in users() {
        let mut start = Confined::start(Confinement { subprocess: false, ..nothing() }, user).await;
        assert!(matches!(start.controller.hear().await, FromRemote::Ready { .. }));
        let code = "print defined(fork) ? 'forked' : $!, qq(\\n); \
                    socket(my $s, 2, 1, 0) ? print 'socket' : print $!, qq(\\n)";
        start.controller.run(order(code)).await;
        let rest = start.controller.rest().await;
        assert_eq!(String::from_utf8_lossy(&rest.stdout), "Permission denied\nPermission denied\n");
    }
}

#[tokio::test]
async fn there_is_no_network_but_its_own_loopback() {
    let confinement = Confinement { network: true, ..nothing() };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for user in users() {
        let script = format!(
            "exec /usr/bin/perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(PeerAddr => \"127.0.0.1:{port}\") ? \
             \"connected\" : $!, \"\\n\"; print IO::Socket::INET->new(Listen => 1, LocalAddr => \"127.0.0.1:{port}\") ? \
             \"listens\" : $!, \"\\n\"; print IO::Socket::INET->new(PeerAddr => \"192.0.2.1:80\") ? 1 : $!, \"\\n\"'"
        );
        let expected = "Connection refused\nlistens\nNetwork is unreachable\n";
        assert_eq!(outcome(&confinement, user, &script).await, expected);
    }
}

#[tokio::test]
async fn scratch_ends_where_its_size_does() {
    for user in users() {
        let script = "head -c 3000000 /dev/zero > /tmp/much 2>/dev/null; wc -c < /tmp/much; rm /tmp/much; \
                      i=0; while [ $i -lt 100 ] && true 2>/dev/null > /tmp/$i; do i=$((i+1)); done 2>/dev/null; \
                      [ $i -lt 64 ] && echo few";
        assert_eq!(outcome(&nothing(), user, script).await, "1048576\nfew\n");
    }
}

#[tokio::test]
async fn with_the_runner_everything_in_the_sandbox_ends() {
    for user in users() {
        let mut start = Confined::start(nothing(), user).await;
        assert!(matches!(start.controller.hear().await, FromRemote::Ready { .. }));
        let script = "trap '' TERM; (setsid sleep 1000 & ) ; (setsid sh -c 'trap \"\" TERM; sleep 1000' &) ; echo up; sleep 1000";
        start.controller.run(shell(script)).await;
        assert_eq!(start.controller.line().await, "up");
        let below = orchestrator_sandbox::tree::descendants(start.process.pid());
        assert!(below.len() >= 3, "{below:?}");
        start.process.signal(rustix::process::Signal::KILL);
        start.process.wait().await;
        for pid in below {
            while support::runs(&pid.as_raw_nonzero().to_string()) {
                tokio::task::yield_now().await;
            }
        }
    }
}

#[tokio::test]
async fn what_is_granted_belongs_to_the_service_and_what_it_makes_to_who_granted_it() {
    for user in users() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let granted = folder.path().join("granted");
        std::fs::create_dir(&granted).unwrap();
        std::fs::write(granted.join("key"), "private\n").unwrap();
        std::fs::set_permissions(granted.join("key"), Permissions::from_mode(0o600)).unwrap();
        std::fs::set_permissions(&granted, Permissions::from_mode(0o700)).unwrap();
        for path in [granted.clone(), granted.join("key")] {
            chown(path, user, user).unwrap();
        }
        let confinement = Confinement { write: vec![granted.clone()], ..nothing() };
        let script = format!("cd {}; cat key; echo made > new; stat -c %u:%g:%a new", granted.display());
        assert_eq!(outcome(&confinement, user, &script).await, "private\n1000:1000:600\n", "as {user:?}");
        let made = std::fs::metadata(granted.join("new")).unwrap();
        let owner = std::fs::metadata(&granted).unwrap().uid();
        assert_eq!((made.uid(), made.gid()), (owner, owner), "as {user:?}");
    }
}
