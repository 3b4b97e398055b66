//! [`PluginSpec`]: what a `plugin.yaml` says: a runtime that runs code, or a ready-made service.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::raw::RawService;
use crate::name::ServiceName;

/// A plugin, as its `plugin.yaml` describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginSpec {
    /// Its name, which is its folder's.
    pub name: ServiceName,
    /// What it does, in one line.
    pub about: String,
    /// Where its files are.
    pub folder: PathBuf,
    /// What it is.
    pub kind: PluginKind,
}

/// What a plugin is.
#[derive(Clone, Debug, PartialEq)]
pub enum PluginKind {
    /// It runs the code of services.
    Runtime(RuntimeSpec),
    /// It is a service.
    Service(Box<ServiceSpec>),
}

/// How code is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeSpec {
    /// The endings of the files that it runs unless the manifest says otherwise, without their dot.
    pub extensions: Vec<String>,
    /// What is run of a folder: the first of these that is there.
    pub entries: Vec<String>,
    /// The program and its arguments. `{root}` stands for the plugin's folder, `{code}` for the file that is run,
    /// `{runner}` for the runner itself. The service's own arguments come after them.
    pub command: Vec<String>,
    /// How it speaks with the runner.
    pub protocol: Protocol,
    /// Environment variables that it needs.
    pub env: BTreeMap<String, String>,
    /// The host's files and folders that its programs need, absolute, where they are there.
    pub files: Vec<PathBuf>,
    /// The image whose files its services have in a container, unless a manifest says otherwise; none where the runner is
    /// all that they need.
    pub image: Option<String>,
    /// What to do where the program is not installed.
    pub needs: Option<String>,
}

/// How a service's process speaks with the orchestrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// By the host protocol, on descriptor 3.
    Host,
    /// Not at all: it has started when its process runs.
    None,
}

/// A ready-made service. What a manifest says of it wins over what is said here.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSpec {
    pub(crate) settings: RawService,
}

impl RuntimeSpec {
    /// What is run of a folder with these files.
    #[must_use]
    pub fn entry(&self, files: &[String]) -> Option<&str> {
        self.entries.iter().find(|entry| files.contains(entry)).map(String::as_str)
    }

    /// Whether the code is itself the program that is run.
    #[must_use]
    pub fn runs_code_itself(&self) -> bool {
        self.command.first().is_some_and(|program| program == "{code}")
    }
}
