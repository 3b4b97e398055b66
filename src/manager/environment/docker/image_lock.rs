//! [`ImageLock`]: the file `orchestrator.lock`, beside a manifest, which says what content each image's name means. A name is
//! noted when it is used first; from then on another content under it is refused, until that is asked for.
//!
//! ```text
//! redis:7 digest sha256:6f9c...
//! team/base:1 id sha256:0a12...
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::engine_error::EngineError;

/// What the file begins with.
const HEADER: &str = "# What each image's name means. Written by orchestrator; keep it with the manifest.\n";

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The digest that a registry has given it: it can be pulled by that.
    Digest(String),
    /// The engine's own number for it, where it comes from no registry.
    Id(String),
}

/// The file, as it was read and as it is to be.
#[derive(Debug)]
pub(super) struct ImageLock {
    file: PathBuf,
    images: BTreeMap<String, Content>,
    /// Whether a name may get another meaning.
    update: bool,
    changed: bool,
}

impl Content {
    /// The name by which the engine knows this content under an image's name.
    pub(super) fn reference(&self, name: &str) -> String {
        match self {
            Self::Digest(digest) => format!("{}@{digest}", super::image::repository(name)),
            Self::Id(id) => id.clone(),
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(digest) => write!(f, "digest {digest}"),
            Self::Id(id) => write!(f, "id {id}"),
        }
    }
}

impl ImageLock {
    /// Reads the file, which need not be there. With `update`, names may get another meaning.
    ///
    /// # Errors
    /// Where it cannot be read, or is not as it was written.
    pub(super) fn read(file: &Path, update: bool) -> Result<Self, EngineError> {
        let failed = |source| EngineError::ImageLock { file: file.to_owned(), source };
        let text = match fs::read_to_string(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.map_err(failed)?,
        };
        let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.is_empty());
        let images = lines.map(|(number, line)| {
            let wrong =
                || io::Error::other(format!("line {} is not 'IMAGE digest|id sha256:...'", number + 1));
            entry(line).ok_or_else(wrong)
        });
        let images = images.collect::<io::Result<_>>().map_err(failed)?;
        Ok(Self { file: file.to_owned(), images, update, changed: false })
    }

    /// What a name has meant, unless that is to change.
    pub(super) fn get(&self, name: &str) -> Option<&Content> {
        self.images.get(name).filter(|_| !self.update)
    }

    /// Holds a name to what it has meant; `contents` is all by which what was found now is known.
    pub(super) fn hold(&mut self, name: &str, contents: Vec<Content>) -> Result<(), EngineError> {
        if let Some(locked) = self.get(name) {
            if contents.contains(locked) {
                return Ok(());
            }
            let found = contents.first().map(ToString::to_string).unwrap_or_default();
            return Err(EngineError::Drift { name: name.to_owned(), locked: locked.to_string(), found });
        }
        if let Some(first) = contents.into_iter().next() {
            self.changed |= self.images.insert(name.to_owned(), first.clone()) != Some(first);
        }
        Ok(())
    }

    /// Writes the file, if it has changed.
    pub(super) fn write(&self) -> Result<(), EngineError> {
        if !self.changed {
            return Ok(());
        }
        let lines: String = self.images.iter().map(|(name, content)| format!("{name} {content}\n")).collect();
        let new = self.file.with_extension("lock.new");
        // Whoever reads it meanwhile finds the whole old one.
        let written = fs::write(&new, format!("{HEADER}{lines}")).and_then(|()| fs::rename(&new, &self.file));
        written.map_err(|source| EngineError::ImageLock { file: self.file.clone(), source })
    }
}

fn entry(line: &str) -> Option<(String, Content)> {
    let mut words = line.split(' ');
    let (name, kind, content) = (words.next()?, words.next()?, words.next()?);
    let content = content.starts_with("sha256:").then(|| content.to_owned())?;
    let content = match kind {
        "digest" => Content::Digest(content),
        "id" => Content::Id(content),
        _ => return None,
    };
    words.next().is_none().then(|| (name.to_owned(), content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u8) -> Vec<Content> {
        vec![Content::Digest(format!("sha256:{number}")), Content::Id("sha256:9".into())]
    }

    #[test]
    fn a_name_means_what_it_meant_first_until_that_is_to_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("orchestrator.lock");
        let mut lock = ImageLock::read(&file, false).unwrap();
        lock.hold("redis:7", digest(1)).unwrap();
        lock.write().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{HEADER}redis:7 digest sha256:1\n"));

        let mut lock = ImageLock::read(&file, false).unwrap();
        assert_eq!(lock.get("redis:7").unwrap().reference("redis:7"), "redis@sha256:1");
        lock.hold("redis:7", digest(1)).unwrap();
        let drift = lock.hold("redis:7", vec![Content::Digest("sha256:2".into())]).unwrap_err().to_string();
        assert_eq!(
            drift,
            "the image 'redis:7' is not what it was: digest sha256:2 instead of digest sha256:1"
        );

        let mut lock = ImageLock::read(&file, true).unwrap();
        lock.hold("redis:7", digest(2)).unwrap();
        lock.write().unwrap();
        assert_eq!(ImageLock::read(&file, false).unwrap().images["redis:7"], digest(2)[0]);
    }

    #[test]
    fn a_file_that_is_not_as_it_was_written_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("orchestrator.lock");
        for wrong in ["redis:7", "redis:7 tag sha256:1", "redis:7 id 1", "redis:7 id sha256:1 more"] {
            fs::write(&file, format!("{HEADER}{wrong}\n")).unwrap();
            let refused = ImageLock::read(&file, false).unwrap_err();
            let source = std::error::Error::source(&refused).unwrap().to_string();
            assert_eq!(source, "line 2 is not 'IMAGE digest|id sha256:...'", "{wrong}");
        }
    }
}
