//! A bundle on its way in.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use bytes::Bytes;
use orchestrator_port::Frame;
use orchestrator_port::bundle::{self, Entry, Receiving, ReceivingError};
use orchestrator_port::message::control::ToRemote;

/// Messages one after the other, each behind its length in two bytes.
pub(crate) fn receive(mut bytes: &[u8]) {
    let mut bundle = None;
    let mut files = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (message, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
        bytes = rest;
        let Ok(frame) = Frame::decode(Bytes::copy_from_slice(message)) else { return };
        let Ok(message) = frame.parse::<ToRemote>() else { return };
        if hear(message, &frame.payload, &mut bundle, &mut files).is_err() {
            return;
        }
    }
    let Some((receiving, sha256)) = bundle.filter(|(receiving, _)| receiving.is_complete()) else { return };
    drop(receiving);
    // What it was announced to be.
    assert_eq!((bundle::digest(&files), bundle::check(&files)), (sha256, Ok(())));
    let paths: BTreeSet<_> = files.iter().map(|file| file.path.as_str().to_lowercase()).collect();
    assert_eq!(paths.len(), files.len(), "none is there twice");
}

fn hear(
    message: ToRemote,
    payload: &Bytes,
    bundle: &mut Option<(Receiving, String)>,
    files: &mut Vec<Entry>,
) -> Result<(), ReceivingError> {
    match (message, bundle) {
        (ToRemote::Ship { entries, bytes, sha256 }, bundle @ None) => {
            *bundle = Some((Receiving::new(entries, bytes, sha256.clone())?, sha256));
        }
        (ToRemote::Entry { path, executable, more }, Some((receiving, _))) => {
            let file = receiving.piece(&path, executable, more, payload)?;
            if let Some(file) = &file {
                let path = Path::new(file.path.as_str());
                assert!(
                    path.components().all(|part| matches!(part, Component::Normal(_))),
                    "{path:?} leads out"
                );
            }
            files.extend(file);
        }
        _ => {}
    }
    Ok(())
}
