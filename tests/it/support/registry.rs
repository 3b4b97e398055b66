//! [`Registry`]: a registry of images on this machine, which engines speak with as with any other: enough of the
//! distribution interface to pull from, open to all or to one user.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use super::engine::docker;

/// The user that a closed registry is open to, as browsers and `docker login` write name and password: `tester:right`.
pub(crate) const LOGIN: &str = "dGVzdGVyOnJpZ2h0";

/// The types of a manifest and of its parts.
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// A registry that answers until the test has ended. The engine forgets its images when this is dropped.
pub(crate) struct Registry {
    address: SocketAddr,
    shelves: Arc<Mutex<Shelves>>,
}

/// What a registry has.
#[derive(Default)]
struct Shelves {
    /// By digest.
    blobs: HashMap<String, Vec<u8>>,
    /// The digests of manifests, by tag and by themselves.
    manifests: HashMap<String, String>,
    closed: bool,
}

impl Registry {
    /// One that is open to all.
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let shelves: Arc<Mutex<Shelves>> = Arc::default();
        let theirs = Arc::clone(&shelves);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let shelves = Arc::clone(&theirs);
                // Who hangs up has heard enough.
                thread::spawn(move || answer(connection, &shelves));
            }
        });
        Self { address, shelves }
    }

    /// One that is open to [`LOGIN`] only.
    pub(crate) fn closed() -> Self {
        let registry = Self::open();
        registry.shelves.lock().expect("nobody has panicked").closed = true;
        registry
    }

    /// What it is called in an image's name.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// The name of its only image.
    pub(crate) fn image(&self) -> String {
        format!("{}/team/hello:1", self.address)
    }

    /// From now on its image has this folder's files, in a layer for each folder of it, and runs `/hello` with this
    /// argument. Answers with its digest.
    pub(crate) fn publish(&self, folder: &Path, argument: &str) -> String {
        let mut shelves = self.shelves.lock().expect("nobody has panicked");
        let entries = std::fs::read_dir(folder).expect("it is there").flatten();
        let layers: Vec<_> = entries.map(|entry| shelves.keep(tar(&entry.path()))).collect();
        let diffs: Vec<_> = layers.iter().map(|(digest, _)| digest).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": diffs },
            "config": { "Entrypoint": ["/hello"], "Cmd": [argument] },
        });
        let config = shelves.keep(config.to_string().into_bytes());
        let part = |kind: &str, (digest, size): &(String, usize)| -> Value {
            json!({ "mediaType": kind, "digest": digest, "size": size })
        };
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": part(CONFIG, &config),
            "layers": layers.iter().map(|layer| part(LAYER, layer)).collect::<Vec<_>>(),
        });
        let (digest, _) = shelves.keep(manifest.to_string().into_bytes());
        shelves.manifests.insert("1".into(), digest.clone());
        shelves.manifests.insert(digest.clone(), digest.clone());
        digest
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let own = format!("reference={}/team/hello", self.address);
        let ids = docker(&["images", "--quiet", "--no-trunc", "--filter", &own]);
        let ids: Vec<_> = ids.lines().collect();
        docker(&[&["rmi", "--force"][..], &ids].concat());
    }
}

impl Shelves {
    /// Keeps these bytes, and answers with their digest and number.
    fn keep(&mut self, bytes: Vec<u8>) -> (String, usize) {
        let digest = format!("sha256:{}", sha256(&bytes));
        let size = bytes.len();
        self.blobs.insert(digest.clone(), bytes);
        (digest, size)
    }

    /// What is at a path: its type, its digest and its bytes.
    fn find(&self, path: &str) -> Option<(&str, &str, &[u8])> {
        let (kind, digest) = match path.strip_prefix("/v2/team/hello/")?.split_once('/')? {
            ("manifests", reference) => (MANIFEST, self.manifests.get(reference)?.as_str()),
            ("blobs", digest) => ("application/octet-stream", digest),
            _ => return None,
        };
        let (digest, bytes) = self.blobs.get_key_value(digest)?;
        Some((kind, digest, bytes))
    }
}

/// The program `/hello`, which says its argument; none where no C compiler makes it.
pub(crate) fn hello(folder: &Path) -> bool {
    std::fs::create_dir_all(folder).expect("a folder can be made");
    let mut compiler = Command::new("cc");
    compiler.args(["-static", "-x", "c", "-", "-o"]).arg(folder.join("hello"));
    let program = "#include <stdio.h>\nint main(int count, char **words) { return puts(words[1]) < 0; }\n";
    through(&mut compiler, program.as_bytes()).is_some()
}

/// Answers one request.
fn answer(mut connection: TcpStream, shelves: &Mutex<Shelves>) -> std::io::Result<()> {
    // Engines try TLS first, and take a registry of their own machine without.
    if connection.peek(&mut [0])? == 0 || begins_tls(&connection)? {
        return Ok(());
    }
    let mut head = String::new();
    let mut reader = BufReader::new(&connection);
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let shelves = shelves.lock().expect("nobody has panicked");
    let login = head.lines().find_map(|line| line.strip_prefix("Authorization: Basic "));
    let refused =
        |code: &str, text: &str| json!({ "errors": [{ "code": code, "message": text }] }).to_string();
    let (status, fields, bytes) = if shelves.closed && login != Some(LOGIN) {
        let fields = "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"test\"".to_owned();
        (
            fields,
            "application/json".to_owned(),
            refused("UNAUTHORIZED", "authentication required").into_bytes(),
        )
    } else if path == "/v2/" {
        ("200 OK".to_owned(), "application/json".to_owned(), b"{}".to_vec())
    } else if let Some((kind, digest, bytes)) = shelves.find(path) {
        (format!("200 OK\r\nDocker-Content-Digest: {digest}"), kind.to_owned(), bytes.to_vec())
    } else {
        let text = refused("MANIFEST_UNKNOWN", "manifest unknown");
        ("404 Not Found".to_owned(), "application/json".to_owned(), text.into_bytes())
    };
    drop(shelves);
    write!(connection, "HTTP/1.1 {status}\r\nContent-Type: {fields}\r\nContent-Length: {}\r\n", bytes.len())?;
    write!(connection, "Docker-Distribution-Api-Version: registry/2.0\r\nConnection: close\r\n\r\n")?;
    if method == "HEAD" { Ok(()) } else { connection.write_all(&bytes) }
}

fn begins_tls(connection: &TcpStream) -> std::io::Result<bool> {
    let mut first = [0];
    connection.peek(&mut first)?;
    Ok(!first[0].is_ascii_alphabetic())
}

/// A folder's files as an archive that is the same each time.
fn tar(folder: &Path) -> Vec<u8> {
    let mut command = Command::new("tar");
    command.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "-cC"]);
    through(command.arg(folder).arg("."), b"").expect("tar is there")
}

fn sha256(bytes: &[u8]) -> String {
    let sum = through(&mut Command::new("sha256sum"), bytes).expect("sha256sum is there");
    String::from_utf8_lossy(&sum[..64]).into_owned()
}

/// What a command makes of these bytes; none where it cannot be run, or fails.
fn through(command: &mut Command, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let mut input = child.stdin.take()?;
    let bytes = bytes.to_vec();
    let writer = thread::spawn(move || input.write_all(&bytes));
    let mut made = Vec::new();
    child.stdout.take()?.read_to_end(&mut made).ok()?;
    // Who has read enough may have ended before everything was written.
    let _ = writer.join();
    child.wait().ok()?.success().then_some(made)
}
