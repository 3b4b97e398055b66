//! Text to [`Node`]: the only file, with `written.rs`, that knows the YAML parser. What a parser may not decide alone
//! (keys written twice, what `<<` merges) is decided here, so that it can be reported together with everything else.

use std::collections::BTreeMap;

use serde_yaml::budget::BudgetBreach;
use serde_yaml::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};
use serde_yaml::{Error, Location, Spanned};

use super::node::{Content, Entry, Mapping, Node};
use super::problem::{Hint, Place, Placed, Problem, ProblemKind, Problems};
use super::written::Written;

/// The most bytes that a file may have.
pub const LARGEST_FILE: usize = 1024 * 1024;
/// The most levels of lists and mappings.
const DEEPEST: usize = 64;
/// The most values, with every alias written out. A thousand services with all their keys have a third of it.
const MOST_VALUES: usize = 100_000;
/// The most text, with every alias written out, in bytes.
const MOST_TEXT: usize = 4 * LARGEST_FILE;

/// A document, with the problems that it may have all the same.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) root: Node,
    pub(crate) problems: Vec<Problem>,
}

/// Reads a document.
///
/// # Errors
/// Where it is no YAML, or more of it than is allowed: then nothing else can be said of it.
pub(crate) fn read(text: &str) -> Result<Document, Problems> {
    if text.len() > LARGEST_FILE {
        return Err(too_large(text).into());
    }
    let options = serde_yaml::options! {
        strict_booleans: true,
        with_snippet: false,
        reject_unsupported_tags: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        // Both are ours to judge: the parser would stop at the first key that is written twice.
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        budget: serde_yaml::budget! {
            max_depth: DEEPEST,
            max_nodes: MOST_VALUES,
            // One anchor that a thousand services use is no attack; one long text that they all repeat would be.
            enforce_alias_anchor_ratio: false,
            max_total_scalar_bytes: MOST_TEXT,
        },
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: 2 * MOST_VALUES },
    };
    let written: Spanned<Written> =
        serde_yaml::from_str_with_options(text, options).map_err(|error| refused(text, &error))?;
    let mut reading = Reading { text, problems: Vec::new() };
    let root = reading.node(written);
    Ok(Document { root, problems: reading.problems })
}

/// The bytes of a file as text.
///
/// # Errors
/// Where they are more than [`LARGEST_FILE`], or no UTF-8.
pub fn decode(bytes: &[u8]) -> Result<&str, Problems> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() > LARGEST_FILE => Err(too_large(text).into()),
        Ok(text) => Ok(text),
        Err(_) if bytes.len() > LARGEST_FILE => Err(too_large(&String::from_utf8_lossy(bytes)).into()),
        Err(error) => {
            let good = error.valid_up_to();
            let before = String::from_utf8_lossy(&bytes[..good]);
            let place = Place { span: good..good + 1, ..Place::of(&before, good..good) };
            let hint = Hint::advise("save the file as UTF-8");
            Err(Problem::new(&place, ProblemKind::NotUtf8, hint).into())
        }
    }
}

fn too_large(text: &str) -> Problem {
    let end = text.floor_char_boundary(LARGEST_FILE);
    let kind = ProblemKind::TooLarge { limit: LARGEST_FILE };
    Problem::new(&Place::of(text, end..end), kind, Hint::advise("is this the right file?"))
}

/// Makes [`Node`]s of what was written.
struct Reading<'a> {
    text: &'a str,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn node(&mut self, written: Spanned<Written>) -> Node {
        let place = place(self.text, &written.defined);
        let source = || self.text.get(place.span.clone()).unwrap_or_default().to_owned();
        let content = match written.value {
            Written::Nothing => Content::Nothing,
            Written::Text(text) => Content::Text(text),
            Written::Number => Content::Number(source()),
            Written::Flag(flag) => Content::Flag(flag, source()),
            Written::List(items) => Content::List(items.into_iter().map(|item| self.node(item)).collect()),
            Written::Mapping(entries) => Content::Mapping(self.mapping(entries)),
        };
        Node { place, content }
    }

    fn mapping(&mut self, written: Vec<(Spanned<Written>, Spanned<Written>)>) -> Mapping {
        let mut mapping = Mapping::default();
        let mut lines: BTreeMap<String, u32> = BTreeMap::new();
        let mut merged = Vec::new();
        for (key, value) in written {
            let Some(key) = self.key(key) else { continue };
            let mut value = self.node(value);
            if value.content == Content::Nothing && value.place.span.is_empty() {
                // What is not there has no place: its key has.
                value.place = key.place.clone();
            }
            let line = key.place.line;
            if let Some(first) = lines.get(&key.value) {
                let kind = ProblemKind::DuplicateKey { key: key.value, first: *first };
                let hint = Hint::advise("keep one of the two");
                self.problems.push(Problem::new(&key.place, kind, hint));
                continue;
            }
            lines.insert(key.value.clone(), line);
            if key.value == "<<" {
                mapping.merge = Some(key.place);
                merged = self.merged(value);
            } else {
                mapping.entries.push(Entry { key, value });
            }
        }
        // What is written here wins over what is merged, and what is merged first over what is merged later.
        for entry in merged {
            if lines.insert(entry.key.value.clone(), entry.key.place.line).is_none() {
                mapping.entries.push(entry);
            }
        }
        mapping
    }

    fn key(&mut self, written: Spanned<Written>) -> Option<Placed<String>> {
        let node = self.node(written);
        let found = node.found();
        let advice = match node.content {
            Content::Text(value) | Content::Number(value) => {
                return Some(Placed { value, place: node.place });
            }
            // Not what is written is what other readers of YAML take it for.
            Content::Nothing | Content::Flag(..) => "put the key in quotes, if this is its name",
            Content::List(_) | Content::Mapping(_) => "put the key in quotes, if these brackets belong to it",
        };
        let kind = ProblemKind::KeyIsNoText(found);
        self.problems.push(Problem::new(&node.place, kind, Hint::advise(advice)));
        None
    }

    /// The entries that a `<<` brings in.
    fn merged(&mut self, value: Node) -> Vec<Entry> {
        match value.content {
            Content::Mapping(mapping) => mapping.entries,
            Content::List(items) => items.into_iter().flat_map(|item| self.merged_item(item)).collect(),
            _ => self.no_merge(&value),
        }
    }

    fn merged_item(&mut self, item: Node) -> Vec<Entry> {
        match item.content {
            Content::Mapping(mapping) => mapping.entries,
            _ => self.no_merge(&item),
        }
    }

    fn no_merge(&mut self, value: &Node) -> Vec<Entry> {
        let hint = Hint::advise("name an anchor on a mapping, as in '<<: *defaults'");
        self.problems.push(Problem::new(&value.place, ProblemKind::MergeOfOther(value.found()), hint));
        Vec::new()
    }
}

fn place(text: &str, location: &Location) -> Place {
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    let (line, column) = (number(location.line()).max(1), number(location.column()).max(1));
    let bytes = location.span().byte_offset().zip(location.span().byte_len());
    let span = match bytes
        .and_then(|(start, len)| Some((usize::try_from(start).ok()?, usize::try_from(len).ok()?)))
    {
        Some((start, len)) => start..start.saturating_add(len),
        None => {
            let start = offset(text, line, column);
            start..start
        }
    };
    Place { line, column, span }
}

/// The byte at which a line and column are.
fn offset(text: &str, line: u32, column: u32) -> usize {
    let skipped = usize::try_from(line - 1).unwrap_or(usize::MAX);
    let line_start: usize = text.split_inclusive('\n').take(skipped).map(str::len).sum();
    let before = usize::try_from(column - 1).unwrap_or(usize::MAX);
    line_start + text[line_start..].chars().take(before).map(char::len_utf8).sum::<usize>()
}

/// The parser's error, as a problem.
fn refused(text: &str, error: &Error) -> Problem {
    let place = error.location().map_or_else(|| Place::of(text, 0..0), |location| place(text, &location));
    let deep = || (ProblemKind::TooDeep { limit: DEEPEST }, "write it flatter");
    let long = || (ProblemKind::TooLong { limit: MOST_TEXT }, "put the text into a file, and name the file");
    let many = || (ProblemKind::TooMany { limit: MOST_VALUES }, "use fewer aliases of aliases");
    let (kind, hint) = match innermost(error) {
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => deep(),
        Error::Budget { breach: BudgetBreach::ScalarBytes { .. }, .. } => long(),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. } => many(),
        Error::MultipleDocuments { .. } => {
            (ProblemKind::SeveralDocuments, "put the second document into a file of its own")
        }
        // The scanner's own limit comes as text.
        other if message(other).contains("recursion limit") => deep(),
        other => {
            (ProblemKind::Syntax { message: message(other) }, "correct the YAML; nothing after this was read")
        }
    };
    Problem::new(&place, kind, Hint::advise(hint))
}

fn innermost(error: &Error) -> &Error {
    match error {
        Error::WithSnippet { error, .. } | Error::AliasError { error, .. } => innermost(error),
        other => other,
    }
}

/// The parser's words, without the place, which is said in its own way.
fn message(error: &Error) -> String {
    match error {
        Error::Message { msg, .. } => msg.clone(),
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "an alias cannot stand inside its own anchor".to_owned()
        }
        other => {
            let text = other.to_string();
            text.split(" at line ").next().unwrap_or(&text).to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document without its places, on one line.
    fn shown(text: &str) -> String {
        fn show(node: &Node) -> String {
            match &node.content {
                Content::Nothing => "-".to_owned(),
                Content::Text(text) => format!("{text:?}"),
                Content::Number(text) | Content::Flag(_, text) => text.clone(),
                Content::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" ")),
                Content::Mapping(mapping) => {
                    let entries =
                        mapping.entries.iter().map(|e| format!("{}={}", e.key.value, show(&e.value)));
                    format!("{{{}}}", entries.collect::<Vec<_>>().join(" "))
                }
            }
        }
        show(&read(text).unwrap().root)
    }

    fn problem(text: &str) -> String {
        let problems = match read(text) {
            Ok(document) => Problems::gather(document.problems).unwrap(),
            Err(problems) => problems,
        };
        let problem = problems.iter().next().unwrap();
        format!("{}:{} {}", problem.place.line, problem.place.column, problem.kind)
    }

    #[test]
    fn scalars_stay_as_they_are_written() {
        assert_eq!(
            shown("[1.10, 012, 0x10, '8', yes, True, ~, .inf]"),
            "[1.10 012 0x10 \"8\" \"yes\" True - .inf]"
        );
    }

    #[test]
    fn what_is_written_wins_over_what_is_merged() {
        let text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], z: 3}";
        assert!(shown(text).ends_with("c={z=3 x=1 y=1}}"), "{}", shown(text));
    }

    #[test]
    fn a_key_written_twice_is_a_problem_and_the_first_counts() {
        assert_eq!(shown("{a: 1, a: 2}"), "{a=1}");
        assert_eq!(problem("a: 1\nb: 2\na: 3\n"), "3:1 the key 'a' is written twice, first on line 1");
    }

    #[test]
    fn what_is_no_yaml_is_refused_at_its_place() {
        for (text, expected) in [
            ("a: [1, 2", "1:4 this is not YAML: unclosed bracket '['"),
            ("a: *x", "1:4 this is not YAML: alias references unknown anchor"),
            ("a: !foo b", "1:9 this is not YAML: unsupported tag `!foo`"),
            ("a: &a [*a]", "1:8 this is not YAML: an alias cannot stand inside its own anchor"),
            ("a: 1\n---\nb: 2\n", "3:1 a second YAML document begins here, where one is expected"),
            ("? [x]\n: d\n", "1:3 a key is to be text, not a list"),
            ("~: d\n", "1:1 a key is to be text, not nothing"),
            ("true: d\n", "1:1 a key is to be text, not true or false"),
            ("<<: 3", "1:5 '<<' merges a mapping or a list of mappings, not a number"),
        ] {
            assert_eq!(problem(text), expected, "{text}");
        }
    }

    #[test]
    fn depth_and_aliases_are_limited() {
        let deep = "lists and mappings are nested deeper than 64 levels";
        for text in ["[", "- ", "{a: ", "? "] {
            let problem = problem(&text.repeat(100_000));
            assert!(problem.ends_with(deep), "{text}: {problem}");
        }
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..9 {
            let aliases = vec![format!("*a{}", i - 1); 9].join(",");
            bomb.push_str(&format!("a{i}: &a{i} [{aliases}]\n"));
        }
        assert!(problem(&bomb).contains("more than 100000 values"), "{}", problem(&bomb));
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(LARGEST_FILE / 2), vec!["*a"; 100].join(","));
        assert!(problem(&long).contains("more than 4096 KiB of text"), "{}", problem(&long));
    }

    #[test]
    fn a_thousand_services_may_share_one_anchor() {
        let mut text = "x-d: &d {kind: job}\n".to_owned();
        text.extend((0..1000).map(|i| format!("s{i}: {{<<: *d, code: x}}\n")));
        assert!(read(&text).unwrap().problems.is_empty());
    }

    #[test]
    fn bytes_are_limited_and_must_be_text() {
        let large = vec![b'a'; 2 * LARGEST_FILE];
        let first = |bytes| decode(bytes).unwrap_err().iter().next().unwrap().clone();
        assert_eq!(first(&large).kind, ProblemKind::TooLarge { limit: LARGEST_FILE });
        let latin = first(b"a: 1\nb: \xe9\n");
        assert_eq!((latin.place.line, latin.place.column, latin.kind), (2, 4, ProblemKind::NotUtf8));
    }
}
