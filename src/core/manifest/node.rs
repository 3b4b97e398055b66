//! [`Node`]: a YAML document as it was written: every value and key with its place, nothing yet understood.

use super::problem::{Found, Place, Placed};

/// One value of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// Where it is written. For an alias: where its anchor is.
    pub(crate) place: Place,
    pub(crate) content: Content,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Nothing,
    Text(String),
    /// A number as it is written: `1.10` is not `1.1`, and `012` is not 12.
    Number(String),
    /// `true` or `false`, as it is written.
    Flag(bool, String),
    List(Vec<Node>),
    Mapping(Mapping),
}

/// Keys and their values, in the order of the file, each key once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) entries: Vec<Entry>,
    /// Where a `<<` brought entries in.
    pub(crate) merge: Option<Place>,
}

/// One key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Placed<String>,
    pub(crate) value: Node,
}

impl Node {
    /// What it is, in the words of a message.
    pub(crate) fn found(&self) -> Found {
        match self.content {
            Content::Nothing => Found::Nothing,
            Content::Text(_) => Found::Text,
            Content::Number(_) => Found::Number,
            Content::Flag(..) => Found::Flag,
            Content::List(_) => Found::List,
            Content::Mapping(_) => Found::Mapping,
        }
    }
}

impl Mapping {
    /// The entry with this key.
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key.value == key)
    }
}
