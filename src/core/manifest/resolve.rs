//! What was written, to a [`Manifest`]: defaults are filled in, ready-made services are unpacked, and everything is
//! compared with everything else: services with each other, code with what is on disk, runtimes with the plugins.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use super::cycle::{Arrows, cycles};
use super::element::depends_on::RawDependency;
use super::element::listen::RawListener;
use super::element::replicas::Replicas;
use super::element::{restart, timeouts};
use super::plugin::PluginKind;
use super::problem::{Hint, Owner, Placed, ProblemKind};
use super::raw::{NamedService, RawManifest};
use super::reader::Reader;
use super::{
    Condition, Dependency, Kind, ListenAddress, Listener, Manifest, Probe, ReadyCheck, RestartPolicy,
    Service, Surroundings, grants, image_choice, runtime_choice, suggest,
};
use crate::name::ServiceName;

/// The manifest that `raw` means, or what can be made of it where the reader has recorded problems.
pub(crate) fn resolve(mut raw: RawManifest, around: &Surroundings<'_>, reader: &mut Reader<'_>) -> Manifest {
    for named in &mut raw.services {
        unpack_plugin(named, around, reader);
    }
    let kinds: BTreeMap<_, _> =
        raw.services.iter().map(|named| (named.written.value.clone(), named.service.kind())).collect();
    let mut services = BTreeMap::new();
    let mut arrows = Arrows::new();
    let mut sockets = Sockets::default();
    for named in &raw.services {
        check_job(named, reader);
        let depends_on = dependencies(named, &kinds, &mut arrows, reader);
        let listen = sockets.of(named, around, reader);
        check_readiness(named, &listen, reader);
        check_giving_up(named, reader);
        if let Some(service) = service(named, depends_on, listen, &raw, around, reader) {
            services.insert(service.name.clone(), service);
        }
    }
    grants::check(&services, &raw, around, reader);
    for cycle in cycles(&arrows) {
        let hint = Hint::advise("remove one of these dependencies");
        reader.report(&cycle.place, ProblemKind::Cycle { path: cycle.path }, hint);
    }
    for here in raw.elsewhere.iter().filter(|name| services.contains_key(&name.value)) {
        let hint = Hint::advise("remove it here: other members may have it all the same");
        reader.report(&here.place, ProblemKind::HereAndElsewhere(here.value.to_string()), hint);
    }
    let RawManifest { name, mut fabric, elsewhere, .. } = raw;
    let elsewhere = elsewhere.into_iter().map(|name| name.value).collect();
    if let Some(ca) = fabric.as_mut().and_then(|fabric| fabric.ca.as_mut()) {
        *ca = around.folder.join(&*ca);
    }
    Manifest { name: name.unwrap_or_else(|| around.project.clone()), fabric, elsewhere, services }
}

/// Puts what a ready-made service says under what the manifest says of it.
fn unpack_plugin(named: &mut NamedService, around: &Surroundings<'_>, reader: &mut Reader<'_>) {
    let Some(plugin) = named.service.plugin.clone() else { return };
    let (name, place) = (plugin.value, &plugin.place);
    refuse_own_code(named, &plugin.place, reader);
    match around.plugins.get(&name).map(|spec| &spec.kind) {
        Some(PluginKind::Service(spec)) => {
            named.service = std::mem::take(&mut named.service).with_defaults_of(&spec.settings, place);
        }
        Some(PluginKind::Runtime(_)) => {
            let hint = format!("write 'runtime: {name}', and the service's own code with 'code:'");
            let kind = ProblemKind::WrongPlugin { name, is: "runtime", wanted: "ready-made service" };
            reader.report(place, kind, Some(Hint::Do(hint)));
            named.service.code_unclear = true;
        }
        None => {
            let services =
                around.plugins.iter().filter(|(_, spec)| matches!(spec.kind, PluginKind::Service(_)));
            let names = services.map(|(name, _)| name.as_str());
            let hint = suggest::nearest_or_all(&name, "the ready-made services", names)
                .or_else(|| Hint::advise("no ready-made service is installed; write 'code:' instead"));
            reader.report(place, ProblemKind::UnknownPlugin { what: "plugin", name }, hint);
            named.service.code_unclear = true;
        }
    }
}

fn refuse_own_code(named: &NamedService, place: &super::Place, reader: &mut Reader<'_>) {
    let own = &named.service;
    for (key, written) in [("code", own.code.is_some()), ("runtime", own.runtime.is_some())] {
        if written {
            let owner = Owner::Service(named.written.value.clone());
            let kind = ProblemKind::Excluded { one: "plugin".to_owned(), other: key.to_owned(), owner };
            reader.report(place, kind, Hint::advise(format!("keep '{key}' or 'plugin'")));
        }
    }
}

/// What a job may say of its replicas.
const ONE: Replicas = Replicas::Number(NonZeroU32::MIN);

/// Records what only a service can have.
fn check_job(named: &NamedService, reader: &mut Reader<'_>) {
    let raw = &named.service;
    if raw.kind() != Kind::Job {
        return;
    }
    let mut refuse = |what, place, hint: &str| {
        let service = named.written.value.clone();
        reader.report(place, ProblemKind::NotForJobs { service, what }, Hint::advise(hint));
    };
    if let Some(ready) = &raw.ready {
        refuse("ready", &ready.place, "remove it: others wait until a job has completed");
    }
    if let Some(replicas) = raw.replicas.as_ref().filter(|replicas| replicas.value != ONE) {
        refuse("replicas", &replicas.place, "remove it: a job runs once");
    }
    if let Some(recycle) = &raw.recycle {
        refuse("recycle", &recycle.place, "remove it: a job ends by itself");
    }
    if let Some(socket) = raw.listen.first() {
        refuse("listen", &socket.name.place, "remove it, or 'kind: job'");
    }
    if let Some(restart) =
        raw.restart.as_ref().filter(|restart| restart.value.policy == RestartPolicy::Always)
    {
        refuse("restart: always", &restart.place, "write 'on-failure', or remove 'kind: job'");
    }
}

/// Records a check of a port that the orchestrator listens on, which says nothing of the service: inside of a sandbox nobody
/// answers there, and outside of it who connects is let in before anybody serves.
fn check_readiness(named: &NamedService, listen: &[Listener], reader: &mut Reader<'_>) {
    let Some(ready) = &named.service.ready else { return };
    let ReadyCheck::Probe(Probe::Tcp(port) | Probe::Http { port, .. }) = ready.value.check else { return };
    if listen.iter().any(|socket| socket.address.port() == Some(port)) {
        let kind = ProblemKind::NotItsPort { service: named.written.value.clone(), port };
        let hint = "write 'log: TEXT', with what it writes when it serves, or 'notify: true'";
        reader.report(&ready.place, kind, Hint::advise(hint));
    }
}

/// Records what is to be done when somebody gives up who never does.
fn check_giving_up(named: &NamedService, reader: &mut Reader<'_>) {
    let Some(on_give_up) = &named.service.on_give_up else { return };
    let restart = value(&named.service.restart).unwrap_or_else(|| restart::default_of(named.service.kind()));
    if restart.policy == RestartPolicy::Never {
        let kind = ProblemKind::NeverGivesUp { service: named.written.value.clone() };
        let hint = "write 'restart: { max: 0 }', and its first crash is told, or remove it";
        reader.report(&on_give_up.place, kind, Hint::advise(hint));
    }
}

/// The sockets that the services so far want, with whose they are.
#[derive(Default)]
struct Sockets(Vec<(ListenAddress, String)>);

impl Sockets {
    /// Those of this service that are clear, and nobody else's.
    fn of(
        &mut self,
        named: &NamedService,
        around: &Surroundings<'_>,
        reader: &mut Reader<'_>,
    ) -> Vec<Listener> {
        let service = &named.written.value;
        let owner = Owner::Service(service.clone()).key("listen");
        let mut listen = Vec::new();
        for RawListener { name, address } in &named.service.listen {
            let parsed = match ListenAddress::parse(&address.value, around.folder) {
                Ok(parsed) => parsed,
                Err(why) => {
                    let hint = Hint::advise(
                        "write a port (8080), an address with a port (127.0.0.1:8080), or a path (./app.sock)",
                    );
                    let (owner, why) = (owner.key(&name.value), why.into());
                    reader.report(&address.place, ProblemKind::BadValue { owner, why }, hint);
                    continue;
                }
            };
            if let Some((_, other)) = self.0.iter().find(|(taken, _)| taken.clashes_with(&parsed)) {
                let (service, written) = (service.clone(), address.value.clone());
                let kind = ProblemKind::SocketTaken { service, address: written, other: other.clone() };
                reader.report(
                    &address.place,
                    kind,
                    Hint::advise("choose another one, or remove one of the two"),
                );
                continue;
            }
            self.0.push((parsed.clone(), format!("{service}.{}", name.value)));
            listen.push(Listener { name: name.value.clone(), address: parsed });
        }
        listen
    }
}

/// What a service depends on. Arrows to what exists are noted, for the search for cycles.
fn dependencies(
    named: &NamedService,
    kinds: &BTreeMap<String, Kind>,
    arrows: &mut Arrows,
    reader: &mut Reader<'_>,
) -> BTreeMap<ServiceName, Dependency> {
    let mut seen = BTreeSet::new();
    let mut depends_on = BTreeMap::new();
    for raw in &named.service.depends_on {
        let target = raw.name.value.as_str();
        if !seen.insert(target) {
            let (service, dependency) = (named.written.value.clone(), target.to_owned());
            let kind = ProblemKind::DuplicateDependency { service, dependency };
            reader.report(&raw.name.place, kind, Hint::advise("remove one of the two"));
            continue;
        }
        let Some(kind) = existing(named, &raw.name, kinds, reader) else { continue };
        let condition = condition(named, raw, kind, reader);
        let Ok(target) = ServiceName::parse(target) else { continue };
        if let Some(from) = &named.name {
            arrows.entry(from.clone()).or_default().insert(target.clone(), raw.name.place.clone());
        }
        depends_on.insert(target, Dependency { condition, on_crash: raw.on_crash });
    }
    depends_on
}

/// The kind of a dependency, if it is there and another than the service itself.
fn existing(
    named: &NamedService,
    target: &Placed<String>,
    kinds: &BTreeMap<String, Kind>,
    reader: &mut Reader<'_>,
) -> Option<Kind> {
    let service = named.written.value.clone();
    if target.value == service {
        let kind = ProblemKind::SelfDependency { service };
        reader.report(&target.place, kind, Hint::advise("remove it"));
        return None;
    }
    let kind = kinds.get(&target.value).copied();
    if kind.is_none() {
        let others = kinds.keys().map(String::as_str).filter(|name| *name != service);
        let hint = suggest::nearest_or_all(&target.value, "the other services", others)
            .or_else(|| Hint::advise("remove it: there are no other services"));
        let problem = ProblemKind::MissingDependency { service, dependency: target.value.clone() };
        reader.report(&target.place, problem, hint);
    }
    kind
}

/// The condition of a dependency, which has to be one that can come true.
fn condition(named: &NamedService, raw: &RawDependency, kind: Kind, reader: &mut Reader<'_>) -> Condition {
    let possible = Dependency::on(kind).condition;
    if let Some(written) = raw.condition.as_ref().filter(|written| written.value != possible) {
        let (service, dependency) = (named.written.value.clone(), raw.name.value.clone());
        let (problem, hint) = match written.value {
            Condition::Completed => (
                ProblemKind::NeverCompletes { service, dependency: dependency.clone() },
                format!("write 'condition: ready', or 'kind: job' in '{dependency}'"),
            ),
            Condition::Ready => (
                ProblemKind::NeverReady { service, dependency },
                "write 'condition: completed', or leave it out".to_owned(),
            ),
        };
        reader.report(&written.place, problem, Some(Hint::Do(hint)));
    }
    possible
}

/// The whole service, if its name and its code are clear.
fn service(
    named: &NamedService,
    depends_on: BTreeMap<ServiceName, Dependency>,
    listen: Vec<Listener>,
    top: &RawManifest,
    around: &Surroundings<'_>,
    reader: &mut Reader<'_>,
) -> Option<Service> {
    let raw = &named.service;
    let shipped = runtime_choice::shipped(named, around, reader);
    let (code, runtime) = shipped?;
    let permissions = grants::resolve(named, &runtime, around, reader);
    let image = image_choice::image(named, &runtime, top, around, reader);
    let kind = raw.kind();
    Some(Service {
        name: named.name.clone()?,
        kind,
        code,
        folder: around.folder.to_owned(),
        runtime,
        args: value(&raw.args).unwrap_or_default(),
        env: raw.permissions.env.clone(),
        isolation: image_choice::isolation(named, top),
        image,
        sandbox: grants::sandbox(named, top, reader),
        permissions,
        depends_on,
        replicas: value(&raw.replicas).map_or(NonZeroU32::MIN, |replicas| replicas.on(around.cores)),
        max_in_flight: value(&raw.max_in_flight),
        max_surge: value(&raw.max_surge).unwrap_or(NonZeroU32::MIN),
        listen,
        share: value(&raw.share).unwrap_or_default(),
        ready: value(&raw.ready),
        alive: value(&raw.alive).unwrap_or_default(),
        recycle: value(&raw.recycle).unwrap_or_default(),
        on_give_up: value(&raw.on_give_up).or_else(|| value(&top.on_give_up)).unwrap_or_default(),
        restart: value(&raw.restart).unwrap_or_else(|| restart::default_of(kind)),
        start_timeout: value(&raw.start_timeout).unwrap_or(timeouts::START_DEFAULT),
        close_timeout: value(&raw.close_timeout).unwrap_or(timeouts::CLOSE_DEFAULT),
        essential: value(&raw.essential).unwrap_or_default(),
    })
}

fn value<T: Clone>(placed: &Option<Placed<T>>) -> Option<T> {
    placed.as_ref().map(|placed| placed.value.clone())
}
