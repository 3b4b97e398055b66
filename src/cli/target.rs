//! [`Target`]: which project a verb is about.

use std::path::PathBuf;

use orchestrator_core::ServiceName;
use orchestrator_manager::{Embedded, Project};

use crate::client::Client;
use crate::exit_code::Exit;
use crate::failure::Failure;
use crate::load::LoadError;
use crate::source::{self, Source};

/// How a person says which project is meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Target {
    /// The manifest's file, or the folder that it is in [default: the current folder]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The project's name [default: the manifest's; where there is no manifest, the only running project]
    #[arg(short, long, global = true, value_name = "NAME", value_parser = project_name)]
    pub(crate) project: Option<ServiceName>,
}

fn project_name(text: &str) -> Result<ServiceName, String> {
    ServiceName::parse(text).map_err(|error| error.to_string())
}

impl Target {
    /// The project that is meant: the named one, or the manifest's, or the only one that runs.
    ///
    /// # Errors
    /// Where the manifest cannot be read, and where none is there and not exactly one project runs.
    pub(crate) fn project(&self, embedded: &Embedded) -> Result<Project, Failure> {
        if let Some(name) = &self.project {
            return Ok(Project::of_user(name.clone()));
        }
        let source = Source { file: self.file.clone(), project: None };
        match source::name(&source, embedded) {
            Ok(name) => Ok(Project::of_user(name)),
            Err(source::NameError::Load(LoadError::NotFound { .. })) if self.file.is_none() => only_running(),
            Err(error) => Err(error.into()),
        }
    }

    /// A connection to the project that is meant.
    ///
    /// # Errors
    /// As [`Target::project`], and where it does not run.
    pub(crate) async fn connect(&self, embedded: &Embedded) -> Result<Client, Failure> {
        let project = self.project(embedded)?;
        Client::connect(&project.control_socket()).await.map_err(|_| not_running(&project))
    }
}

/// The failure of a verb that needs a running project.
pub(crate) fn not_running(project: &Project) -> Failure {
    Failure::new(Exit::NotRunning, format!("project '{}' is not running", project.name()))
        .hint("start it with 'orchestrator up'")
}

fn only_running() -> Result<Project, Failure> {
    let mut running = Project::running_of_user();
    if running.len() == 1 {
        return Ok(running.remove(0));
    }
    if running.is_empty() {
        return Err(Failure::new(Exit::NotRunning, "no project is running, and there is no manifest in this folder")
            .hint("start one with 'orchestrator up MANIFEST'"));
    }
    let names: Vec<_> = running.iter().map(|project| project.name().as_str()).collect();
    Err(Failure::new(Exit::Usage, format!("several projects are running: {}", names.join(", ")))
        .hint("say which one with '--project NAME'"))
}
