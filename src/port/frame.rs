//! [`Frame`]: one message on the wire, before anybody looks into it.
//!
//! ```text
//!   length   4 bytes       of the header, big-endian
//!   header   length bytes  JSON: the whole message but for its bytes
//!   payload  the rest      opaque
//! ```
//!
//! Any bytes can be given to [`Frame::decode`]: it checks every length before it uses it, and never copies.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest header, in bytes.
pub const LONGEST_HEADER: usize = 64 * 1024;

/// The longest message, in bytes: length, header and payload together.
pub const LONGEST_MESSAGE: usize = 4 * 1024 * 1024;

/// What comes before the header.
const PREFIX: usize = 4;

/// One message, taken apart as far as its way goes: nobody on it reads the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// A JSON text.
    pub header: Bytes,
    /// Bytes that belong to it.
    pub payload: Bytes,
}

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends before its header does.
    #[error("message cut short: {0} bytes")]
    Short(usize),
    /// The header is longer than [`LONGEST_HEADER`].
    #[error("message header of {0} bytes, where at most {LONGEST_HEADER} are allowed")]
    Header(usize),
    /// The message is longer than [`LONGEST_MESSAGE`].
    #[error("message of {0} bytes, where at most {LONGEST_MESSAGE} are allowed")]
    Message(usize),
    /// The header is no message.
    #[error("message not understood: {0}")]
    Text(String),
    /// Something else than a binary message came.
    #[error("text where binary messages are spoken")]
    NotBinary,
}

impl Frame {
    /// A message with the bytes that belong to it.
    ///
    /// # Panics
    /// Where `message` cannot be written as JSON: that is a mistake in its type, and no input's.
    #[must_use]
    pub fn control<M: Serialize>(message: &M, payload: Bytes) -> Self {
        let header = serde_json::to_vec(message).expect("messages are plain data");
        Self { header: header.into(), payload }
    }

    /// Takes bytes from the wire apart, without copying.
    ///
    /// # Errors
    /// Where they are no message within the limits. What the header says is not looked at.
    pub fn decode(mut bytes: Bytes) -> Result<Self, Malformed> {
        let whole = bytes.len();
        if whole > LONGEST_MESSAGE {
            return Err(Malformed::Message(whole));
        }
        let length = *bytes.first_chunk::<PREFIX>().ok_or(Malformed::Short(whole))?;
        let length = u32::from_be_bytes(length) as usize;
        if length > LONGEST_HEADER {
            return Err(Malformed::Header(length));
        }
        if length > whole - PREFIX {
            return Err(Malformed::Short(whole));
        }
        bytes.advance(PREFIX);
        let header = bytes.split_to(length);
        Ok(Self { header, payload: bytes })
    }

    /// The bytes for the wire. Whether they are within the limits is checked by [`Frame::check`].
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.len());
        bytes.put_u32(u32::try_from(self.header.len()).unwrap_or(u32::MAX));
        bytes.put_slice(&self.header);
        bytes.put_slice(&self.payload);
        bytes.freeze()
    }

    /// Reads the header.
    ///
    /// # Errors
    /// Where it is no such message.
    pub fn parse<M: DeserializeOwned>(&self) -> Result<M, Malformed> {
        serde_json::from_slice(&self.header).map_err(|error| Malformed::Text(error.to_string()))
    }

    /// Whether the other end would take it.
    ///
    /// # Errors
    /// Where a limit is broken.
    pub fn check(&self) -> Result<(), Malformed> {
        if self.header.len() > LONGEST_HEADER {
            return Err(Malformed::Header(self.header.len()));
        }
        if self.len() > LONGEST_MESSAGE {
            return Err(Malformed::Message(self.len()));
        }
        Ok(())
    }

    /// Its length on the wire, in bytes.
    pub(crate) fn len(&self) -> usize {
        PREFIX + self.header.len() + self.payload.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::control::{FromRemote, ToRemote};

    #[test]
    fn what_is_not_a_frame_is_refused_with_its_reason() {
        let decode = |bytes: &[u8]| Frame::decode(Bytes::copy_from_slice(bytes)).unwrap_err();
        assert_eq!(decode(&[]), Malformed::Short(0));
        assert_eq!(decode(&[0, 0, 0]), Malformed::Short(3));
        assert_eq!(decode(&[0, 0, 0, 2, b'{']), Malformed::Short(5));
        assert_eq!(decode(&[0, 1, 0, 1]), Malformed::Header(LONGEST_HEADER + 1));
        assert_eq!(decode(&[0xff; 9]), Malformed::Header(0xffff_ffff));
        assert_eq!(decode(&vec![0; LONGEST_MESSAGE + 1]), Malformed::Message(LONGEST_MESSAGE + 1));
    }

    #[test]
    fn the_limits_hold_for_what_is_sent_as_for_what_is_received() {
        let frame = |header: usize, payload: usize| Frame {
            header: vec![b' '; header].into(),
            payload: vec![0; payload].into(),
        };
        for (frame, good) in [
            (frame(LONGEST_HEADER, 0), true),
            (frame(LONGEST_HEADER + 1, 0), false),
            (frame(1, LONGEST_MESSAGE - 5), true),
            (frame(1, LONGEST_MESSAGE - 4), false),
        ] {
            assert_eq!(frame.check().is_ok(), good);
            assert_eq!(Frame::decode(frame.encode()).is_ok(), good);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_decoded(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(frame) = Frame::decode(bytes.clone().into()) {
                prop_assert_eq!(frame.encode(), Bytes::from(bytes));
                let _ = frame.parse::<ToRemote>();
                let _ = frame.parse::<FromRemote>();
            }
        }

        #[test]
        fn what_is_encoded_is_decoded(header: Vec<u8>, payload: Vec<u8>) {
            let frame = Frame { header: header.into(), payload: payload.into() };
            prop_assert_eq!(Frame::decode(frame.encode()), Ok(frame));
        }
    }
}
