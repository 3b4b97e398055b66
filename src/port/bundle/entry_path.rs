//! [`EntryPath`]: where a file of a bundle belongs. Whoever holds one can join it to a folder without leaving it.

use std::fmt;

/// A relative path with `/` between its parts. Each part is a plain file name on every system: not empty, not `.` or
/// `..`, at most [`EntryPath::LONGEST_PART`] bytes, without backslashes and control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryPath(String);

/// Why a text is no such path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Longer than [`EntryPath::LONGEST`].
    #[error("path longer than {} bytes", EntryPath::LONGEST)]
    Long,
    /// More parts than [`EntryPath::DEEPEST`].
    #[error("path deeper than {} folders", EntryPath::DEEPEST)]
    Deep,
    /// A part is longer than [`EntryPath::LONGEST_PART`].
    #[error("name longer than {} bytes in a path", EntryPath::LONGEST_PART)]
    LongPart,
    /// A part is empty: the path is empty or absolute, ends with a slash, or has two in a row.
    #[error("empty name in a path")]
    Empty,
    /// A part is `.` or `..`.
    #[error("'.' or '..' in a path")]
    Dots,
    /// A backslash or a control character.
    #[error("character {0:?} in a path")]
    Character(char),
}

impl EntryPath {
    /// The longest path, in bytes.
    pub const LONGEST: usize = 1024;
    /// The longest part, in bytes: the longest file name of the common file systems.
    pub const LONGEST_PART: usize = 255;
    /// The most parts.
    pub const DEEPEST: usize = 16;

    /// Reads a path.
    ///
    /// # Errors
    /// Where a rule is broken.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.len() > Self::LONGEST {
            return Err(PathError::Long);
        }
        if text.split('/').count() > Self::DEEPEST {
            return Err(PathError::Deep);
        }
        text.split('/').try_for_each(check_part)?;
        Ok(Self(text.into()))
    }

    /// The path as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_part(part: &str) -> Result<(), PathError> {
    if part.is_empty() {
        return Err(PathError::Empty);
    }
    if part == "." || part == ".." {
        return Err(PathError::Dots);
    }
    if part.len() > EntryPath::LONGEST_PART {
        return Err(PathError::LongPart);
    }
    part.chars().find(|&c| c == '\\' || c.is_control()).map_or(Ok(()), |c| Err(PathError::Character(c)))
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_stays_below_its_folder() {
        for good in ["a", "a/b.js", ".hidden", "..a", "a b/ü.js", &["d"; 16].join("/")] {
            assert_eq!(EntryPath::parse(good).unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("", PathError::Empty),
            ("/etc/passwd", PathError::Empty),
            ("a//b", PathError::Empty),
            ("a/", PathError::Empty),
            ("..", PathError::Dots),
            ("a/../../b", PathError::Dots),
            ("./a", PathError::Dots),
            ("a\\b", PathError::Character('\\')),
            ("a\0b", PathError::Character('\0')),
            ("a\nb", PathError::Character('\n')),
            ("a\u{85}b", PathError::Character('\u{85}')),
            (&"x".repeat(256), PathError::LongPart),
            (&["d"; 17].join("/"), PathError::Deep),
            (&vec!["x".repeat(250); 5].join("/"), PathError::Long),
        ] {
            assert_eq!(EntryPath::parse(bad), Err(why), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_made_of_plain_names(text in r"[a./\\\x00é]{0,12}") {
            if let Ok(path) = EntryPath::parse(&text) {
                let plain = |c: Component<'_>| matches!(c, Component::Normal(_));
                prop_assert!(Path::new(path.as_str()).components().all(plain));
            }
        }
    }
}
