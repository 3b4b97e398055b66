//! What services say to each other, through the Router: the part "Between services" of `docs/host-protocol.md`.
//!
//! The payload of a message is opaque. Where it has one, its line says how long it is, and how much of it is JSON where
//! bytes follow.

use bytes::Bytes;
use serde::Serialize;

use super::control::Thrown;

/// The longest payload that a service may be allowed to send, in bytes.
pub const LONGEST_PAYLOAD: u64 = 64 * 1024 * 1024;

/// How long a call may take unless it says so, in milliseconds.
pub const CALL_TIMEOUT: u64 = 60_000;

/// How many items of a stream may be under way before any credit was given.
pub const STREAM_WINDOW: u32 = 8;

/// What a service says.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        group: Option<String>,
    },
    /// Hear them no more.
    Unsubscribe {
        /// The answer's id.
        id: u64,
        /// The name, or the pattern.
        event: String,
        /// The group.
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
        error: Thrown,
        /// The kind that it is meant to be, where it is meant to be one.
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
}

/// What a call says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The caller's number for it.
    pub id: u64,
    /// Whose method.
    pub service: String,
    /// Which method.
    pub method: String,
    /// How long it may take, in milliseconds.
    pub timeout: Option<u64>,
    /// How often it may be tried again; -1 for as often as there is time.
    pub retries: i64,
    /// How long one attempt may take, in milliseconds.
    pub attempt: Option<u64>,
    /// Calls with the same key go to the same replica.
    pub key: Option<String>,
    /// The invocation during which it is made.
    pub within: Option<u64>,
    /// For whom it is made. Said by members of a fabric only; a service is known by its line.
    pub from: String,
}

/// Why something was not done, or what was thrown. The members that are not there do not apply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// One of the document's list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// In words.
    pub message: String,
    /// The service that was called.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// The method that was called.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// The type of what was thrown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where it was thrown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stack: String,
}

/// What a service is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
        #[serde(skip_serializing_if = "is_default")]
        one_way: bool,
        /// Whose method, for a program, which can have several services.
        #[serde(skip_serializing_if = "Option::is_none")]
        service: Option<String>,
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
        #[serde(skip_serializing_if = "is_default")]
        all: bool,
        /// The groups in which this replica was chosen to hear it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        groups: Vec<String>,
    },
    /// A value of its configuration has changed, or was removed.
    Config {
        /// Its name.
        name: String,
        /// Whose, for a program.
        #[serde(skip_serializing_if = "Option::is_none")]
        service: Option<String>,
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

impl ToService {
    /// Its line, with what it says of the payload that follows.
    ///
    /// # Panics
    /// Never: it is plain data.
    #[must_use]
    pub fn line(&self, payload: &Payload) -> Vec<u8> {
        line(self, payload)
    }
}

/// The line of a message, with the extent of its payload.
pub(super) fn line<T: Serialize>(message: &T, payload: &Payload) -> Vec<u8> {
    let written = Written { message, payload: payload.bytes.len() as u64, json: payload.json };
    let mut line = serde_json::to_vec(&written).expect("it is plain data");
    line.push(b'\n');
    line
}

/// A message with the extent of its payload, as it is written.
#[derive(Serialize)]
struct Written<'a, T> {
    #[serde(flatten)]
    message: &'a T,
    #[serde(skip_serializing_if = "is_default")]
    payload: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<u64>,
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_told_what_the_document_lists() {
        let line = |message: ToService, payload: &Payload| String::from_utf8(message.line(payload)).unwrap();
        let bytes = Bytes::from_static(b"[1]xyz");
        let invoke = ToService::Invoke {
            id: 7,
            method: "get".into(),
            from: "web".into(),
            timeout: 60_000,
            one_way: false,
            service: None,
        };
        assert_eq!(
            line(invoke, &Payload { bytes, json: Some(3) }),
            r#"{"type":"invoke","id":7,"method":"get","from":"web","timeout":60000,"payload":6,"json":3}"#
                .to_owned()
                + "\n"
        );
        assert_eq!(line(ToService::End { id: 1 }, &Payload::default()), "{\"type\":\"end\",\"id\":1}\n");
    }
}
