//! [`Containers`]: what all containers of a project share: the engine, the images, the runner's program; and what becomes of
//! those that are left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orchestrator_core::permissions::Controllers;

use super::engine::Engine;
use super::engine_error::EngineError;
use super::image::{self, Image, ImageProgram};
use super::image_lock::ImageLock;
use super::pull::OnPull;
use super::runner_image;
use super::sweep;
use crate::Project;

/// Makes a project's containers. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Containers {
    pub(super) engine: Engine,
    /// The image with the runner in it, and nothing else.
    pub(super) runner_image: String,
    /// The images that the manifest names.
    pub(super) images: Arc<BTreeMap<String, Image>>,
    /// The runner's program, for those images.
    pub(super) runner: PathBuf,
    pub(super) project: String,
    /// The project's lock: whose container it is.
    pub(super) lock: PathBuf,
}

/// What a project wants of its images.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// Their names.
    pub(crate) images: BTreeSet<&'a str>,
    /// The file that keeps what names mean.
    pub(crate) kept_in: &'a Path,
    /// Is told how far an image has come.
    pub(crate) on_pull: OnPull,
}

impl Containers {
    /// Those of a project whose lock the caller holds: what is left of earlier ones is removed, the runner's image is
    /// made, and the manifest's own are looked for.
    ///
    /// # Errors
    /// Where the engine does not do its part.
    pub(crate) async fn of_project(
        engine: Engine,
        runner: &[u8],
        project: &Project,
        wanted: Wanted<'_>,
    ) -> Result<Self, EngineError> {
        let lock = project.lock_file();
        let left = sweep::sweep_project(&engine, &lock).await?;
        if left > 0 {
            tracing::info!(left, "containers of a killed orchestrator were removed");
        }
        let program = project.runtime().join("runner");
        if !wanted.images.is_empty() {
            write_program(&program, runner).map_err(EngineError::Program)?;
        }
        let images = resolve(&engine, &wanted, false).await?;
        let runner_image = runner_image::runner_image(&engine, runner).await?;
        let project = project.name().to_string();
        Ok(Self { engine, runner_image, images: Arc::new(images), runner: program, project, lock })
    }

    /// The programs of the images, by the images' names.
    pub(crate) fn programs(&self) -> BTreeMap<String, ImageProgram> {
        self.images.iter().map(|(name, image)| (name.clone(), image.program.clone())).collect()
    }

    /// What its containers can be limited in.
    pub(crate) fn controllers(&self) -> Controllers {
        self.engine.controllers
    }

    /// Removes whatever is left of the project's containers.
    pub(crate) async fn end(self) {
        if let Err(error) = sweep::sweep_project(&self.engine, &self.lock).await {
            tracing::warn!(%error, "containers may be left");
        }
    }
}

/// Notes what every image means, in the file that keeps it. With `update`, also what has another meaning now.
///
/// # Errors
/// Where there is no engine, or an image is not there.
pub async fn lock_images(
    images: BTreeSet<&str>,
    kept_in: &Path,
    update: bool,
    on_pull: OnPull,
) -> Result<(), EngineError> {
    let engine = Engine::reach().await?;
    resolve(&engine, &Wanted { images, kept_in, on_pull }, update).await.map(drop)
}

/// Finds every image, and keeps what its name means.
async fn resolve(
    engine: &Engine,
    wanted: &Wanted<'_>,
    update: bool,
) -> Result<BTreeMap<String, Image>, EngineError> {
    let mut images = BTreeMap::new();
    if wanted.images.is_empty() {
        return Ok(images);
    }
    let mut lock = ImageLock::read(wanted.kept_in, update)?;
    for name in &wanted.images {
        let image = image::resolve(engine, name, &mut lock, wanted.on_pull).await?;
        images.insert((*name).to_owned(), image);
    }
    lock.write()?;
    Ok(images)
}

/// The runner's program, for containers to be given: nobody else can get into its folder.
fn write_program(path: &Path, runner: &[u8]) -> io::Result<()> {
    fs::write(path, runner)?;
    fs::set_permissions(path, Permissions::from_mode(0o555))
}

/// Removes the containers of projects that nobody runs; answers with how many there were.
///
/// # Errors
/// Where there is no engine, or it does not remove them.
pub async fn remove_orphaned_containers() -> Result<usize, EngineError> {
    sweep::sweep_orphans(&Engine::reach().await?).await
}
