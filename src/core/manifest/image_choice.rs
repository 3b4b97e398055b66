//! What a service's environment is made of, and the image whose files it has where that is a container.

use super::element::image::{ImagePolicy, is_pinned};
use super::plugin::PluginKind;
use super::problem::{Hint, Owner, Placed, ProblemKind};
use super::raw::{NamedService, RawManifest};
use super::reader::Reader;
use super::{Code, Surroundings};
use crate::permissions::Isolation;

/// What stands for the runtime of a service that is an image.
const RUNTIME: &str = "image";

/// What the environment is made of. Who names an image wants a container.
pub(super) fn isolation(named: &NamedService, top: &RawManifest) -> Isolation {
    let raw = &named.service;
    match &raw.isolation {
        Some(own) => own.value,
        None if raw.image.is_some() => Isolation::Docker,
        None => top.isolation.as_ref().map(|top| top.value).unwrap_or_default(),
    }
}

/// The program of an image, where the service is one; what cannot be beside it is recorded.
pub(super) fn whole_service(named: &NamedService, reader: &mut Reader<'_>) -> Option<(Code, String)> {
    let raw = &named.service;
    let image = raw.image.as_ref()?;
    let others = [
        ("code", raw.code.is_some()),
        ("plugin", raw.plugin.is_some()),
        ("runtime", raw.runtime.is_some()),
        ("runtime_image", raw.runtime_image.is_some()),
    ];
    for (other, _) in others.iter().filter(|(_, written)| *written) {
        let owner = Owner::Service(named.written.value.clone());
        let kind = ProblemKind::Excluded { one: "image".to_owned(), other: (*other).to_owned(), owner };
        reader.report(&image.place, kind, Hint::advise(format!("keep 'image' or '{other}'")));
    }
    Some((Code::Image, RUNTIME.to_owned()))
}

/// The image of a service; none for a process, and for a container that has nothing but the runner in it.
pub(super) fn image(
    named: &NamedService,
    runtime: &str,
    top: &RawManifest,
    around: &Surroundings<'_>,
    reader: &mut Reader<'_>,
) -> Option<String> {
    let raw = &named.service;
    let written = raw.image.as_ref().map(|image| ("image", image));
    let written = written.or(raw.runtime_image.as_ref().map(|image| ("runtime_image", image)));
    if isolation(named, top) == Isolation::Process {
        if let Some((what, image)) = written {
            let service = named.written.value.clone();
            let hint = format!("write 'isolation: docker' in '{service}', or remove '{what}'");
            reader.report(&image.place, ProblemKind::NotForProcesses { service, what }, Some(Hint::Do(hint)));
        }
        return None;
    }
    let of_plugin = || match &around.plugins.get(runtime)?.kind {
        PluginKind::Runtime(spec) => Some(Placed::new(spec.image.clone()?, &named.written.place)),
        PluginKind::Service(_) => None,
    };
    let image = written.map(|(_, image)| image.clone()).or_else(of_plugin)?;
    let policy = top.image_policy.as_ref().map(|policy| policy.value).unwrap_or_default();
    if policy == ImagePolicy::DigestOnly && !is_pinned(&image.value) {
        let kind =
            ProblemKind::NotPinned { service: named.written.value.clone(), image: image.value.clone() };
        let hint = Hint::advise(
            "write its digest after it, as in 'redis:7@sha256:...'; see 'docker images --digests'",
        );
        reader.report(&image.place, kind, hint);
    }
    Some(image.value)
}
