//! The runner's side of `docs/host-protocol.md`, as data: what a host says, taken from its bytes, and what it is told.
//! Whatever a service writes into the descriptor, this neither fails in another way than by saying so nor keeps more
//! than one line.

use orchestrator_port::message::control::Thrown;
use serde::{Deserialize, Serialize};

/// The longest line, in bytes.
const LONGEST_LINE: usize = 1024 * 1024;

/// The longest payload, in bytes.
const LONGEST_PAYLOAD: u64 = 16 * 1024 * 1024;

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
    #[error("host protocol: payload of {0} bytes, where at most {LONGEST_PAYLOAD} are allowed")]
    LongPayload(u64),
    #[error("host protocol: line not understood")]
    Line(#[source] serde_json::Error),
}

/// The bytes of a host, on their way to messages.
#[derive(Debug, Default)]
pub(crate) struct HostMessages {
    /// A line that has begun.
    line: Vec<u8>,
    /// How much of a payload is still to come. No message that has one is known, so it is skipped.
    payload: u64,
}

/// The members that say how far a message goes.
#[derive(Deserialize)]
struct Extent {
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
    /// Takes the next bytes; answers with the messages that they complete.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> Result<Vec<FromHost>, HostError> {
        let mut messages = Vec::new();
        while !bytes.is_empty() {
            let skipped = usize::try_from(self.payload).map_or(bytes.len(), |left| left.min(bytes.len()));
            self.payload -= skipped as u64;
            bytes = &bytes[skipped..];
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

    fn finish_line(&mut self) -> Result<Option<FromHost>, HostError> {
        let line = std::mem::take(&mut self.line);
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        let extent: Extent = serde_json::from_slice(&line).map_err(HostError::Line)?;
        if extent.payload > LONGEST_PAYLOAD {
            return Err(HostError::LongPayload(extent.payload));
        }
        self.payload = extent.payload;
        Ok(Some(serde_json::from_slice(&line).map_err(HostError::Line)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(text: &str) -> Vec<FromHost> {
        HostMessages::default().take(text.as_bytes()).unwrap()
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
            (r#"{"type":"call","id":1}"#, FromHost::Unknown),
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
            let mut messages = HostMessages::default();
            let mut cut_up = messages.take(&text.as_bytes()[..cut]).unwrap();
            cut_up.extend(messages.take(&text.as_bytes()[cut..]).unwrap());
            assert_eq!(cut_up, whole, "cut at {cut}");
        }
    }

    #[test]
    fn what_breaks_a_rule_is_said_and_not_kept() {
        let error = |text: &str| HostMessages::default().take(text.as_bytes()).unwrap_err();
        assert!(matches!(error("hello\n"), HostError::Line(_)));
        assert!(matches!(error("[1]\n"), HostError::Line(_)));
        assert!(matches!(error(&"x".repeat(LONGEST_LINE + 1)), HostError::LongLine));
        let long = format!("{{\"type\":\"x\",\"payload\":{}}}\n", LONGEST_PAYLOAD + 1);
        assert!(matches!(error(&long), HostError::LongPayload(_)));
    }

    #[test]
    fn what_a_host_is_told_is_a_line() {
        assert_eq!(ToHost::Close.line(), b"{\"type\":\"close\"}\n");
        assert_eq!(ToHost::Health { id: 3 }.line(), b"{\"type\":\"health\",\"id\":3}\n");
    }
}
