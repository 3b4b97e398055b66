//! What comes over the wires: messages of a connection, packets of the gateway and the keeper, lines of a host and of somebody
//! outside, packets of a fabric.

use bytes::Bytes;
use orchestrator_core::permissions::Endpoint;
use orchestrator_port::gateway::{FromGateway, ToGateway};
use orchestrator_port::keeper::{FromKeeper, ToKeeper};
use orchestrator_port::launch::Ticket;
use orchestrator_port::message::control::{FromRemote, ToRemote};
use orchestrator_port::message::link::FromOutside;
use orchestrator_port::message::service::Payload;
use orchestrator_port::packet::{Header, Seal};
use orchestrator_port::{Frame, FromHost, HostMessages, LinkMessages};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest payload that the host may send.
const LONGEST: u64 = 100;

/// A message of a connection.
pub(crate) fn messages(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let Ok(frame) = Frame::decode(bytes.clone()) else { return };
    assert_eq!(frame.encode(), bytes, "a frame is what was sent");
    assert_eq!(frame.check(), Ok(()), "what is taken could have been sent");
    said_again::<FromRemote>(&frame.header);
    said_again::<ToRemote>(&frame.header);
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
    let mut messages = HostMessages::new(LONGEST);
    let mut heard = Vec::new();
    for piece in pieces {
        messages.buffer(piece.len()).extend_from_slice(piece);
        while let Some(message) = messages.next_message().ok()? {
            heard.push(message);
        }
    }
    for message in &heard {
        if let FromHost::Service(_, payload) = message {
            let length = payload.bytes.len() as u64;
            assert!(length <= LONGEST && payload.json.is_none_or(|json| json <= length), "{message:?}");
        }
    }
    Some(heard)
}

/// What somebody outside says. The first byte tells where its bytes are cut.
pub(crate) fn link(bytes: &[u8]) {
    let Some((&cut, bytes)) = bytes.split_first() else { return };
    let whole = listen(&[bytes]);
    let (first, second) = bytes.split_at(usize::from(cut).min(bytes.len()));
    assert_eq!(listen(&[first, second]), whole, "messages are the same however they are cut");
}

/// What is heard, and none where a rule was broken.
fn listen(pieces: &[&[u8]]) -> Option<Vec<(FromOutside, Payload)>> {
    let mut messages = LinkMessages::default();
    let mut heard = Vec::new();
    for piece in pieces {
        messages.buffer(piece.len()).extend_from_slice(piece);
        while let Some(message) = messages.next_message().ok()? {
            heard.push(message);
        }
    }
    for (_, payload) in &heard {
        let length = payload.bytes.len() as u64;
        assert!(payload.json.is_none_or(|json| json <= length), "{payload:?}");
    }
    Some(heard)
}

/// A packet of a fabric: nobody without the key makes one, and whoever has it can put anything into it.
pub(crate) fn packet(bytes: &[u8]) {
    let seal = Seal::new("a key that only the fuzzer has, and nobody else", "fuzz", 0);
    assert!(seal.open("all", &Bytes::copy_from_slice(bytes)).is_err(), "it was made without the key");
    let header = Header { v: 1, from: "0123456789abcdef".repeat(2), seq: 1, time: 2 };
    let sealed = Bytes::from(seal.seal("all", &header, bytes));
    assert_eq!(seal.open("all", &sealed), Ok((header, Bytes::copy_from_slice(bytes))));
}
