//! The service family: what services say to each other, through the Router. `docs/host-protocol.md` is its document: a host
//! writes these messages and the runner carries them on as they are, so a header is the same on both ways.
//!
//! The payload of a message is opaque. Where it has one, the header says how long it is, and how much of it is JSON where
//! bytes follow.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::frame::{Family, Frame, Malformed, Spoken};

/// How long a call may take unless it says so, in milliseconds.
pub const CALL_TIMEOUT: u64 = 60_000;

/// How many items of a stream may be under way before any credit was given.
pub const STREAM_WINDOW: u32 = 8;

/// What a service says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromService {
    /// Call a method.
    Call(Call),
    /// Call it and want no result.
    Send(Call),
    /// Tell an event.
    Emit {
        /// The answer's id.
        id: u64,
        /// Its name.
        event: String,
    },
    /// A call's result is not wanted any more.
    Cancel {
        /// The call's.
        id: u64,
    },
    /// More items of a stream that this service consumes are welcome.
    Credit {
        /// The call's.
        id: u64,
        /// How many.
        items: u32,
    },
    /// Hear events.
    Subscribe {
        /// The answer's id.
        id: u64,
        /// The name, or a pattern.
        event: String,
        /// One of those in the group hears each event.
        #[serde(default)]
        group: Option<String>,
    },
    /// Hear them no more.
    Unsubscribe {
        /// The answer's id.
        id: u64,
        /// The name, or the pattern.
        event: String,
        /// The group.
        #[serde(default)]
        group: Option<String>,
    },
    /// Events that were sent have been dealt with.
    Taken {
        /// How many.
        events: u32,
    },
    /// The result of an invocation.
    Reply {
        /// The invocation's.
        id: u64,
    },
    /// The result is a stream.
    Stream {
        /// The invocation's.
        id: u64,
    },
    /// The next of a stream.
    Item {
        /// The invocation's.
        id: u64,
    },
    /// The stream has ended.
    End {
        /// The invocation's.
        id: u64,
    },
    /// An invocation threw.
    Error {
        /// The invocation's.
        id: u64,
        /// What.
        error: Fault,
        /// The kind that it is meant to be, where it is meant to be one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    },
    /// A value of the configuration is wanted.
    GetConfig {
        /// The answer's id.
        id: u64,
        /// Its name.
        name: String,
    },
    /// A value of the configuration is set, or removed.
    SetConfig {
        /// The answer's id.
        id: u64,
        /// Its name.
        name: String,
    },
    /// Changes of the configuration are wanted.
    WatchConfig {
        /// The answer's id.
        id: u64,
    },
    /// A child service is wanted.
    CreateChild {
        /// The answer's id.
        id: u64,
    },
    /// A child service is wanted no more.
    CloseChild {
        /// The answer's id.
        id: u64,
        /// Its whole name.
        service: String,
    },
    /// Something that a later version knows. It is ignored.
    #[serde(other)]
    Unknown,
}

/// What a call says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The caller's number for it.
    pub id: u64,
    /// Whose method.
    pub service: String,
    /// Which method.
    pub method: String,
    /// How long it may take, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// How often it may be tried again; -1 for as often as there is time.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retries: i64,
    /// How long one attempt may take, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u64>,
    /// Calls with the same key go to the same replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The invocation during which it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<u64>,
}

/// Why something was not done, or what was thrown. The members that are not there do not apply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// One of the document's list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// In words.
    #[serde(default)]
    pub message: String,
    /// The service that was called.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// The method that was called.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// The type of what was thrown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where it was thrown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stack: String,
}

/// What a service is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToService {
    /// Run a method.
    Invoke {
        /// The Router's number for it.
        id: u64,
        /// Which.
        method: String,
        /// Who wants it.
        from: String,
        /// How long there is, in milliseconds.
        timeout: u64,
        /// Whether nobody wants the result.
        #[serde(default, skip_serializing_if = "is_default")]
        one_way: bool,
    },
    /// The result is not wanted any more.
    Cancel {
        /// The invocation's.
        id: u64,
    },
    /// More items of a stream that this service produces are welcome.
    Credit {
        /// The invocation's.
        id: u64,
        /// How many.
        items: u32,
    },
    /// Something was told that it listens to.
    Event {
        /// Its name.
        event: String,
        /// Who told it.
        from: String,
        /// Whether those that listen without a group hear it.
        #[serde(default, skip_serializing_if = "is_default")]
        all: bool,
        /// The groups in which this replica was chosen to hear it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        groups: Vec<String>,
    },
    /// A value of its configuration has changed, or was removed.
    Config {
        /// Its name.
        name: String,
    },
    /// What was asked for.
    Reply {
        /// The asker's.
        id: u64,
    },
    /// The result is a stream.
    Stream {
        /// The asker's.
        id: u64,
    },
    /// The next of a stream.
    Item {
        /// The asker's.
        id: u64,
    },
    /// The stream has ended.
    End {
        /// The asker's.
        id: u64,
    },
    /// It could not be done.
    Error {
        /// The asker's.
        id: u64,
        /// Why.
        error: Fault,
    },
}

/// What belongs to a message and is read by nobody on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// The JSON, and the bytes behind it.
    pub bytes: Bytes,
    /// How much of it is JSON; none where all is.
    pub json: Option<u64>,
}

/// A message with the extent of its payload, as it is written.
#[derive(Serialize, Deserialize)]
struct Written<M> {
    #[serde(flatten)]
    message: M,
    #[serde(flatten)]
    extent: Extent,
}

/// The members that tell of a payload.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Extent {
    /// How many bytes follow.
    #[serde(default, skip_serializing_if = "is_default")]
    pub payload: u64,
    /// How many of them are JSON; none where all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<u64>,
}

impl Spoken for FromService {
    const FAMILY: Family = Family::Service;
}

impl Spoken for ToService {
    const FAMILY: Family = Family::Service;
}

impl Frame {
    /// A message of the service family.
    ///
    /// # Panics
    /// Where `message` cannot be written as JSON: that is a mistake in its type, and no input's.
    #[must_use]
    pub fn service<M: Serialize>(message: &M, payload: Payload) -> Self {
        let extent = Extent { payload: payload.bytes.len() as u64, json: payload.json };
        let header =
            serde_json::to_vec(&Written { message, extent }).expect("service messages are plain data");
        Self { family: Family::Service, header: header.into(), payload: payload.bytes }
    }

    /// Its payload, with what the header says of it.
    ///
    /// # Errors
    /// Where the header says more than there is.
    pub fn service_payload(&self) -> Result<Payload, Malformed> {
        let extent: Extent =
            serde_json::from_slice(&self.header).map_err(|error| Malformed::Text(error.to_string()))?;
        let length = self.payload.len() as u64;
        if extent.json.is_some_and(|json| json > length) || extent.payload != length {
            return Err(Malformed::Text(format!("a payload of {length} bytes is not what the header says")));
        }
        Ok(Payload { bytes: self.payload.clone(), json: extent.json })
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_written_as_the_document_says() {
        let call = Call { id: 7, service: "db".into(), method: "get".into(), ..Call::default() };
        let payload = Payload { bytes: Bytes::from_static(b"[1]"), json: None };
        let frame = Frame::service(&FromService::Call(call.clone()), payload.clone());
        assert_eq!(
            std::str::from_utf8(&frame.header),
            Ok(r#"{"type":"call","id":7,"service":"db","method":"get","payload":3}"#)
        );
        assert_eq!(frame.parse(), Ok(FromService::Call(call)));
        assert_eq!(frame.service_payload(), Ok(payload));
    }

    #[test]
    fn what_a_header_says_of_its_payload_is_checked() {
        for (header, payload, good) in [
            (r#"{"type":"reply","id":1}"#, "", true),
            (r#"{"type":"reply","id":1,"payload":2,"json":1}"#, "12", true),
            (r#"{"type":"reply","id":1,"payload":2,"json":3}"#, "12", false),
            (r#"{"type":"reply","id":1,"payload":1}"#, "12", false),
            (r#"{"type":"reply","id":1}"#, "12", false),
        ] {
            let (header, payload) =
                (Bytes::from_static(header.as_bytes()), Bytes::from_static(payload.as_bytes()));
            let frame = Frame { family: Family::Service, header, payload };
            assert_eq!(frame.service_payload().is_ok(), good, "{frame:?}");
        }
    }
}
