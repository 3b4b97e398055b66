//! Which project a command means, and the files that it is made from.

use std::path::{Path, PathBuf};

use orchestrator_core::ServiceName;
use orchestrator_core::manifest::{Manifest, Service};
use orchestrator_manager::{Embedded, PluginError, Plugins, Project};

use crate::client::Client;
use crate::exit_code::Code;
use crate::failure::{Failure, chain};
use crate::load::{self, Loaded};

/// What every command can be told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Target {
    /// The manifest, or a folder with orchestrator.yaml or manifest.yaml in it; without it, the current folder
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The running project, by its name
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) project: Option<String>,
    /// No colours
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    /// Say more about what goes on inside, on standard error
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

/// A manifest with the plugins that its services can use.
pub(crate) fn load_manifest(
    file: Option<&Path>,
    embedded: &Embedded,
    colour: bool,
) -> Result<(Loaded, Plugins), Failure> {
    let plugins = load_plugins(file, embedded, colour)?;
    let loaded = load::load(file, plugins.catalog()).map_err(|error| Failure::load(&error, colour))?;
    Ok((loaded, plugins))
}

/// The service of this name.
pub(crate) fn service_of<'a>(manifest: &'a Manifest, name: &ServiceName) -> Result<&'a Service, Failure> {
    manifest.services.get(name).ok_or_else(|| {
        let known: Vec<_> = manifest.services.keys().map(ServiceName::as_str).collect();
        Failure::new(Code::Usage, format!("no service is named '{name}'"))
            .hint(format!("there are: {}", known.join(", ")))
    })
}

/// The built-in plugins, those of the user, and those beside the manifest.
pub(crate) fn load_plugins(
    file: Option<&Path>,
    embedded: &Embedded,
    colour: bool,
) -> Result<Plugins, Failure> {
    let data = std::env::var_os("XDG_DATA_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let data = data.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")));
    let beside = std::path::absolute(folder(file).join("plugins"))?;
    let folders: Vec<_> =
        data.map(|data| data.join("orchestrator/plugins")).into_iter().chain([beside]).collect();
    Plugins::load(embedded, &folders).map_err(|error| match &error {
        PluginError::Wrong { file, text, problems } => {
            let shown = crate::diagnostic::render(problems, &file.display().to_string(), text, colour);
            Failure { shown: Some(shown), ..Failure::new(Code::Usage, "") }
        }
        _ => Failure::new(Code::Usage, chain(&error)),
    })
}

/// The folder that is meant by a manifest's path. An empty one is the current folder.
fn folder(file: Option<&Path>) -> &Path {
    match file {
        Some(folder) if folder.is_dir() => folder,
        file => file.and_then(Path::parent).unwrap_or(Path::new("")),
    }
}

impl Target {
    /// The project that is meant, running or not.
    pub(crate) fn project(&self, embedded: &Embedded) -> Result<Project, Failure> {
        if let Some(name) = &self.project {
            let named =
                ServiceName::parse(name).map_err(|error| Failure::new(Code::Usage, error.to_string()))?;
            return Ok(Project::of_user(named));
        }
        let loaded = load_manifest(self.file.as_deref(), embedded, false);
        // Only where there is no manifest at all, the one running project is meant.
        let absent = loaded.as_ref().is_err_and(|failure| failure.code == Code::NoManifest);
        if !absent || self.file.is_some() {
            return loaded.map(|(loaded, _)| Project::of_user(loaded.manifest.name));
        }
        let mut running = Project::running_of_user();
        match running.len() {
            1 => Ok(running.remove(0)),
            0 => Err(Failure::new(Code::NotRunning, "no project is running")
                .hint("start one with 'orchestrator up MANIFEST'")),
            _ => {
                let names: Vec<_> = running.iter().map(|project| project.name().as_str()).collect();
                Err(Failure::new(Code::Usage, "several projects are running")
                    .hint(format!("say which with -p: {}", names.join(", "))))
            }
        }
    }

    /// The way to the project that is meant, which runs.
    pub(crate) fn client(&self, embedded: &Embedded) -> Result<Client, Failure> {
        let project = self.project(embedded)?;
        if !project.answers() {
            let name = project.name();
            return Err(Failure::new(Code::NotRunning, format!("project '{name}' is not running"))
                .hint("start it with 'orchestrator up'"));
        }
        Ok(Client::new(&project.control_socket()))
    }
}
