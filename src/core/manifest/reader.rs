//! [`Reader`]: goes through a document's nodes, and records what is wrong instead of stopping at it. [`Fields`] is a
//! mapping whose keys are known, [`Field`] is the value of one key.

use std::collections::BTreeMap;

use schemars::{Schema, SchemaGenerator};

use super::interpolate;
use super::node::{Content, Mapping, Node};
use super::problem::{Found, Hint, Owner, Place, Placed, Problem, ProblemKind, ValueError};
use super::suggest;

/// A key that can be written: one table of them serves the reader, the list in an error and the JSON Schema.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// What it is for, in one sentence.
    pub(crate) about: &'static str,
    /// What its value can be.
    pub(crate) schema: fn(&mut SchemaGenerator) -> Schema,
}

/// What reading needs, and the problems found so far.
pub(crate) struct Reader<'a> {
    /// What `${VAR}` stands for. `None`: a dollar sign means nothing in this file.
    variables: Option<&'a BTreeMap<String, String>>,
    check_regex: &'a dyn Fn(&str) -> Result<(), String>,
    problems: Vec<Problem>,
}

/// A mapping whose keys have been looked at: those that are unknown have been reported.
pub(crate) struct Fields<'n> {
    pub(crate) owner: Owner,
    mapping: &'n Mapping,
    /// The known keys that the unknown ones were probably meant to be.
    meant: Vec<&'static str>,
}

/// The value of one key, or one item of the list that it is.
pub(crate) struct Field<'n> {
    /// What messages call it.
    pub(crate) owner: Owner,
    pub(crate) node: &'n Node,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        variables: Option<&'a BTreeMap<String, String>>,
        check_regex: &'a dyn Fn(&str) -> Result<(), String>,
    ) -> Self {
        Self { variables, check_regex, problems: Vec::new() }
    }

    /// Records a problem.
    pub(crate) fn report(&mut self, place: &Place, kind: ProblemKind, hint: Option<Hint>) {
        self.problems.push(Problem::new(place, kind, hint));
    }

    /// Records problems that were found elsewhere.
    pub(crate) fn report_all(&mut self, problems: Vec<Problem>) {
        self.problems.extend(problems);
    }

    /// Everything that was recorded.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Why a text is no regular expression.
    pub(crate) fn check_regex(&self, regex: &str) -> Result<(), String> {
        (self.check_regex)(regex)
    }

    /// The text with its variables replaced.
    fn expand(&mut self, text: &str, place: &Place) -> Option<String> {
        let Some(variables) = self.variables else { return Some(text.to_owned()) };
        match interpolate::expand(text, variables) {
            Ok(expanded) => Some(expanded),
            Err(kinds) => {
                for kind in kinds {
                    let hint = match &kind {
                        ProblemKind::UnsetVariable { name } => {
                            format!("set it in the environment or in .env, or write '${{{name}:-default}}'")
                        }
                        _ => {
                            "write '${NAME}' or '${NAME:-default}'; '$$' stands for a dollar sign".to_owned()
                        }
                    };
                    self.report(place, kind, Some(Hint::Do(hint)));
                }
                None
            }
        }
    }
}

impl<'n> Fields<'n> {
    /// The keys of `node`, which has to be a mapping. Keys beginning with `x-` are ignored in a manifest's top.
    pub(crate) fn open(node: &'n Node, owner: Owner, keys: &[Key], reader: &mut Reader<'_>) -> Option<Self> {
        let Content::Mapping(mapping) = &node.content else {
            Field { owner, node }.wrong_type("a mapping, as in 'key: value'", None, reader);
            return None;
        };
        let mut meant = Vec::new();
        for entry in &mapping.entries {
            let written = entry.key.value.as_str();
            let extension = owner == Owner::Manifest && written.starts_with("x-");
            if extension || keys.iter().any(|key| key.name == written) {
                continue;
            }
            let names = keys.iter().map(|key| key.name);
            meant.extend(suggest::nearest(written, names.clone()));
            let hint = suggest::nearest_or_all(written, "the keys here", names);
            let kind = ProblemKind::UnknownKey { key: written.to_owned(), owner: owner.clone() };
            reader.report(&entry.key.place, kind, hint);
        }
        Some(Self { owner, mapping, meant })
    }

    /// The value of a key, if it is written.
    pub(crate) fn get(&self, key: &Key) -> Option<Field<'n>> {
        let entry = self.mapping.get(key.name)?;
        Some(Field { owner: self.owner.key(key.name), node: &entry.value })
    }

    /// Whether a key is written, or misspelt: then its absence is no news.
    pub(crate) fn mentions(&self, key: &Key) -> bool {
        self.mapping.get(key.name).is_some() || self.meant.contains(&key.name)
    }
}

impl<'n> Field<'n> {
    pub(crate) fn place(&self) -> &'n Place {
        &self.node.place
    }

    /// A value, at this field's place.
    pub(crate) fn placed<T>(&self, value: T) -> Placed<T> {
        Placed::new(value, self.place())
    }

    /// Records that the value is of another type.
    pub(crate) fn wrong_type(&self, expected: &str, hint: Option<&str>, reader: &mut Reader<'_>) {
        let (owner, expected, found) = (self.owner.clone(), expected.to_owned(), self.node.found());
        let hint = match hint {
            Some(hint) => hint.to_owned(),
            None if found == Found::Nothing => "give it a value, or remove it".to_owned(),
            None => format!("write {expected}"),
        };
        let kind = ProblemKind::WrongType { owner, expected, found };
        reader.report(self.place(), kind, Some(Hint::Do(hint)));
    }

    /// Records what is wrong with the value.
    pub(crate) fn bad_value(&self, why: ValueError, hint: Option<Hint>, reader: &mut Reader<'_>) {
        let kind = ProblemKind::BadValue { owner: self.owner.clone(), why };
        reader.report(self.place(), kind, hint);
    }

    /// Text, with its variables replaced, and never with a NUL.
    pub(crate) fn text(&self, expected: &str, reader: &mut Reader<'_>) -> Option<Placed<String>> {
        match &self.node.content {
            Content::Text(text) => self.expanded(text, reader),
            _ => self.refuse(expected, None, reader),
        }
    }

    /// Text, or anything else that can be taken exactly as it is written: a number, `true`.
    pub(crate) fn verbatim(&self, expected: &str, reader: &mut Reader<'_>) -> Option<Placed<String>> {
        match &self.node.content {
            Content::Text(text) | Content::Number(text) | Content::Flag(_, text) => {
                self.expanded(text, reader)
            }
            Content::Nothing => {
                self.refuse(expected, Some("write \"\" for an empty text, or remove it"), reader)
            }
            Content::List(_) | Content::Mapping(_) => self.refuse(expected, None, reader),
        }
    }

    fn expanded(&self, text: &str, reader: &mut Reader<'_>) -> Option<Placed<String>> {
        let text = reader.expand(text, self.place())?;
        if text.contains('\0') {
            self.bad_value(ValueError::Nul, Hint::advise("take it out"), reader);
            return None;
        }
        Some(self.placed(text))
    }

    /// Records that the value is of another type; it has no value then.
    fn refuse<T>(&self, expected: &str, hint: Option<&str>, reader: &mut Reader<'_>) -> Option<T> {
        self.wrong_type(expected, hint, reader);
        None
    }

    /// A whole number from `least` to `most`, or a variable that stands for one.
    pub(crate) fn whole(&self, least: u32, most: u32, reader: &mut Reader<'_>) -> Option<Placed<u32>> {
        let expected = format!("a whole number from {least} to {most}");
        let written = match &self.node.content {
            Content::Number(number) => number.clone(),
            Content::Text(text) if text.contains("${") => reader.expand(text, self.place())?,
            Content::Text(text) if text.parse::<u32>().is_ok() => {
                return self.refuse(&expected, Some("write it without quotes"), reader);
            }
            _ => return self.refuse(&expected, None, reader),
        };
        match written.parse() {
            Ok(number) if (least..=most).contains(&number) => Some(self.placed(number)),
            _ => {
                let why = ValueError::Range { written, least, most };
                self.bad_value(why, Hint::advise(format!("write {expected}")), reader);
                None
            }
        }
    }

    /// `true` or `false`, or a variable that stands for it.
    pub(crate) fn flag(&self, reader: &mut Reader<'_>) -> Option<Placed<bool>> {
        let expected = "true or false";
        match &self.node.content {
            Content::Flag(flag, _) => Some(self.placed(*flag)),
            Content::Text(text) if text.contains("${") => {
                let word = reader.expand(text, self.place())?;
                if let Ok(flag) = word.parse() {
                    return Some(self.placed(flag));
                }
                self.refuse(expected, None, reader)
            }
            _ => self.refuse(expected, None, reader),
        }
    }

    /// One of some words.
    pub(crate) fn word<T: Copy>(
        &self,
        words: &[(&'static str, T)],
        reader: &mut Reader<'_>,
    ) -> Option<Placed<T>> {
        let names = || words.iter().map(|(name, _)| *name);
        let expected = names().collect::<Vec<_>>().join(" or ");
        let text = self.text(&expected, reader)?;
        if let Some((_, value)) = words.iter().find(|(name, _)| *name == text.value) {
            return Some(self.placed(*value));
        }
        let hint = match suggest::nearest(&text.value, names()) {
            Some(name) => Hint::DidYouMean(name.to_owned()),
            None => Hint::Do(format!("write {expected}")),
        };
        let kind = ProblemKind::UnknownWord { owner: self.owner.clone(), word: text.value };
        reader.report(self.place(), kind, Some(hint));
        None
    }

    /// The items of a list.
    pub(crate) fn items(&self, expected: &str, reader: &mut Reader<'_>) -> Option<Vec<Field<'n>>> {
        let Content::List(items) = &self.node.content else {
            let bracketed = !matches!(self.node.content, Content::Nothing);
            let hint = bracketed.then_some("write it in brackets, as in [one, two]");
            return self.refuse(expected, hint, reader);
        };
        let owner = Owner::Item(Box::new(self.owner.clone()));
        Some(items.iter().map(|node| Field { owner: owner.clone(), node }).collect())
    }

    /// A list of texts, each taken as it is written.
    pub(crate) fn texts(&self, reader: &mut Reader<'_>) -> Option<Placed<Vec<String>>> {
        let items = self.items("a list of texts", reader)?;
        let read: Vec<_> = items.iter().map(|item| item.verbatim("text", reader)).collect();
        let texts: Option<Vec<_>> = read.into_iter().map(|text| text.map(|text| text.value)).collect();
        texts.map(|texts| self.placed(texts))
    }

    /// A mapping with these keys.
    pub(crate) fn fields(&self, keys: &[Key], reader: &mut Reader<'_>) -> Option<Fields<'n>> {
        Fields::open(self.node, self.owner.clone(), keys, reader)
    }

    /// A mapping with keys of the writer's choice.
    pub(crate) fn mapping(&self, expected: &str, reader: &mut Reader<'_>) -> Option<&'n Mapping> {
        match &self.node.content {
            Content::Mapping(mapping) => Some(mapping),
            _ => self.refuse(expected, None, reader),
        }
    }

    /// The value of a key of such a mapping.
    pub(crate) fn of_entry(&self, key: &str, node: &'n Node) -> Self {
        Self { owner: self.owner.key(key), node }
    }
}
