//! `orchestrator apply`: has a running project become what its manifest says now, and touches nothing else.

use std::path::{Path, PathBuf};

use orchestrator_core::planning::Step;
use orchestrator_manager::Project;
use orchestrator_views::control_api::wire;
use tokio::signal::ctrl_c;

use super::up::refuse_unconfined;
use crate::Context;
use crate::client::Client;
use crate::exit_code::Code;
use crate::failure::{Failure, Outcome};
use crate::file_watch::FileWatch;
use crate::load::{Loaded, own_variables};
use crate::output::{note, print_line};
use crate::target::load_manifest;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The manifest
    manifest: Option<PathBuf>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not wait until it has come true
    #[arg(long)]
    no_wait: bool,
    /// Go on, and do it again whenever the manifest or the code changes
    #[arg(long, conflicts_with = "dry_run")]
    watch: bool,
    /// Run services with 'sandbox: none', which may do whatever you may
    #[arg(long)]
    allow_unconfined: bool,
}

/// How a project is made what its manifest says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) dry_run: bool,
    pub(super) wait: bool,
    pub(super) allow_unconfined: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let file = args.manifest.as_deref().or(context.target.file.as_deref());
    let way = Way { dry_run: args.dry_run, wait: !args.no_wait, allow_unconfined: args.allow_unconfined };
    let loaded = load(file, way, context)?;
    let project = Project::of_user(loaded.manifest.name.clone());
    let watch = args.watch.then(|| FileWatch::of(&loaded)).transpose()?;
    let applied = apply(&project, &loaded, way).await;
    let Some(watch) = watch else { return applied };
    let show = |said: Result<Vec<Step>, Failure>| match said {
        Ok(steps) => print(&steps),
        Err(failure) => failure.print(context.terminal.palette()),
    };
    if let Err(failure) = applied {
        show(Err(failure));
    }
    tokio::select! {
        ended = follow(watch, &project, file, way, context, show) => Err(ended),
        interrupted = ctrl_c() => Ok(interrupted.map(|()| Code::Ok)?),
    }
}

/// Has a project that runs become what this says, and says what was done.
pub(super) async fn apply(project: &Project, loaded: &Loaded, way: Way) -> Outcome {
    let steps = ask(project, loaded, way).await?;
    print(&steps);
    note(match (way, &steps[..]) {
        (_, []) => "nothing has changed",
        (Way { dry_run: true, .. }, _) => "nothing was done: this is what would be",
        (Way { wait: false, .. }, _) => "asked for",
        _ => "done",
    });
    Ok(Code::Ok)
}

/// Does it whenever a file changes, until the project has ended. What comes of it is told, and what went wrong is made right by
/// the next change.
pub(super) async fn follow(
    mut watch: FileWatch,
    project: &Project,
    file: Option<&Path>,
    way: Way,
    context: &Context,
    tell: impl Fn(Result<Vec<Step>, Failure>),
) -> Failure {
    loop {
        watch.changed().await;
        let again = async {
            let loaded = load(file, way, context)?;
            watch = FileWatch::of(&loaded)?;
            ask(project, &loaded, way).await
        };
        match again.await {
            Err(ended @ Failure { code: Code::NotRunning, .. }) => return ended,
            said => tell(said),
        }
    }
}

fn print(steps: &[Step]) {
    steps.iter().for_each(|step| print_line(&step.to_string()));
}

fn load(file: Option<&Path>, way: Way, context: &Context) -> Result<Loaded, Failure> {
    let (loaded, _) = load_manifest(file, &context.embedded, context.terminal.colour)?;
    refuse_unconfined(&loaded.manifest, way.allow_unconfined)?;
    refuse_other(&loaded, context)?;
    Ok(loaded)
}

/// The manifest has to be that of the project that was asked for, where one was.
pub(super) fn refuse_other(loaded: &Loaded, context: &Context) -> Result<(), Failure> {
    let name = loaded.manifest.name.as_str();
    match &context.target.project {
        Some(asked) if asked != name => {
            let text = format!("the manifest's project is '{name}', and '{asked}' was asked for");
            Err(Failure::new(Code::Usage, text).hint("name the right manifest, or leave out --project"))
        }
        _ => Ok(()),
    }
}

/// The project stays the one that was meant first, whatever its manifest is called now.
async fn ask(project: &Project, loaded: &Loaded, way: Way) -> Result<Vec<Step>, Failure> {
    if !project.answers() {
        let text = format!("project '{}' is not running", project.name());
        return Err(Failure::new(Code::NotRunning, text).hint("start it with 'orchestrator up'"));
    }
    let body = wire::Apply {
        file: Some(loaded.file.clone()),
        variables: own_variables(),
        dry_run: way.dry_run,
        wait: way.wait,
    };
    let mut answer = Client::new(&project.control_socket()).ask("/v1/apply", &body).await?;
    let applied: wire::Applied = answer.lines.whole().await?;
    Ok(applied.steps)
}
