//! [`Image`]: an image that a manifest names: found where the engine has it, else pulled, held to what its name has meant
//! before, and what it says of its own program.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use bollard::errors::Error;
use bollard::models::{ImageConfig, ImageInspect};

use super::engine::Engine;
use super::engine_error::{EngineError, refused};
use super::image_lock::{Content, ImageLock};
use super::pull::{OnPull, pull};

/// An image, as the engine has it.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// The name that means exactly this content.
    pub(super) id: String,
    /// Who the image wants to be; none where that is root, which no service is.
    pub(super) user: Option<String>,
    /// The folders that it wants to write to.
    pub(super) volumes: Vec<PathBuf>,
    pub(crate) program: ImageProgram,
}

/// What an image says of how its program is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImageProgram {
    /// What is run.
    pub(crate) entrypoint: Vec<String>,
    /// Its arguments, where a manifest gives none.
    pub(crate) arguments: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    /// Where it is run.
    pub(crate) folder: String,
}

/// The image of this name, which means what it has meant before; what it means for the first time is noted.
///
/// # Errors
/// Where it is not there and cannot be pulled, and where its name has another meaning now.
pub(super) async fn resolve(
    engine: &Engine,
    name: &str,
    lock: &mut ImageLock,
    on_pull: OnPull,
) -> Result<Image, EngineError> {
    let locked = lock.get(name).cloned();
    let found = match inspect(engine, name).await? {
        Some(found) => found,
        None => {
            let wanted = locked.as_ref().map_or_else(|| name.to_owned(), |content| content.reference(name));
            if inspect(engine, &wanted).await?.is_none() {
                pull(engine, name, &wanted, on_pull).await?;
            }
            let missing = || EngineError::ImageMissing { name: name.to_owned(), why: None };
            inspect(engine, &wanted).await?.ok_or_else(missing)?
        }
    };
    lock.hold(name, contents(name, &found))?;
    let image = Image::new(found);
    match image.volumes.iter().find(|volume| is_taken(volume)) {
        Some(volume) => Err(EngineError::Volume { name: name.to_owned(), volume: volume.clone() }),
        None => Ok(image),
    }
}

/// Whether a folder that an image wants to write to is the kernel's or the runner's own place, or nowhere.
fn is_taken(volume: &Path) -> bool {
    let mut parts = volume.components();
    let (Some(Component::RootDir), Some(Component::Normal(place))) = (parts.next(), parts.next()) else {
        return true;
    };
    ["dev", "orchestrator", "proc", "sys"].iter().any(|taken| place == *taken)
        || parts.any(|part| part == Component::ParentDir)
}

async fn inspect(engine: &Engine, name: &str) -> Result<Option<ImageInspect>, EngineError> {
    match engine.api.inspect_image(name).await {
        Ok(found) => Ok(Some(found)),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(error) => Err(refused("look for an image")(error)),
    }
}

/// Everything by which the image's content is known: the digests that registries have given it, the best one first, and the
/// engine's own number.
fn contents(name: &str, found: &ImageInspect) -> Vec<Content> {
    let own = repository(name);
    let mut digests: Vec<_> =
        found.repo_digests.iter().flatten().filter_map(|digest| digest.split_once('@')).collect();
    digests.sort_by_key(|(repository, _)| *repository != own);
    let digests = digests.into_iter().map(|(_, digest)| Content::Digest(digest.to_owned()));
    digests.chain(found.id.clone().map(Content::Id)).collect()
}

/// An image's name without its tag and its digest.
pub(super) fn repository(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or(name);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

impl Image {
    fn new(found: ImageInspect) -> Self {
        let config = found.config.unwrap_or_default();
        let user = config.user.clone().filter(|user| {
            let name = user.split(':').next().unwrap_or_default();
            !["", "0", "root"].contains(&name)
        });
        let volumes = config.volumes.iter().flatten().map(PathBuf::from).collect();
        Self { id: found.id.unwrap_or_default(), user, volumes, program: ImageProgram::new(config) }
    }
}

impl ImageProgram {
    fn new(config: ImageConfig) -> Self {
        let env = config.env.unwrap_or_default();
        let env = env.iter().filter_map(|variable| variable.split_once('='));
        let folder = config.working_dir.filter(|folder| folder.starts_with('/'));
        Self {
            entrypoint: config.entrypoint.unwrap_or_default(),
            arguments: config.cmd.unwrap_or_default(),
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            folder: folder.unwrap_or_else(|| "/".to_owned()),
        }
    }

    /// The whole command, with these arguments instead of its own where there are any.
    pub(crate) fn command(&self, arguments: &[String]) -> Vec<String> {
        let arguments = if arguments.is_empty() { &self.arguments } else { arguments };
        self.entrypoint.iter().chain(arguments).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_apart() {
        for (name, expected) in [
            ("redis", "redis"),
            ("redis:7", "redis"),
            ("localhost:5000/redis", "localhost:5000/redis"),
            ("localhost:5000/redis:7@sha256:00", "localhost:5000/redis"),
        ] {
            assert_eq!(repository(name), expected);
        }
    }

    #[test]
    fn the_digest_of_its_own_registry_says_most_and_the_engines_number_least() {
        let digests = ["example.com/mirror@sha256:1", "redis@sha256:2"].map(Into::into).into();
        let found = ImageInspect {
            id: Some("sha256:3".into()),
            repo_digests: Some(digests),
            ..ImageInspect::default()
        };
        let expected = [
            Content::Digest("sha256:2".into()),
            Content::Digest("sha256:1".into()),
            Content::Id("sha256:3".into()),
        ];
        assert_eq!(contents("redis:7", &found), expected);
    }

    #[test]
    fn nobody_is_root_whatever_an_image_says() {
        let user = |user: &str| {
            let config = ImageConfig { user: Some(user.into()), ..ImageConfig::default() };
            Image::new(ImageInspect { config: Some(config), ..ImageInspect::default() }).user
        };
        assert_eq!((user(""), user("0:7"), user("root")), (None, None, None));
        assert_eq!(user("redis").as_deref(), Some("redis"));
    }

    #[test]
    fn a_volume_takes_no_place_of_the_kernels_or_the_runners() {
        for taken in ["/", "/proc", "/sys/fs", "/dev/shm", "/orchestrator/start", "data", "/data/../proc", ""]
        {
            assert!(is_taken(Path::new(taken)), "{taken}");
        }
        for free in ["/data", "/var/lib/postgresql/data", "/run/postgresql", "/processed"] {
            assert!(!is_taken(Path::new(free)), "{free}");
        }
    }

    #[test]
    fn arguments_of_a_manifest_take_the_place_of_an_images_own() {
        let program = ImageProgram {
            entrypoint: vec!["/entry".into()],
            arguments: vec!["serve".into()],
            ..ImageProgram::default()
        };
        assert_eq!(program.command(&[]), ["/entry", "serve"]);
        assert_eq!(program.command(&["check".into()]), ["/entry", "check"]);
    }
}
