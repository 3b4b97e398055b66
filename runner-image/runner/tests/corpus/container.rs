//! The column `docker`: the runner as the first process of a container, made as the manager has an engine make it. That it
//! does is held by the tests of the containers' settings, in `tests/it/docker.rs`.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use orchestrator_port::container::{FOLDER, HAND_OVER, RUNNER};
use orchestrator_port::launch::{Confinement, Ticket};
use orchestrator_sandbox::descriptors::{accept_packets, packet_listener, send_packet};
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::support::Booth;
use crate::{open_to_all, path_of};

/// Debian's files, made by `tests/setup.sh`.
const IMAGE: &str = "orchestrator-tests/debian:1";

/// Nobody else on this host.
const USER: u32 = 61184;

/// Where the attacker is.
pub(crate) const ATTACKER: &str = "/attacker";

/// Where the controller's socket was.
pub(crate) const PORT: &str = "/orchestrator/start/port";

/// Why there is no such column here; none where there is.
pub(crate) fn missing() -> Option<&'static str> {
    let answers = |arguments: &[&str]| {
        let output = Command::new("docker").args(arguments).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !answers(&["version"]) {
        return Some("a container engine");
    }
    (!answers(&["image", "inspect", IMAGE])).then_some("the image orchestrator-tests/debian:1")
}

/// A container with a runner in it. Removed when dropped.
pub(crate) struct Container {
    name: String,
    engine: Child,
}

impl Container {
    /// Starts one for this ticket; its runner connects to the booth.
    pub(crate) async fn start(booth: &Booth, attacker: &Path, confinement: Confinement) -> Self {
        let folder = booth.folder.path();
        open_to_all(folder, 0o711);
        open_to_all(&folder.join("port"), 0o666);
        let listener = packet_listener(&folder.join(HAND_OVER)).unwrap();
        open_to_all(&folder.join(HAND_OVER), 0o666);
        let name =
            format!("orchestrator-corpus-{}-{}", std::process::id(), folder.file_name().unwrap().display());
        let mut engine = Command::new("docker")
            .args(["run", "--rm", "--interactive", "--name", &name])
            .args(settings(folder, attacker, &confinement))
            .args([IMAGE, "container"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let network = confinement.network;
        let ticket = Ticket {
            socket: PORT.into(),
            token: booth.token.to_hex(),
            root: "/service".into(),
            confinement: Some(confinement),
            listen: Vec::new(),
        };
        engine.stdin.take().unwrap().write_all(&serde_json::to_vec(&ticket).unwrap()).unwrap();
        let host = booth.host_end.as_ref().unwrap().as_fd();
        hand_over(listener, host, network).await.unwrap();
        fs::remove_file(folder.join(HAND_OVER)).unwrap();
        Self { name, engine }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "--force", &self.name]).output();
        let _ = self.engine.wait();
    }
}

/// What the manager asks an engine for, as `docker run` is told it.
fn settings(folder: &Path, attacker: &Path, confinement: &Confinement) -> Vec<String> {
    let bind = |from: &Path, to: &Path, mode: &str| {
        format!(
            "type=bind,bind-nonrecursive,bind-propagation=rprivate,src={},dst={}{mode}",
            path_of(from),
            path_of(to)
        )
    };
    let read_only = ",readonly";
    let mut mounts = vec![
        bind(folder, FOLDER.as_ref(), read_only),
        bind(env!("CARGO_BIN_EXE_runner").as_ref(), RUNNER.as_ref(), read_only),
        bind(attacker, ATTACKER.as_ref(), read_only),
    ];
    let granted =
        |paths: &[PathBuf], mode| paths.iter().map(|path| bind(path, path, mode)).collect::<Vec<_>>();
    mounts.extend(granted(&confinement.read, read_only));
    mounts.extend(granted(&confinement.write, ""));
    let own = format!("mode=0755,uid={USER},gid={USER}");
    let Confinement { scratch_bytes, scratch_entries, processes, .. } = confinement;
    let mut settings: Vec<String> = [
        "--network=none",
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--ipc=private",
        "--cgroupns=private",
        "--shm-size=16m",
        "--ulimit=core=0",
        "--ulimit=nofile=4096",
        "--oom-score-adj=500",
        "--log-driver=none",
        "--workdir=/",
    ]
    .map(Into::into)
    .into();
    settings.push(format!("--pids-limit={}", processes.unwrap_or_default()));
    settings.push(format!("--user={USER}:{USER}"));
    settings.push(format!("--entrypoint={RUNNER}"));
    settings.push(format!(
        "--tmpfs=/tmp:rw,noexec,nosuid,nodev,size={scratch_bytes},nr_inodes={scratch_entries},mode=1777"
    ));
    settings.push(format!("--tmpfs=/service:rw,exec,nosuid,nodev,size=2g,{own}"));
    settings.push(format!("--tmpfs=/run/secrets:rw,noexec,nosuid,nodev,size=16m,{own}"));
    settings.extend(mounts.into_iter().map(|mount| format!("--mount={mount}")));
    settings
}

/// Hands the runner its service's descriptor, and a line to a gateway that nobody listens at.
async fn hand_over(listener: OwnedFd, host: BorrowedFd<'_>, network: bool) -> io::Result<()> {
    let (_gateway, line) = orchestrator_sandbox::descriptors::packet_pair()?;
    let listener = UnixStream::from_std(listener.into())?;
    let (socket, _) = listener.async_io(Interest::READABLE, || accept_packets(&listener)).await?;
    let given = [host, line.as_fd()];
    send_packet(&socket, b"given", &given[..1 + usize::from(network)])
}
