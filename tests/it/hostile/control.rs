//! Rows 41 to 43: the sockets. One controls the project; each start has another one, which is there until its runner has
//! come. To have that last, the keeper is stopped, so that no runner comes.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{SOMEBODY, Said, TestProject, Up, User, as_user, children, is_root, kill, wait_for};

const TWO: &str = "  first: { runtime: js, code: \"console.log('here')\\n\" }
  second: { runtime: js, code: \"console.log('here')\\n\" }
";

/// How many connections are made that never say what they are for.
const FLOOD: usize = 1000;

/// What is said by who connects to a start's socket: nothing, half of something, no HTTP, another token, no token, another
/// version, a message without an upgrade.
const SAID: [&str; 8] = [
    "",
    "GET / HTTP/1.1\r\nHost: controller\r\n",
    "\x00\x00\x00\x00\x02{}",
    "\u{82}\u{7f}\u{ff}\u{ff}\u{ff}\u{ff}",
    "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: orchestrator.v1\r\nAuthorization: Bearer 0000000000000000000000000000000000000000000000000000000000000000\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: orchestrator.v1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: orchestrator.v0\r\n\r\n",
    "POST /v1/shutdown HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
];

pub(super) fn is_the_users_own(user: User) {
    if !is_root() {
        println!("skipped: to be another user needs root");
        return;
    }
    let project = TestProject::run_by(user, TWO);
    let mut up = project.up();
    up.wait_for("all 2 services are up");
    let folder = project.path().join("run/orchestrator/test");
    // As open as a folder above can be: what is the orchestrator's own holds by itself.
    fs::set_permissions(project.path(), Permissions::from_mode(0o777)).expect("it can be opened");
    fs::set_permissions(project.path().join("run"), Permissions::from_mode(0o777)).expect("it can be opened");
    refused(&folder.join("control.sock"));
    // And each wall by itself: the folders', the socket's, and in the end who calls is asked.
    for open in ["run/orchestrator", "run/orchestrator/test"] {
        fs::set_permissions(project.path().join(open), Permissions::from_mode(0o777))
            .expect("it can be opened");
    }
    refused(&folder.join("control.sock"));
    fs::set_permissions(folder.join("control.sock"), Permissions::from_mode(0o666))
        .expect("it can be opened");
    let call = call_of_somebody(&folder.join("control.sock"));
    assert!(call.out.is_empty() && !call.err.contains("Permission denied"), "{call:?}");
    up.wait_for("a call of another user was refused");
}

/// Holds where somebody else may not even connect.
fn refused(socket: &std::path::Path) {
    let call = call_of_somebody(socket);
    assert!(call.out.is_empty() && call.err.contains("Permission denied"), "{call:?}");
}

/// A call to the control API by a user who has no part in it.
fn call_of_somebody(socket: &std::path::Path) -> Said {
    let program = "import socket, sys\nwith socket.socket(socket.AF_UNIX) as s:\n    s.connect(sys.argv[1])\n    \
                   s.sendall(b'GET /v1/snapshot HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n')\n    print(s.recv(99).decode(), end='')\n";
    let words = as_user(SOMEBODY);
    let mut call = std::process::Command::new(words[0]);
    Said::of(call.args(&words[1..]).args(["/usr/bin/python3", "-c", program]).arg(socket).current_dir("/"))
}

pub(super) fn takes_the_token_once(user: User) {
    let mut held = Held::new(user);
    let mut guesses: Vec<_> = SAID.iter().map(|said| held.say(said)).collect();
    held.let_go();
    for (guess, said) in guesses.iter_mut().zip(SAID) {
        let answer = rest(guess);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{said:?}: {answer:?}");
    }
    // The token was good for one connection: there is nothing left that could be told it again.
    assert!(!held.socket.exists());
    held.up.wait_for("a connection to a start's socket was refused");
    held.end();
}

pub(super) fn outlasts_a_flood(user: User) {
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).expect("as many as there may be");
    let mut held = Held::new(user);
    let mut flood: Vec<_> = (0..FLOOD).map(|number| held.say(SAID[number % 4])).collect();
    held.let_go();
    // All of these are over, and none of them has become anything.
    for stalled in &mut flood {
        let answer = rest(stalled);
        assert!(!answer.starts_with("HTTP/1.1 101"), "{answer:?}");
    }
    let first = held.project.service("first");
    assert_eq!((&first["state"], &first["replicas"][0]["generation"]), (&"running".into(), &1.into()));
    held.end();
}

/// What comes over a connection until its end.
fn rest(connection: &mut UnixStream) -> String {
    let mut answer = Vec::new();
    // A connection that is closed with something unread is reset.
    let _ = connection.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// A project whose second service is started, and waits for its runner.
struct Held {
    project: TestProject,
    up: Up,
    keeper: u32,
    start: Up,
    socket: PathBuf,
}

impl Held {
    fn new(user: User) -> Self {
        let project = TestProject::run_by(user, TWO);
        let mut up = project.up();
        up.wait_for("all 2 services are up");
        assert_eq!(project.run(&["stop", "second"]).code, Some(0));
        // Only the keeper is its child; but the kernel's list of children is not always whole.
        let keeper = wait_for("the keeper", || match children(up.pid())[..] {
            [keeper] => Ok(keeper),
            ref others => Err(format!("{others:?}")),
        });
        kill(keeper, "STOP");
        let start = project.begin(&["start", "second"]);
        let socket = wait_for("the start's socket", || {
            let starts =
                fs::read_dir(project.path().join("run/orchestrator/test")).into_iter().flatten().flatten();
            starts
                .map(|start| start.path().join("port.sock"))
                .find(|socket| socket.exists())
                .ok_or("none".into())
        });
        Self { project, up, keeper, start, socket }
    }

    /// A connection to the start's socket, over which this has been said.
    fn say(&self, what: &str) -> UnixStream {
        // Its file is there a moment before it listens.
        let connect = || UnixStream::connect(&self.socket).map_err(|error| error.to_string());
        let mut connection = wait_for("the socket to listen", connect);
        connection.write_all(what.as_bytes()).expect("it is small");
        connection
    }

    /// Lets the runner come, last of all, and waits until its service runs.
    fn let_go(&mut self) {
        kill(self.keeper, "CONT");
        self.start.wait_for("second: running");
        assert_eq!(self.project.service("second")["replicas"][0]["generation"], 2);
    }

    fn end(self) {
        self.up.interrupt();
        assert_eq!(self.up.end().0, Some(0));
        self.project.wait_until_nothing_is_left();
    }
}
