//! [`Plugins`]: the runtimes and ready-made services that there are: those that the binary carries, and those in
//! folders of the user.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use orchestrator_core::manifest::{PluginKind, PluginSpec, Problems, RuntimeSpec, read_plugin};
use orchestrator_port::bundle::{Entry, EntryPath};

/// The file that makes a folder a plugin.
const DESCRIPTION: &str = "plugin.yaml";

/// What the orchestrator's binary carries inside itself.
#[derive(Clone, Copy, Debug)]
pub struct Embedded {
    /// The runner: a static executable.
    pub runner: &'static [u8],
    /// The files of the built-in plugins: the path relative to the plugins' folder (`python/host.py`), and the bytes.
    pub plugins: &'static [(&'static str, &'static [u8])],
}

/// The plugins that there are.
#[derive(Clone, Debug, Default)]
pub struct Plugins {
    catalog: BTreeMap<String, PluginSpec>,
    /// What each plugin brings into a start's root folder.
    files: BTreeMap<String, Vec<Entry>>,
}

/// Why plugins could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// A file or a folder cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A plugin's description is wrong.
    #[error("{} is wrong", .file.display())]
    Wrong {
        /// The description.
        file: PathBuf,
        /// What it says.
        text: String,
        /// What is wrong with it.
        problems: Box<Problems>,
    },
    /// A file has a name that cannot be shipped.
    #[error("the plugin's file {path:?} cannot be shipped")]
    Name {
        /// The name.
        path: String,
        /// Why.
        source: orchestrator_port::bundle::PathError,
    },
}

/// Says why a text is no regular expression: what the core cannot know.
fn check_regex(text: &str) -> Result<(), String> {
    regex::Regex::new(text).map(|_| ()).map_err(|error| error.to_string())
}

/// A file as it was found: where in the plugin, whether it can be executed, what is in it.
type Found = (String, bool, Bytes);

impl Plugins {
    /// The built-in plugins, and those in the given folders, a subfolder each; a later one of the same name wins.
    /// A folder that is not there holds none.
    ///
    /// # Errors
    /// Where a plugin cannot be read, or is none.
    pub fn load(embedded: &Embedded, folders: &[PathBuf]) -> Result<Self, PluginError> {
        let mut plugins = Self::default();
        for (name, found) in built_in(embedded) {
            plugins.add(Path::new(&name), found)?;
        }
        for folder in folders {
            for plugin in plugin_folders(folder)? {
                let mut found = Vec::new();
                read_folder(&plugin, "", &mut found)?;
                plugins.add(&plugin, found)?;
            }
        }
        Ok(plugins)
    }

    /// Every plugin's description, by its name: what a manifest is read against.
    #[must_use]
    pub fn catalog(&self) -> &BTreeMap<String, PluginSpec> {
        &self.catalog
    }

    /// A runtime, and what it brings into a start's root folder.
    pub(crate) fn runtime(&self, name: &str) -> Option<(&RuntimeSpec, &[Entry])> {
        match &self.catalog.get(name)?.kind {
            PluginKind::Runtime(runtime) => Some((runtime, self.files.get(name)?)),
            PluginKind::Service(_) => None,
        }
    }

    fn add(&mut self, folder: &Path, found: Vec<Found>) -> Result<(), PluginError> {
        let file = folder.join(DESCRIPTION);
        let description =
            found.iter().find(|(path, ..)| path == DESCRIPTION).map(|(_, _, bytes)| bytes.clone());
        let text = String::from_utf8_lossy(&description.unwrap_or_default()).into_owned();
        let spec = match read_plugin(&text, folder, &check_regex) {
            Ok(spec) => spec,
            Err(problems) => return Err(PluginError::Wrong { file, text, problems: Box::new(problems) }),
        };
        let rest = found.into_iter().filter(|(path, ..)| path != DESCRIPTION);
        let entries = rest.map(|(path, executable, bytes)| match EntryPath::parse(&path) {
            Ok(path) => Ok(Entry { path, executable, bytes }),
            Err(source) => Err(PluginError::Name { path, source }),
        });
        let name = spec.name.to_string();
        self.files.insert(name.clone(), entries.collect::<Result<_, _>>()?);
        self.catalog.insert(name, spec);
        Ok(())
    }
}

fn built_in(embedded: &Embedded) -> BTreeMap<String, Vec<Found>> {
    let mut plugins: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    for (path, bytes) in embedded.plugins {
        if let Some((plugin, file)) = path.split_once('/') {
            let found = (file.to_owned(), false, Bytes::from_static(bytes));
            plugins.entry(plugin.to_owned()).or_default().push(found);
        }
    }
    plugins
}

/// The subfolders that hold a plugin, by name.
fn plugin_folders(folder: &Path) -> Result<Vec<PathBuf>, PluginError> {
    let failed = |source| PluginError::Read { path: folder.to_owned(), source };
    let read = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(failed)?,
    };
    let paths = read.map(|found| Ok(found?.path())).collect::<io::Result<Vec<_>>>().map_err(failed)?;
    let mut plugins: Vec<_> = paths.into_iter().filter(|path| path.join(DESCRIPTION).is_file()).collect();
    plugins.sort_unstable();
    Ok(plugins)
}

fn read_folder(folder: &Path, at: &str, found: &mut Vec<Found>) -> Result<(), PluginError> {
    let failed = |source| PluginError::Read { path: folder.to_owned(), source };
    for file in fs::read_dir(folder).map_err(failed)? {
        let file = file.map_err(failed)?;
        let (path, name) = (file.path(), format!("{at}{}", file.file_name().to_string_lossy()));
        let failed = |source| PluginError::Read { path: path.clone(), source };
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            read_folder(&path, &format!("{name}/"), found)?;
        } else if metadata.is_file() {
            let executable = metadata.permissions().mode() & 0o111 != 0;
            found.push((name, executable, fs::read(&path).map_err(failed)?.into()));
        }
    }
    Ok(())
}
