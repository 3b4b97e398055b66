//! The runner's image: made here, of the runner that the orchestrator carries and nothing else, once for each runner.

use std::collections::HashMap;
use std::fmt::Write as _;

use bollard::body_full;
use bollard::errors::Error;
use bollard::query_parameters::{CreateImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptions};
use futures_util::TryStreamExt;
use orchestrator_port::{bundle, container};

use super::engine::Engine;
use super::engine_error::{EngineError, refused};

/// What the image is called, before the colon.
pub(super) const REPOSITORY: &str = "orchestrator/runner";

/// How much of a hash is enough to tell images apart.
const TAG_LENGTH: usize = 16;

/// A block of an archive, in bytes.
const BLOCK: usize = 512;

/// What a service finds in `/etc`: names for the users that it can be.
const PASSWD: &str = "root:x:0:0:root:/:/none\nservice:x:61184:61184:service:/tmp:/none\n";
const GROUP: &str = "root:x:0:\nservice:x:61184:\n";

/// The name of the image with this runner in it, which is there when this returns.
///
/// # Errors
/// Where the engine cannot make it.
pub(super) async fn runner_image(engine: &Engine, runner: &[u8]) -> Result<String, EngineError> {
    let archive = archive(runner);
    // Whatever is in the image, another content is another image.
    let tag = &bundle::sha256(&archive)[..TAG_LENGTH];
    let name = format!("{REPOSITORY}:{tag}");
    match engine.api.inspect_image(&name).await {
        Ok(_) => return Ok(name),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => {}
        Err(error) => return Err(refused("look for the runner's image")(error)),
    }
    let options = CreateImageOptionsBuilder::new().from_src("-").repo(REPOSITORY).tag(tag).build();
    let made = engine.api.create_image(Some(options), Some(body_full(archive.into())), None);
    made.try_collect::<Vec<_>>().await.map_err(refused("make the runner's image"))?;
    Ok(name)
}

/// The runner's images that the engine has.
#[derive(Debug)]
pub struct RunnerImages {
    engine: Engine,
}

impl RunnerImages {
    /// Those of the engine that `docker` would use.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn reach() -> Result<Self, EngineError> {
        Ok(Self { engine: Engine::reach().await? })
    }

    /// Makes the image of a runner, if it is not there, and answers with its name.
    ///
    /// # Errors
    /// Where the engine cannot make it.
    pub async fn build(&self, runner: &[u8]) -> Result<String, EngineError> {
        runner_image(&self.engine, runner).await
    }

    /// The names of all of them.
    ///
    /// # Errors
    /// Where the engine does not say.
    pub async fn list(&self) -> Result<Vec<String>, EngineError> {
        let filters = HashMap::from([("reference", vec![REPOSITORY])]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let images = self.engine.api.list_images(Some(options)).await.map_err(refused("list its images"))?;
        let mut names: Vec<_> = images.into_iter().flat_map(|image| image.repo_tags).collect();
        names.sort();
        Ok(names)
    }

    /// Removes those that no container uses, and answers with their names.
    ///
    /// # Errors
    /// Where the engine does not do it.
    pub async fn remove(&self) -> Result<Vec<String>, EngineError> {
        let mut removed = Vec::new();
        for name in self.list().await? {
            match self.engine.api.remove_image(&name, None::<RemoveImageOptions>, None).await {
                Ok(_) => removed.push(name),
                // A container uses it, or somebody else was faster.
                Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => {}
                Err(error) => return Err(refused("remove an image")(error)),
            }
        }
        Ok(removed)
    }
}

/// The image's files, as an archive in the format of POSIX.
fn archive(runner: &[u8]) -> Vec<u8> {
    let mut archive = Vec::with_capacity(runner.len() + 16 * BLOCK);
    // Where things are mounted there are folders already: the root cannot be written.
    for folder in ["etc/", "orchestrator/", "orchestrator/start/", "run/", "run/secrets/", "service/", "tmp/"]
    {
        entry(&mut archive, folder, 0o755, None);
    }
    for (file, mode, bytes) in [
        (container::RUNNER, 0o555, runner),
        ("etc/passwd", 0o444, PASSWD.as_bytes()),
        ("etc/group", 0o444, GROUP.as_bytes()),
    ] {
        entry(&mut archive, file.trim_start_matches('/'), mode, Some(bytes));
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

/// Adds a file, or a folder where there are no bytes. Everything is root's, and of the beginning of time.
fn entry(archive: &mut Vec<u8>, name: &str, mode: u32, bytes: Option<&[u8]>) {
    let length = bytes.map_or(0, <[u8]>::len);
    let mut fields = String::new();
    let kind = if bytes.is_some() { '0' } else { '5' };
    // Writing into a text cannot fail.
    let _ = write!(fields, "{name:\0<100}{mode:07o}\0{0:07o}\0{0:07o}\0{length:011o}\0{0:011o}\0", 0);
    let _ = write!(fields, "{:8}{kind}{:\0<100}ustar\x0000{:\0<64}", "", "", "");
    let _ = write!(fields, "{0:07o}\0{0:07o}\0", 0);
    let mut header = fields.into_bytes();
    header.resize(BLOCK, 0);
    // Counted with blanks in the sum's own place.
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive.extend(header);
    archive.extend(bytes.unwrap_or_default());
    archive.resize(archive.len().next_multiple_of(BLOCK), 0);
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_archive_is_one_that_others_can_read() {
        let archive = archive(b"program");
        assert_eq!(archive.len() % BLOCK, 0);
        let mut listing = Command::new("tar");
        listing.args(["-tv", "--numeric-owner"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let Ok(mut tar) = listing.spawn() else { return };
        tar.stdin.take().unwrap().write_all(&archive).unwrap();
        let output = tar.wait_with_output().unwrap();
        let listed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{listed}");
        assert!(
            listed
                .lines()
                .any(|line| line.starts_with("-r-xr-xr-x 0/0") && line.ends_with(" orchestrator/runner"))
        );
        assert!(
            listed.lines().any(|line| line.starts_with("drwxr-xr-x 0/0") && line.ends_with(" run/secrets/"))
        );
        assert_eq!(listed.lines().count(), 10);
    }
}
