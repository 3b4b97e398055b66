//! As whom a service uses the files that it is granted.

use crate::manifest::accounts::Accounts;
use crate::manifest::problem::{Hint, Placed, ProblemKind};
use crate::manifest::raw::NamedService;
use crate::manifest::reader::Reader;
use crate::manifest::{Surroundings, suggest};
use crate::permissions::HostUser;

/// Who that is, where the manifest says it.
pub(super) fn resolve(
    named: &NamedService,
    around: &Surroundings<'_>,
    reader: &mut Reader<'_>,
) -> Option<HostUser> {
    let (service, accounts) = (&named.service, around.accounts);
    let Some(written) = &service.user else {
        if let Some(group) = &service.group {
            let hint = Hint::advise("say whose group it is with 'user', or remove it");
            reader.report(&group.place, ProblemKind::GroupAlone, hint);
        }
        return None;
    };
    let Some(mut user) = accounts.user(&written.value) else {
        unknown("user", written, accounts.users, reader);
        return None;
    };
    if let Some(group) = &service.group {
        match accounts.group(&group.value) {
            Some(gid) => user.gid = gid,
            None => unknown("group", group, accounts.groups, reader),
        }
    }
    if user.uid == 0 || user.gid == 0 {
        let place =
            service.group.as_ref().filter(|_| user.uid != 0).map_or(&written.place, |group| &group.place);
        reader.report(place, ProblemKind::RootUser, Hint::advise("name one that has fewer rights"));
        return None;
    }
    Some(user)
}

fn unknown(what: &'static str, written: &Placed<String>, table: &str, reader: &mut Reader<'_>) {
    let name = written.value.clone();
    let similar =
        suggest::nearest(&name, Accounts::names(table)).map(|name| format!("did you mean '{name}'?"));
    let hint = similar.unwrap_or_else(|| "write a name that is in the host's own tables, or a number".into());
    reader.report(&written.place, ProblemKind::UnknownAccount { what, name }, Some(Hint::Do(hint)));
}
