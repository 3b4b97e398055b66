//! The rules over all entries of a bundle, checked entry by entry by who makes it and by who receives it.

use std::collections::{HashMap, HashSet};

use super::EntryPath;

/// The most entries of a bundle.
pub const MOST_ENTRIES: usize = 20_000;

/// The most bytes of a bundle, over all its files.
pub const MOST_BYTES: u64 = 256 * 1024 * 1024;

/// Which rule the entries break.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// A path is there twice.
    #[error("'{0}' is there twice")]
    Twice(EntryPath),
    /// Two paths differ in case only: some file systems take them for one.
    #[error("'{0}' and '{1}' differ in case only")]
    Case(EntryPath, EntryPath),
    /// A file's path is also a folder's.
    #[error("'{0}' is both a file and a folder")]
    Clash(String),
    /// More than [`MOST_ENTRIES`].
    #[error("more than {MOST_ENTRIES} files")]
    Entries,
    /// More than [`MOST_BYTES`].
    #[error("more than {} MiB", MOST_BYTES / (1024 * 1024))]
    Bytes,
}

/// What is there so far. Paths are compared as a file system without case would.
#[derive(Debug, Default)]
pub(super) struct Layout {
    files: HashMap<String, EntryPath>,
    folders: HashSet<String>,
    bytes: u64,
}

impl Layout {
    pub(super) fn add_file(&mut self, path: &EntryPath) -> Result<(), BundleError> {
        if self.files.len() >= MOST_ENTRIES {
            return Err(BundleError::Entries);
        }
        let key = path.as_str().to_lowercase();
        match self.files.get(&key) {
            Some(other) if other == path => return Err(BundleError::Twice(path.clone())),
            Some(other) => return Err(BundleError::Case(other.clone(), path.clone())),
            None => {}
        }
        if self.folders.contains(&key) {
            return Err(BundleError::Clash(path.to_string()));
        }
        for (end, _) in key.match_indices('/') {
            if let Some(file) = self.files.get(&key[..end]) {
                return Err(BundleError::Clash(file.to_string()));
            }
            if !self.folders.contains(&key[..end]) {
                self.folders.insert(key[..end].into());
            }
        }
        self.files.insert(key, path.clone());
        Ok(())
    }

    pub(super) fn add_bytes(&mut self, count: usize) -> Result<(), BundleError> {
        self.bytes = self.bytes.saturating_add(count as u64);
        if self.bytes > MOST_BYTES { Err(BundleError::Bytes) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text).unwrap()
    }

    fn add(paths: &[&str]) -> Result<(), BundleError> {
        let mut layout = Layout::default();
        paths.iter().try_for_each(|text| layout.add_file(&path(text)))
    }

    #[test]
    fn each_rule_names_the_path_that_breaks_it() {
        assert_eq!(add(&["a/b", "a/c", "d"]), Ok(()));
        assert_eq!(add(&["a/b", "a/b"]), Err(BundleError::Twice(path("a/b"))));
        assert_eq!(add(&["a/b", "a/B"]), Err(BundleError::Case(path("a/b"), path("a/B"))));
        assert_eq!(add(&["a/b", "a"]), Err(BundleError::Clash("a".into())));
        assert_eq!(add(&["a", "a/b"]), Err(BundleError::Clash("a".into())));
        assert_eq!(add(&["A", "x", "a/b/c"]), Err(BundleError::Clash("A".into())));
    }

    #[test]
    fn there_is_an_end_to_entries_and_bytes() {
        let mut layout = Layout::default();
        for number in 0..MOST_ENTRIES {
            layout.add_file(&path(&number.to_string())).unwrap();
        }
        assert_eq!(layout.add_file(&path("one-more")), Err(BundleError::Entries));
        assert_eq!(layout.add_bytes(usize::try_from(MOST_BYTES).unwrap()), Ok(()));
        assert_eq!(layout.add_bytes(1), Err(BundleError::Bytes));
    }
}
