//! Calls of the person who runs the project: from the command line, or from any program on the host that may use the
//! control API.

use orchestrator_core::routing::{Call, Code, Fault, LineId, Party, Said, Told};
use orchestrator_port::message::service::Payload;
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
    /// A value.
    Value(Payload),
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
            Told::Invoke { .. } | Told::Cancel { .. } | Told::Credit { .. } | Told::Event { .. } => return,
        };
        let _ = self.0.try_send(heard);
    }
}

impl Router {
    /// Calls a method for the person who runs the project.
    ///
    /// # Errors
    /// With why there is no answer.
    pub(crate) async fn call(&self, call: OperatorCall, payload: Payload) -> Result<Answer, Fault> {
        let OperatorCall { service, method, timeout, retries, key } = call;
        let call = Call { id: ONLY, service, method, timeout, retries, key, ..Call::default() };
        let mut wire = self.operator();
        wire.say(Said::Call(call), payload);
        match wire.heard.recv().await {
            Some(Heard::Value(value)) => Ok(Answer::Value(value)),
            Some(Heard::Streams) => Ok(Answer::Stream(Stream { wire })),
            Some(Heard::Fault(fault)) => Err(fault),
            Some(Heard::Item(_) | Heard::End) | None => Err(ended()),
        }
    }

    /// Tells an event to everybody who listens. Answers with how many that are.
    ///
    /// # Errors
    /// With why it was not told.
    pub(crate) async fn emit(&self, event: String, payload: Payload) -> Result<u64, Fault> {
        let mut wire = self.operator();
        wire.say(Said::Emit { id: ONLY, event }, payload);
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
    /// The next item; none when there are no more.
    ///
    /// # Errors
    /// With what was thrown instead of it.
    pub async fn next(&mut self) -> Result<Option<Payload>, Fault> {
        match self.wire.heard.recv().await {
            Some(Heard::Item(item)) => {
                self.wire.say(Said::Credit { id: ONLY, items: 1 }, Payload::default());
                Ok(Some(item))
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
