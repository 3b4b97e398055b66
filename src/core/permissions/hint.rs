//! From the words in which a runtime reports an error to the line of the manifest that would have allowed it, as far as
//! they tell: [`denial_in`].

use std::path::{Path, PathBuf};

use super::decide::Denial;
use super::{Permissions, Sandbox};
use crate::name::ServiceName;

/// What was probably denied, where an exception's text says so. `exists` tells whether something is at a path of the host:
/// a sandbox answers for a file that was not granted as for one that is not there.
#[must_use]
pub fn denial_in(
    service: &ServiceName,
    permissions: &Permissions,
    sandbox: Sandbox,
    text: &str,
    exists: &dyn Fn(&Path) -> bool,
) -> Option<Denial> {
    if sandbox == Sandbox::None {
        return None;
    }
    let (tried, grant) = process(permissions, text)
        .or_else(|| connection(text))
        .or_else(|| file(permissions, text, exists))?;
    let grant = format!("services.{service}.permissions.{grant}");
    Some(Denial { who: service.to_string(), tried, grant })
}

/// `spawn git EACCES` is Node's; Python says `fork` or names the function in the stack only.
fn process(permissions: &Permissions, text: &str) -> Option<(String, String)> {
    let program = text.split_once("spawn ").and_then(|(_, rest)| rest.split_once(" EACCES"))?.0;
    (!permissions.subprocess).then(|| (format!("start {program}"), "subprocess: true".to_owned()))
}

/// `connect EACCES 10.0.0.5:80`, `connect ECONNREFUSED ...` are not told apart from a destination that is down;
/// `getaddrinfo ENOTFOUND host` is.
fn connection(text: &str) -> Option<(String, String)> {
    let word =
        |rest: &str| rest.split_whitespace().next().map(|word| word.trim_end_matches([',', '.']).to_owned());
    for sign in ["connect EACCES ", "connect ENETUNREACH "] {
        if let Some(to) = text.split_once(sign).and_then(|(_, rest)| word(rest)) {
            return Some((format!("connect to {to}"), format!("net.connect: [\"{to}\"]")));
        }
    }
    let host = text.split_once("getaddrinfo ENOTFOUND ").and_then(|(_, rest)| word(rest))?;
    Some((format!("find {host}"), format!("net.connect: [\"{host}:PORT\"]")))
}

/// A path in quotes, with one of the words for a file that cannot be had.
fn file(permissions: &Permissions, text: &str, exists: &dyn Fn(&Path) -> bool) -> Option<(String, String)> {
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let write = says(&["EROFS", "Read-only file system"]);
    if !write && !says(&["ENOENT", "EACCES", "No such file", "Permission denied"]) {
        return None;
    }
    let path = quoted_path(text)?;
    let within =
        |paths: &std::collections::BTreeSet<PathBuf>| paths.iter().any(|root| path.starts_with(root));
    let granted = within(&permissions.fs.write) || (!write && within(&permissions.fs.read));
    // What is not there outside either is not a matter of permissions.
    let there = exists(&path) || (write && path.parent().is_some_and(exists));
    if granted || !there {
        return None;
    }
    let (verb, key) = if write { ("write", "write") } else { ("read", "read") };
    let shown = path.display();
    Some((format!("{verb} {shown}"), format!("fs.{key}: [\"{shown}\"]")))
}

fn quoted_path(text: &str) -> Option<PathBuf> {
    ['\'', '"'].into_iter().find_map(|quote| {
        let mut parts = text.split(quote).skip(1).step_by(2);
        parts.find(|part| part.starts_with('/')).map(PathBuf::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Option<String> {
        let mut permissions = Permissions::default();
        permissions.fs.read.insert("/srv/read".into());
        let web = ServiceName::parse("web").unwrap();
        let exists = |path: &Path| path.starts_with("/srv");
        denial_in(&web, &permissions, Sandbox::Strict, text, &exists).map(|denial| denial.to_string())
    }

    #[test]
    fn what_runtimes_say_is_understood() {
        for (text, expected) in [
            (
                "ENOENT: no such file or directory, open '/srv/data/a.txt'",
                "web may not read /srv/data/a.txt; to allow it: services.web.permissions.fs.read: [\"/srv/data/a.txt\"]",
            ),
            (
                "[Errno 2] No such file or directory: '/srv/data/a.txt'",
                "web may not read /srv/data/a.txt; to allow it: services.web.permissions.fs.read: [\"/srv/data/a.txt\"]",
            ),
            (
                "[Errno 30] Read-only file system: '/srv/read/new'",
                "web may not write /srv/read/new; to allow it: services.web.permissions.fs.write: [\"/srv/read/new\"]",
            ),
            (
                "spawn git EACCES",
                "web may not start git; to allow it: services.web.permissions.subprocess: true",
            ),
            (
                "connect EACCES 10.0.0.5:80",
                "web may not connect to 10.0.0.5:80; to allow it: services.web.permissions.net.connect: [\"10.0.0.5:80\"]",
            ),
            (
                "getaddrinfo ENOTFOUND api.example.com",
                "web may not find api.example.com; to allow it: services.web.permissions.net.connect: \
                 [\"api.example.com:PORT\"]",
            ),
        ] {
            assert_eq!(said(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_matter_of_permissions_is_left_alone() {
        for text in [
            "ENOENT: no such file or directory, open '/nowhere/a.txt'",
            "[Errno 2] No such file or directory: '/srv/read/a.txt'",
            "ENOENT: no such file or directory, open './a.txt'",
            "connect ECONNREFUSED 127.0.0.1:80",
            "the disk is on fire: '/srv/data'",
            "",
        ] {
            assert_eq!(said(text), None, "{text}");
        }
    }
}
