//! [`TestProject`]: a manifest in a folder of its own, run by the real binary, with runtime and state folders that no
//! other test shares. Waiting is for a line or for a state, with one generous deadline; never for a time.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long a test waits for what must come.
const DEADLINE: Duration = Duration::from_secs(60);

/// A project in a folder of its own.
pub(crate) struct TestProject {
    folder: TempDir,
}

/// `orchestrator up` in the foreground, or another command that goes on, with all that it writes.
pub(crate) struct Up {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

/// What a command that has ended said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl TestProject {
    /// A project of this manifest, whose name is `test`, with a folder `shared` that services may be granted.
    pub(crate) fn new(services: &str) -> Self {
        let project = Self { folder: tempfile::tempdir().expect("a folder can be made") };
        fs::create_dir(project.path().join("shared")).expect("a folder can be made");
        project.write("manifest.yaml", &format!("name: test\nservices:\n{services}"));
        project
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("it is in the folder")).expect("a folder can be made");
        fs::write(&path, text).expect("a file can be written");
        if text.starts_with("#!") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be made executable");
        }
        path
    }

    /// The orchestrator, as somebody in the project's folder runs it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orchestrator"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        for (name, folder) in [("XDG_RUNTIME_DIR", "run"), ("XDG_STATE_HOME", "state"), ("HOME", "home")] {
            let folder = self.path().join(folder);
            fs::create_dir_all(&folder).expect("a folder can be made");
            command.env(name, folder);
        }
        command.env_remove("XDG_DATA_HOME");
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        let output = self.command(arguments).output().expect("the orchestrator can be run");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Runs `up` in the foreground.
    pub(crate) fn up(&self) -> Up {
        self.up_of("manifest.yaml")
    }

    /// The same, of another manifest.
    pub(crate) fn up_of(&self, manifest: &str) -> Up {
        self.begin(&["up", manifest])
    }

    /// Runs a command that goes on.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Up {
        let mut child = self
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the orchestrator can be run");
        let (sender, lines) = channel();
        read_lines(child.stdout.take().expect("it is a pipe"), sender.clone());
        read_lines(child.stderr.take().expect("it is a pipe"), sender);
        Up { child, lines, seen: Vec::new() }
    }

    /// The project as `ps` shows it.
    pub(crate) fn snapshot(&self) -> Value {
        let said = self.run(&["ps", "--json"]);
        serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("no snapshot: {said:?}"))
    }

    /// A service's view in the snapshot.
    pub(crate) fn service(&self, name: &str) -> Value {
        let snapshot = self.snapshot();
        let services = snapshot["services"].as_array().expect("a list");
        services.iter().find(|service| service["name"] == name).expect("it is there").clone()
    }

    /// The first replica's process id.
    pub(crate) fn pid_of(&self, service: &str) -> u32 {
        let pid = self.service(service)["replicas"][0]["pid"].as_u64().expect("it runs");
        u32::try_from(pid).expect("a process id")
    }

    /// Everything that happened, as (service, state) of whole services.
    pub(crate) fn states(&self) -> Vec<(String, String)> {
        let events = self.run(&["events", "--json"]).out;
        let events = events.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let services = events.filter(|event| event["event"] == "service");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        services.map(|event| (text(&event["service"]), text(&event["state"]))).collect()
    }

    /// Waits until nothing of the project is there: no process that has its folder in its environment or its command,
    /// and no file in its runtime folder.
    pub(crate) fn wait_until_nothing_is_left(&self) {
        wait_for("nothing to be left", || {
            let left = self.leftovers();
            left.is_empty().then_some(()).ok_or(format!("{left:?}"))
        });
    }

    fn leftovers(&self) -> Vec<String> {
        let mark = self.path().to_string_lossy().into_owned();
        let mut left: Vec<String> =
            processes().filter(|(_, shown)| shown.contains(&mark)).map(|(_, shown)| shown).collect();
        let run = self.path().join("run/orchestrator/test");
        left.extend(run.exists().then(|| run.display().to_string()));
        left
    }
}

impl Up {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that has this text in it.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{text:?} did not come; this did:\n{}", self.seen.join("\n"))
                }
            }
        }
    }

    /// Waits for the end: the exit code, and everything that was written.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().expect("it can be waited for");
        self.seen.extend(self.lines.iter());
        (status.code(), self.seen.join("\n"))
    }

    pub(crate) fn interrupt(&self) {
        kill(self.pid(), "INT");
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to one process.
pub(crate) fn kill(pid: u32, signal: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).status();
    assert!(sent.is_ok_and(|status| status.success()), "{pid} cannot be sent {signal}");
}

/// The parent of a process.
pub(crate) fn parent(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it is there");
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("it has a parent");
    line.trim().parse().expect("a number")
}

/// Every process that is no zombie: its id, and its command and environment.
fn processes() -> impl Iterator<Item = (u32, String)> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let read = |file| fs::read(entry.path().join(file)).unwrap_or_default();
        let text = [read("cmdline"), read("environ")].concat();
        Some((pid, format!("{pid}: {}", String::from_utf8_lossy(&text).replace('\0', " "))))
    })
}

/// Waits until something is so, or says what was the matter.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(matter) => assert!(Instant::now() < until, "waited for {what}: {matter}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Says by name that a test was skipped, if this program is not there.
pub(crate) fn missing(program: &str, test: &str) -> bool {
    let there = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let missing = there.is_err();
    if missing {
        println!("skipped: {test} needs {program}, which is not here");
    }
    missing
}

fn read_lines(from: impl Read + Send + 'static, to: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            if to.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
}
