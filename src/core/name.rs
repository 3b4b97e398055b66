//! The names of things: services, their replicas, and the starts of a replica. Names are types, so that a
//! replica can never be passed where a service is meant.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A service's name, unique within its project: a DNS label (`catalog`), or for a child its parent's name, a
/// slash and a DNS label (`web/worker`). Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(Arc<str>);

/// One of the replicas of a service, counted from 1. Shown as `catalog-2`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReplicaId {
    /// The service that it is a replica of.
    pub service: ServiceName,
    /// Its number within the service, from 1.
    pub index: u32,
}

/// The how-manieth start of a replica this is, from 1. What an older generation still says is ignored
/// (lifecycle rule 8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u32);

/// One start of one replica: what a ServiceContainer, its ServiceController and its RemoteService are made for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StartId {
    /// The replica that is started.
    pub replica: ReplicaId,
    /// The start's number.
    pub generation: Generation,
}

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is nothing in it.
    #[error("a name cannot be empty")]
    Empty,
    /// Longer than [`ServiceName::LONGEST`] between two slashes.
    #[error("a name has at most 63 characters, this one has {0}")]
    TooLong(usize),
    /// A character that a DNS label cannot have.
    #[error("{0:?} cannot be in a name: lower-case letters, digits and '-' can")]
    Character(char),
    /// A name starts with a letter.
    #[error("a name starts with a lower-case letter, not with {0:?}")]
    Start(char),
    /// A name ends with a letter or a digit.
    #[error("a name cannot end with '-'")]
    End,
}

impl ServiceName {
    /// The longest that each part of a name can be, in characters: a DNS label's length (RFC 1035, 2.3.4).
    pub const LONGEST: usize = 63;

    /// Reads a name. A slash separates a parent's name from its child's.
    ///
    /// # Errors
    /// Where a part of the name is no DNS label.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        text.split('/').try_for_each(check_label)?;
        Ok(Self(text.into()))
    }

    /// This service's child of the given name.
    ///
    /// # Errors
    /// Where `label` is no DNS label.
    pub fn child(&self, label: &str) -> Result<Self, NameError> {
        check_label(label)?;
        Ok(Self(format!("{}/{label}", self.0).into()))
    }

    /// The parent's name, if this is a child's.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.into()))
    }

    /// The name as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Generation {
    /// The start after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

fn check_label(label: &str) -> Result<(), NameError> {
    let first = label.chars().next().ok_or(NameError::Empty)?;
    if let Some(wrong) = label.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        return Err(NameError::Character(wrong));
    }
    if !first.is_ascii_lowercase() {
        return Err(NameError::Start(first));
    }
    if label.ends_with('-') {
        return Err(NameError::End);
    }
    if label.len() > ServiceName::LONGEST {
        return Err(NameError::TooLong(label.len()));
    }
    Ok(())
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl std::str::FromStr for ServiceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for ServiceName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0.as_ref().into()
    }
}

impl schemars::JsonSchema for ServiceName {
    fn schema_name() -> Cow<'static, str> {
        "ServiceName".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A DNS label: lower-case letters, digits and '-'; a letter first.",
            "pattern": "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$",
        })
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-{}", self.service, self.index))
    }
}

impl fmt::Display for StartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.replica, self.generation.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_dns_label() {
        for good in ["a", "web", "web-2", "a1", "web/worker", "a/b/c"] {
            assert!(ServiceName::parse(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", NameError::Empty),
            ("a//b", NameError::Empty),
            ("Web", NameError::Character('W')),
            ("my_db", NameError::Character('_')),
            ("1st", NameError::Start('1')),
            ("-a", NameError::Start('-')),
            ("a-", NameError::End),
            (&"a".repeat(64), NameError::TooLong(64)),
        ] {
            assert_eq!(ServiceName::parse(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn a_child_knows_its_parent() {
        let web = ServiceName::parse("web").unwrap();
        let worker = web.child("worker").unwrap();
        assert_eq!(worker.as_str(), "web/worker");
        assert_eq!(worker.parent(), Some(web.clone()));
        assert_eq!(web.parent(), None);
        assert_eq!(web.child("a/b"), Err(NameError::Character('/')));
    }
}
