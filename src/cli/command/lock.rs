//! `orchestrator lock`: notes what the names of a manifest's images mean, in `orchestrator.lock` beside it.

use std::path::PathBuf;

use orchestrator_manager::lock_images;

use super::up::IMAGE_LOCK;
use crate::Context;
use crate::exit_code::Code;
use crate::failure::{Failure, Outcome};
use crate::output::note;
use crate::pull::show_pull;
use crate::target::load_manifest;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The manifest
    manifest: Option<PathBuf>,
    /// Note also what has another meaning now
    #[arg(long)]
    update: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let file = args.manifest.as_deref().or(context.target.file.as_deref());
    let (loaded, _) = load_manifest(file, &context.embedded, context.terminal.colour)?;
    let images = loaded.manifest.services.values().filter_map(|service| service.image.as_deref());
    let images: std::collections::BTreeSet<_> = images.collect();
    if images.is_empty() {
        note("no service has an image of its own");
        return Ok(Code::Ok);
    }
    let file = loaded.folder.join(IMAGE_LOCK);
    let locked = lock_images(images, &file, args.update, show_pull).await;
    locked.map_err(|error| Failure::engine(&error))?;
    note(&format!("{} says what each image means", file.display()));
    Ok(Code::Ok)
}
