//! [`Source`]: the manifest that a verb reads, with the plugins that it is read against.

use std::env;
use std::path::{Path, PathBuf};

use orchestrator_core::ServiceName;
use orchestrator_manager::{Embedded, PluginError, Plugins};

use crate::failure::Failure;
use crate::load::{self, LoadError, Loaded};

/// Where a manifest is, and what its project is to be called.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Its file or folder. None: in the current folder.
    pub(crate) file: Option<PathBuf>,
    /// The project's name, where it is not to be the manifest's own.
    pub(crate) project: Option<ServiceName>,
}

/// Why a project's name could not be found out.
#[derive(Debug)]
pub(crate) enum NameError {
    /// The manifest cannot be read.
    Load(LoadError),
    /// A plugin cannot be.
    Plugin(PluginError),
}

impl Source {
    /// The plugins that there are for this manifest: those carried inside, those of the user, and those in `plugins`
    /// beside the manifest. The nearest of a name wins.
    ///
    /// # Errors
    /// Where one of them cannot be read.
    pub(crate) fn plugins(&self, embedded: &Embedded) -> Result<Plugins, PluginError> {
        let mut folders: Vec<_> = user_plugins().into_iter().collect();
        folders.push(self.folder().join("plugins"));
        Plugins::load(embedded, &folders)
    }

    /// Reads the manifest and its plugins.
    ///
    /// # Errors
    /// Where either is wrong.
    pub(crate) fn load(&self, embedded: &Embedded) -> Result<(Loaded, Plugins), Failure> {
        let plugins = self.plugins(embedded)?;
        let mut loaded = load::load(self.file.as_deref(), plugins.catalog())?;
        if let Some(name) = &self.project {
            loaded.manifest.name = name.clone();
        }
        Ok((loaded, plugins))
    }

    /// The folder that the manifest is in, as far as the person has said.
    pub(crate) fn folder(&self) -> PathBuf {
        match &self.file {
            None => PathBuf::from("."),
            Some(folder) if folder.is_dir() => folder.clone(),
            Some(file) => file.parent().map(Path::to_owned).unwrap_or_default(),
        }
    }
}

/// The name of the manifest's project.
///
/// # Errors
/// Where it cannot be read.
pub(crate) fn name(source: &Source, embedded: &Embedded) -> Result<ServiceName, NameError> {
    let plugins = source.plugins(embedded).map_err(NameError::Plugin)?;
    let loaded = load::load(source.file.as_deref(), plugins.catalog()).map_err(NameError::Load)?;
    Ok(loaded.manifest.name)
}

/// The folder of the user's own plugins.
fn user_plugins() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let data = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")))?;
    Some(data.join("orchestrator/plugins"))
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        match error {
            NameError::Load(error) => error.into(),
            NameError::Plugin(error) => error.into(),
        }
    }
}
