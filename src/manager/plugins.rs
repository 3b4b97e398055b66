//! [`Plugins`]: todo
use std::path::PathBuf;

/// What the orchestrator's binary carries inside itself.
#[derive(Clone, Copy, Debug)]
pub struct Embedded {
    /// The runner: a static executable.
    pub runner: &'static [u8],
    /// The files of the built-in plugins: the path relative to the plugins' folder (`python/host.py`), and the bytes.
    pub plugins: &'static [(&'static str, &'static [u8])],
}

/// The plugins that there are.
#[derive(Clone, Debug)]
pub struct Plugins {}

/// Why plugins could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {}

impl Plugins {
    /// The built-in plugins, and those in the given folders, a subfolder each; a later one of the same name wins.
    /// A folder that is not there holds none.
    ///
    /// # Errors
    /// Where a plugin cannot be read, or is none.
    pub fn load(_embedded: &Embedded, _folders: &[PathBuf]) -> Result<Self, PluginError> {
        todo!()
    }
}
