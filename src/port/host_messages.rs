//! The orchestrator's side of `docs/host-protocol.md`, as data: what a plugin's host says, taken from its bytes, and what
//! it is told. Whatever a service writes into its descriptor, this neither fails in another way than by saying so nor keeps
//! more than one message.

use std::borrow::Cow;

use bytes::{Buf, Bytes, BytesMut};
use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use crate::message::control::Thrown;
use crate::message::service::{Call, Fault, FromService, LONGEST_PAYLOAD, Payload, ToService};

/// The longest line, in bytes.
const LONGEST_LINE: usize = 1024 * 1024;

/// The longest line of a message for other services, in bytes.
const LONGEST_HEADER: usize = 64 * 1024;

/// A payload that is shorter is copied, so that it does not keep what was read together with it.
const COPIED: usize = 16 * 1024;

/// What a host says.
#[derive(Clone, Debug, PartialEq)]
pub enum FromHost {
    /// `start` has returned, or a program says that it is ready.
    Started {
        /// The exported methods, nested ones with dots.
        methods: Vec<String>,
        /// Whether there is a `health` to ask.
        health: bool,
    },
    /// The code or its `start` threw.
    Failed(Thrown),
    /// An uncaught exception.
    Exception(Thrown),
    /// The answer to [`ToHost::Health`].
    Health {
        /// The question's.
        id: u64,
        /// None if it is well.
        failure: Option<String>,
    },
    /// The service wants to be closed.
    Close,
    /// Something for other services.
    Service(FromService, Payload),
    /// Something for other services that is too long to be taken; what the host is to be told.
    TooLong(ToService),
}

/// What a host is told, besides what other services say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToHost {
    /// Call the exported `health`.
    Health {
        /// Comes back in the answer.
        id: u64,
    },
    /// Call the exported `close`, and end.
    Close,
}

/// What a host must not do.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A line that does not end.
    #[error("host protocol: line longer than {LONGEST_LINE} bytes")]
    LongLine,
    /// A line for others that is too long.
    #[error(
        "host protocol: a line for other services of {0} bytes, where at most {LONGEST_HEADER} are allowed"
    )]
    LongHeader(usize),
    /// Something else than a message.
    #[error("host protocol: line not understood")]
    Line(#[source] serde_json::Error),
    /// A message that contradicts itself.
    #[error("host protocol: a payload of {payload} bytes, of which {json} are JSON")]
    Extent {
        /// The payload's length.
        payload: u64,
        /// How much of it is said to be JSON.
        json: u64,
    },
}

/// The bytes of a host, on their way to messages.
#[derive(Debug)]
pub struct HostMessages {
    /// What has come and was not taken.
    received: BytesMut,
    /// How much of it is known to hold no end of a line.
    searched: usize,
    /// How much of a payload is still to come and is skipped.
    skipped: u64,
    /// A message whose payload is not complete.
    begun: Option<Begun>,
    /// The longest payload that is taken.
    longest: u64,
}

/// A message whose payload is still coming.
#[derive(Debug)]
struct Begun {
    message: FromService,
    length: usize,
    json: Option<u64>,
}

impl ToHost {
    /// Its line.
    ///
    /// # Panics
    /// Never: it is plain data.
    #[must_use]
    pub fn line(self) -> Vec<u8> {
        let mut line = serde_json::to_vec(&self).expect("it is plain data");
        line.push(b'\n');
        line
    }
}

impl HostMessages {
    /// Of a host that may send payloads of so many bytes.
    #[must_use]
    pub fn new(longest: u64) -> Self {
        let longest = longest.min(LONGEST_PAYLOAD);
        Self { received: BytesMut::new(), searched: 0, skipped: 0, begun: None, longest }
    }

    /// Where what comes is to be put, behind what is there: with room for `room` bytes.
    pub fn buffer(&mut self, room: usize) -> &mut BytesMut {
        if self.received.is_empty() && self.received.capacity() > 2 * room {
            // A long line has been here.
            self.received = BytesMut::new();
        }
        self.received.reserve(room);
        &mut self.received
    }

    /// The next message that is complete.
    ///
    /// # Errors
    /// Where a rule is broken. Nothing more is to be asked for then.
    pub fn next_message(&mut self) -> Result<Option<FromHost>, HostError> {
        loop {
            self.skip();
            if let Some(begun) = self.begun.take_if(|begun| begun.length <= self.received.len()) {
                let bytes = self.take_payload(begun.length);
                return Ok(Some(FromHost::Service(begun.message, Payload { bytes, json: begun.json })));
            }
            if self.begun.is_some() || self.skipped > 0 {
                return Ok(None);
            }
            let end = self.received[self.searched..].iter().position(|&byte| byte == b'\n');
            let length = self.searched + end.unwrap_or(self.received.len() - self.searched);
            if length > LONGEST_LINE {
                return Err(HostError::LongLine);
            }
            if end.is_none() {
                self.searched = length;
                return Ok(None);
            }
            self.searched = 0;
            let heard = self.take_line(length);
            self.received.advance(length + 1);
            if let Some(message) = heard? {
                return Ok(Some(message));
            }
        }
    }

    fn skip(&mut self) {
        let skipped =
            usize::try_from(self.skipped).map_or(self.received.len(), |left| left.min(self.received.len()));
        self.received.advance(skipped);
        self.skipped -= skipped as u64;
    }

    fn take_payload(&mut self, length: usize) -> Bytes {
        if length >= COPIED {
            // It goes with the whole buffer, and what follows it begins a new one.
            let rest = BytesMut::from(&self.received[length..]);
            let mut payload = std::mem::replace(&mut self.received, rest);
            payload.truncate(length);
            return payload.freeze();
        }
        let bytes = Bytes::copy_from_slice(&self.received[..length]);
        self.received.advance(length);
        bytes
    }

    /// The message of a line, where it is complete with that; what it announces is noted.
    fn take_line(&mut self, length: usize) -> Result<Option<FromHost>, HostError> {
        let line = self.received[..length].trim_ascii();
        if line.is_empty() {
            return Ok(None);
        }
        let line = Line::read(line)?;
        let (id, payload, json, answers) = (line.id.unwrap_or(0), line.payload, line.json, line.answers());
        let Some(message) = line.message().map_err(HostError::Line)? else {
            self.skipped = payload;
            return Ok(None);
        };
        let FromHost::Service(message, _) = message else {
            self.skipped = payload;
            return Ok(Some(message));
        };
        if length > LONGEST_HEADER {
            return Err(HostError::LongHeader(length));
        }
        if payload > self.longest {
            self.skipped = payload;
            return Ok(Some(self.too_long(id, payload, answers)));
        }
        if let Some(json) = json.filter(|json| *json > payload) {
            return Err(HostError::Extent { payload, json });
        }
        if payload == 0 {
            return Ok(Some(FromHost::Service(message, Payload::default())));
        }
        // What is announced is believed when it comes.
        self.begun = Some(Begun { message, length: usize::try_from(payload).unwrap_or(usize::MAX), json });
        Ok(None)
    }

    /// What is said instead of a message that is too long: to who waits for an answer, or to the host that asked.
    fn too_long(&self, id: u64, payload: u64, answers: bool) -> FromHost {
        let longest = self.longest;
        let message = format!("the message has {payload} bytes, where limits.message allows {longest}");
        let code = Some("too-large".to_owned());
        if answers {
            let error = Thrown { message: format!("its answer: {message}"), ..Thrown::default() };
            return FromHost::Service(FromService::Error { id, error, code }, Payload::default());
        }
        FromHost::TooLong(ToService::Error { id, error: Fault { code, message, ..Fault::default() } })
    }
}

/// A line with every member that any message has: it is read once, whatever it says.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Line<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    id: Option<u64>,
    payload: u64,
    json: Option<u64>,
    service: Option<String>,
    method: Option<String>,
    timeout: Option<u64>,
    retries: i64,
    attempt: Option<u64>,
    key: Option<String>,
    within: Option<u64>,
    event: Option<String>,
    group: Option<String>,
    items: Option<u32>,
    events: Option<u32>,
    name: Option<String>,
    code: Option<String>,
    error: Option<Thrown>,
    methods: Vec<String>,
    health: bool,
    failure: Option<String>,
}

/// The types that there are, but for those that nothing is known of.
const KINDS: [&str; 23] = [
    "started",
    "failed",
    "exception",
    "health",
    "close",
    "call",
    "send",
    "emit",
    "cancel",
    "credit",
    "subscribe",
    "unsubscribe",
    "taken",
    "reply",
    "stream",
    "item",
    "end",
    "error",
    "get-config",
    "set-config",
    "watch-config",
    "create-child",
    "close-child",
];

impl<'a> Line<'a> {
    fn read(line: &'a [u8]) -> Result<Self, HostError> {
        serde_json::from_slice(line).or_else(|error| {
            // A type that a later version knows may have members of any kind.
            let Novelty { kind, payload } = serde_json::from_slice(line).map_err(HostError::Line)?;
            if KINDS.contains(&&*kind) {
                return Err(HostError::Line(error));
            }
            Ok(Self { kind, payload, ..Self::default() })
        })
    }

    /// Whether somebody waits for it.
    fn answers(&self) -> bool {
        matches!(&*self.kind, "reply" | "item")
    }

    /// What it says, without its payload; none where nothing is known of it.
    fn message(self) -> serde_json::Result<Option<FromHost>> {
        let id = || self.id.ok_or_else(|| serde_json::Error::missing_field("id"));
        let service = match &*self.kind {
            "started" => {
                return Ok(Some(FromHost::Started { methods: self.methods, health: self.health }));
            }
            "failed" => return needed(self.error, "error").map(|error| Some(FromHost::Failed(error))),
            "exception" => return needed(self.error, "error").map(|error| Some(FromHost::Exception(error))),
            "health" => return Ok(Some(FromHost::Health { id: id()?, failure: self.failure })),
            "close" => return Ok(Some(FromHost::Close)),
            "call" => FromService::Call(self.call()?),
            "send" => FromService::Send(self.call()?),
            "emit" => FromService::Emit { id: id()?, event: needed(self.event, "event")? },
            "cancel" => FromService::Cancel { id: id()? },
            "credit" => FromService::Credit { id: id()?, items: needed(self.items, "items")? },
            "subscribe" => {
                FromService::Subscribe { id: id()?, event: needed(self.event, "event")?, group: self.group }
            }
            "unsubscribe" => {
                FromService::Unsubscribe { id: id()?, event: needed(self.event, "event")?, group: self.group }
            }
            "taken" => FromService::Taken { events: needed(self.events, "events")? },
            "reply" => FromService::Reply { id: id()? },
            "stream" => FromService::Stream { id: id()? },
            "item" => FromService::Item { id: id()? },
            "end" => FromService::End { id: id()? },
            "error" => FromService::Error { id: id()?, error: needed(self.error, "error")?, code: self.code },
            "get-config" => FromService::GetConfig { id: id()?, name: needed(self.name, "name")? },
            "set-config" => FromService::SetConfig { id: id()?, name: needed(self.name, "name")? },
            "watch-config" => FromService::WatchConfig { id: id()? },
            "create-child" => FromService::CreateChild { id: id()? },
            "close-child" => FromService::CloseChild { id: id()?, service: needed(self.service, "service")? },
            _ => return Ok(None),
        };
        Ok(Some(FromHost::Service(service, Payload::default())))
    }

    fn call(self) -> serde_json::Result<Call> {
        let Self { timeout, retries, attempt, key, within, .. } = self;
        Ok(Call {
            id: needed(self.id, "id")?,
            service: needed(self.service, "service")?,
            method: needed(self.method, "method")?,
            timeout,
            retries,
            attempt,
            key,
            within,
            from: String::new(),
        })
    }
}

/// A line of which nothing is known but how far it goes.
#[derive(Deserialize)]
struct Novelty<'a> {
    #[serde(rename = "type", default, borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    payload: u64,
}

fn needed<T>(member: Option<T>, name: &'static str) -> serde_json::Result<T> {
    member.ok_or_else(|| serde_json::Error::missing_field(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(messages: &mut HostMessages, bytes: &[u8]) -> Result<Vec<FromHost>, HostError> {
        messages.buffer(bytes.len()).extend_from_slice(bytes);
        std::iter::from_fn(|| messages.next_message().transpose()).collect()
    }

    fn take(text: &str) -> Vec<FromHost> {
        all(&mut HostMessages::new(1000), text.as_bytes()).unwrap()
    }

    fn payload(text: &'static str) -> Payload {
        Payload { bytes: Bytes::from_static(text.as_bytes()), json: None }
    }

    #[test]
    fn a_host_says_what_the_document_lists() {
        let thrown = || Thrown { name: "E".into(), message: "m".into(), stack: "s".into() };
        let error = r#""error":{"name":"E","message":"m","stack":"s"}"#;
        let started = |methods: &[&str], health| FromHost::Started {
            methods: methods.iter().map(|&method| method.into()).collect(),
            health,
        };
        let service = |message| FromHost::Service(message, Payload::default());
        let (event, group) = ("user.*".to_owned(), Some("g".to_owned()));
        let call = Call { id: 7, service: "db".into(), method: "a.get".into(), ..Call::default() };
        let whole = Call {
            timeout: Some(5),
            retries: -1,
            attempt: Some(2),
            key: Some("k".into()),
            within: Some(3),
            ..call.clone()
        };
        for (line, message) in [
            (
                r#"{"type":"started","methods":["a","b.c"],"health":true}"#.to_owned(),
                started(&["a", "b.c"], true),
            ),
            (r#"{"type":"started"}"#.into(), started(&[], false)),
            (format!(r#"{{"type":"failed",{error}}}"#), FromHost::Failed(thrown())),
            (format!(r#"{{"type":"exception",{error}}}"#), FromHost::Exception(thrown())),
            (r#"{"type":"health","id":7,"failure":null}"#.into(), FromHost::Health { id: 7, failure: None }),
            (r#"{"type":"close","since":"later"}"#.into(), FromHost::Close),
            (
                r#"{"type":"call","id":7,"service":"db","method":"a.get"}"#.into(),
                service(FromService::Call(call.clone())),
            ),
            (
                r#"{"type":"call","id":7,"service":"db","method":"a.get","timeout":5,"retries":-1,"attempt":2,"key":"k","within":3}"#.into(),
                service(FromService::Call(whole)),
            ),
            (
                r#"{"type":"send","id":7,"service":"db","method":"a.get"}"#.into(),
                service(FromService::Send(call)),
            ),
            (
                r#"{"type":"emit","id":1,"event":"user.*"}"#.into(),
                service(FromService::Emit { id: 1, event: event.clone() }),
            ),
            (r#"{"type":"cancel","id":1}"#.into(), service(FromService::Cancel { id: 1 })),
            (r#"{"type":"credit","id":1,"items":4}"#.into(), service(FromService::Credit { id: 1, items: 4 })),
            (
                r#"{"type":"subscribe","id":1,"event":"user.*","group":"g"}"#.into(),
                service(FromService::Subscribe { id: 1, event: event.clone(), group: group.clone() }),
            ),
            (
                r#"{"type":"unsubscribe","id":1,"event":"user.*","group":"g"}"#.into(),
                service(FromService::Unsubscribe { id: 1, event, group }),
            ),
            (r#"{"type":"taken","events":2}"#.into(), service(FromService::Taken { events: 2 })),
            (r#"{"type":"reply","id":1}"#.into(), service(FromService::Reply { id: 1 })),
            (r#"{"type":"stream","id":1}"#.into(), service(FromService::Stream { id: 1 })),
            (r#"{"type":"item","id":1}"#.into(), service(FromService::Item { id: 1 })),
            (r#"{"type":"end","id":1}"#.into(), service(FromService::End { id: 1 })),
            (
                format!(r#"{{"type":"error","id":1,"code":"timeout",{error}}}"#),
                service(FromService::Error { id: 1, error: thrown(), code: Some("timeout".into()) }),
            ),
            (
                r#"{"type":"get-config","id":1,"name":"n"}"#.into(),
                service(FromService::GetConfig { id: 1, name: "n".into() }),
            ),
            (
                r#"{"type":"set-config","id":1,"name":"n"}"#.into(),
                service(FromService::SetConfig { id: 1, name: "n".into() }),
            ),
            (r#"{"type":"watch-config","id":1}"#.into(), service(FromService::WatchConfig { id: 1 })),
            (r#"{"type":"create-child","id":1}"#.into(), service(FromService::CreateChild { id: 1 })),
            (
                r#"{"type":"close-child","id":1,"service":"a/b"}"#.into(),
                service(FromService::CloseChild { id: 1, service: "a/b".into() }),
            ),
        ] {
            assert_eq!(take(&format!("{line}\n")), [message], "{line}");
        }
    }

    #[test]
    fn what_is_not_known_is_passed_over_with_its_payload() {
        for line in [
            r#"{"type":"dance","id":1}"#,
            r#"{"type":"dance","id":"of another kind","payload":3}"#,
            r#"{"type":"close","id":1,"payload":3}"#,
            "{}",
            "",
            " ",
        ] {
            let skipped = if line.contains("payload") { "a\nb" } else { "" };
            let said = take(&format!("{line}\n{skipped}{{\"type\":\"close\"}}\n"));
            assert_eq!(said.last(), Some(&FromHost::Close), "{line}");
            assert!(said.len() == 1 || line.contains("close"), "{line}: {said:?}");
        }
    }

    #[test]
    fn messages_are_the_same_however_they_are_cut() {
        let text = "{\"type\":\"x\",\"payload\":9}\nnot\njson\n\n{\"type\":\"close\"}\n\
                    {\"type\":\"reply\",\"id\":1,\"payload\":4}\n[\n1]{\"type\":\"taken\",\"events\":2}\n";
        let whole = [
            FromHost::Close,
            FromHost::Service(FromService::Reply { id: 1 }, payload("[\n1]")),
            FromHost::Service(FromService::Taken { events: 2 }, Payload::default()),
        ];
        for cut in 0..text.len() {
            let mut messages = HostMessages::new(1000);
            let mut cut_up = all(&mut messages, &text.as_bytes()[..cut]).unwrap();
            cut_up.extend(all(&mut messages, &text.as_bytes()[cut..]).unwrap());
            assert_eq!(cut_up, whole, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_too_long_is_not_kept_and_its_asker_is_told() {
        let long =
            |kind: &str| format!("{{\"type\":\"{kind}\",\"id\":7,\"payload\":1001}}\n{}", "x".repeat(1001));
        let call = long(r#"call","service":"a","method":"b"#);
        let said = take(&(call + &long("reply") + "{\"type\":\"close\"}\n"));
        let [FromHost::TooLong(told), FromHost::Service(answer, _), FromHost::Close] = said.as_slice() else {
            panic!("{said:?}");
        };
        let message = "the message has 1001 bytes, where limits.message allows 1000";
        let code = Some("too-large".to_owned());
        let error = Fault { code: code.clone(), message: message.into(), ..Fault::default() };
        assert_eq!(*told, ToService::Error { id: 7, error });
        let error = Thrown { message: format!("its answer: {message}"), ..Thrown::default() };
        assert_eq!(*answer, FromService::Error { id: 7, error, code });
    }

    #[test]
    fn what_breaks_a_rule_is_said_and_not_kept() {
        let error = |text: &str| {
            let error = all(&mut HostMessages::new(1000), text.as_bytes()).unwrap_err();
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            (error.to_string(), source)
        };
        let not_understood = |source: &str| ("host protocol: line not understood".into(), source.into());
        assert_eq!(error("hello\n"), not_understood("expected value at line 1 column 1"));
        assert_eq!(error("{\"type\":\"reply\"}\n"), not_understood("missing field `id`"));
        assert_eq!(error("{\"type\":\"call\",\"id\":1}\n"), not_understood("missing field `service`"));
        assert!(error("[1]\n").0.ends_with("not understood"));
        assert!(error("{\"type\":\"reply\",\"id\":\"1\"}\n").1.starts_with("invalid type"));
        assert_eq!(error(&"x".repeat(LONGEST_LINE + 1)).0, "host protocol: line longer than 1048576 bytes");
        let key = "k".repeat(LONGEST_HEADER);
        let long =
            format!("{{\"type\":\"call\",\"id\":1,\"service\":\"a\",\"method\":\"b\",\"key\":\"{key}\"}}\n");
        assert_eq!(
            error(&long).0,
            format!(
                "host protocol: a line for other services of {} bytes, where at most 65536 are allowed",
                long.len() - 1
            )
        );
        assert_eq!(
            error("{\"type\":\"reply\",\"id\":1,\"payload\":2,\"json\":3}\n").0,
            "host protocol: a payload of 2 bytes, of which 3 are JSON"
        );
    }

    #[test]
    fn a_long_message_leaves_no_long_buffer_behind() {
        let mut messages = HostMessages::new(LONGEST_PAYLOAD);
        let long = "{\"type\":\"reply\",\"id\":1,\"payload\":1000000}\n".to_owned() + &"x".repeat(1_000_000);
        let said = all(&mut messages, long.as_bytes()).unwrap();
        assert!(matches!(&*said, [FromHost::Service(_, payload)] if payload.bytes.len() == 1_000_000));
        drop(said);
        assert!(messages.buffer(100).capacity() < 1000);
    }

    #[test]
    fn what_a_host_is_told_is_a_line() {
        assert_eq!(ToHost::Close.line(), b"{\"type\":\"close\"}\n");
        assert_eq!(ToHost::Health { id: 3 }.line(), b"{\"type\":\"health\",\"id\":3}\n");
    }
}
