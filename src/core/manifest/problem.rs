//! What can be wrong with a manifest, as data: a [`Problem`] says what, where and how to put it right. Nothing here
//! draws lines or carets; that is the command line's.

use std::fmt;
use std::mem::discriminant;
use std::ops::Range;

pub use super::problem_kind::{ProblemKind, ValueError};

/// Everything that is wrong with one file, in the order of the file. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub kind: ProblemKind,
    /// Where.
    pub place: Place,
    /// What to do about it.
    pub hint: Option<Hint>,
}

/// A stretch of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The line that it begins on, from 1.
    pub line: u32,
    /// The character of that line, from 1.
    pub column: u32,
    /// The bytes that it covers, from the beginning of the file.
    pub span: Range<usize>,
}

/// A value with the place where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// What a key belongs to: how a message says which of many it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The manifest itself.
    Manifest,
    /// A `plugin.yaml` itself.
    Plugin,
    /// A service.
    Service(String),
    /// The value of a key that belongs to another owner.
    Key(Box<Owner>, String),
    /// One of the list that an owner is.
    Item(Box<Owner>),
}

/// What was found where something else was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A key without a value, or `null`.
    Nothing,
    /// Text.
    Text,
    /// A number.
    Number,
    /// `true` or `false`.
    Flag,
    /// A list.
    List,
    /// A mapping.
    Mapping,
}

/// How to put a [`Problem`] right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Something very like what was written exists.
    DidYouMean(String),
    /// These are the possible ones.
    OneOf {
        /// What they are: `the keys here`, `the services`.
        what: &'static str,
        /// The names of the first of them.
        names: Vec<String>,
        /// How many more there are.
        more: usize,
    },
    /// Any other advice, as an order to the reader.
    Do(String),
}

impl Problems {
    /// The problems in the order of the file, each once: a value behind an anchor is wrong for every service that uses
    /// it, but there is one place to put it right. `None` where there are none.
    #[must_use]
    pub fn gather(mut found: Vec<Problem>) -> Option<Self> {
        found.sort_by_key(|problem| (problem.place.line, problem.place.column));
        let mut once: Vec<Problem> = Vec::with_capacity(found.len());
        for problem in found {
            let mut here = once.iter().rev().take_while(|other| other.place == problem.place);
            if !here.any(|other| problem.is_same_mistake(other)) {
                once.push(problem);
            }
        }
        (!once.is_empty()).then_some(Self(once))
    }

    /// The problems, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// How many there are; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there are no empty problems")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.iter().enumerate() {
            let place = &problem.place;
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{}:{}: {}", place.line, place.column, problem.kind)?;
        }
        Ok(())
    }
}

impl Problem {
    /// A problem.
    #[must_use]
    pub fn new(place: &Place, kind: ProblemKind, hint: Option<Hint>) -> Self {
        Self { kind, place: place.clone(), hint }
    }

    /// Whether two problems of one place are put right by one change.
    fn is_same_mistake(&self, other: &Self) -> bool {
        discriminant(&self.kind) == discriminant(&other.kind) && self.hint == other.hint
    }
}

impl Place {
    /// The place of some bytes of `text`.
    #[must_use]
    pub fn of(text: &str, span: Range<usize>) -> Self {
        let before = &text[..text.floor_char_boundary(span.start)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        Self { line: saturated(line), column: saturated(column), span }
    }
}

fn saturated(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl<T> Placed<T> {
    pub(crate) fn new(value: T, place: &Place) -> Self {
        Self { value, place: place.clone() }
    }
}

impl Owner {
    /// The value of one of this owner's keys.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self::Key(Box::new(self.clone()), key.to_owned())
    }
}

impl Hint {
    /// Advice in words.
    #[must_use]
    pub fn advise(text: impl Into<String>) -> Option<Self> {
        Some(Self::Do(text.into()))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest => f.write_str("the manifest"),
            Self::Plugin => f.write_str("the plugin"),
            Self::Service(name) => write!(f, "service '{name}'"),
            Self::Key(owner, key) => match owner.as_ref() {
                Self::Manifest | Self::Plugin => write!(f, "'{key}'"),
                owner => write!(f, "'{key}' of {owner}"),
            },
            Self::Item(list) => write!(f, "an item of {list}"),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Text => "text",
            Self::Number => "a number",
            Self::Flag => "true or false",
            Self::List => "a list",
            Self::Mapping => "a mapping",
        })
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DidYouMean(name) => write!(f, "did you mean '{name}'?"),
            Self::OneOf { what, names, more: 0 } => write!(f, "{what}: {}", names.join(", ")),
            Self::OneOf { what, names, more } => write!(f, "{what}: {} and {more} more", names.join(", ")),
            Self::Do(advice) => f.write_str(advice),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_lines_and_characters_not_bytes() {
        let text = "a: 1\né: 2\n";
        assert_eq!(Place::of(text, 7..8), Place { line: 2, column: 2, span: 7..8 });
        assert_eq!(Place::of(text, 0..1), Place { line: 1, column: 1, span: 0..1 });
    }

    #[test]
    fn problems_come_in_the_order_of_the_file_and_once() {
        let at = |line| Problem::new(&Place { line, column: 1, span: 0..0 }, ProblemKind::Empty, None);
        let problems = Problems::gather(vec![at(3), at(1), at(3)]).unwrap();
        assert_eq!(problems.iter().map(|p| p.place.line).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(Problems::gather(Vec::new()), None);
    }

    #[test]
    fn an_owner_is_named_from_the_inside_out() {
        let ready = Owner::Service("web".into()).key("ready");
        assert_eq!(ready.key("tcp").to_string(), "'tcp' of 'ready' of service 'web'");
        assert_eq!(Owner::Manifest.key("name").to_string(), "'name'");
    }
}
