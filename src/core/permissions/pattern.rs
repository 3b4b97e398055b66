//! [`Pattern`]: names of methods or of events, all that are meant at once.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One name (`verify`, `user.created`), all below one (`user.*`), or all (`*`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// There is nothing in it, or between two dots of it.
    #[error("'{0}' has an empty part")]
    EmptyPart(String),
    /// A `*` that is not the last part.
    #[error("'*' can only be the last part, not as in '{0}'")]
    Star(String),
    /// A character that no name has.
    #[error("{0:?} cannot be in a name")]
    Character(char),
    /// Longer than [`Pattern::LONGEST`].
    #[error("a name has at most 256 bytes, this one has {0}")]
    TooLong(usize),
}

impl Pattern {
    /// The longest name of a method or an event, in bytes.
    pub const LONGEST: usize = 256;

    /// Whether this name is meant.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            // What is left ends with the dot, so `user.*` means neither `user` nor `username`.
            Some(above) => name.len() > above.len() && name.starts_with(above),
            None => self.0 == name,
        }
    }

    /// Whether every name that this one means is meant by the other.
    #[must_use]
    pub fn within(&self, other: &Self) -> bool {
        match self.0.strip_suffix('*') {
            Some(above) => other.0.strip_suffix('*').is_some_and(|others| above.starts_with(others)),
            None => other.covers(&self.0),
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.len() > Self::LONGEST {
            return Err(PatternError::TooLong(text.len()));
        }
        let wrong = |c: &char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '\\');
        if let Some(wrong) = text.chars().find(wrong) {
            return Err(PatternError::Character(wrong));
        }
        let last = text.split('.').count() - 1;
        for (index, part) in text.split('.').enumerate() {
            if part.is_empty() {
                return Err(PatternError::EmptyPart(text.to_owned()));
            }
            if part.contains('*') && (part != "*" || index != last) {
                return Err(PatternError::Star(text.to_owned()));
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_star_means_all_below() {
        for (written, name, expected) in [
            ("*", "verify", true),
            ("*", "user.created", true),
            ("verify", "verify", true),
            ("verify", "verify.more", false),
            ("user.*", "user.created", true),
            ("user.*", "user.mail.changed", true),
            ("user.*", "user", false),
            ("user.*", "user.", false),
            ("user.*", "username", false),
        ] {
            assert_eq!(pattern(written).covers(name), expected, "{written} {name}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for (text, expected) in [
            ("", "'' has an empty part"),
            ("a..b", "'a..b' has an empty part"),
            ("*.a", "'*' can only be the last part, not as in '*.a'"),
            ("us*", "'*' can only be the last part, not as in 'us*'"),
            ("a b", "' ' cannot be in a name"),
            (&"a".repeat(257), "a name has at most 256 bytes, this one has 257"),
        ] {
            assert_eq!(text.parse::<Pattern>().unwrap_err().to_string(), expected);
        }
    }

    fn any_pattern() -> impl Strategy<Value = Pattern> {
        (proptest::collection::vec(prop_oneof!["a", "b", "ab"], 1..4), any::<bool>()).prop_map(
            |(mut parts, star)| {
                if star {
                    *parts.last_mut().unwrap() = "*".into();
                }
                pattern(&parts.join("."))
            },
        )
    }

    proptest! {
        #[test]
        fn who_is_within_means_nothing_more(one in any_pattern(), other in any_pattern(), name in "(a|b|ab)(\\.(a|b|ab)){0,3}") {
            if one.within(&other) {
                prop_assert!(!one.covers(&name) || other.covers(&name));
            }
        }

        #[test]
        fn everybody_is_within_themselves(one in any_pattern()) {
            prop_assert!(one.within(&one));
        }
    }
}
