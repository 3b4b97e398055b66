//! `orchestrator check`: is the manifest right?

use std::path::PathBuf;

use orchestrator_core::manifest::Kind;

use crate::Context;
use crate::exit_code::Code;
use crate::failure::Outcome;
use crate::output::print_line;
use crate::target::load_manifest;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The manifest
    manifest: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let file = args.manifest.as_deref().or(context.target.file.as_deref());
    let (loaded, _) = load_manifest(file, &context.embedded, context.terminal.colour)?;
    let services = loaded.manifest.services.values();
    let jobs = services.filter(|service| service.kind == Kind::Job).count();
    let services = loaded.manifest.services.len() - jobs;
    let name = loaded.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    print_line(&format!("{name}: {}, {}, no problems", count(services, "service"), count(jobs, "job")));
    Ok(Code::Ok)
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
