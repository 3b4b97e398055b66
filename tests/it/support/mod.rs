//! [`TestProject`]: a manifest in a folder of its own, run by the real binary, with runtime and state folders that no
//! other test shares. Waiting is for a line or for a state, with one generous deadline; never for a time.

pub(crate) mod engine;
pub(crate) mod fake_engine;
pub(crate) mod http;
pub(crate) mod own_engine;
pub(crate) mod redis;
pub(crate) mod registry;
pub(crate) mod terminal;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write, pipe};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long a test waits for what must come.
const DEADLINE: Duration = Duration::from_secs(60);

/// The program that all this is about.
const ORCHESTRATOR: &str = env!("CARGO_BIN_EXE_orchestrator");

/// A user without any rights.
const NOBODY: u32 = 65534;

/// Another one.
pub(crate) const SOMEBODY: &str = "65533";

/// What a project's services run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Process,
    Docker,
}

/// A project in a folder of its own.
pub(crate) struct TestProject {
    folder: TempDir,
    /// Who runs it; none for the user of the test.
    user: Option<u32>,
    backend: Backend,
}

/// Who runs a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// Whoever runs the tests.
    Tester,
    Root,
    /// Somebody who is not root.
    Ordinary,
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
        Self::make(User::Tester, Backend::Process, services)
    }

    /// The same, in processes or in containers.
    pub(crate) fn on(backend: Backend, services: &str) -> Self {
        let project = Self::make(User::Tester, backend, services);
        if backend == Backend::Docker {
            // A container's user is another one, and sees the folder as it is.
            let open = fs::Permissions::from_mode(0o777);
            fs::set_permissions(project.path().join("shared"), open).expect("it is ours");
        }
        project
    }

    /// The same, run by this one, who has to be possible here.
    pub(crate) fn run_by(user: User, services: &str) -> Self {
        Self::make(user, Backend::Process, services)
    }

    fn make(user: User, backend: Backend, services: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let user = (user == User::Ordinary && is_root()).then_some(NOBODY);
        let project = Self { folder, user, backend };
        project.hand_over(project.path());
        if user.is_some() {
            // Where it was built, others may not look.
            let own = project.path().join("orchestrator");
            fs::hard_link(ORCHESTRATOR, &own)
                .or_else(|_| fs::copy(ORCHESTRATOR, &own).map(drop))
                .expect("it can be copied");
        }
        project.folder("shared");
        project.write_manifest(services);
        project
    }

    /// Writes a manifest of these services. In containers, all but `js` is found in the tests' image.
    pub(crate) fn write_manifest(&self, services: &str) {
        let text = match self.backend {
            Backend::Process => format!("name: test\nservices:\n{services}"),
            Backend::Docker => {
                let in_image = |services: String, runtime: &str| {
                    let runtime = format!("runtime: {runtime},");
                    services.replace(&runtime, &format!("{runtime} runtime_image: '{}',", engine::DEBIAN))
                };
                let services = ["exec", "python", "node"].into_iter().fold(services.to_owned(), in_image);
                format!("name: test\nisolation: docker\nservices:\n{services}")
            }
        };
        self.write("manifest.yaml", &text);
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

    /// A folder of the project, for who runs it.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let folder = self.path().join(name);
        fs::create_dir_all(&folder).expect("a folder can be made");
        self.hand_over(&folder);
        folder
    }

    fn hand_over(&self, path: &Path) {
        if self.user.is_some() {
            chown(path, self.user, self.user).expect("root can give it away");
        }
    }

    /// The orchestrator, as somebody in the project's folder runs it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_through(&[], arguments)
    }

    /// The same, started by another program, which takes its own arguments and then the command to start.
    pub(crate) fn command_through(&self, launcher: &[&str], arguments: &[&str]) -> Command {
        self.command_within(launcher, &[], arguments)
    }

    /// The same, with one launcher that the tester runs and one that the project's user runs.
    pub(crate) fn command_within(&self, outer: &[&str], inner: &[&str], arguments: &[&str]) -> Command {
        let own = self.path().join("orchestrator").display().to_string();
        let user = self.user.map(|user| user.to_string());
        let (switch, program) = match &user {
            None => (Vec::new(), ORCHESTRATOR),
            Some(user) => (as_user(user).to_vec(), own.as_str()),
        };
        let words = [outer, &switch, inner, &[program], arguments].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(self.path()).stdin(Stdio::null());
        for (name, folder) in [("XDG_RUNTIME_DIR", "run"), ("XDG_STATE_HOME", "state"), ("HOME", "home")] {
            command.env(name, self.folder(folder));
        }
        command.env_remove("XDG_DATA_HOME");
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        Said::of(&mut self.command(arguments))
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
        Up::begin(&mut self.command(arguments))
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

impl Said {
    /// What a command says until it has ended.
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().expect("it can be run");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

impl Up {
    /// A command that goes on; what it writes to its output and as errors stays in its order.
    pub(crate) fn begin(command: &mut Command) -> Self {
        let (written, pipe) = pipe().expect("a pipe can be made");
        let other = pipe.try_clone().expect("a descriptor is free");
        let child = command.stdout(pipe).stderr(other).spawn().expect("the orchestrator can be run");
        // The command would keep the pipe open past the end of its process.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let (sender, lines) = channel();
        read_lines(written, sender);
        Self { child, lines, seen: Vec::new() }
    }

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

impl Drop for TestProject {
    /// Ends what a test has left in the background: it would go on for ever, and slow down all the others.
    fn drop(&mut self) {
        let mark = self.path().to_string_lossy().into_owned();
        let left = processes().filter(|(_, shown)| shown.contains(&mark) && shown.contains(" --detached"));
        for (pid, _) in left {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            // It may just have ended by itself.
            let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl User {
    /// Whether the tests can run something as this one; says by name what is skipped.
    pub(crate) fn is_possible(self, test: &str) -> bool {
        let possible = self != Self::Root || is_root();
        if !possible {
            println!("skipped: {test} needs root");
        }
        possible
    }
}

/// Whether the tests are run by root.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// What comes before a command that another user is to run, for root only. The command takes its place.
pub(crate) fn as_user(user: &str) -> [&str; 7] {
    ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--"]
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

/// The children of a process.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it is there").flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
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

/// A server on the host's own loopback that greets one caller after the other; answers with its port.
pub(crate) fn greeter() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    thread::spawn(move || {
        for mut caller in listener.incoming().flatten() {
            let _ = caller.write_all(b"hello from the host\n");
        }
    });
    port
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
