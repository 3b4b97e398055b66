//! [`learned`]: learned grants, as a person pastes them into a manifest.

use std::collections::BTreeSet;
use std::fmt::{Display, Write as _};
use std::mem::discriminant;
use std::path::{Path, PathBuf};

use orchestrator_core::ServiceName;
use orchestrator_core::learning::{Learned, Remark};
use orchestrator_core::permissions::{Permissions, ServiceGrants};

use crate::escape::neutralise;

/// How many remarks of one kind are shown.
const ALIKE: usize = 4;

/// What can begin a word of YAML that means nothing else.
const BEGINS: fn(char) -> bool = |letter| letter.is_ascii_alphabetic() || letter == '/' || letter == '.';

/// The key `permissions` with what it is to be, and behind it what it cannot say, in comments. Paths below `folder`, the
/// manifest's, are relative to it.
#[must_use]
pub fn learned(service: &ServiceName, learned: &Learned, folder: &Path) -> String {
    let mut text = format!("# what '{service}' used in this run; put it in the place of its 'permissions'\n");
    let Learned { permissions, shared, remarks, kept } = learned;
    if *permissions == Permissions::default() {
        text.push_str("permissions: none\n");
    } else {
        text.push_str("permissions:\n");
        text.push_str(&files(permissions, shared, folder));
        text.push_str(&network(permissions));
        text.push_str(&services(permissions));
        if permissions.subprocess {
            text.push_str("  subprocess: true\n");
        }
    }
    text.push_str(&comments(service, remarks));
    if !kept.is_empty() {
        let _ = writeln!(text, "# keep what there is of: {}", kept.join(", "));
    }
    text
}

/// The remarks; of many that are alike, the first.
fn comments(service: &ServiceName, remarks: &BTreeSet<Remark>) -> String {
    let mut text = String::new();
    let remarks: Vec<_> = remarks.iter().collect();
    for alike in remarks.chunk_by(|one, other| discriminant(*one) == discriminant(*other)) {
        for remark in alike.iter().take(ALIKE) {
            let said = remark.to_string();
            // A path may have a line's end in it.
            let _ = writeln!(text, "# {service} {}", neutralise(&said));
        }
        if alike.len() > ALIKE {
            let _ = writeln!(text, "# and {} more of that kind", alike.len() - ALIKE);
        }
    }
    text
}

fn files(permissions: &Permissions, shared: &BTreeSet<PathBuf>, folder: &Path) -> String {
    let shown = |path: &PathBuf| match path.strip_prefix(folder) {
        Ok(inner) => scalar(&format!("./{}", inner.display())),
        Err(_) => scalar(&path.display().to_string()),
    };
    let read: Vec<_> = permissions.fs.read.iter().map(shown).collect();
    let written = |path: &PathBuf| match shared.contains(path) {
        true => format!("{{ path: {}, shared: true }}", shown(path)),
        false => shown(path),
    };
    let write: Vec<_> = permissions.fs.write.iter().map(written).collect();
    section("fs", &[("read", read), ("write", write)])
}

fn network(permissions: &Permissions) -> String {
    let connect = permissions.net.connect.iter().map(|endpoint| format!("{:?}", endpoint.to_string()));
    let listen = permissions.net.listen.iter().map(u16::to_string);
    section("net", &[("connect", connect.collect()), ("listen", listen.collect())])
}

/// A key with lists below it; nothing where all of them are empty.
fn section(key: &str, lists: &[(&str, Vec<String>)]) -> String {
    let there: Vec<_> = lists.iter().filter(|(_, items)| !items.is_empty()).collect();
    let mut text = if there.is_empty() { String::new() } else { format!("  {key}:\n") };
    for (name, items) in there {
        let _ = writeln!(text, "    {name}:");
        for item in items {
            let _ = writeln!(text, "      - {item}");
        }
    }
    text
}

fn services(permissions: &Permissions) -> String {
    let mut text = if permissions.services.is_empty() { String::new() } else { "  services:\n".into() };
    for (name, ServiceGrants { call, emit, hear }) in &permissions.services {
        let _ = write!(text, "    - {{ name: {}", scalar(name.as_str()));
        for (key, patterns) in [("call", call), ("emit", emit), ("hear", hear)] {
            if !patterns.is_empty() {
                let _ = write!(text, ", {key}: [{}]", list(patterns));
            }
        }
        text.push_str(" }\n");
    }
    text
}

fn list(items: impl IntoIterator<Item = impl Display>) -> String {
    items.into_iter().map(|item| scalar(&item.to_string())).collect::<Vec<_>>().join(", ")
}

/// A text as YAML reads it, and as a manifest does, where `$` begins a variable.
fn scalar(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+@".contains(letter);
    let word = ["true", "false", "null", "yes", "no", "on", "off"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word));
    if text.starts_with(BEGINS) && text.chars().all(plain) && !word && text.len() > 1 {
        return text.to_owned();
    }
    // JSON's texts are YAML's.
    serde_json::Value::from(text.replace('$', "$$")).to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use orchestrator_core::learning::Verb;

    use super::*;

    fn name(text: &str) -> ServiceName {
        ServiceName::parse(text).unwrap()
    }

    #[test]
    fn grants_are_shown_as_a_manifest_has_them() {
        let mut permissions = Permissions { subprocess: true, ..Permissions::default() };
        permissions.fs.read = ["/srv/data".into(), "/shop/a b/$1".into()].into();
        permissions.fs.write = ["/shop/state".into(), "/shop/shared".into()].into();
        permissions.net.connect = ["db:6379".parse().unwrap(), "[::1]:80".parse().unwrap()].into();
        permissions.net.listen = [80].into();
        let call = ["level", "no"].into_iter().map(|method| method.parse().unwrap()).collect();
        let grants = ServiceGrants { call, ..ServiceGrants::default() };
        permissions.services = BTreeMap::from([(name("stock"), grants)]);
        let path = "/run/x\ny".into();
        let remark = Remark::Never { verb: Verb::Reads, path, why: "so" };
        let found = Learned {
            permissions,
            shared: ["/shop/shared".into()].into(),
            remarks: [remark].into(),
            kept: vec!["env", "limits"],
        };
        assert_eq!(
            learned(&name("web"), &found, Path::new("/shop")),
            r#"# what 'web' used in this run; put it in the place of its 'permissions'
permissions:
  fs:
    read:
      - "./a b/$$1"
      - /srv/data
    write:
      - { path: ./shared, shared: true }
      - ./state
  net:
    connect:
      - "db:6379"
      - "[::1]:80"
    listen:
      - 80
  services:
    - { name: stock, call: [level, "no"] }
  subprocess: true
# web reads /run/x^Jy, which is never granted: so
# keep what there is of: env, limits
"#
        );
    }

    #[test]
    fn who_used_nothing_is_granted_nothing() {
        assert_eq!(
            learned(&name("web"), &Learned::default(), Path::new("/shop")),
            "# what 'web' used in this run; put it in the place of its 'permissions'\npermissions: none\n"
        );
    }
}
