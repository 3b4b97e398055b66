//! [`Notices`]: what is told outside of the project when a replica gives up. A command runs as the orchestrator does, in a
//! session of its own; a webhook is sent a request. Each has half a minute, and what fails becomes an event.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orchestrator_core::ReplicaId;
use orchestrator_core::giving_up::{Facts, Notice};
use orchestrator_core::report::EventKind;
use orchestrator_sandbox::Pid;
use orchestrator_sandbox::spawn::{Launch, Program};
use rustix::process::{Signal, WaitOptions, WaitStatus, kill_process_group, waitpid};
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::timeout;

use crate::service_container::chain;
use crate::shipment::is_executable;
use crate::webhook::post;

/// How long a command may run, and a webhook be silent.
const LIMIT: Duration = Duration::from_secs(30);

/// How many commands and requests are under way at a time. Further ones fail, and that is told.
const AT_ONCE: usize = 64;

/// Variables that speak of descriptors which the orchestrator was passed and a command is not.
const OF_THE_ORCHESTRATOR: [&str; 3] = ["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"];

/// What is being told. Dropped, it is told to nobody any more, and its commands are killed.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    /// Each answers with whose it is, and how it failed.
    under_way: JoinSet<(ReplicaId, Result<(), String>)>,
}

impl Notices {
    /// Begins to tell. A command is found, and runs, in this folder. Answers with what has failed at once.
    #[must_use]
    pub(crate) fn begin(&mut self, notice: Notice, folder: PathBuf) -> Option<EventKind> {
        let Notice { facts, to } = notice;
        let replica = ReplicaId { service: facts.service.clone(), index: facts.replica };
        let further = usize::from(to.exec.is_some()) + usize::from(to.webhook.is_some());
        if self.under_way.len() + further > AT_ONCE {
            let why = format!("{AT_ONCE} commands and requests are under way already");
            return Some(EventKind::NotTold { replica, why });
        }
        if let Some(command) = to.exec {
            let (facts, replica) = (facts.clone(), replica.clone());
            self.under_way.spawn(async move { (replica, run(&command, &facts, &folder, LIMIT).await) });
        }
        if let Some(webhook) = to.webhook {
            self.under_way.spawn(async move { (replica, post(&webhook, &facts, LIMIT).await) });
        }
        None
    }

    /// The next one that is over: what has failed of it, if anything. None where nothing is under way. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Option<EventKind>> {
        self.under_way.join_next().await.map(failure)
    }
}

fn failure(over: Result<(ReplicaId, Result<(), String>), JoinError>) -> Option<EventKind> {
    match over {
        Ok((replica, told)) => told.err().map(|why| EventKind::NotTold { replica, why }),
        Err(error) => {
            tracing::error!(%error, "what is told of a replica that gave up was lost");
            None
        }
    }
}

/// Runs a command to its end.
async fn run(command: &[String], facts: &Facts, folder: &Path, limit: Duration) -> Result<(), String> {
    let name = command.first().map(String::as_str).unwrap_or_default();
    let mut running = Running::start(name, command, facts, folder)?;
    match timeout(limit, running.ended()).await {
        Ok(Ok(status)) => match (status.exit_status(), status.terminating_signal()) {
            (Some(0), _) => Ok(()),
            (Some(code), _) => Err(format!("{name} exited with code {code}")),
            (None, signal) => Err(format!("{name} was killed by signal {}", signal.unwrap_or_default())),
        },
        Ok(Err(error)) => Err(format!("{name} cannot be waited for: {error}")),
        Err(_) => Err(format!("{name} took longer than {} s, and was killed", limit.as_secs())),
    }
}

/// A command that runs. Dropped, it is killed, with what it has started in its own process group.
struct Running {
    /// None when it has ended.
    group: Option<Pid>,
    reaper: tokio::task::JoinHandle<io::Result<WaitStatus>>,
}

impl Running {
    fn start(name: &str, command: &[String], facts: &Facts, folder: &Path) -> Result<Self, String> {
        let program =
            find(name, folder).ok_or_else(|| format!("there is no program '{name}' on the PATH"))?;
        let nothing = || File::options().read(true).write(true).open("/dev/null");
        let nothing = nothing().map_err(|error| format!("cannot open /dev/null: {error}"))?;
        let own = env::vars_os().filter(|(name, _)| !OF_THE_ORCHESTRATOR.iter().any(|other| name == other));
        let told = facts.variables().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let launch = Launch {
            program: Program::Path(&program),
            arguments: command.iter().map(OsString::from).collect(),
            environment: own
                .filter(|(name, _)| told.iter().all(|(other, _)| name != other))
                .chain(told.clone())
                .collect(),
            folder: Some(folder),
            descriptors: vec![nothing.as_fd(); 3],
            die_with_parent: false,
            groups: &[],
            confinement: None,
        };
        let child = launch.spawn().map_err(|error| format!("cannot run {name}: {}", chain(&error)))?;
        let pid = child.pid;
        let reaper = spawn_blocking(move || {
            let status = waitpid(Some(pid), WaitOptions::empty())?;
            status.map(|(_, status)| status).ok_or_else(|| io::ErrorKind::NotFound.into())
        });
        Ok(Self { group: Some(pid), reaper })
    }

    async fn ended(&mut self) -> io::Result<WaitStatus> {
        let status = (&mut self.reaper).await.map_err(io::Error::other)?;
        self.group = None;
        status
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // It may have ended in this moment.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// The file of a program: below the folder where it is a path, else where the orchestrator finds programs.
fn find(name: &str, folder: &Path) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(folder.join(name));
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|program| is_executable(program))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let [project, service] = ["shop", "web"].map(|name| name.parse().unwrap());
        Facts { project, service, replica: 1, reason: "gave up".to_owned() }
    }

    async fn said(command: &[&str]) -> String {
        let command: Vec<_> = command.iter().map(|&word| word.to_owned()).collect();
        run(&command, &facts(), Path::new("/"), Duration::from_millis(500)).await.unwrap_err()
    }

    #[tokio::test]
    async fn why_a_command_failed_is_said() {
        assert_eq!(said(&["sh", "-c", "exit 3"]).await, "sh exited with code 3");
        assert_eq!(said(&["sh", "-c", "kill -9 $$"]).await, "sh was killed by signal 9");
        assert_eq!(said(&["sh", "-c", "sleep 1000; true"]).await, "sh took longer than 0 s, and was killed");
        assert_eq!(said(&["no-such-program"]).await, "there is no program 'no-such-program' on the PATH");
        assert_eq!(
            said(&["./no/tell.sh"]).await,
            "cannot run ./no/tell.sh: failed to execute a program: No such file or directory (os error 2)"
        );
    }
}
