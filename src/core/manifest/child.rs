//! [`read_child`]: the service that a running service asks for below itself. It is written as a service of a manifest is,
//! and read by the same rules; what it is granted has to be within what its parent may hand on (lifecycle rule 15).

use serde_json::{Map, Value, json};

use super::{Problems, Service, Surroundings, read_with};
use crate::name::ServiceName;
use crate::permissions::{Excess, Permissions, excess};

/// What only the person who writes a manifest decides, and the hint where it is asked for.
const NOT_FOR_CHILDREN: [(&str, &str); 9] = [
    ("depends_on", "a child depends on its parent"),
    ("essential", "a child ends with its parent"),
    ("listen", "a child listens inside of its own sandbox"),
    ("on_give_up", "programs of the host are run for a manifest only"),
    ("user", "a child uses files as its parent does"),
    ("group", "a child uses files as its parent does"),
    ("isolation", "a child is isolated as its parent is"),
    ("image", "a child brings code, which runs in its parent's image"),
    ("runtime_image", "a child's code runs in its parent's image"),
];

/// Why a child cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChildError {
    /// What was asked for is no service.
    #[error("{0}")]
    Wrong(String),
    /// It is no child of its parent's: that one may have none.
    #[error(
        "{parent} may not open a child; to allow it: services.{parent}.permissions.children: {{ max: 1 }}"
    )]
    NotGranted {
        /// The parent.
        parent: ServiceName,
    },
    /// It asks for more than there is to give.
    #[error("{}", list(.0))]
    Excess(Vec<Excess>),
}

/// The child that `parent` asks for with this JSON: `{name, code or plugin, ...}`.
///
/// Its code is always the text itself: a path would ship what the parent cannot read. Nothing in it stands for a variable.
///
/// # Errors
/// Where it is no service, or is granted more than its parent may hand on.
pub fn read_child(
    spec: &[u8],
    parent: &Service,
    surroundings: &Surroundings<'_>,
) -> Result<Service, ChildError> {
    let Some(grants) = &parent.permissions.children else {
        return Err(ChildError::NotGranted { parent: parent.name.clone() });
    };
    let wrong = |text: &str| ChildError::Wrong(text.to_owned());
    let spec: Value = serde_json::from_slice(spec).map_err(|error| wrong(&error.to_string()))?;
    let Value::Object(mut spec) = spec else { return Err(wrong("a child is asked for with an object")) };
    let Some(Value::String(label)) = spec.remove("name") else {
        return Err(wrong("a child has a 'name', which is text"));
    };
    let name = parent.name.child(&label).map_err(|error| ChildError::Wrong(format!("'{label}': {error}")))?;
    prepare(&mut spec, parent)?;
    // Whether it is held tight enough is compared with its parent below.
    let document = json!({ "sandbox": "none", "services": { &label: spec } }).to_string();
    let mut manifest = read_with(&document, surroundings, None).map_err(|problems| said(&problems))?;
    let Some((_, mut child)) = manifest.services.pop_first() else { return Err(wrong("it is no service")) };
    child.name = name;
    (child.isolation, child.image) = (parent.isolation, parent.image.clone());
    let most = grants.of_a_child();
    fill(&mut child.permissions, &most);
    if child.sandbox < parent.sandbox {
        return Err(wrong("a child cannot be held less tight than its parent"));
    }
    let excess = excess(&child.permissions, &most);
    if excess.is_empty() { Ok(child) } else { Err(ChildError::Excess(excess)) }
}

/// What is shorter to write for a child, in the words of a manifest.
fn prepare(spec: &mut Map<String, Value>, parent: &Service) -> Result<(), ChildError> {
    for (key, hint) in NOT_FOR_CHILDREN {
        if spec.contains_key(key) {
            return Err(ChildError::Wrong(format!("'{key}' is not for children: {hint}")));
        }
    }
    if let Some(Value::String(code)) = spec.get_mut("code") {
        // Text of several lines is code, not the path of some.
        code.push('\n');
        spec.entry("runtime").or_insert_with(|| parent.runtime.clone().into());
    }
    if let Some(limits) = spec.remove("limits") {
        let permissions = spec.entry("permissions").or_insert_with(|| json!({}));
        if let Value::Object(permissions) = permissions {
            permissions.entry("limits").or_insert(limits);
        }
    }
    let sandbox = serde_json::to_value(parent.sandbox).unwrap_or_default();
    spec.entry("sandbox").or_insert(sandbox);
    Ok(())
}

/// A limit that is not asked for is the most that there is.
fn fill(permissions: &mut Permissions, most: &Permissions) {
    permissions.limits = super::grants::tighter(&permissions.limits, &most.limits);
    permissions.fs.user = most.fs.user;
    let scratch = &mut permissions.fs.scratch;
    if *scratch == crate::permissions::Scratch::default() {
        scratch.size = scratch.size.min(most.fs.scratch.size);
        scratch.inodes = scratch.inodes.min(most.fs.scratch.inodes);
    }
    // The same for what its own children could be given.
    if let Some(below) = &mut permissions.children {
        below.ceiling.fs.user = most.fs.user;
        below.ceiling.limits = super::grants::tighter(&below.ceiling.limits, &permissions.limits);
    }
}

fn said(problems: &Problems) -> ChildError {
    // Where it stands in a text that nobody has written says nothing.
    let lines = problems.iter().map(|problem| match &problem.hint {
        Some(hint) => format!("{}: {hint}", problem.kind),
        None => problem.kind.to_string(),
    });
    ChildError::Wrong(lines.collect::<Vec<_>>().join("; "))
}

fn list(excess: &[Excess]) -> String {
    excess.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
