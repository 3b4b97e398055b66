//! What members of a fabric and attached programs say, taken from its bytes. Whatever they write, this neither fails in
//! another way than by saying so nor keeps more than one message.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::{Buf, Bytes, BytesMut};
use serde::Deserialize;
use serde::de::Error as _;

use crate::message::control::Thrown;
use crate::message::link::{Beat, Event, FromOutside, Hears, Offer, OfferedService};
use crate::message::service::{Call, Fault, FromService, LONGEST_PAYLOAD, Payload};

/// The longest line, in bytes: an offer of many services is long.
const LONGEST_LINE: usize = 1024 * 1024;

/// What somebody outside must not do.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A line that does not end.
    #[error("a line longer than {LONGEST_LINE} bytes")]
    LongLine,
    /// Something else than a message.
    #[error("a line that is not understood")]
    Line(#[source] serde_json::Error),
    /// A message that contradicts itself, or is longer than any may be.
    #[error("a payload of {payload} bytes, of which {json} are JSON")]
    Extent {
        /// The payload's length.
        payload: u64,
        /// How much of it is said to be JSON.
        json: u64,
    },
    /// It ends in the middle of a message.
    #[error("it ends in the middle of a message")]
    Incomplete,
}

/// The bytes of somebody outside, on their way to messages.
#[derive(Debug, Default)]
pub struct LinkMessages {
    /// What has come and was not taken.
    received: BytesMut,
    /// How much of it is known to hold no end of a line.
    searched: usize,
    /// A message whose payload is not complete; none in it where nothing is known of it.
    begun: Option<(Option<FromOutside>, usize, Option<u64>)>,
}

impl LinkMessages {
    /// Those that are in these bytes: there will be no others.
    #[must_use]
    pub fn of(bytes: Bytes) -> Self {
        Self { received: BytesMut::from(bytes), ..Self::default() }
    }

    /// Where what comes is to be put, behind what is there: with room for `room` bytes.
    pub fn buffer(&mut self, room: usize) -> &mut BytesMut {
        self.received.reserve(room);
        &mut self.received
    }

    /// The next message that is complete.
    ///
    /// # Errors
    /// Where a rule is broken. Nothing more is to be asked for then.
    pub fn next_message(&mut self) -> Result<Option<(FromOutside, Payload)>, LinkError> {
        loop {
            if let Some((message, length, json)) =
                self.begun.take_if(|(_, length, _)| *length <= self.received.len())
            {
                let bytes = self.received.split_to(length).freeze();
                match message {
                    Some(message) => return Ok(Some((message, Payload { bytes, json }))),
                    None => continue,
                }
            }
            if self.begun.is_some() {
                return Ok(None);
            }
            let end = self.received[self.searched..].iter().position(|&byte| byte == b'\n');
            let length = self.searched + end.unwrap_or(self.received.len() - self.searched);
            if length > LONGEST_LINE {
                return Err(LinkError::LongLine);
            }
            if end.is_none() {
                self.searched = length;
                return Ok(None);
            }
            self.searched = 0;
            let begun = begin(&self.received[..length])?;
            self.received.advance(length + 1);
            self.begun = Some(begun);
        }
    }

    /// Whether everything that came was whole messages.
    ///
    /// # Errors
    /// Where it was not.
    pub fn finish(&self) -> Result<(), LinkError> {
        if self.received.is_empty() && self.begun.is_none() { Ok(()) } else { Err(LinkError::Incomplete) }
    }
}

/// The message of a line, the length of its payload, and how much of that is JSON.
fn begin(line: &[u8]) -> Result<(Option<FromOutside>, usize, Option<u64>), LinkError> {
    let line: Line<'_> = serde_json::from_slice(line).map_err(LinkError::Line)?;
    let (payload, json) = (line.payload, line.json);
    if payload > LONGEST_PAYLOAD || json.is_some_and(|json| json > payload) {
        return Err(LinkError::Extent { payload, json: json.unwrap_or(payload) });
    }
    let message = line.message().map_err(LinkError::Line)?;
    Ok((message, usize::try_from(payload).unwrap_or(usize::MAX), json))
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
    from: String,
    event: Option<String>,
    group: Option<String>,
    items: Option<u32>,
    events: Option<u32>,
    name: Option<String>,
    code: Option<String>,
    error: Option<Failure>,
    not_run: bool,
    v: u32,
    rev: u64,
    host: String,
    services: Vec<OfferedService>,
    hears: Vec<Hears>,
    load: BTreeMap<String, u32>,
    was: Option<String>,
    all: bool,
    groups: Vec<(String, String)>,
    granted: Vec<String>,
}

/// Why there is no result, as members and programs say it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Failure {
    code: Option<String>,
    message: String,
    service: String,
    method: String,
    name: String,
    stack: String,
}

impl Line<'_> {
    /// What it says, without its payload; none where nothing is known of it.
    fn message(self) -> serde_json::Result<Option<FromOutside>> {
        let id = || self.id.ok_or_else(|| serde_json::Error::missing_field("id"));
        let said = match &*self.kind {
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
            "error" => return self.error().map(Some),
            _ => return self.of_members(),
        };
        Ok(Some(FromOutside::Service(said)))
    }

    fn of_members(self) -> serde_json::Result<Option<FromOutside>> {
        let service = || self.service.clone().ok_or_else(|| serde_json::Error::missing_field("service"));
        let name = || self.name.clone().ok_or_else(|| serde_json::Error::missing_field("name"));
        let id = || self.id.ok_or_else(|| serde_json::Error::missing_field("id"));
        Ok(Some(match &*self.kind {
            "hello" => FromOutside::Hello { was: self.was },
            "offer" => FromOutside::Offer(Offer {
                v: self.v,
                rev: self.rev,
                name: needed(self.name, "name")?,
                kind: String::new(),
                host: self.host,
                timeout: self.timeout.unwrap_or_default(),
                services: self.services,
                hears: self.hears,
            }),
            "beat" => FromOutside::Beat(Beat { rev: self.rev, load: self.load }),
            "who" => FromOutside::Who,
            "bye" => FromOutside::Bye,
            "over" => FromOutside::Over,
            "event" => FromOutside::Event(Event {
                event: needed(self.event, "event")?,
                from: self.from,
                all: self.all,
                groups: self.groups,
                granted: self.granted,
            }),
            "config" => FromOutside::ConfigChanged { service: service()?, name: name()? },
            "get-config" => FromOutside::GetConfig { id: id()?, service: service()?, name: name()? },
            "set-config" => FromOutside::SetConfig { id: id()?, service: service()?, name: name()? },
            "watch-config" => FromOutside::WatchConfig { id: id()?, service: service()? },
            _ => return Ok(None),
        }))
    }

    /// A member puts the code into the error, a program beside it, as hosts do.
    fn error(self) -> serde_json::Result<FromOutside> {
        let id = needed(self.id, "id")?;
        let Failure { code, message, service, method, name, stack } = needed(self.error, "error")?;
        let code = code.or(self.code);
        if self.not_run {
            return Ok(FromOutside::NotRun {
                id,
                error: Fault { code, message, service, method, name, stack },
            });
        }
        let error = Thrown { name, message, stack };
        Ok(FromOutside::Service(FromService::Error { id, error, code }))
    }

    fn call(self) -> serde_json::Result<Call> {
        let Self { timeout, retries, attempt, key, within, from, .. } = self;
        Ok(Call {
            id: needed(self.id, "id")?,
            service: needed(self.service, "service")?,
            method: needed(self.method, "method")?,
            timeout,
            retries,
            attempt,
            key,
            within,
            from,
        })
    }
}

fn needed<T>(member: Option<T>, name: &'static str) -> serde_json::Result<T> {
    member.ok_or_else(|| serde_json::Error::missing_field(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::link::{MemberCall, ToMember};

    fn all(mut messages: LinkMessages) -> Result<Vec<(FromOutside, Payload)>, LinkError> {
        let read =
            std::iter::from_fn(|| messages.next_message().transpose()).collect::<Result<Vec<_>, _>>()?;
        messages.finish().map(|()| read)
    }

    fn read(text: &'static str) -> Result<Vec<(FromOutside, Payload)>, LinkError> {
        all(LinkMessages::of(Bytes::from_static(text.as_bytes())))
    }

    #[test]
    fn what_a_member_writes_another_one_reads() {
        let payload = Payload { bytes: Bytes::from_static(b"[1]xyz"), json: Some(3) };
        let call = MemberCall {
            id: 7,
            service: "catalog".into(),
            method: "get".into(),
            from: "web".into(),
            timeout: 5,
            key: Some("k".into()),
        };
        let offer = Offer {
            v: 1,
            rev: 3,
            name: "shop".into(),
            host: "h".into(),
            timeout: 6000,
            services: vec![OfferedService {
                name: "a".into(),
                replicas: 2,
                load: 1,
                methods: vec!["f".into()],
            }],
            hears: vec![Hears { service: "a".into(), event: "*".into(), group: Some("g".into()) }],
            ..Offer::default()
        };
        let event = Event {
            event: "e".into(),
            from: "web".into(),
            all: true,
            groups: vec![("a".into(), "g".into())],
            granted: vec!["a".into()],
        };
        let beat = Beat { rev: 3, load: [("a".to_owned(), 2)].into() };
        let fault = Fault { code: Some("overloaded".into()), message: "full".into(), ..Fault::default() };
        let none = Payload::default();
        let mut bytes = Vec::new();
        for (message, payload) in [
            (ToMember::Call(call), &payload),
            (ToMember::Offer(offer.clone()), &none),
            (ToMember::Event(event.clone()), &payload),
            (ToMember::Beat(beat.clone()), &none),
            (ToMember::Error { id: 7, error: fault.clone(), not_run: true }, &none),
            (ToMember::Hello { name: "shop".into(), was: Some("ab".into()) }, &none),
        ] {
            bytes.extend(message.line(payload));
            bytes.extend_from_slice(&payload.bytes);
        }
        let heard = all(LinkMessages::of(bytes.clone().into())).unwrap();
        let expected_call = Call {
            id: 7,
            service: "catalog".into(),
            method: "get".into(),
            timeout: Some(5),
            key: Some("k".into()),
            from: "web".into(),
            ..Call::default()
        };
        let expected = [
            (FromOutside::Service(FromService::Call(expected_call)), payload.clone()),
            (FromOutside::Offer(offer), none.clone()),
            (FromOutside::Event(event), payload),
            (FromOutside::Beat(beat), none.clone()),
            (FromOutside::NotRun { id: 7, error: fault }, none.clone()),
            (FromOutside::Hello { was: Some("ab".into()) }, none),
        ];
        assert_eq!(heard, expected);
        // However it comes in pieces.
        let mut messages = LinkMessages::default();
        let mut pieces = Vec::new();
        for byte in bytes {
            messages.buffer(1).extend_from_slice(&[byte]);
            pieces.extend(messages.next_message().unwrap());
        }
        assert_eq!(pieces, expected);
    }

    #[test]
    fn what_is_not_known_is_passed_over_with_its_payload() {
        let heard = read("{\"type\":\"new\",\"payload\":3}\nabc{\"type\":\"who\"}\n").unwrap();
        assert_eq!(heard, [(FromOutside::Who, Payload::default())]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, expected) in [
            ("nonsense\n", "a line that is not understood"),
            ("{\"type\":\"call\",\"id\":1}\n", "a line that is not understood"),
            (
                "{\"type\":\"reply\",\"id\":1,\"payload\":2,\"json\":3}\nab",
                "a payload of 2 bytes, of which 3 are JSON",
            ),
            (
                "{\"type\":\"reply\",\"id\":1,\"payload\":99999999999}\n",
                "a payload of 99999999999 bytes, of which 99999999999 are JSON",
            ),
            ("{\"type\":\"reply\",\"id\":1,\"payload\":2}\na", "it ends in the middle of a message"),
            ("{\"type\":\"who\"}", "it ends in the middle of a message"),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), expected, "{text}");
        }
        let long = LinkMessages::of(vec![b' '; LONGEST_LINE + 1].into());
        assert!(matches!(all(long), Err(LinkError::LongLine)));
    }
}
