//! The manifest: text to [`Manifest`].
//!
//! ```text
//!   text ──yaml──▶ Node ──raw, element──▶ RawManifest ──resolve──▶ Manifest
//!                          │ every step records each Problem with its Place, and goes on
//!                          └──▶ Problems, in the order of the file
//! ```

mod accounts;
mod child;
mod cycle;
mod element;
pub mod env_file;
mod fabric;
mod grants;
mod image_choice;
mod interpolate;
mod listener;
#[expect(clippy::module_inception, reason = "the type, the file and the word are the same")]
mod manifest;
mod node;
mod plugin;
mod plugin_reader;
mod problem;
mod problem_kind;
mod raw;
mod reader;
mod resolve;
mod runtime_choice;
pub mod schema;
pub(crate) mod suggest;
#[cfg(test)]
pub(crate) mod tests;
mod written;
mod yaml;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

pub use accounts::Accounts;
pub use child::{ChildError, read_child};
pub use element::duration::{DurationError, parse as parse_duration};
pub use element::name::sanitised as sanitised_name;
pub use element::on_give_up::WebhookError;
pub use element::size::SizeError;
pub use fabric::{Fabric, FabricKey, FabricKeyError, RedisUrl, RedisUrlError};
pub use grants::never_granted;
pub use listener::{ListenAddress, ListenError, Listener};
pub use manifest::{
    Code, Condition, Dependency, Kind, Liveness, Manifest, OnCrash, OnGiveUp, Probe, Readiness, ReadyCheck,
    Recycle, Restart, RestartPolicy, Service, Webhook,
};
pub use plugin::{PluginKind, PluginSpec, Protocol, RuntimeSpec, ServiceSpec};
pub use plugin_reader::read_plugin;
pub use problem::{Found, Hint, Owner, Place, Problem, ProblemKind, Problems, ValueError};
pub use yaml::{LARGEST_FILE, decode};

use crate::name::ServiceName;

/// What a manifest is read against: everything that reading needs and may not look up itself.
pub struct Surroundings<'a> {
    /// The manifest's folder, absolute: what its paths are relative to.
    pub folder: &'a Path,
    /// The project's name where the manifest gives none.
    pub project: ServiceName,
    /// What `${VAR}` stands for.
    pub variables: &'a BTreeMap<String, String>,
    /// The plugins that there are, by name.
    pub plugins: &'a BTreeMap<String, PluginSpec>,
    /// What is at a path.
    pub look: &'a dyn Fn(&Path) -> OnDisk,
    /// Where a path leads to in the end, with all links followed; none where it leads nowhere.
    pub real: &'a dyn Fn(&Path) -> Option<PathBuf>,
    /// The home of whoever runs the orchestrator, with all links followed.
    pub home: Option<&'a Path>,
    /// The folders of the orchestrator's state and sockets, with all links followed: nobody is granted them.
    pub own: &'a [PathBuf],
    /// The files of the manifest itself, absolute: nobody is granted to write them.
    pub files: &'a [PathBuf],
    /// The services that there are besides those of the file.
    pub others: &'a [String],
    /// Who there is on the host.
    pub accounts: Accounts<'a>,
    /// How many cores the orchestrator may use.
    pub cores: NonZeroU32,
    /// Why a text is no regular expression.
    pub check_regex: &'a dyn Fn(&str) -> Result<(), String>,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnDisk {
    /// Nothing.
    Missing,
    /// A file.
    File {
        /// Whether it can be run as a program.
        executable: bool,
    },
    /// A folder.
    Folder(
        /// The names of what is in it, at its top.
        Vec<String>,
    ),
    /// Something that is no code, or cannot be looked at.
    Refused(
        /// Why, as the end of a sentence that begins with the path: `is a socket`.
        String,
    ),
}

/// Reads a manifest.
///
/// # Errors
/// Everything that is wrong with it. Only what is no YAML at all, or too much of it, is reported alone.
pub fn read(text: &str, surroundings: &Surroundings<'_>) -> Result<Manifest, Problems> {
    read_with(text, surroundings, Some(surroundings.variables))
}

/// Without variables, a dollar sign means nothing.
fn read_with(
    text: &str,
    surroundings: &Surroundings<'_>,
    variables: Option<&BTreeMap<String, String>>,
) -> Result<Manifest, Problems> {
    let document = yaml::read(text)?;
    if document.root.content == node::Content::Nothing {
        let hint = Hint::advise("begin with 'services:'");
        return Err(Problem::new(&document.root.place, ProblemKind::Empty, hint).into());
    }
    let mut reader = reader::Reader::new(variables, surroundings.check_regex);
    reader.report_all(document.problems);
    let raw = raw::manifest(&document.root, &mut reader);
    let manifest = resolve::resolve(raw, surroundings, &mut reader);
    match Problems::gather(reader.into_problems()) {
        Some(problems) => Err(problems),
        None => Ok(manifest),
    }
}
