//! [`FakeEngine`]: a container engine's interface on a socket, for what a real engine cannot be brought to easily: to be
//! old, to be full. It says what it is told to say and makes nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;

/// What is asked, and what is answered: a status and JSON.
pub(crate) type Answer = (&'static str, u16, &'static str);

/// What an engine answers that can be used, and has nothing.
const USABLE: [Answer; 4] = [
    ("GET /version", 200, r#"{"ApiVersion":"1.41"}"#),
    (
        "GET /info",
        200,
        r#"{"OSType":"linux","SecurityOptions":["name=seccomp,profile=default"],"MemoryLimit":true,"SwapLimit":true,
            "CpuCfsQuota":true,"PidsLimit":true}"#,
    ),
    ("GET /containers/json", 200, "[]"),
    ("GET /images/", 200, "{}"),
];

/// An engine that answers until the test has ended.
pub(crate) struct FakeEngine {
    socket: PathBuf,
}

impl FakeEngine {
    /// One at this socket that answers so, and else as one that can be used.
    pub(crate) fn at(socket: &Path, answers: &'static [Answer]) -> Self {
        let listener = UnixListener::bind(socket).expect("a socket can be made");
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                // Who hangs up has heard enough.
                thread::spawn(move || answer(connection, answers));
            }
        });
        Self { socket: socket.to_owned() }
    }

    /// Its address, as in `DOCKER_HOST`.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

/// Answers one request.
fn answer(connection: UnixStream, answers: &[Answer]) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    reader.by_ref().take(length.unwrap_or(0)).read_to_end(&mut Vec::new())?;
    // The version, where one is in the path, comes first.
    let (method, path) = head.split_once(' ').unwrap_or_default();
    let path = path
        .strip_prefix("/v1.")
        .and_then(|path| Some(path.split_once('/')?.1))
        .map_or(path.into(), |path| format!("/{path}"));
    let asked = format!("{method} {path}");
    let known = answers.iter().chain(&USABLE).find(|(known, ..)| asked.starts_with(known));
    let (status, body) = known.map_or((404, "{}"), |(_, status, body)| (*status, *body));
    let connection = reader.get_mut();
    write!(connection, "HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\n")?;
    write!(connection, "Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}
