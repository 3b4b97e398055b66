//! [`HostProcess`]: a host in a process of its own, seen from the runner's end of its line.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use orchestrator_sandbox::descriptors::stream_pair;
use orchestrator_sandbox::spawn::{Child, Launch, Program};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitOptions, kill_process, waitpid};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::plugin::Plugin;

/// After this long, something that should happen does not: the case fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct HostProcess {
    pub(crate) plugin: &'static str,
    child: Child,
    writer: Option<UnixStream>,
    reader: BufReader<UnixStream>,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
    _root: TempDir,
}

/// How a host has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Its exit code; none where a signal has ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl HostProcess {
    /// Starts a host with these files as its code, as the runner does.
    pub(crate) fn start(plugin: &Plugin, files: &[(&str, &str)], kind: &str) -> Self {
        Self::start_listening(plugin, files, kind, &[])
    }

    /// The same with listening sockets, each with its name and address: `http=127.0.0.1:8080`.
    pub(crate) fn start_listening(
        plugin: &Plugin,
        files: &[(&str, &str)],
        kind: &str,
        sockets: &[(BorrowedFd<'_>, String)],
    ) -> Self {
        let root = TempDir::new().unwrap();
        let path = root.path().canonicalize().unwrap();
        copy(&plugin.folder, &path);
        fs::create_dir(path.join("code")).unwrap();
        for (name, text) in files {
            write(&path.join("code").join(name), text);
        }
        let (ours, theirs) = stream_pair().unwrap();
        let ((stdout, stdout_end), (stderr, stderr_end)) = (pipe(), pipe());
        let null = File::open("/dev/null").unwrap();
        let command = plugin.command(&path);
        let folder = path.join("code");
        let mut descriptors = vec![null.as_fd(), stdout_end.as_fd(), stderr_end.as_fd()];
        descriptors.extend(sockets.iter().map(|(socket, _)| *socket));
        descriptors.push(theirs.as_fd());
        let launch = Launch {
            program: Program::Path(Path::new(&command[0])),
            arguments: command.iter().map(Into::into).collect(),
            environment: environment(kind, sockets.iter().map(|(_, entry)| entry.as_str())),
            folder: Some(&folder),
            descriptors,
            die_with_parent: false,
            groups: &[],
            confinement: None,
        };
        let child = launch.spawn().unwrap();
        let writer = UnixStream::from(ours);
        writer.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            plugin: plugin.name,
            child,
            reader: BufReader::new(writer.try_clone().unwrap()),
            writer: Some(writer),
            stdout: collect(stdout),
            stderr: collect(stderr),
            _root: root,
        }
    }

    /// Says something to the host.
    pub(crate) fn say(&mut self, message: &str) {
        self.writer.as_mut().unwrap().write_all(message.as_bytes()).unwrap();
    }

    /// What the host says next; null if it has nothing more to say.
    pub(crate) fn next(&mut self) -> Value {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or(Value::Null)
    }

    /// Expects that the service has started; returns the message.
    pub(crate) fn started(&mut self) -> Value {
        let message = self.next();
        assert_eq!(message["type"], "started", "{message}");
        message
    }

    /// Expects a `failed` or an `exception`, and returns its error.
    pub(crate) fn error(&mut self, kind: &str) -> Value {
        let message = self.next();
        assert_eq!(message["type"], kind, "{message}");
        message["error"].clone()
    }

    /// Asks for health, and returns what is wrong.
    pub(crate) fn health(&mut self) -> Value {
        self.say("{\"type\":\"health\",\"id\":7}\n");
        let answer = self.next();
        assert_eq!((&answer["type"], &answer["id"]), (&json!("health"), &json!(7)), "{answer}");
        answer["failure"].clone()
    }

    /// Tells the host to close, and waits for its end.
    pub(crate) fn close(mut self) -> Ended {
        self.say("{\"type\":\"close\"}\n");
        self.ended()
    }

    /// Goes away, as a runner that was killed, and waits for the host's end.
    pub(crate) fn abandon(mut self) -> Ended {
        let writer = self.writer.take().unwrap();
        writer.shutdown(std::net::Shutdown::Both).unwrap();
        self.wait()
    }

    /// Waits for the host's end, and expects that it has nothing more to say.
    pub(crate) fn ended(mut self) -> Ended {
        assert_eq!(self.next(), Value::Null);
        self.wait()
    }

    fn wait(self) -> Ended {
        let patience = Timespec { tv_sec: PATIENCE.as_secs().try_into().unwrap(), tv_nsec: 0 };
        let over = poll(&mut [PollFd::new(&self.child.pidfd, PollFlags::IN)], Some(&patience)).unwrap();
        if over == 0 {
            kill_process(self.child.pid, Signal::KILL).unwrap();
        }
        let (_, status) = waitpid(Some(self.child.pid), WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(over, 1, "the host does not end");
        let (stdout, stderr) = (self.stdout.join().unwrap(), self.stderr.join().unwrap());
        Ended { code: status.exit_status(), stdout, stderr }
    }
}

fn environment<'a>(kind: &str, sockets: impl Iterator<Item = &'a str>) -> Vec<(OsString, OsString)> {
    let sockets: Vec<&str> = sockets.collect();
    let port = |entry: &&str| entry.rsplit_once(':').map(|(_, port)| port.to_owned());
    let mut variables = vec![
        ("PATH", std::env::var("PATH").unwrap()),
        ("ORCHESTRATOR_SERVICE", "shop".into()),
        ("ORCHESTRATOR_REPLICA", "2".into()),
        ("ORCHESTRATOR_HOST_FD", (3 + sockets.len()).to_string()),
        ("ORCHESTRATOR_KIND", kind.into()),
    ];
    if !sockets.is_empty() {
        variables.push(("LISTEN_FDS", sockets.len().to_string()));
        variables.push(("ORCHESTRATOR_LISTEN", sockets.join(";")));
        variables.extend(sockets.iter().find_map(port).map(|port| ("PORT", port)));
    }
    variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// A text that begins with an arrow is a symbolic link.
fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    match text.strip_prefix("-> ") {
        Some(target) => symlink(target, path).unwrap(),
        None => fs::write(path, text).unwrap(),
    }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC).unwrap()
}

fn collect(pipe: OwnedFd) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = Vec::new();
        File::from(pipe).read_to_end(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    })
}
