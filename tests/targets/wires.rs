//! What comes over the wires: messages of a connection, packets of the gateway and the keeper, lines of a host.

use bytes::Bytes;
use orchestrator_core::permissions::Endpoint;
use orchestrator_port::gateway::{FromGateway, ToGateway};
use orchestrator_port::keeper::{FromKeeper, ToKeeper};
use orchestrator_port::launch::Ticket;
use orchestrator_port::message::control::{FromRemote, ToRemote};
use orchestrator_port::message::service::{FromService, ToService};
use orchestrator_port::{Frame, Spoken};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host_messages::{FromHost, HostMessages};

/// The longest payload that the host may send.
const LONGEST: u64 = 100;

/// A message of a connection.
pub(crate) fn messages(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let Ok(frame) = Frame::decode(bytes.clone()) else { return };
    assert_eq!(frame.encode(), bytes, "a frame is what was sent");
    assert_eq!(frame.check(), Ok(()), "what is taken could have been sent");
    of_one_family::<FromRemote, FromService>(&frame);
    of_one_family::<ToRemote, ToService>(&frame);
    said_again::<FromRemote>(&frame.header);
    said_again::<ToRemote>(&frame.header);
    said_again::<FromService>(&frame.header);
    said_again::<ToService>(&frame.header);
}

/// The families never mix.
fn of_one_family<A: Spoken, B: Spoken>(frame: &Frame) {
    assert!(frame.parse::<A>().is_err() || frame.parse::<B>().is_err());
}

/// A packet between a runner and the gateway.
pub(crate) fn gateway(bytes: &[u8]) {
    said_again::<FromGateway>(bytes);
    said_again::<ToGateway>(bytes);
    let Ok(ToGateway::Open { to }) = serde_json::from_slice(bytes) else { return };
    if let Ok(endpoint) = to.parse::<Endpoint>() {
        assert_eq!(endpoint.to_string().parse(), Ok(endpoint), "it is written as it is read");
    }
}

/// A packet between the orchestrator and its keeper, and what a runner is told at its start.
pub(crate) fn keeper(bytes: &[u8]) {
    said_again::<FromKeeper>(bytes);
    said_again::<ToKeeper>(bytes);
    said_again::<Ticket>(bytes);
    if let Ok(ticket) = serde_json::from_slice::<Ticket>(bytes)
        && let Ok(token) = ticket.token()
    {
        assert_eq!(token.to_hex(), ticket.token.to_lowercase(), "a token is what its digits say");
    }
}

/// What is understood is said in the same words again.
fn said_again<M: DeserializeOwned + Serialize>(bytes: &[u8]) {
    let Ok(message) = serde_json::from_slice::<M>(bytes) else { return };
    let said = serde_json::to_vec(&message).expect("it is plain data");
    let heard = serde_json::from_slice::<M>(&said).expect("what is said is understood");
    assert_eq!(serde_json::to_vec(&heard).expect("it is plain data"), said);
}

/// What a host says. The first byte tells where its bytes are cut.
pub(crate) fn host(bytes: &[u8]) {
    let Some((&cut, bytes)) = bytes.split_first() else { return };
    let whole = hear(&[bytes]);
    let (first, second) = bytes.split_at(usize::from(cut).min(bytes.len()));
    assert_eq!(hear(&[first, second]), whole, "messages are the same however they are cut");
}

/// What is heard, and none where a rule was broken.
fn hear(pieces: &[&[u8]]) -> Option<Vec<FromHost>> {
    let mut messages = HostMessages::new(Some(LONGEST));
    let heard: Result<Vec<_>, _> = pieces.iter().map(|piece| messages.take(piece)).collect();
    let heard = heard.ok()?.concat();
    for message in &heard {
        if let FromHost::Service(frame) | FromHost::TooLong(frame) = message {
            assert_eq!(frame.check(), Ok(()), "it can be carried on");
            assert!(frame.payload.len() as u64 <= LONGEST, "{message:?}");
        }
    }
    Some(heard)
}
