//! What is granted to one service, compared with what there is of the others: names, ports, code and shared paths.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::paths::plain;
use crate::manifest::element::permissions::{RawPermissions, RawWrite};
use crate::manifest::problem::{Hint, ProblemKind};
use crate::manifest::raw::{NamedService, RawManifest};
use crate::manifest::reader::Reader;
use crate::manifest::{Code, Service, Surroundings, suggest};
use crate::name::ServiceName;
use crate::permissions::{Endpoint, Host};

/// Records what does not fit together.
pub(in crate::manifest) fn check(
    services: &BTreeMap<ServiceName, Service>,
    raw: &RawManifest,
    around: &Surroundings<'_>,
    reader: &mut Reader<'_>,
) {
    let named = &raw.services;
    codes(services, named, around, reader);
    let listens =
        services.values().map(|service| (service.name.to_string(), service.permissions.net.listen.clone()));
    targets(named, &listens.collect(), reader);
    names(raw, around, reader);
    shared(named, around, reader);
}

/// Records where something is granted towards a service that is not there.
fn names(raw: &RawManifest, around: &Surroundings<'_>, reader: &mut Reader<'_>) {
    let services = &raw.services;
    let written = services.iter().map(|named| named.written.value.as_str());
    let elsewhere = raw.elsewhere.iter().map(|name| name.value.as_str());
    let known: BTreeSet<_> =
        written.chain(elsewhere).chain(around.others.iter().map(String::as_str)).collect();
    for named in services {
        let own = &named.service.permissions;
        let all = [Some(own), own.children.as_ref().map(|children| &*children.permissions)];
        let talks =
            all.into_iter().flatten().filter_map(|raw: &RawPermissions| raw.services.as_ref()).flatten();
        for talk in talks {
            // Children come and go; the one at the top has to be there.
            let top = talk.name.value.as_str().split('/').next().unwrap_or_default();
            if known.contains(top) {
                continue;
            }
            let hint = suggest::nearest_or_all(top, "the services", known.iter().copied());
            let hint = hint.map(|hint| match hint {
                Hint::OneOf { .. } => {
                    Hint::Do(format!("{hint}; or, where it runs at others, 'elsewhere: [{top}]' at the top"))
                }
                hint => hint,
            });
            let (service, target) = (named.written.value.clone(), talk.name.value.to_string());
            reader.report(&talk.name.place, ProblemKind::NoSuchService { service, target }, hint);
        }
    }
}

/// Records where two services write to the same place and one of them does not say so.
fn shared(services: &[NamedService], around: &Surroundings<'_>, reader: &mut Reader<'_>) {
    let mut writes: Vec<(PathBuf, &NamedService, &RawWrite)> = Vec::new();
    for named in services {
        for write in named.service.permissions.fs.iter().flat_map(|files| &files.write) {
            writes.push((plain(&around.folder.join(&write.path.value)), named, write));
        }
    }
    // What is below a path comes right after it, so each is compared with what it lies in only.
    writes.sort_by(|one, other| one.0.cmp(&other.0));
    let mut above: Vec<usize> = Vec::new();
    for (index, (path, named, write)) in writes.iter().enumerate() {
        above.retain(|above| path.starts_with(&writes[*above].0));
        let other = above.iter().map(|above| &writes[*above]).find(|(_, other, outer)| {
            other.written.value != named.written.value && !(write.shared && outer.shared)
        });
        if let Some((_, other, outer)) = other {
            // The one that does not say it is at fault.
            let (at, by, with) = if write.shared { (outer, *other, *named) } else { (write, *named, *other) };
            let path = at.path.value.clone();
            let hint = format!("if both mean it, write '{{ path: {path}, shared: true }}' in both");
            let (service, other) = (by.written.value.clone(), with.written.value.clone());
            reader.report(
                &at.path.place,
                ProblemKind::NotShared { service, path, other },
                Some(Hint::Do(hint)),
            );
        }
        above.push(index);
    }
}

/// Records where a service is granted another one's port that the other does not listen on. `listens` has the ports of
/// every service.
fn targets(services: &[NamedService], listens: &BTreeMap<String, BTreeSet<u16>>, reader: &mut Reader<'_>) {
    for named in services {
        let Some(net) = &named.service.permissions.net else { continue };
        for endpoint in &net.connect {
            let Endpoint { host: Host::Name(target), port } = &endpoint.value else { continue };
            let service = named.written.value.clone();
            match listens.get(target) {
                Some(ports) if !ports.contains(port) => {
                    let hint = format!("add 'permissions: {{ net: {{ listen: [{port}] }} }}' to '{target}'");
                    let (endpoint_text, target) = (endpoint.value.to_string(), target.clone());
                    let kind = ProblemKind::NotListening { service, endpoint: endpoint_text, target };
                    reader.report(&endpoint.place, kind, Some(Hint::Do(hint)));
                }
                // A name without a dot that is nearly a service's is more likely that than a host.
                None if !target.contains('.') => {
                    let near = suggest::nearest(target, listens.keys().map(String::as_str));
                    if let Some(near) = near.filter(|near| *near != service) {
                        let (endpoint_text, target) = (endpoint.value.to_string(), target.clone());
                        let kind = ProblemKind::NoSuchTarget { service, endpoint: endpoint_text, target };
                        reader.report(
                            &endpoint.place,
                            kind,
                            Some(Hint::DidYouMean(format!("{near}:{port}"))),
                        );
                    }
                }
                _ => {}
            }
        }
    }
}

/// Records what a service may write to and somebody else runs: then it could change what is started next.
fn codes(
    services: &BTreeMap<ServiceName, Service>,
    named: &[NamedService],
    around: &Surroundings<'_>,
    reader: &mut Reader<'_>,
) {
    let codes = services.values().filter_map(|service| match &service.code {
        Code::Path(code) => Some(plain(code)),
        Code::Inline(_) | Code::Image => None,
    });
    let codes: BTreeSet<_> = codes.collect();
    for named in named {
        let files = named.service.permissions.fs.iter().flat_map(|files| &files.write);
        for RawWrite { path: written, .. } in files {
            let path = plain(&around.folder.join(&written.value));
            // What is below a path comes right after it.
            let below = codes.range(path.clone()..).next().is_some_and(|code| code.starts_with(&path));
            if below || path.ancestors().any(|above| codes.contains(above)) {
                let (service, path) = (named.written.value.clone(), written.value.clone());
                let kind = ProblemKind::GrantRefused { service, path, why: "a service's code is there" };
                let hint = Hint::advise("keep what is written and what is run in folders of their own");
                reader.report(&written.place, kind, hint);
            }
        }
    }
}
