//! [`OwnEngine`]: a second container engine, of a test's own, that can be stopped and started while others use the first.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{is_root, kill, missing, wait_for};

/// An engine with all that it has in a folder. It ends, and what it has goes, when this is dropped.
pub(crate) struct OwnEngine {
    folder: TempDir,
    daemon: Option<Child>,
}

impl OwnEngine {
    /// One that answers; none where it cannot be had, which is said by name.
    pub(crate) fn start(test: &str) -> Option<Self> {
        if !is_root() {
            println!("skipped: docker: {test}: an engine of its own needs root");
            return None;
        }
        if missing("dockerd", test) {
            return None;
        }
        let mut engine = Self { folder: tempfile::tempdir().expect("a folder can be made"), daemon: None };
        engine.run();
        Some(engine)
    }

    /// Runs it, again or for the first time, until it answers.
    pub(crate) fn run(&mut self) {
        let own = |name: &str| self.folder.path().join(name);
        let said = File::options().append(true).create(true).open(own("said")).expect("a file can be made");
        let daemon = Command::new("dockerd")
            .args(["--host", &self.host(), "--bridge", "none", "--iptables=false", "--ip-forward=false"])
            .args(["--shutdown-timeout", "1", "--data-root"])
            .arg(own("data"))
            .arg("--exec-root")
            .arg(own("exec"))
            .arg("--pidfile")
            .arg(own("pid"))
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .expect("it can be run");
        self.daemon = Some(daemon);
        wait_for("the engine to answer", || {
            let answers = self.docker(&["version", "--format", "{{.Server.APIVersion}}"]);
            let said = || std::fs::read_to_string(own("said")).unwrap_or_default();
            if answers.is_empty() { Err(said()) } else { Ok(()) }
        });
    }

    /// Ends it by this signal.
    pub(crate) fn stop(&mut self, signal: &str) {
        if let Some(mut daemon) = self.daemon.take() {
            kill(daemon.id(), signal);
            daemon.wait().expect("it can be waited for");
        }
    }

    /// Its address, as in `DOCKER_HOST`.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("docker.sock").display())
    }

    /// What it says to this.
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        let output = Command::new("docker").args(["--host", &self.host()]).args(arguments).output();
        String::from_utf8_lossy(&output.expect("docker can be run").stdout).trim().to_owned()
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        self.stop("TERM");
    }
}
