//! [`Receiving`]: the far end of [`send`](super::send), as a state machine without I/O. It is given messages, and
//! answers with complete files; the last one only when the whole bundle is what was announced.

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};

use super::layout::Layout;
use super::{BundleError, Entry, EntryPath, MOST_BYTES, MOST_ENTRIES, PathError, add_to};
use crate::token::hex;

/// A bundle on its way in.
#[derive(Debug)]
pub struct Receiving {
    /// Announced, and still to come.
    entries: u32,
    /// Announced, and still to come.
    bytes: u64,
    /// Announced.
    sha256: String,
    digest: Sha256,
    layout: Layout,
    /// A file of which another piece follows.
    partial: Option<Partial>,
}

/// Why what came is not what was announced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceivingError {
    /// A path that cannot be.
    #[error("bundle entry {path:?}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        #[source]
        source: PathError,
    },
    /// A rule over all entries is broken.
    #[error("bundle refused")]
    Rule(#[from] BundleError),
    /// More files or bytes than announced.
    #[error("bundle has more than was announced")]
    More,
    /// Fewer bytes than announced.
    #[error("bundle has less than was announced")]
    Less,
    /// Another file began in the middle of one.
    #[error("bundle entry '{0}' was not finished")]
    Unfinished(EntryPath),
    /// The bytes are not those that were sent.
    #[error("bundle has another digest than was announced")]
    Digest,
}

#[derive(Debug)]
struct Partial {
    path: EntryPath,
    executable: bool,
    bytes: BytesMut,
}

impl Receiving {
    /// For a bundle that was announced with these figures.
    ///
    /// # Errors
    /// Where no bundle can have them.
    pub fn new(entries: u32, bytes: u64, sha256: String) -> Result<Self, ReceivingError> {
        if entries as usize > MOST_ENTRIES {
            return Err(BundleError::Entries.into());
        }
        if bytes > MOST_BYTES {
            return Err(BundleError::Bytes.into());
        }
        let (digest, layout, partial) = (Sha256::new(), Layout::default(), None);
        let receiving = Self { entries, bytes, sha256, digest, layout, partial };
        if entries == 0 {
            receiving.check_whole()?;
        }
        Ok(receiving)
    }

    /// Takes a piece of a file; answers with the file when this was its last.
    ///
    /// # Errors
    /// Where this is not what was announced. Nothing more should be given to it then.
    pub fn piece(
        &mut self,
        path: &str,
        executable: bool,
        more: bool,
        bytes: &Bytes,
    ) -> Result<Option<Entry>, ReceivingError> {
        self.bytes = self.bytes.checked_sub(bytes.len() as u64).ok_or(ReceivingError::More)?;
        let mut partial = self.continued(path, executable)?;
        partial.bytes.extend_from_slice(bytes);
        if more {
            self.partial = Some(partial);
            return Ok(None);
        }
        let Partial { path, executable, bytes } = partial;
        let entry = Entry { path, executable, bytes: bytes.freeze() };
        add_to(&mut self.digest, &entry);
        self.entries -= 1;
        if self.entries == 0 {
            self.check_whole()?;
        }
        Ok(Some(entry))
    }

    /// Whether everything that was announced has come.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.entries == 0
    }

    /// The file that a piece belongs to: the one that has begun, or a new one.
    fn continued(&mut self, path: &str, executable: bool) -> Result<Partial, ReceivingError> {
        if let Some(partial) = self.partial.take() {
            let same = partial.path.as_str() == path && partial.executable == executable;
            return if same { Ok(partial) } else { Err(ReceivingError::Unfinished(partial.path)) };
        }
        if self.entries == 0 {
            return Err(ReceivingError::More);
        }
        let parsed = EntryPath::parse(path);
        let path = parsed.map_err(|source| ReceivingError::Path { path: path.into(), source })?;
        self.layout.add_file(&path)?;
        Ok(Partial { path, executable, bytes: BytesMut::new() })
    }

    fn check_whole(&self) -> Result<(), ReceivingError> {
        if self.bytes > 0 {
            return Err(ReceivingError::Less);
        }
        if hex(&self.digest.clone().finalize()) == self.sha256 { Ok(()) } else { Err(ReceivingError::Digest) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::digest;
    use super::*;

    fn entry(path: &str, bytes: &'static [u8]) -> Entry {
        Entry { path: EntryPath::parse(path).unwrap(), executable: false, bytes: Bytes::from_static(bytes) }
    }

    fn receive(announced: &[Entry], pieces: &[(&str, bool, &'static [u8])]) -> Result<usize, ReceivingError> {
        let bytes = announced.iter().map(|entry| entry.bytes.len() as u64).sum();
        let count = u32::try_from(announced.len()).unwrap();
        let mut receiving = Receiving::new(count, bytes, digest(announced))?;
        let mut files = 0;
        for (path, more, bytes) in pieces {
            let file = receiving.piece(path, false, *more, &Bytes::from_static(bytes))?;
            files += usize::from(file.is_some());
        }
        Ok(files)
    }

    #[test]
    fn a_bundle_comes_as_it_was_sent() {
        let sent = [entry("a", b"12345"), entry("b/c", b"")];
        assert_eq!(receive(&sent, &[("a", true, b"123"), ("a", false, b"45"), ("b/c", false, b"")]), Ok(2));
        assert_eq!(receive(&[], &[]), Ok(0));
    }

    #[test]
    fn what_was_not_announced_is_refused() {
        let sent = [entry("a", b"12"), entry("b", b"34")];
        let last = |path, bytes| [("a", false, b"12".as_slice()), (path, false, bytes)];
        assert_eq!(receive(&sent, &last("b", b"345")), Err(ReceivingError::More));
        assert_eq!(receive(&sent, &last("b", b"3")), Err(ReceivingError::Less));
        assert_eq!(receive(&sent, &last("b", b"43")), Err(ReceivingError::Digest));
        assert_eq!(receive(&sent, &last("c", b"34")), Err(ReceivingError::Digest));
        let twice = BundleError::Twice(EntryPath::parse("a").unwrap());
        assert_eq!(receive(&sent, &last("a", b"34")), Err(twice.into()));
        assert_eq!(receive(&[], &[("a", false, b"")]), Err(ReceivingError::More));
        let source = PathError::Dots;
        let out = ReceivingError::Path { path: "../b".into(), source };
        assert_eq!(receive(&sent, &last("../b", b"34")), Err(out));
    }

    #[test]
    fn a_file_is_finished_before_the_next_one() {
        let sent = [entry("a", b"12"), entry("b", b"34")];
        let unfinished = ReceivingError::Unfinished(EntryPath::parse("a").unwrap());
        assert_eq!(receive(&sent, &[("a", true, b"1"), ("b", false, b"34")]), Err(unfinished));
    }

    #[test]
    fn figures_that_no_bundle_has_are_refused_before_anything_comes() {
        let new = |entries, bytes| Receiving::new(entries, bytes, digest(&[])).map(drop);
        assert_eq!(new(20_001, 0), Err(BundleError::Entries.into()));
        assert_eq!(new(1, MOST_BYTES + 1), Err(BundleError::Bytes.into()));
        assert_eq!(new(0, 1), Err(ReceivingError::Less));
    }

    proptest! {
        #[test]
        fn any_pieces_can_be_given(
            entries in 0u32..4,
            bytes in 0u64..8,
            pieces in proptest::collection::vec(("[ab/.]{0,3}", any::<bool>(), any::<bool>(), "[xy]{0,3}"), 0..8),
        ) {
            let Ok(mut receiving) = Receiving::new(entries, bytes, String::new()) else { return Ok(()) };
            for (path, executable, more, bytes) in pieces {
                let taken = receiving.piece(&path, executable, more, &Bytes::from(bytes));
                // No bundle has an empty digest, so the last file is never given out.
                prop_assert!(taken.is_err() || !receiving.is_complete());
                if taken.is_err() {
                    break;
                }
            }
        }
    }
}
