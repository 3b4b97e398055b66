//! [`Outgoing`]: what a session has to say, channel by channel, and the task that publishes it. What is there at the same time
//! for the same member goes in one packet, and all packets go in one round trip.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orchestrator_core::membership::Session;
use orchestrator_port::message::link::ToMember;
use orchestrator_port::message::service::Payload;
use orchestrator_port::packet::{Header, Seal};
use redis::RedisError;
use redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, mpsc};

use crate::event_stream::now_millis;
use crate::router::{Batch, Outbox};

/// How many bytes of messages go in one packet, about.
const PACKET: usize = 64 << 10;

/// The channels of a session that it publishes on. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    channels: Arc<Mutex<Channels>>,
    filled: Arc<Notify>,
}

#[derive(Debug)]
struct Channels {
    /// That of everybody.
    all: Channel,
    to: HashMap<Session, Channel>,
}

#[derive(Debug)]
struct Channel {
    name: String,
    outbox: Arc<Outbox>,
    /// The number of its last packet.
    seq: u64,
    /// Whether there is nothing more to say than what waits.
    last: bool,
}

/// A packet that has reached nobody: the session that it was for is over.
#[derive(Debug)]
pub(super) struct Unreached {
    pub(super) session: Session,
    /// The calls that were in it.
    pub(super) calls: Vec<u64>,
}

struct Packet {
    to: Option<Session>,
    channel: String,
    bytes: Vec<u8>,
    calls: Vec<u64>,
}

impl Outgoing {
    pub(super) fn new(all: String) -> Self {
        let filled = Arc::new(Notify::new());
        let all = Channel::new(all, &filled);
        Self { channels: Arc::new(Mutex::new(Channels { all, to: HashMap::new() })), filled }
    }

    /// Says something to everybody.
    pub(super) fn tell_all(&self, message: &ToMember, payload: Payload) {
        // Small ones always fit.
        let _ = self.channels().all.outbox.queue_line(message.line(&payload), payload, None);
    }

    /// The outbox of what is said to one session, whose channel this is.
    pub(super) fn to(&self, session: Session, channel: impl FnOnce() -> String) -> Arc<Outbox> {
        let mut channels = self.channels();
        let to = channels.to.entry(session).or_insert_with(|| Channel::new(channel(), &self.filled));
        Arc::clone(&to.outbox)
    }

    /// A session is over. Answers with the calls that it has not been told of.
    pub(super) fn forget(&self, session: Session) -> Vec<u64> {
        let mut channels = self.channels();
        if channels.to.get(&session).is_some_and(|channel| channel.last) {
            return Vec::new();
        }
        channels.to.remove(&session).map(|channel| channel.outbox.close()).unwrap_or_default()
    }

    /// A session is over, and may not know: it is told, and nothing else any more. Answers with the calls that it has not been
    /// told of.
    pub(super) fn dismiss(&self, session: Session, channel: impl FnOnce() -> String) -> Vec<u64> {
        let mut channels = self.channels();
        let channel = channels.to.entry(session).or_insert_with(|| Channel::new(channel(), &self.filled));
        let last = Arc::new(Outbox::telling(Arc::clone(&self.filled)));
        let none = Payload::default();
        let _ = last.queue_line(ToMember::Over.line(&none), none, None);
        channel.last = true;
        std::mem::replace(&mut channel.outbox, last).close()
    }

    /// Publishes what there is to say, as this session, until Redis does not take it any more. Tells who was not reached.
    pub(super) async fn publish(
        self,
        own: Session,
        seal: Seal,
        mut commands: MultiplexedConnection,
        unreached: mpsc::Sender<Unreached>,
    ) -> RedisError {
        loop {
            let packets = self.channels().packets(own, &seal);
            if packets.is_empty() {
                self.filled.notified().await;
                continue;
            }
            let mut pipeline = redis::pipe();
            for packet in &packets {
                pipeline.publish(&packet.channel, &packet.bytes[..]);
            }
            let reached: Vec<u64> = match pipeline.query_async(&mut commands).await {
                Ok(reached) => reached,
                Err(error) => return error,
            };
            for (Packet { to, mut calls, .. }, reached) in packets.into_iter().zip(reached) {
                if let Some(session) = to.filter(|_| reached == 0) {
                    // What has come to it meanwhile has not reached it either, and nothing more is to be put there.
                    calls.extend(self.forget(session));
                    // The session that would hear of it may be over itself.
                    let _ = unreached.send(Unreached { session, calls }).await;
                }
            }
        }
    }

    /// Whether something is still to be said to everybody.
    pub(super) fn has_something(&self) -> bool {
        !self.channels().all.outbox.is_empty()
    }

    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Channels {
    /// A packet for each channel on which there is something to say.
    fn packets(&mut self, own: Session, seal: &Seal) -> Vec<Packet> {
        let to = self.to.iter_mut().map(|(session, channel)| (Some(*session), channel));
        let all = std::iter::once((None, &mut self.all)).chain(to);
        let packets = all.filter_map(|(to, channel)| channel.packet(to, own, seal)).collect();
        self.to.retain(|_, channel| !channel.last);
        packets
    }
}

impl Channel {
    fn new(name: String, filled: &Arc<Notify>) -> Self {
        Self { name, outbox: Arc::new(Outbox::telling(Arc::clone(filled))), seq: 0, last: false }
    }

    fn packet(&mut self, to: Option<Session>, own: Session, seal: &Seal) -> Option<Packet> {
        let Batch { bytes, begins } = self.outbox.take_batch(PACKET);
        if bytes.is_empty() {
            return None;
        }
        self.seq += 1;
        let header = Header { v: 1, from: own.to_string(), seq: self.seq, time: now_millis() };
        let bytes = seal.seal(&self.name, &header, &bytes);
        Some(Packet { to, channel: self.name.clone(), bytes, calls: begins })
    }
}
