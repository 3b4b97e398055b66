//! [`pull`]: has the engine fetch an image, and tells how far it is.

use std::collections::BTreeMap;

use bollard::errors::Error;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;

use super::credentials::{credentials, host};
use super::engine::Engine;
use super::engine_error::{EngineError, first_cause, is_full, said};

/// Is told how far an image has come.
pub type OnPull = fn(&PullProgress);

/// How far an image has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PullProgress {
    /// Its name.
    pub image: String,
    /// How many of its layers are there.
    pub layers_there: usize,
    /// How many layers are known of.
    pub layers: usize,
    /// How much has been fetched, in thousandths. Each layer counts the same: how large one is is known only when it begins
    /// to come.
    pub share: u64,
    /// How many bytes have been fetched, of the layers that are being fetched.
    pub fetched: u64,
    /// How many bytes those have.
    pub bytes: u64,
    /// Whether all of it is there.
    pub done: bool,
}

/// Fetches what `wanted` means, for the image of this name.
///
/// # Errors
/// Where no registry gives it.
pub(super) async fn pull(
    engine: &Engine,
    name: &str,
    wanted: &str,
    on_pull: OnPull,
) -> Result<(), EngineError> {
    // Without a tag the engine would fetch every one there is.
    let tagged = wanted.contains('@') || super::image::repository(wanted) != wanted;
    let wanted = if tagged { wanted.to_owned() } else { format!("{wanted}:latest") };
    let options = CreateImageOptionsBuilder::new().from_image(&wanted).build();
    let login = credentials(&wanted).await;
    let mut steps = std::pin::pin!(engine.api.create_image(Some(options), None, login));
    let mut layers = Layers::default();
    while let Some(step) = steps.next().await {
        layers.take(&step.map_err(|error| not_pulled(name, &error))?);
        on_pull(&layers.progress(name, false));
    }
    on_pull(&layers.progress(name, true));
    Ok(())
}

/// Why an image could not be fetched.
fn not_pulled(name: &str, error: &Error) -> EngineError {
    let why = said(error).map_or_else(|| first_cause(error), ToOwned::to_owned);
    // What registries say to somebody who has no login, a wrong one, or one that is good for other images.
    let closed = ["unauthorized", "authentication required", "no basic auth", "denied"];
    if is_full(&why) {
        EngineError::NoSpace { what: "fetch an image" }
    } else if closed.iter().any(|words| why.contains(words)) {
        EngineError::ImageNotAllowed { name: name.to_owned(), registry: host(name).to_owned(), why }
    } else {
        EngineError::ImageMissing { name: name.to_owned(), why: Some(why) }
    }
}

/// What is known of each layer.
#[derive(Debug, Default)]
struct Layers(BTreeMap<String, Layer>);

#[derive(Clone, Copy, Debug, Default)]
struct Layer {
    /// The bytes that have been fetched, of these. None where it has not begun, or has not to.
    fetched: u64,
    bytes: u64,
    /// Whether all of it has been fetched.
    is_fetched: bool,
    /// Whether the engine has unpacked it too.
    is_there: bool,
}

impl Layer {
    /// How much has been fetched, in thousandths.
    fn share(self) -> u64 {
        if self.is_fetched { 1000 } else { (self.fetched * 1000).checked_div(self.bytes).unwrap_or_default() }
    }
}

impl Layers {
    fn take(&mut self, step: &CreateImageInfo) {
        let (Some(id), Some(status)) = (&step.id, &step.status) else { return };
        let is_layer = id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_layer {
            return;
        }
        let layer = self.0.entry(id.clone()).or_default();
        let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        match (status.as_str(), &step.progress_detail) {
            ("Downloading", Some(detail)) => {
                layer.fetched = number(detail.current).unwrap_or(layer.fetched);
                layer.bytes = number(detail.total).unwrap_or(layer.bytes);
            }
            ("Download complete", _) => layer.is_fetched = true,
            ("Pull complete" | "Already exists", _) => (layer.is_fetched, layer.is_there) = (true, true),
            _ => {}
        }
        if layer.is_fetched {
            layer.fetched = layer.bytes;
        }
    }

    fn progress(&self, image: &str, done: bool) -> PullProgress {
        let shares: u64 = self.0.values().map(|layer| layer.share()).sum();
        PullProgress {
            image: image.to_owned(),
            layers_there: self.0.values().filter(|layer| layer.is_there).count(),
            layers: self.0.len(),
            share: shares.checked_div(self.0.len() as u64).unwrap_or_default(),
            fetched: self.0.values().map(|layer| layer.fetched).sum(),
            bytes: self.0.values().map(|layer| layer.bytes).sum(),
            done,
        }
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    #[test]
    fn layers_and_bytes_are_counted() {
        let mut layers = Layers::default();
        let mut step = |id: &str, status: &str, current, total| {
            layers.take(&CreateImageInfo {
                id: Some(id.into()),
                status: Some(status.into()),
                progress_detail: Some(ProgressDetail { current, total }),
                ..CreateImageInfo::default()
            });
            layers.progress("redis:7", false)
        };
        step("7", "Pulling from library/redis", None, None);
        step("aaaaaaaaaaaa", "Already exists", None, None);
        step("bbbbbbbbbbbb", "Downloading", Some(10), Some(40));
        let progress = step("cccccccccccc", "Waiting", None, None);
        assert_eq!((progress.layers_there, progress.layers), (1, 3));
        assert_eq!((progress.fetched, progress.bytes), (10, 40));
        assert_eq!(progress.share, (1000 + 250) / 3, "what has not begun to come counts too");
        let progress = step("bbbbbbbbbbbb", "Download complete", None, None);
        assert_eq!((progress.layers_there, progress.fetched, progress.share), (1, 40, 2000 / 3));
        let progress = step("bbbbbbbbbbbb", "Pull complete", None, None);
        assert_eq!((progress.layers_there, progress.fetched, progress.share), (2, 40, 2000 / 3));
    }
}
