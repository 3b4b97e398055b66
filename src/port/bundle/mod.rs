//! What is shipped: files with checked paths, their rules, and the way over the wire.
//!
//! Both ends hold to the same rules ([`check`]), so that no bundle depends on the file system that it lands on, and
//! none can reach out of the folder that it is written to.

mod entry_path;
mod layout;
mod receiving;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::connection_port::{PortClosed, PortSender};
use crate::frame::Frame;
use crate::message::control::ToRemote;
use crate::token::hex;

pub use entry_path::{EntryPath, PathError};
pub use layout::{BundleError, MOST_BYTES, MOST_ENTRIES};
pub use receiving::{Receiving, ReceivingError};

/// The longest piece of a file in one message, in bytes: small, because each end keeps a buffer that has held one.
const PIECE: usize = 32 * 1024;

/// A file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it belongs, below the bundle's folder.
    pub path: EntryPath,
    /// Whether it can be executed.
    pub executable: bool,
    /// What is in it.
    pub bytes: Bytes,
}

/// Whether these entries are a bundle: none twice, no two that differ in case only, no file where another entry
/// needs a folder, at most [`MOST_ENTRIES`] and [`MOST_BYTES`].
///
/// # Errors
/// The first rule that is broken, with the path that breaks it.
pub fn check(entries: &[Entry]) -> Result<(), BundleError> {
    let mut layout = layout::Layout::default();
    entries.iter().try_for_each(|entry| {
        layout.add_file(&entry.path)?;
        layout.add_bytes(entry.bytes.len())
    })
}

/// SHA-256 over all entries in their order, in hexadecimal: for each its path's length (8 bytes, big-endian) and
/// path, a byte that is 1 if it is executable, its length (8 bytes, big-endian) and bytes.
#[must_use]
pub fn digest(entries: &[Entry]) -> String {
    let mut digest = Sha256::new();
    for entry in entries {
        add_to(&mut digest, entry);
    }
    hex(&digest.finalize())
}

/// The SHA-256 of some bytes, in hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Sends a bundle: a [`ToRemote::Ship`], then its entries.
///
/// # Errors
/// Where the connection ends before all is queued.
pub async fn send(port: &PortSender, entries: &[Entry]) -> Result<(), PortClosed> {
    let ship = ToRemote::Ship {
        entries: u32::try_from(entries.len()).unwrap_or(u32::MAX),
        bytes: entries.iter().map(|entry| entry.bytes.len() as u64).sum(),
        sha256: digest(entries),
    };
    port.send(Frame::control(&ship, Bytes::new())).await?;
    for entry in entries {
        send_entry(port, entry).await?;
    }
    Ok(())
}

async fn send_entry(port: &PortSender, entry: &Entry) -> Result<(), PortClosed> {
    let mut rest = entry.bytes.clone();
    loop {
        let piece = rest.split_to(rest.len().min(PIECE));
        let more = !rest.is_empty();
        let path = entry.path.to_string();
        let message = ToRemote::Entry { path, executable: entry.executable, more };
        port.send(Frame::control(&message, piece)).await?;
        if !more {
            return Ok(());
        }
    }
}

fn add_to(digest: &mut Sha256, entry: &Entry) {
    let path = entry.path.as_str().as_bytes();
    digest.update((path.len() as u64).to_be_bytes());
    digest.update(path);
    digest.update([u8::from(entry.executable)]);
    digest.update((entry.bytes.len() as u64).to_be_bytes());
    digest.update(&entry.bytes);
}
