//! A Redis of a test's own, and a way to it that can be cut.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use tempfile::TempDir;

use super::{kill, wait_for};

/// What all members of a test's fabric have.
pub(crate) const KEY: &str = "a key that only the members of the tests have";

/// A server on a port of its own, without a disk.
pub(crate) struct OwnRedis {
    folder: TempDir,
    port: u16,
    more: Vec<String>,
    server: Child,
}

impl OwnRedis {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let port = free_port();
        let own = ["--port".to_owned(), port.to_string()];
        Self::with(folder, port, own.into())
    }

    /// One over TLS, for a user `shop` with the password `secret`, who may no more than the page says, with a certificate that only its own authority vouches for:
    /// the file of that is the second value.
    pub(crate) fn over_tls() -> (Self, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let at = |name: &str| folder.path().join(name);
        let authority = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=tests", "-days", "2"];
        openssl(&folder, &[&authority[..], &["-keyout", "ca.key", "-out", "ca.pem"]].concat());
        let request = ["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"];
        openssl(&folder, &[&request[..], &["-keyout", "redis.key", "-out", "redis.csr"]].concat());
        std::fs::write(at("names"), "subjectAltName=IP:127.0.0.1\n").expect("it is ours");
        let sign = ["x509", "-req", "-in", "redis.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2"];
        openssl(&folder, &[&sign[..], &["-extfile", "names", "-out", "redis.pem"]].concat());
        let (port, ca) = (free_port(), at("ca.pem"));
        let page = include_str!("../../../docs/fabric.md");
        let rule = page.lines().find_map(|line| line.strip_prefix("ACL SETUSER orchestrator on >PASSWORD "));
        let rights = rule.expect("the page says it").replace("PREFIX", "orchestrator");
        let settings = format!(
            "port 0\ntls-port {port}\ntls-auth-clients no\ntls-cert-file redis.pem\ntls-key-file redis.key\n\
             tls-ca-cert-file ca.pem\nuser default off\nuser shop on >secret {rights}\n"
        );
        std::fs::write(at("redis.conf"), settings).expect("it is ours");
        let more = vec![at("redis.conf").display().to_string()];
        (Self::with(folder, port, more), ca)
    }

    fn with(folder: TempDir, port: u16, more: Vec<String>) -> Self {
        let server = serve(&folder, &more);
        let redis = Self { folder, port, more, server };
        redis.wait();
        redis
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        kill(self.server.id(), "KILL");
        self.server.wait().expect("it can be waited for");
    }

    /// Starts it again where it was.
    pub(crate) fn start_again(&mut self) {
        self.server = serve(&self.folder, &self.more);
        self.wait();
    }

    /// A connection of its own, which speaks Redis's protocol.
    pub(crate) fn connect(&self) -> Wire {
        Wire::new(TcpStream::connect(("127.0.0.1", self.port)).expect("it is there"))
    }

    fn wait(&self) {
        wait_for("Redis", || {
            TcpStream::connect(("127.0.0.1", self.port)).map(drop).map_err(|error| error.to_string())
        });
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn serve(folder: &TempDir, more: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(more).args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().expect("redis-server can be run")
}

fn openssl(folder: &TempDir, arguments: &[&str]) {
    let said = Command::new("openssl").args(arguments).current_dir(folder.path()).output();
    let said = said.expect("openssl can be run");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port is free").port()
}

/// A connection to Redis in a test's own hands.
pub(crate) struct Wire(BufReader<TcpStream>);

impl Wire {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(super::DEADLINE)).expect("a time can be set");
        Self(BufReader::new(stream))
    }

    /// Sends a command, and reads one answer: its texts and numbers, in their order.
    pub(crate) fn ask(&mut self, command: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
        for word in command {
            bytes.extend(format!("${}\r\n", word.len()).into_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        self.0.get_mut().write_all(&bytes).expect("it can be written");
        self.read()
    }

    /// The next answer, or the next message of a subscription.
    pub(crate) fn read(&mut self) -> Vec<Vec<u8>> {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("Redis answers");
        let (kind, rest) = line.trim_end().split_at(1);
        let number = || rest.parse::<i64>().expect("a number");
        match kind {
            "*" => (0..number()).flat_map(|_| self.read()).collect(),
            "$" if number() < 0 => vec![Vec::new()],
            "$" => {
                let mut bytes = vec![0; usize::try_from(number()).expect("a length") + 2];
                self.0.read_exact(&mut bytes).expect("all of it comes");
                bytes.truncate(bytes.len() - 2);
                vec![bytes]
            }
            _ => vec![rest.as_bytes().to_vec()],
        }
    }
}

/// A way to a port of this host that can be cut without anybody being told.
pub(crate) struct Cuttable {
    port: u16,
    cut: Arc<(Mutex<bool>, Condvar)>,
}

impl Cuttable {
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let own = listener.local_addr().expect("it has an address").port();
        let cut = Arc::new((Mutex::new(false), Condvar::new()));
        let seen = Arc::clone(&cut);
        thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let ways = [(&caller, &server), (&server, &caller)];
                for (from, to) in ways.map(|(from, to)| {
                    (
                        from.try_clone().expect("a descriptor is free"),
                        to.try_clone().expect("a descriptor is free"),
                    )
                }) {
                    let cut = Arc::clone(&seen);
                    thread::spawn(move || carry(from, to, &cut));
                }
            }
        });
        Self { port: own, cut }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// From now on nothing passes, or everything again.
    pub(crate) fn cut(&self, cut: bool) {
        *self.cut.0.lock().expect("nobody has panicked") = cut;
        self.cut.1.notify_all();
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, cut: &(Mutex<bool>, Condvar)) {
    let mut buffer = [0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        drop(
            cut.1
                .wait_while(cut.0.lock().expect("nobody has panicked"), |cut| *cut)
                .expect("nobody has panicked"),
        );
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
