//! What a js process and its `js-io` say to each other, over a pair of stream sockets that each start has for itself: a
//! line of JSON, then as many raw bytes as the line announces.
//!
//! The js process runs a service's code, so each line and each payload has a limit, and a [`Decoder`] keeps no more than
//! one message. What does not keep to that is [`Malformed`], and the end of the conversation.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The descriptor of `js-io` through which it is asked; the js process has the other end behind the host protocol's.
pub(crate) const DESCRIPTOR: i32 = 4;

/// How many requests may be without an answer. Who asks more at one time is not what it should be.
pub(crate) const IN_FLIGHT: usize = 16;

/// The longest payload, in bytes: a file, or the body of a request or a response.
pub(crate) const LONGEST_PAYLOAD: u64 = 64 << 20;

/// The longest line, in bytes.
const LONGEST_LINE: usize = 1 << 20;

/// The first line that a js process finds, written by its runner before either end runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Greeting {
    /// Whether there is anything that it may connect to.
    pub(crate) fetch: bool,
}

/// Something that a js process wants done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// The bytes of a file.
    Read { path: String },
    /// Makes a file of the payload, in the place of the one that is there.
    Write { path: String },
    /// The names in a folder, as a JSON list in the payload.
    List { path: String },
    /// Removes a file or an empty folder.
    Remove { path: String },
    /// What there is: [`Done::Stat`].
    Stat { path: String },
    /// Makes a folder in one that is there.
    MakeFolder { path: String },
    /// An HTTP request, with the payload as its body.
    Fetch { method: String, url: String, headers: Vec<(String, String)> },
    /// Nobody waits for the answer to this fetch any more. It comes all the same.
    Abort { fetch: u64 },
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Done {
    /// It is done; what was asked for is in the payload.
    Plain,
    /// What there is at a path. Sizes in bytes, times in milliseconds since 1970.
    Stat { kind: FileKind, size: u64, modified: i64 },
    /// An HTTP response, with its body in the payload.
    Response { status: u16, url: String, headers: Vec<(String, String)> },
    /// It could not be done.
    Failed(Failure),
}

/// What can be at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FileKind {
    File,
    Folder,
    Link,
    Other,
}

/// Why something could not be done, for the code that asked: what it catches is an `Error` with this `code`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// `denied`, `limit`, `timeout` and the like, or the system's own name such as `ENOENT`.
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

/// A message with its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message<T> {
    /// The asker's number, which comes back in the answer.
    pub(crate) id: u64,
    pub(crate) what: T,
    pub(crate) payload: Vec<u8>,
}

/// A line, as it is written.
#[derive(Serialize, Deserialize)]
struct Line<T> {
    id: u64,
    payload: u64,
    what: T,
}

/// The line that comes before a payload of this length.
pub(crate) fn line<T: Serialize>(id: u64, what: &T, payload: usize) -> Vec<u8> {
    let mut line = serde_json::to_vec(&Line { id, payload: payload as u64, what }).unwrap_or_default();
    line.push(b'\n');
    line
}

/// What a conversation may not hold.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("line longer than {LONGEST_LINE} bytes")]
    LongLine,
    #[error("payload of {0} bytes, where at most {LONGEST_PAYLOAD} are allowed")]
    LongPayload(u64),
    #[error("line not understood")]
    Line(#[source] serde_json::Error),
    #[error("more than {IN_FLIGHT} requests without an answer")]
    InFlight,
}

/// Bytes on their way to messages.
#[derive(Debug)]
pub(crate) struct Decoder<T> {
    line: Vec<u8>,
    /// A message whose payload is not complete, and how many bytes of it are missing.
    begun: Option<(Message<T>, usize)>,
}

impl<T> Default for Decoder<T> {
    fn default() -> Self {
        Self { line: Vec::new(), begun: None }
    }
}

impl<T: DeserializeOwned> Decoder<T> {
    /// Takes the next bytes; answers with the messages that they complete.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> Result<Vec<Message<T>>, Malformed> {
        let mut messages = Vec::new();
        loop {
            if let Some((mut message, missing)) = self.begun.take() {
                let (part, rest) = bytes.split_at(missing.min(bytes.len()));
                message.payload.extend_from_slice(part);
                bytes = rest;
                if part.len() < missing {
                    self.begun = Some((message, missing - part.len()));
                    return Ok(messages);
                }
                messages.push(message);
            }
            let end = bytes.iter().position(|&byte| byte == b'\n');
            let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            if self.line.len() + part.len() > LONGEST_LINE {
                return Err(Malformed::LongLine);
            }
            self.line.extend_from_slice(part);
            let Some((_, rest)) = rest.split_first() else { return Ok(messages) };
            bytes = rest;
            self.begun = Some(self.finish_line()?);
        }
    }

    fn finish_line(&mut self) -> Result<(Message<T>, usize), Malformed> {
        let line: Line<T> = serde_json::from_slice(&self.line).map_err(Malformed::Line)?;
        self.line.clear();
        let missing = usize::try_from(line.payload).ok().filter(|_| line.payload <= LONGEST_PAYLOAD);
        let missing = missing.ok_or(Malformed::LongPayload(line.payload))?;
        Ok((Message { id: line.id, what: line.what, payload: Vec::new() }, missing))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn take(bytes: &[u8]) -> Result<Vec<Message<Request>>, Malformed> {
        Decoder::default().take(bytes)
    }

    #[test]
    fn messages_are_the_same_however_they_are_cut() {
        let write = Request::Write { path: "/a".into() };
        let stat = Request::Stat { path: "/b".into() };
        let bytes =
            [line(1, &write, 5), b"a\nb\n\n".to_vec(), line(2, &stat, 0), line(3, &write, 0)].concat();
        let whole = take(&bytes).unwrap();
        let expected = [(1, &write, &b"a\nb\n\n"[..]), (2, &stat, b""), (3, &write, b"")];
        let seen: Vec<_> = whole.iter().map(|m| (m.id, &m.what, &*m.payload)).collect();
        assert_eq!(seen, expected);
        for cut in 0..bytes.len() {
            let mut decoder = Decoder::default();
            let mut cut_up = decoder.take(&bytes[..cut]).unwrap();
            cut_up.extend(decoder.take(&bytes[cut..]).unwrap());
            assert_eq!(cut_up, whole, "cut at {cut}");
        }
    }

    /// A good conversation with some of its bytes changed, or anything at all.
    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let good = [
            line(1, &Request::Write { path: "/a".into() }, 3),
            b"a\nb".to_vec(),
            line(2, &Request::Abort { fetch: 1 }, 0),
        ];
        let change = (any::<prop::sample::Index>(), any::<u8>());
        let changed = vec(change, 0..4).prop_map(move |changes| {
            let mut bytes = good.concat();
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes
        });
        prop_oneof![changed, vec(any::<u8>(), 0..256)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn whatever_comes_is_understood_or_refused_however_it_is_cut(bytes in hostile(), at in any::<prop::sample::Index>()) {
            let (first, second) = bytes.split_at(at.index(bytes.len() + 1));
            let mut decoder = Decoder::<Request>::default();
            let cut = decoder.take(first).and_then(|mut messages| {
                messages.extend(decoder.take(second)?);
                Ok(messages)
            });
            match (take(&bytes), cut) {
                (Ok(whole), Ok(cut)) => prop_assert_eq!(whole, cut),
                (whole, cut) => prop_assert!(whole.is_err() && cut.is_err()),
            }
        }
    }

    #[test]
    fn what_breaks_a_rule_is_said_and_not_kept() {
        let long = format!(
            "{{\"id\":1,\"payload\":{},\"what\":{{\"do\":\"write\",\"path\":\"/a\"}}}}\n",
            (64 << 20) + 1
        );
        assert!(matches!(take(long.as_bytes()), Err(Malformed::LongPayload(_))));
        assert!(matches!(take(&vec![b' '; LONGEST_LINE + 1]), Err(Malformed::LongLine)));
        for wrong in [
            "\n",
            "hello\n",
            "{\"id\":1}\n",
            "{\"id\":-1,\"payload\":0,\"what\":{\"do\":\"read\",\"path\":\"/a\"}}\n",
            "{\"id\":1,\"payload\":0,\"what\":{\"do\":\"execute\",\"path\":\"/a\"}}\n",
            "{\"id\":1,\"payload\":0,\"what\":{\"do\":\"read\",\"path\":\"/a\",\"mode\":4095}}\n",
            "{\"id\":1,\"payload\":0,\"what\":{\"do\":\"read\",\"path\":[1]}}\n",
        ] {
            assert!(matches!(take(wrong.as_bytes()), Err(Malformed::Line(_))), "{wrong}");
        }
    }
}
