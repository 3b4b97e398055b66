//! What can be wrong with a manifest, as data: a [`Problem`] says what, where and how to put it right. Nothing here
//! draws lines or carets; that is the command line's.

use std::fmt;
use std::mem::discriminant;
use std::ops::Range;

use super::element::duration::DurationError;
use crate::name::{NameError, ServiceName};

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
    /// These are the possible ones; sorted as they should be shown.
    OneOf {
        /// What they are: `the keys here`, `the services`.
        what: &'static str,
        /// Their names.
        names: Vec<String>,
    },
    /// Any other advice, as an order to the reader.
    Do(String),
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    // The file as a whole.
    /// It has more bytes than anybody writes by hand.
    #[error("the file is larger than {} KiB", .limit / 1024)]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// It is not UTF-8.
    #[error("the file is not UTF-8 text")]
    NotUtf8,
    /// There is nothing in it.
    #[error("the file is empty")]
    Empty,
    /// It is not YAML.
    #[error("this is not YAML: {message}")]
    Syntax {
        /// The parser's own words.
        message: String,
    },
    /// A second document begins.
    #[error("a second YAML document begins here, where one is expected")]
    SeveralDocuments,
    /// More levels than anything has.
    #[error("lists and mappings are nested deeper than {limit} levels")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// More values, with every alias written out, than anything has.
    #[error("the file has more than {limit} values, counting what its aliases stand for")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// More text, with every alias written out, than anything has.
    #[error("the file has more than {} KiB of text, counting what its aliases stand for", .limit / 1024)]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },

    // Keys and values.
    /// A key that nothing reads.
    #[error("unknown key '{key}' in {owner}")]
    UnknownKey {
        /// The key.
        key: String,
        /// What it is written in.
        owner: Owner,
    },
    /// A key that is there twice.
    #[error("the key '{key}' is written twice, first on line {first}")]
    DuplicateKey {
        /// The key.
        key: String,
        /// The line of the one that counts.
        first: u32,
    },
    /// A key that is a list or a mapping.
    #[error("a key is to be text, not {0}")]
    KeyIsNoText(Found),
    /// A `<<` whose value cannot be merged.
    #[error("'<<' merges a mapping or a list of mappings, not {0}")]
    MergeOfOther(Found),
    /// A `<<` where what is granted has to be written out.
    #[error("'<<' cannot be used in {owner}")]
    MergeRefused {
        /// Where it is.
        owner: Owner,
    },
    /// A key that has to be there.
    #[error("{owner} has no '{key}'")]
    MissingKey {
        /// The key.
        key: &'static str,
        /// Where it is missing.
        owner: Owner,
    },
    /// Two keys that exclude each other.
    #[error("{owner} has both '{one}' and '{other}'")]
    Excluded {
        /// The one.
        one: String,
        /// The other.
        other: String,
        /// What has both.
        owner: Owner,
    },
    /// A value of another type.
    #[error("{owner} is to be {expected}, not {found}")]
    WrongType {
        /// Whose value it is.
        owner: Owner,
        /// What it should be.
        expected: String,
        /// What it is.
        found: Found,
    },
    /// A value of the right type that makes no sense.
    #[error("{owner}: {why}")]
    BadValue {
        /// Whose value it is.
        owner: Owner,
        /// What is wrong with it.
        why: ValueError,
    },
    /// None of the words that are possible.
    #[error("{owner} cannot be '{word}'")]
    UnknownWord {
        /// Whose value it is.
        owner: Owner,
        /// What was written.
        word: String,
    },
    /// A variable that is not set, and has no default.
    #[error("the variable '{name}' is not set")]
    UnsetVariable {
        /// Its name.
        name: String,
    },
    /// A `${` that does not begin a variable.
    #[error("'${{' does not begin a variable here: {why}")]
    BadVariable {
        /// What is wrong with it.
        why: &'static str,
    },
    /// A name that is no DNS label.
    #[error("'{name}' cannot be the name of {what}: {why}")]
    BadName {
        /// What was written.
        name: String,
        /// What it names.
        what: &'static str,
        /// What is wrong with it.
        why: NameError,
    },
    /// A line of a `.env` file that is no `KEY=VALUE`.
    #[error("this line is no 'KEY=VALUE': {why}")]
    EnvLine {
        /// What is wrong with it.
        why: &'static str,
    },

    // Services together.
    /// A manifest without services.
    #[error("the manifest has no services")]
    NoServices,
    /// A dependency that is not there.
    #[error("service '{service}' depends on '{dependency}', which is not in the manifest")]
    MissingDependency {
        /// The dependent.
        service: String,
        /// What it names.
        dependency: String,
    },
    /// A dependency on itself.
    #[error("service '{service}' depends on itself")]
    SelfDependency {
        /// The service.
        service: String,
    },
    /// The same dependency, twice.
    #[error("service '{service}' names its dependency '{dependency}' twice")]
    DuplicateDependency {
        /// The dependent.
        service: String,
        /// The dependency.
        dependency: String,
    },
    /// A circle of dependencies.
    #[error("services depend on each other in a circle: {}", Arrows(path))]
    Cycle {
        /// The whole way round; the first is the last.
        path: Vec<ServiceName>,
    },
    /// `completed`, of what never completes.
    #[error("service '{service}' waits until '{dependency}' has completed, but that is no job")]
    NeverCompletes {
        /// The dependent.
        service: String,
        /// The dependency.
        dependency: String,
    },
    /// `ready`, of what completes.
    #[error("service '{service}' waits until '{dependency}' is ready, but that is a job")]
    NeverReady {
        /// The dependent.
        service: String,
        /// The dependency.
        dependency: String,
    },
    /// Something that a job cannot have.
    #[error("the job '{service}' cannot have '{what}'")]
    NotForJobs {
        /// The job.
        service: String,
        /// What it has.
        what: &'static str,
    },

    // Code and what runs it.
    /// Neither code nor a plugin.
    #[error("service '{service}' has no code")]
    NoCode {
        /// The service.
        service: String,
    },
    /// Nothing is at the path.
    #[error("the code of service '{service}' is not there: '{path}'")]
    CodeMissing {
        /// The service.
        service: String,
        /// The path as it is written.
        path: String,
    },
    /// Something is at the path that cannot be looked at.
    #[error("the code of service '{service}' cannot be used: '{path}' {why}")]
    CodeRefused {
        /// The service.
        service: String,
        /// The path as it is written.
        path: String,
        /// Why, as the end of a sentence.
        why: String,
    },
    /// It cannot be told what runs the code.
    #[error("it cannot be told what runs the code of service '{service}': {why}")]
    NoRuntime {
        /// The service.
        service: String,
        /// Why.
        why: String,
    },
    /// The folder has no file that the runtime would run.
    #[error("the runtime '{runtime}' finds nothing to run in the folder '{path}' of service '{service}'")]
    NoEntry {
        /// The service.
        service: String,
        /// The runtime.
        runtime: String,
        /// The folder as it is written.
        path: String,
    },
    /// No plugin of that name.
    #[error("there is no {what} '{name}'")]
    UnknownPlugin {
        /// `runtime` or `plugin`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A plugin of the other kind.
    #[error("the plugin '{name}' is a {is}, not a {wanted}")]
    WrongPlugin {
        /// The plugin.
        name: String,
        /// What it is.
        is: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
}

/// What is wrong with a value of the right type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// A number outside its range.
    #[error("{written} is not between {least} and {most}")]
    Range {
        /// The number.
        written: String,
        /// The least possible.
        least: u32,
        /// The greatest possible.
        most: u32,
    },
    /// A version of the manifest's format that this program does not know.
    #[error("this program reads version 1 only, not {0}")]
    Version(String),
    /// No duration.
    #[error(transparent)]
    Duration(#[from] DurationError),
    /// A range of durations that ends before it begins.
    #[error("the range {0} ends before it begins")]
    Backwards(String),
    /// Nothing, where something has to be.
    #[error("it cannot be empty")]
    Empty,
    /// A character that no argument, variable or path of a process can hold.
    #[error("it cannot hold the character U+0000")]
    Nul,
    /// No name of an environment variable.
    #[error("'{0}' cannot be the name of an environment variable")]
    VariableName(String),
    /// The name of an environment variable that is set by the orchestrator.
    #[error("'{0}' is set by the orchestrator itself")]
    OwnVariable(String),
    /// No regular expression.
    #[error("it is no regular expression: {0}")]
    Regex(String),
    /// Nothing that an HTTP check could get.
    #[error("'{0}' is no port with a path")]
    HttpTarget(String),
    /// A check of something outside the service's own environment.
    #[error("a check is made inside the service's environment, not on '{0}'")]
    Elsewhere(String),
    /// None of the checks, or more than one.
    #[error("it has {found} of {checks}, where one is expected", found = if *.some { "more than one" } else { "none" })]
    Checks {
        /// Whether there are any.
        some: bool,
        /// The checks that are possible.
        checks: &'static str,
    },
    /// `false`, where only `true` says anything.
    #[error("it can only be 'true'")]
    OnlyTrue,
    /// A program that no service can be: see the hint.
    #[error("'{0}' cannot be a file of a plugin")]
    FileName(String),
    /// A file ending that is none.
    #[error("'{0}' cannot be the ending of a file's name")]
    Extension(String),
    /// A placeholder that stands for nothing.
    #[error("'{0}' stands for nothing")]
    Placeholder(String),
    /// A command that does not say where the code goes.
    #[error("the command has no '{{code}}'")]
    NoCodePlace,
    /// More than one line.
    #[error("it has more than one line")]
    Lines,
    /// A plugin's name that is not its folder's.
    #[error("the plugin calls itself '{name}', but its folder is '{folder}'")]
    FolderName {
        /// Its name.
        name: String,
        /// Its folder's.
        folder: String,
    },
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
            Self::OneOf { what, names } => write!(f, "{what}: {}", names.join(", ")),
            Self::Do(advice) => f.write_str(advice),
        }
    }
}

/// The way round a cycle.
struct Arrows<'a>(&'a [ServiceName]);

impl fmt::Display for Arrows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.0.iter().enumerate() {
            write!(f, "{}{name}", if i == 0 { "" } else { " -> " })?;
        }
        Ok(())
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
