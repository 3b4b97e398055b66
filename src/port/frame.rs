//! [`Frame`]: one message on the wire, before anybody looks into it.
//!
//! ```text
//!   family   1 byte        0 control, 1 service
//!   length   4 bytes       of the header, big-endian
//!   header   length bytes  JSON; for control the whole message but for its bytes
//!   payload  the rest      opaque
//! ```
//!
//! Any bytes can be given to [`Frame::decode`]: it checks every length before it uses it, and never copies.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::message::control::{FromRemote, ToRemote};

/// The longest header, in bytes.
pub const LONGEST_HEADER: usize = 64 * 1024;

/// The longest payload, in bytes.
pub const LONGEST_PAYLOAD: usize = 64 * 1024 * 1024;

/// The longest message, in bytes: family, length, header and payload together.
pub const LONGEST_MESSAGE: usize = PREFIX + LONGEST_HEADER + LONGEST_PAYLOAD;

/// What comes before the header.
const PREFIX: usize = 5;

/// Which of the two families a message belongs to. They never mix (lifecycle rule 14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Between controller and remote.
    Control,
    /// Between services, through the Router.
    Service,
}

/// One message, taken apart as far as its way goes: nobody on it reads the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Who it is for.
    pub family: Family,
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
    /// A family that nobody knows.
    #[error("unknown message family {0}")]
    Family(u8),
    /// The header is longer than [`LONGEST_HEADER`].
    #[error("message header of {0} bytes, where at most {LONGEST_HEADER} are allowed")]
    Header(usize),
    /// The message is longer than [`LONGEST_MESSAGE`].
    #[error("message of {0} bytes, where at most {LONGEST_MESSAGE} are allowed")]
    Message(usize),
    /// It belongs to the other family.
    #[error("message of the {0:?} family, where the other one was expected")]
    Unexpected(Family),
    /// The header is no message of its family.
    #[error("message not understood: {0}")]
    Text(String),
    /// Something else than a binary message came.
    #[error("text where binary messages are spoken")]
    NotBinary,
}

/// A type that is said over a port: it knows its family, so that no message is ever read as one of the other.
pub trait Spoken: DeserializeOwned {
    /// The family that it belongs to.
    const FAMILY: Family;
}

impl Spoken for ToRemote {
    const FAMILY: Family = Family::Control;
}

impl Spoken for FromRemote {
    const FAMILY: Family = Family::Control;
}

impl Frame {
    /// A message of the control family, with the bytes that belong to it.
    ///
    /// # Panics
    /// Where `message` cannot be written as JSON: that is a mistake in its type, and no input's.
    #[must_use]
    pub fn control<M: Serialize>(message: &M, payload: Bytes) -> Self {
        let header = serde_json::to_vec(message).expect("control messages are plain data");
        Self { family: Family::Control, header: header.into(), payload }
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
        let &[family, a, b, c, d] = bytes.first_chunk::<PREFIX>().ok_or(Malformed::Short(whole))?;
        let family = Family::from_byte(family).ok_or(Malformed::Family(family))?;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > LONGEST_HEADER {
            return Err(Malformed::Header(length));
        }
        if length > whole - PREFIX {
            return Err(Malformed::Short(whole));
        }
        bytes.advance(PREFIX);
        let header = bytes.split_to(length);
        Ok(Self { family, header, payload: bytes })
    }

    /// The bytes for the wire. Whether they are within the limits is checked by [`Frame::check`].
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.len());
        bytes.put_u8(self.family.byte());
        bytes.put_u32(u32::try_from(self.header.len()).unwrap_or(u32::MAX));
        bytes.put_slice(&self.header);
        bytes.put_slice(&self.payload);
        bytes.freeze()
    }

    /// Reads the header as a message of its family.
    ///
    /// # Errors
    /// Where it is of the other family, or no such message.
    pub fn parse<M: Spoken>(&self) -> Result<M, Malformed> {
        if self.family != M::FAMILY {
            return Err(Malformed::Unexpected(self.family));
        }
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

impl Family {
    fn byte(self) -> u8 {
        match self {
            Self::Control => 0,
            Self::Service => 1,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Control),
            1 => Some(Self::Service),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_a_frame_is_refused_with_its_reason() {
        let decode = |bytes: &[u8]| Frame::decode(Bytes::copy_from_slice(bytes)).unwrap_err();
        assert_eq!(decode(&[]), Malformed::Short(0));
        assert_eq!(decode(&[0, 0, 0, 0]), Malformed::Short(4));
        assert_eq!(decode(&[2, 0, 0, 0, 0]), Malformed::Family(2));
        assert_eq!(decode(&[0, 0, 0, 0, 2, b'{']), Malformed::Short(6));
        assert_eq!(decode(&[0, 0, 1, 0, 1]), Malformed::Header(LONGEST_HEADER + 1));
        assert_eq!(decode(&[0xff; 9]), Malformed::Family(255));
        assert_eq!(decode(&vec![0; LONGEST_MESSAGE + 1]), Malformed::Message(LONGEST_MESSAGE + 1));
    }

    #[test]
    fn a_message_of_one_family_is_never_read_as_one_of_the_other() {
        let mut frame = Frame::control(&ToRemote::Close, Bytes::new());
        assert_eq!(frame.parse(), Ok(ToRemote::Close));
        frame.family = Family::Service;
        assert_eq!(frame.parse::<ToRemote>(), Err(Malformed::Unexpected(Family::Service)));
    }

    #[test]
    fn the_limits_hold_for_what_is_sent_as_for_what_is_received() {
        let frame = |header: usize, payload: usize| Frame {
            family: Family::Service,
            header: vec![b' '; header].into(),
            payload: vec![0; payload].into(),
        };
        for (frame, good) in [
            (frame(LONGEST_HEADER, 0), true),
            (frame(LONGEST_HEADER + 1, 0), false),
            (frame(1, LONGEST_MESSAGE - 6), true),
            (frame(1, LONGEST_MESSAGE - 5), false),
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
        fn what_is_encoded_is_decoded(service: bool, header: Vec<u8>, payload: Vec<u8>) {
            let family = if service { Family::Service } else { Family::Control };
            let frame = Frame { family, header: header.into(), payload: payload.into() };
            prop_assert_eq!(Frame::decode(frame.encode()), Ok(frame));
        }
    }
}
