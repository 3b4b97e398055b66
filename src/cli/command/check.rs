//! `check`: reads a manifest and says everything that is wrong with it. Nothing is started.

use std::path::{Path, PathBuf};

use orchestrator_core::manifest::{Kind, Manifest};

use crate::Context;
use crate::exit_code::Exit;
use crate::failure::Failure;
use crate::output;
use crate::source::Source;

/// Check a manifest, and start nothing
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The manifest's file, or the folder that it is in [default: the current folder]
    manifest: Option<PathBuf>,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let file = args.manifest.or_else(|| context.target.file.clone());
    let source = Source { file, project: context.target.project.clone() };
    let (loaded, _) = source.load(&context.embedded)?;
    output::print(&summary(&loaded.file, &loaded.manifest))?;
    Ok(Exit::Ok)
}

/// `manifest.yaml: 12 services, 3 jobs, no problems`.
fn summary(file: &Path, manifest: &Manifest) -> String {
    let file = file.file_name().unwrap_or_default().display();
    let jobs = manifest.services.values().filter(|service| service.kind == Kind::Job).count();
    let services = manifest.services.len() - jobs;
    let jobs = if jobs == 0 { String::new() } else { format!(", {}", counted(jobs, "job")) };
    format!("{file}: {}{jobs}, no problems\n", counted(services, "service"))
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
