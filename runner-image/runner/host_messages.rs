//! The runner's side of `docs/host-protocol.md`, as data: what a host says, taken from its bytes, and what it is told.
//! Whatever a service writes into the descriptor, this neither fails in another way than by saying so nor keeps more
//! than one line.

use bytes::Bytes;
use orchestrator_port::message::control::Thrown;
use orchestrator_port::message::service::{Fault, FromService, Payload, ToService};
use orchestrator_port::{Family, Frame, LONGEST_HEADER, LONGEST_PAYLOAD};
use serde::{Deserialize, Serialize};

/// The longest line, in bytes.
const LONGEST_LINE: usize = 1024 * 1024;

/// The types that are for other services. They are carried on as they are.
const SERVICE: [&str; 18] = [
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

/// What a host says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum FromHost {
    Started {
        #[serde(default)]
        methods: Vec<String>,
        #[serde(default)]
        health: bool,
    },
    Failed {
        error: Thrown,
    },
    Exception {
        error: Thrown,
    },
    Health {
        id: u64,
        #[serde(default)]
        failure: Option<String>,
    },
    Close,
    /// Something for other services.
    #[serde(skip)]
    Service(Frame),
    /// Something that was too long to be sent; what its asker is to be told.
    #[serde(skip)]
    TooLong(Frame),
    #[serde(other)]
    Unknown,
}

/// What a host is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum ToHost {
    Health { id: u64 },
    Close,
}

/// What a host must not do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostError {
    #[error("host protocol: line longer than {LONGEST_LINE} bytes")]
    LongLine,
    #[error(
        "host protocol: a line for other services of {0} bytes, where at most {LONGEST_HEADER} are allowed"
    )]
    LongHeader(usize),
    #[error("host protocol: line not understood")]
    Line(#[source] serde_json::Error),
}

/// The bytes of a host, on their way to messages.
#[derive(Debug)]
pub(crate) struct HostMessages {
    /// A line that has begun.
    line: Vec<u8>,
    /// How much of a payload is still to come and is skipped.
    skipped: u64,
    /// A message for other services whose payload is not complete.
    begun: Option<Begun>,
    /// The longest payload that is carried on.
    longest: u64,
}

/// A message whose payload is still coming.
#[derive(Debug)]
struct Begun {
    header: Bytes,
    payload: Vec<u8>,
    left: usize,
}

/// The members that say what a message is and how far it goes.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", default, borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(default)]
    id: u64,
    #[serde(default)]
    payload: u64,
}

impl ToHost {
    /// Its line.
    pub(crate) fn line(self) -> Vec<u8> {
        let mut line = serde_json::to_vec(&self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

impl HostMessages {
    /// Of a host that may send payloads of so many bytes.
    pub(crate) fn new(longest: Option<u64>) -> Self {
        let longest = longest.unwrap_or(u64::MAX).min(LONGEST_PAYLOAD as u64);
        Self { line: Vec::new(), skipped: 0, begun: None, longest }
    }

    /// Takes the next bytes; answers with the messages that they complete.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> Result<Vec<FromHost>, HostError> {
        let mut messages = Vec::new();
        while !bytes.is_empty() {
            bytes = self.take_payload(bytes, &mut messages);
            let end = bytes.iter().position(|&byte| byte == b'\n');
            let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            if self.line.len() + part.len() > LONGEST_LINE {
                return Err(HostError::LongLine);
            }
            self.line.extend_from_slice(part);
            bytes = rest;
            if end.is_some() {
                bytes = &bytes[1..];
                messages.extend(self.finish_line()?);
            }
        }
        Ok(messages)
    }

    /// Takes what belongs to a payload; answers with the rest.
    fn take_payload<'a>(&mut self, bytes: &'a [u8], messages: &mut Vec<FromHost>) -> &'a [u8] {
        let skipped = usize::try_from(self.skipped).map_or(bytes.len(), |left| left.min(bytes.len()));
        self.skipped -= skipped as u64;
        let bytes = &bytes[skipped..];
        let Some(begun) = &mut self.begun else { return bytes };
        let (part, rest) = bytes.split_at(begun.left.min(bytes.len()));
        begun.payload.extend_from_slice(part);
        begun.left -= part.len();
        if begun.left == 0
            && let Some(Begun { header, payload, .. }) = self.begun.take()
        {
            messages.push(FromHost::Service(Frame {
                family: Family::Service,
                header,
                payload: payload.into(),
            }));
        }
        rest
    }

    fn finish_line(&mut self) -> Result<Option<FromHost>, HostError> {
        let line = std::mem::take(&mut self.line);
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        let head: Head<'_> = serde_json::from_slice(&line).map_err(HostError::Line)?;
        let (id, payload) = (head.id, head.payload);
        if !SERVICE.contains(&&*head.kind) {
            self.skipped = payload;
            return Ok(Some(serde_json::from_slice(&line).map_err(HostError::Line)?));
        }
        if line.len() > LONGEST_HEADER {
            return Err(HostError::LongHeader(line.len()));
        }
        if payload > self.longest {
            self.skipped = payload;
            let answers = matches!(&*head.kind, "reply" | "item");
            return Ok(Some(self.too_long(id, payload, answers)));
        }
        let header = Bytes::from(line);
        if payload == 0 {
            let payload = Bytes::new();
            return Ok(Some(FromHost::Service(Frame { family: Family::Service, header, payload })));
        }
        let left = usize::try_from(payload).unwrap_or(usize::MAX);
        // What is announced is believed when it comes.
        let payload = Vec::with_capacity(left.min(LONGEST_LINE));
        self.begun = Some(Begun { header, payload, left });
        Ok(None)
    }

    /// What is said instead of a message that is too long: to who waits for an answer, or to the host that asked.
    fn too_long(&self, id: u64, payload: u64, answers: bool) -> FromHost {
        let longest = self.longest;
        let message = format!("the message has {payload} bytes, where limits.message allows {longest}");
        let code = Some("too-large".to_owned());
        if answers {
            let error = Fault { message: format!("its answer: {message}"), ..Fault::default() };
            let said = FromService::Error { id, error, code };
            return FromHost::Service(Frame::service(&said, Payload::default()));
        }
        let error = Fault { code, message, ..Fault::default() };
        FromHost::TooLong(Frame::service(&ToService::Error { id, error }, Payload::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(text: &str) -> Vec<FromHost> {
        HostMessages::new(Some(1000)).take(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_host_says_what_the_document_lists() {
        let thrown = Thrown { name: "E".into(), message: "m".into(), stack: "s".into() };
        let started = |methods: &[&str], health| FromHost::Started {
            methods: methods.iter().map(|&method| method.into()).collect(),
            health,
        };
        for (line, message) in [
            (r#"{"type":"started","methods":["a","b.c"],"health":true}"#, started(&["a", "b.c"], true)),
            (r#"{"type":"started"}"#, started(&[], false)),
            (
                r#"{"type":"failed","error":{"name":"E","message":"m","stack":"s"}}"#,
                FromHost::Failed { error: thrown.clone() },
            ),
            (
                r#"{"type":"exception","error":{"name":"E","message":"m","stack":"s"}}"#,
                FromHost::Exception { error: thrown },
            ),
            (r#"{"type":"health","id":7,"failure":null}"#, FromHost::Health { id: 7, failure: None }),
            (r#"{"type":"close","since":"later"}"#, FromHost::Close),
            (r#"{"type":"dance","id":1}"#, FromHost::Unknown),
        ] {
            assert_eq!(take(&format!("{line}\n")), [message], "{line}");
        }
    }

    #[test]
    fn messages_are_the_same_however_they_are_cut() {
        let text =
            "{\"type\":\"x\",\"payload\":9}\nnot\njson\n\n{\"type\":\"close\"}\n{\"type\":\"started\"}\n";
        let whole = take(text);
        assert_eq!(whole.len(), 3);
        for cut in 0..text.len() {
            let mut messages = HostMessages::new(Some(1000));
            let mut cut_up = messages.take(&text.as_bytes()[..cut]).unwrap();
            cut_up.extend(messages.take(&text.as_bytes()[cut..]).unwrap());
            assert_eq!(cut_up, whole, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_for_other_services_is_carried_on_as_it_is_however_it_is_cut() {
        let text = "{\"type\":\"call\",\"id\":1,\"payload\":4}\n[\n1]{\"type\":\"taken\",\"events\":2}\n";
        let frame = |header: &'static str, payload: &'static str| {
            let (header, payload) =
                (Bytes::from_static(header.as_bytes()), Bytes::from_static(payload.as_bytes()));
            FromHost::Service(Frame { family: Family::Service, header, payload })
        };
        let whole = [
            frame("{\"type\":\"call\",\"id\":1,\"payload\":4}", "[\n1]"),
            frame("{\"type\":\"taken\",\"events\":2}", ""),
        ];
        for cut in 0..text.len() {
            let mut messages = HostMessages::new(None);
            let mut cut_up = messages.take(&text.as_bytes()[..cut]).unwrap();
            cut_up.extend(messages.take(&text.as_bytes()[cut..]).unwrap());
            assert_eq!(cut_up, whole, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_too_long_is_not_kept_and_its_asker_is_told() {
        let long =
            |kind: &str| format!("{{\"type\":\"{kind}\",\"id\":7,\"payload\":1001}}\n{}", "x".repeat(1001));
        let said = take(&(long("call") + &long("reply") + "{\"type\":\"close\"}\n"));
        let [FromHost::TooLong(told), FromHost::Service(answer), FromHost::Close] = said.as_slice() else {
            panic!("{said:?}");
        };
        let header = |frame: &Frame| String::from_utf8(frame.header.to_vec()).unwrap();
        let message = "the message has 1001 bytes, where limits.message allows 1000";
        assert_eq!(
            header(told),
            format!(r#"{{"type":"error","id":7,"error":{{"code":"too-large","message":"{message}"}}}}"#)
        );
        assert_eq!(
            header(answer),
            format!(
                r#"{{"type":"error","id":7,"error":{{"message":"its answer: {message}"}},"code":"too-large"}}"#
            )
        );
    }

    #[test]
    fn what_breaks_a_rule_is_said_and_not_kept() {
        let error = |text: &str| HostMessages::new(Some(1000)).take(text.as_bytes()).unwrap_err();
        assert!(matches!(error("hello\n"), HostError::Line(_)));
        assert!(matches!(error("[1]\n"), HostError::Line(_)));
        assert!(matches!(error(&"x".repeat(LONGEST_LINE + 1)), HostError::LongLine));
        let long = format!("{{\"type\":\"call\",\"key\":\"{}\"}}\n", "k".repeat(LONGEST_HEADER));
        assert!(matches!(error(&long), HostError::LongHeader(_)));
    }

    #[test]
    fn what_a_host_is_told_is_a_line() {
        assert_eq!(ToHost::Close.line(), b"{\"type\":\"close\"}\n");
        assert_eq!(ToHost::Health { id: 3 }.line(), b"{\"type\":\"health\",\"id\":3}\n");
    }
}
