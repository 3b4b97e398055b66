//! `image`, `runtime_image` and `image_policy`: which images containers are made from, and how exactly they have to be named.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::manifest::problem::{Hint, Placed, ProblemKind};
use crate::manifest::reader::{Field, Key, Reader};

pub(crate) const KEY: Key = Key {
    name: "image",
    about: "The image that is the whole service, instead of code: its own program runs, in a container.",
    schema,
};

pub(crate) const RUNTIME: Key = Key {
    name: "runtime_image",
    about: "The image in whose files the code runs, in a container. By default what the runtime's plugin names.",
    schema,
};

pub(crate) const POLICY: Key = Key {
    name: "image_policy",
    about: "How images are named: lock (by default: by any name; its content is kept in orchestrator.lock) or \
            digest-only (by content).",
    schema: policy_schema,
};

/// How images have to be named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ImagePolicy {
    /// By any name. What it means is kept.
    #[default]
    Lock,
    /// By their content.
    DigestOnly,
}

const POLICIES: [(&str, ImagePolicy); 2] =
    [("lock", ImagePolicy::Lock), ("digest-only", ImagePolicy::DigestOnly)];

/// The longest name of an image.
const LONGEST: usize = 512;

/// Reads the name of an image.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<String>> {
    let name = field.text("the name of an image", reader)?;
    if is_name(&name.value) {
        return Some(name);
    }
    let kind = ProblemKind::UnknownWord { owner: field.owner.clone(), word: name.value };
    reader.report(
        &name.place,
        kind,
        Hint::advise("name an image, as in 'redis:7' or 'example.com/team/app:1.2'"),
    );
    None
}

/// Reads how images have to be named.
pub(crate) fn read_policy(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<ImagePolicy>> {
    field.word(&POLICIES, reader)
}

/// Whether an image is named by its content.
pub(crate) fn is_pinned(name: &str) -> bool {
    let digest = name.split_once("@sha256:").map(|(_, digest)| digest);
    digest.is_some_and(|digest| digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What the engine may be asked for: nothing that means something else in a path or a line.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    begins
        && name.len() <= LONGEST
        && name.bytes().all(plain)
        && !["//", "..", "/:"].iter().any(|part| name.contains(part))
        && (!name.contains('@') || is_pinned(name))
}

fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._/:@-]*$|\\$\\{" })
}

fn policy_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": ["lock", "digest-only"], "default": "lock" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::element::testing;

    #[test]
    fn images_are_named_as_engines_name_them() {
        let pinned = format!("redis@sha256:{}", "0a".repeat(32));
        for name in ["redis", "redis:7", "example.com:5000/team/app_x:1.2-rc", pinned.as_str()] {
            assert_eq!(testing::read(KEY, &format!("image: '{name}'"), read).unwrap().value, name);
        }
        assert!(is_pinned(&pinned) && !is_pinned("redis:7"));
        for name in ["", "-x", "a b", "a@sha256:12", "../x", "a?b", "a//b"] {
            let refused = testing::read(KEY, &format!("image: '{name}'"), read).unwrap_err();
            assert!(
                refused.ends_with("| name an image, as in 'redis:7' or 'example.com/team/app:1.2'"),
                "{refused}"
            );
        }
        let policy = testing::read(POLICY, "image_policy: digest-only", read_policy).unwrap();
        assert_eq!(policy.value, ImagePolicy::DigestOnly);
    }
}
