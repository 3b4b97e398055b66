//! Calls of the person who runs the project: from the command line, or from any program on the host that may use the
//! control API.

use bytes::Bytes;
use data_encoding::BASE64;
use orchestrator_core::routing::{Call, Code, Fault, LineId, Party, Said, Told};
use orchestrator_port::message::service::Payload;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::words::Parcel;
use super::{End, Router};

/// How many items of a stream wait for their reader: as many as there is credit for, with its beginning and its end.
const QUEUE: usize = 16;

/// What somebody outside of all services wants.
#[derive(Clone, Debug, Default)]
pub struct OperatorCall {
    /// Whose method.
    pub service: String,
    /// Which.
    pub method: String,
    /// How long it may take, in milliseconds; 60 s where nothing is said.
    pub timeout: Option<u64>,
    /// How often it may be tried again; less than 0: as often as there is time.
    pub retries: i64,
    /// Those with the same go to the same replica.
    pub key: Option<String>,
}

/// What a call came to.
#[derive(Debug)]
pub enum Answer {
    /// A value, as JSON. Bytes in it are `{"$bytes": "..."}`, in base64.
    Value(Bytes),
    /// Many, one after the other.
    Stream(Stream),
}

/// The items of a stream. Dropping it cancels what makes them.
#[derive(Debug)]
pub struct Stream {
    wire: OperatorLine,
}

/// What the Router tells such a line.
#[derive(Debug)]
pub(super) struct Listener(mpsc::Sender<Heard>);

#[derive(Debug)]
enum Heard {
    Value(Payload),
    Streams,
    Item(Payload),
    End,
    Fault(Fault),
}

/// A line for one call. Dropping it cancels the call.
#[derive(Debug)]
struct OperatorLine {
    router: Router,
    line: LineId,
    heard: mpsc::Receiver<Heard>,
}

/// The number of the one call of a line.
const ONLY: u64 = 1;

impl Listener {
    /// Nothing that a line is told can be too much: it has one call, and credit for fewer items than fit.
    pub(super) fn hear(&self, told: Told, parcel: Parcel) {
        let heard = match told {
            Told::Reply { .. } => Heard::Value(parcel.0),
            Told::Emitted { receivers, .. } => {
                Heard::Value(Payload { bytes: receivers.to_string().into(), json: None })
            }
            Told::Stream { .. } => Heard::Streams,
            Told::Item { .. } => Heard::Item(parcel.0),
            Told::End { .. } => Heard::End,
            Told::Error { fault, .. } => Heard::Fault(*fault),
            Told::Invoke { .. }
            | Told::Cancel { .. }
            | Told::Credit { .. }
            | Told::Event { .. }
            | Told::EventElsewhere { .. } => return,
        };
        let _ = self.0.try_send(heard);
    }
}

impl Router {
    /// Calls a method for the person who runs the project.
    ///
    /// # Errors
    /// With why there is no answer.
    pub(crate) async fn call(&self, call: OperatorCall, arguments: Bytes) -> Result<Answer, Fault> {
        let OperatorCall { service, method, timeout, retries, key } = call;
        let call = Call { id: ONLY, service, method, timeout, retries, key, ..Call::default() };
        let mut wire = self.operator();
        wire.say(Said::Call(call), Payload { bytes: arguments, json: None });
        match wire.heard.recv().await {
            Some(Heard::Value(value)) => Ok(Answer::Value(plain(value))),
            Some(Heard::Streams) => Ok(Answer::Stream(Stream { wire })),
            Some(Heard::Fault(fault)) => Err(fault),
            Some(Heard::Item(_) | Heard::End) | None => Err(ended()),
        }
    }

    /// Tells an event to everybody who listens. Answers with how many that are.
    ///
    /// # Errors
    /// With why it was not told.
    pub(crate) async fn emit(&self, event: String, data: Bytes) -> Result<u64, Fault> {
        let mut wire = self.operator();
        wire.say(Said::Emit { id: ONLY, event }, Payload { bytes: data, json: None });
        match wire.heard.recv().await {
            Some(Heard::Value(value)) => serde_json::from_slice(&value.bytes).map_err(|_| ended()),
            Some(Heard::Fault(fault)) => Err(fault),
            _ => Err(ended()),
        }
    }

    fn operator(&self) -> OperatorLine {
        let (sender, heard) = mpsc::channel(QUEUE);
        let mut state = self.state();
        let line = state.next_line();
        state.lines.insert(line, End::Operator(Listener(sender)));
        state.routing.connect(line, Party::Operator);
        drop(state);
        OperatorLine { router: self.clone(), line, heard }
    }
}

impl Stream {
    /// The next item, as JSON; none when there are no more.
    ///
    /// # Errors
    /// With what was thrown instead of it.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        match self.wire.heard.recv().await {
            Some(Heard::Item(item)) => {
                self.wire.say(Said::Credit { id: ONLY, items: 1 }, Payload::default());
                Ok(Some(plain(item)))
            }
            Some(Heard::End | Heard::Value(_)) => Ok(None),
            Some(Heard::Fault(fault)) => Err(fault),
            Some(Heard::Streams) | None => Err(ended()),
        }
    }
}

impl OperatorLine {
    fn say(&self, said: Said, payload: Payload) {
        self.router.act(|routing, now| routing.hear(now, self.line, said, Parcel(payload)));
    }
}

impl Drop for OperatorLine {
    fn drop(&mut self) {
        self.router.state().lines.remove(&self.line);
        self.router.act(|routing, now| routing.disconnect(now, self.line));
    }
}

fn ended() -> Fault {
    Fault::new(Code::Unavailable, "the project has ended")
}

/// A payload as plain JSON: bytes that stand behind it are put into it.
fn plain(payload: Payload) -> Bytes {
    let Payload { bytes, json } = payload;
    let Some(length) = json.and_then(|json| usize::try_from(json).ok()).filter(|json| *json <= bytes.len())
    else {
        return if bytes.is_empty() { Bytes::from_static(b"null") } else { bytes };
    };
    let behind = bytes.slice(length..);
    match serde_json::from_slice::<Value>(&bytes[..length]) {
        Ok(mut value) => {
            put_in(&mut value, &behind);
            value.to_string().into()
        }
        Err(_) => bytes.slice(..length),
    }
}

fn put_in(value: &mut Value, behind: &[u8]) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| put_in(item, behind)),
        Value::Object(members) => {
            let number = |value: &Value| usize::try_from(value.as_u64()?).ok();
            let extent = match members.get("$bytes").and_then(Value::as_array).map(Vec::as_slice) {
                Some([offset, length]) => number(offset).zip(number(length)),
                _ => None,
            };
            let part = extent.and_then(|(offset, length)| behind.get(offset..offset.checked_add(length)?));
            match part {
                Some(part) => *value = json!({ "$bytes": BASE64.encode(part) }),
                None => members.values_mut().for_each(|member| put_in(member, behind)),
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_put_into_the_json_for_people() {
        let json = r#"{"a":[{"$bytes":[0,2]},1],"b":{"$bytes":[2,9]}}"#;
        let bytes = Bytes::from([json.as_bytes(), &[1, 2, 3]].concat());
        let payload = Payload { bytes, json: Some(json.len() as u64) };
        let expected = r#"{"a":[{"$bytes":"AQI="},1],"b":{"$bytes":[2,9]}}"#;
        assert_eq!(plain(payload), expected);
        assert_eq!(plain(Payload::default()), "null");
        assert_eq!(plain(Payload { bytes: "[1]".into(), json: None }), "[1]");
    }
}
