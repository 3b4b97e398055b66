//! [`RawManifest`]: what was written, key by key, each value with its place. Every value is of its own type here, but
//! nothing has been compared with anything else: defaults, files, plugins and other services come with resolving.

use std::num::NonZeroU32;
use std::time::Duration;

use super::element::code::RawCode;
use super::element::depends_on::RawDependency;
use super::element::image::ImagePolicy;
use super::element::listen::RawListener;
use super::element::permissions::RawPermissions;
use super::element::replicas::Replicas;
use super::element::{
    MANIFEST, SERVICE, alive, args, code, depends_on, essential, fabric, image, isolation, kind, listen,
    max_in_flight, max_surge, name, on_give_up, permissions, ready, recycle, replicas, restart, runtime,
    sandbox, services, share, timeouts, user, version,
};
use super::node::Node;
use super::problem::{Hint, Owner, Place, Placed, ProblemKind};
use super::reader::{Fields, Reader};
use super::{Fabric, Kind, Liveness, OnGiveUp, Readiness, Recycle, Restart};
use crate::name::ServiceName;
use crate::permissions::{Isolation, Sandbox, Share};

/// A manifest as it is written.
#[derive(Debug, Default)]
pub(crate) struct RawManifest {
    pub(crate) name: Option<ServiceName>,
    pub(crate) isolation: Option<Placed<Isolation>>,
    pub(crate) image_policy: Option<Placed<ImagePolicy>>,
    pub(crate) sandbox: Option<Placed<Sandbox>>,
    pub(crate) on_give_up: Option<Placed<OnGiveUp>>,
    pub(crate) fabric: Option<Fabric>,
    pub(crate) elsewhere: Vec<Placed<ServiceName>>,
    /// The services in the order of the file.
    pub(crate) services: Vec<NamedService>,
}

/// A service with the name that it is written under.
#[derive(Debug)]
pub(crate) struct NamedService {
    pub(crate) written: Placed<String>,
    /// The name, unless it is none.
    pub(crate) name: Option<ServiceName>,
    pub(crate) service: RawService,
}

/// A service as it is written, in a manifest or in a plugin. What is absent here was not written, or was wrong and has
/// been reported.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RawService {
    pub(crate) code: Option<Placed<RawCode>>,
    pub(crate) runtime: Option<Placed<String>>,
    pub(crate) plugin: Option<Placed<String>>,
    pub(crate) image: Option<Placed<String>>,
    pub(crate) runtime_image: Option<Placed<String>>,
    /// Whether one of these was written, but wrong: then it says nothing that they are not there.
    pub(crate) code_unclear: bool,
    pub(crate) kind: Option<Placed<Kind>>,
    pub(crate) args: Option<Placed<Vec<String>>>,
    pub(crate) depends_on: Vec<RawDependency>,
    pub(crate) replicas: Option<Placed<Replicas>>,
    pub(crate) max_in_flight: Option<Placed<NonZeroU32>>,
    pub(crate) max_surge: Option<Placed<NonZeroU32>>,
    pub(crate) listen: Vec<RawListener>,
    pub(crate) share: Option<Placed<Share>>,
    pub(crate) ready: Option<Placed<Readiness>>,
    pub(crate) alive: Option<Placed<Liveness>>,
    pub(crate) restart: Option<Placed<Restart>>,
    pub(crate) recycle: Option<Placed<Recycle>>,
    pub(crate) on_give_up: Option<Placed<OnGiveUp>>,
    pub(crate) start_timeout: Option<Placed<Duration>>,
    pub(crate) close_timeout: Option<Placed<Duration>>,
    pub(crate) essential: Option<Placed<bool>>,
    pub(crate) isolation: Option<Placed<Isolation>>,
    pub(crate) sandbox: Option<Placed<Sandbox>>,
    pub(crate) user: Option<Placed<String>>,
    pub(crate) group: Option<Placed<String>>,
    pub(crate) permissions: RawPermissions,
}

/// Reads a whole manifest. What is wrong is recorded, and the rest is read all the same.
pub(crate) fn manifest(root: &Node, reader: &mut Reader<'_>) -> RawManifest {
    let mut raw = RawManifest::default();
    let Some(fields) = Fields::open(root, Owner::Manifest, MANIFEST, reader) else { return raw };
    if let Some(field) = fields.get(&version::KEY) {
        version::read(&field, reader);
    }
    raw.isolation = fields.get(&isolation::KEY).and_then(|field| isolation::read(&field, reader));
    raw.image_policy = fields.get(&image::POLICY).and_then(|field| image::read_policy(&field, reader));
    raw.sandbox = fields.get(&sandbox::KEY).and_then(|field| sandbox::read(&field, reader));
    raw.on_give_up = fields.get(&on_give_up::KEY).and_then(|field| on_give_up::read(&field, reader));
    raw.name = fields.get(&name::KEY).and_then(|field| name::read(&field, reader));
    raw.fabric = fields.get(&fabric::KEY).and_then(|field| fabric::read(&field, reader));
    raw.elsewhere = fields
        .get(&fabric::ELSEWHERE)
        .map(|field| fabric::read_elsewhere(&field, reader))
        .unwrap_or_default();
    raw.services = named_services(&fields, &root.place, reader);
    raw
}

fn named_services(fields: &Fields<'_>, top: &Place, reader: &mut Reader<'_>) -> Vec<NamedService> {
    let no_services = |place: &Place, reader: &mut Reader<'_>| {
        let hint = Hint::advise("add one, as in 'services: { web: { code: ./web.js } }'");
        reader.report(place, ProblemKind::NoServices, hint);
    };
    let Some(field) = fields.get(&services::KEY) else {
        if !fields.mentions(&services::KEY) {
            no_services(top, reader);
        }
        return Vec::new();
    };
    let Some(mapping) = field.mapping("a mapping of names to services", reader) else { return Vec::new() };
    if mapping.entries.is_empty() {
        no_services(field.place(), reader);
    }
    let read = mapping.entries.iter().map(|entry| {
        let written = entry.key.clone();
        let name = name::label(&written.value, &written.place, "a service", reader);
        let owner = Owner::Service(written.value.clone());
        let service = match Fields::open(&entry.value, owner, SERVICE, reader) {
            Some(fields) => service(&fields, reader),
            None => RawService { code_unclear: true, ..RawService::default() },
        };
        NamedService { written, name, service }
    });
    read.collect()
}

/// Reads the keys of a service, those that are there.
pub(crate) fn service(fields: &Fields<'_>, reader: &mut Reader<'_>) -> RawService {
    let mut raw = RawService {
        code: fields.get(&code::KEY).and_then(|field| code::read(&field, reader)),
        runtime: fields.get(&runtime::KEY).and_then(|field| runtime::read(&field, reader)),
        plugin: fields.get(&runtime::PLUGIN).and_then(|field| runtime::read(&field, reader)),
        image: fields.get(&image::KEY).and_then(|field| image::read(&field, reader)),
        runtime_image: fields.get(&image::RUNTIME).and_then(|field| image::read(&field, reader)),
        code_unclear: false,
        kind: fields.get(&kind::KEY).and_then(|field| kind::read(&field, reader)),
        args: fields.get(&args::KEY).and_then(|field| args::read(&field, reader)),
        depends_on: fields
            .get(&depends_on::KEY)
            .map(|field| depends_on::read(&field, reader))
            .unwrap_or_default(),
        replicas: fields.get(&replicas::KEY).and_then(|field| replicas::read(&field, reader)),
        max_in_flight: fields.get(&max_in_flight::KEY).and_then(|field| max_in_flight::read(&field, reader)),
        max_surge: fields.get(&max_surge::KEY).and_then(|field| max_surge::read(&field, reader)),
        listen: fields.get(&listen::KEY).map(|field| listen::read(&field, reader)).unwrap_or_default(),
        share: fields.get(&share::KEY).and_then(|field| share::read(&field, reader)),
        ready: fields.get(&ready::KEY).and_then(|field| ready::read(&field, reader)),
        alive: fields.get(&alive::KEY).and_then(|field| alive::read(&field, reader)),
        restart: fields.get(&restart::KEY).and_then(|field| restart::read(&field, reader)),
        recycle: fields.get(&recycle::KEY).and_then(|field| recycle::read(&field, reader)),
        on_give_up: fields.get(&on_give_up::KEY).and_then(|field| on_give_up::read(&field, reader)),
        start_timeout: fields.get(&timeouts::START).and_then(|field| timeouts::read(&field, reader)),
        close_timeout: fields.get(&timeouts::CLOSE).and_then(|field| timeouts::read(&field, reader)),
        essential: fields.get(&essential::KEY).and_then(|field| essential::read(&field, reader)),
        isolation: fields.get(&isolation::KEY).and_then(|field| isolation::read(&field, reader)),
        sandbox: fields.get(&sandbox::KEY).and_then(|field| sandbox::read(&field, reader)),
        user: fields.get(&user::USER).and_then(|field| user::read(&field, reader)),
        group: fields.get(&user::GROUP).and_then(|field| user::read(&field, reader)),
        permissions: fields
            .get(&permissions::KEY)
            .and_then(|field| permissions::read(&field, reader))
            .unwrap_or_default(),
    };
    raw.code_unclear = (fields.mentions(&code::KEY) && raw.code.is_none())
        || (fields.mentions(&runtime::KEY) && raw.runtime.is_none())
        || (fields.mentions(&runtime::PLUGIN) && raw.plugin.is_none())
        || (fields.mentions(&image::KEY) && raw.image.is_none());
    raw
}

impl RawService {
    /// What is not written here, as a ready-made service says it. Its values get the place where it is named.
    pub(crate) fn with_defaults_of(self, plugin: &Self, named: &Place) -> Self {
        fn or<T: Clone>(
            own: Option<Placed<T>>,
            plugin: Option<&Placed<T>>,
            named: &Place,
        ) -> Option<Placed<T>> {
            own.or_else(|| plugin.map(|placed| Placed::new(placed.value.clone(), named)))
        }
        Self {
            code: or(self.code, plugin.code.as_ref(), named),
            runtime: or(self.runtime, plugin.runtime.as_ref(), named),
            kind: or(self.kind, plugin.kind.as_ref(), named),
            args: or(self.args, plugin.args.as_ref(), named),
            ready: or(self.ready, plugin.ready.as_ref(), named),
            alive: or(self.alive, plugin.alive.as_ref(), named),
            restart: or(self.restart, plugin.restart.as_ref(), named),
            start_timeout: or(self.start_timeout, plugin.start_timeout.as_ref(), named),
            close_timeout: or(self.close_timeout, plugin.close_timeout.as_ref(), named),
            permissions: self.permissions.with_defaults_of(&plugin.permissions),
            ..self
        }
    }

    /// The kind, or its default.
    pub(crate) fn kind(&self) -> Kind {
        self.kind.as_ref().map_or_else(Kind::default, |kind| kind.value)
    }
}
