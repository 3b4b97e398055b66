//! `orchestrator up --detach`: starts the orchestrator in the background, and waits until everything runs, or something
//! never will.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use orchestrator_core::ServiceName;
use orchestrator_core::manifest::Kind;
use orchestrator_core::report::{ServiceView, Snapshot, State, Why};
use orchestrator_manager::Project;

use super::up::Args;
use crate::Context;
use crate::client::Client;
use crate::exit_code::Code;
use crate::failure::{Failure, Outcome};
use crate::load::Loaded;
use crate::output::print;

/// How often to look whether the orchestrator in the background answers yet.
const POLL: Duration = Duration::from_millis(10);

pub(crate) async fn run(loaded: &Loaded, project: &Project, args: &Args, context: &Context) -> Outcome {
    let log = project.state().join("daemon.log");
    std::fs::create_dir_all(project.state())?;
    let output = File::create(&log)?;
    let child = Command::new("/proc/self/exe")
        .arg("up")
        .arg(&loaded.file)
        .args(args.services.iter().map(ServiceName::as_str))
        .args(args.allow_unconfined.then_some("--allow-unconfined"))
        // Arguments are everybody's to read, and there may be a password in it.
        .envs(args.fabric.iter().map(|redis| (super::up::FABRIC, redis.reveal())))
        .arg("--detached")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output)
        .spawn()?;
    let mut last = None;
    let up = async {
        let client = answering(child, project, &log).await?;
        let mut snapshots = client.get("/v1/snapshots").await?;
        while let Some(snapshot) = snapshots.next::<Snapshot>().await {
            let snapshot = last.insert(snapshot?);
            if let Some(outcome) = judge(snapshot) {
                return outcome.map(|()| snapshot.clone());
            }
        }
        Err(ended(&log))
    };
    let snapshot = match args.timeout {
        None => up.await?,
        Some(limit) => match tokio::time::timeout(limit, up).await {
            Ok(snapshot) => snapshot?,
            Err(_) => return Err(timed_out(last.as_ref())),
        },
    };
    print(&orchestrator_views::ps(&snapshot, super::now(), context.terminal.palette()));
    Ok(Code::Ok)
}

/// Waits until the orchestrator in the background answers, or has ended.
async fn answering(mut child: Child, project: &Project, log: &std::path::Path) -> Result<Client, Failure> {
    while !project.answers() {
        if child.try_wait()?.is_some() {
            return Err(ended(log));
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(Client::new(&project.control_socket()))
}

fn ended(log: &std::path::Path) -> Failure {
    let said = std::fs::read_to_string(log).unwrap_or_default();
    let failure = Failure::new(Code::Failed, "the project has ended").hint("see 'orchestrator logs'");
    Failure { shown: Some(said), ..failure }
}

/// Whether everything that is wanted is up, or something never will be. None: it may still come.
fn judge(snapshot: &Snapshot) -> Option<Result<(), Failure>> {
    let wanted = || snapshot.services.iter().filter(|service| service.why != Some(Why::NotStarted));
    if let Some(failed) = wanted().find(|service| has_failed(service)) {
        let why = failed.why.as_ref().map(ToString::to_string).unwrap_or_default();
        let failure = Failure::new(Code::Failed, format!("{}: {why}", failed.name));
        return Some(Err(
            failure.hint(format!("see 'orchestrator logs {}'; the rest still runs", failed.name))
        ));
    }
    (wanted().count() > 0 && wanted().all(is_up)).then_some(Ok(()))
}

fn has_failed(service: &ServiceView) -> bool {
    matches!(service.why, Some(Why::GaveUp { .. } | Why::Failed { .. })) && service.state == State::Closed
}

fn is_up(service: &ServiceView) -> bool {
    match service.kind {
        Kind::Service => service.replicas.iter().all(|replica| replica.state == State::Running),
        Kind::Job => service.why == Some(Why::Completed) && service.state == State::Closed,
    }
}

fn timed_out(last: Option<&Snapshot>) -> Failure {
    let waiting = last.map(|snapshot| {
        let waiting = snapshot.services.iter().filter(|service| !is_up(service));
        waiting.map(|service| service.name.to_string()).collect::<Vec<_>>().join(", ")
    });
    let waiting = waiting.unwrap_or_else(|| "the orchestrator itself".into());
    Failure::new(Code::TimedOut, format!("still waiting for {waiting}"))
        .hint("it goes on starting: see 'orchestrator ps', or end it with 'orchestrator down'")
}
