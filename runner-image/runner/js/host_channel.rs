//! [`HostChannel`]: the host's end of docs/host-protocol.md, on descriptor 3.
//!
//! Sending is as [`Outgoing`] does it, and blocks until the messages are on their way: a slow reader slows its writers, and next
//! to nothing is queued here.
//! Receiving never blocks; [`HostChannel::wait`] is the one place where the host sleeps.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use orchestrator_port::message::control::Thrown;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use serde::{Deserialize, Serialize};

use super::outgoing::Outgoing;

/// The longest line that is read: the protocol's own limit.
const LINE_LIMIT: usize = 1 << 20;

/// How much is read at once.
const CHUNK: usize = 32 << 10;

/// What the host says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum ToRunner<'a> {
    /// `start` has returned.
    Started {
        /// The exported functions, nested ones with dots.
        methods: &'a [String],
        /// Whether there is a `health` export.
        health: bool,
    },
    /// Loading the code or its `start` threw.
    Failed {
        /// What was thrown.
        error: &'a Thrown,
    },
    /// An uncaught exception.
    Exception {
        /// What was thrown.
        error: &'a Thrown,
    },
    /// The answer to `health`.
    Health {
        /// The question's.
        id: u64,
        /// None if the service is well.
        failure: Option<&'a str>,
    },
    /// The service wants to be closed.
    Close,
}

/// What the host is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FromRunner {
    /// Something of other services.
    Said(Said),
    /// Call the exported `health`.
    Health {
        /// Comes back in the answer.
        id: u64,
    },
    /// Call the exported `close`, then exit.
    Close,
}

/// A message of other services, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// Its line.
    pub(super) header: String,
    /// What followed.
    pub(super) payload: Vec<u8>,
    /// How much of that is JSON; none where all is.
    pub(super) json: Option<usize>,
}

/// The sending half, for everything that has something to say: also for the watchdog, on its own thread.
#[derive(Debug)]
pub(super) struct HostSender {
    /// Locked while a message is written, so that no two of them mix.
    outgoing: Mutex<Outgoing>,
}

impl HostSender {
    /// Sends a message, and waits until it is on its way. That the runner is gone is not told here: the receiving
    /// half sees it, and the host exits.
    pub(super) fn send(&self, message: &ToRunner<'_>) {
        if let Ok(line) = line(message) {
            self.outgoing().send(&line);
        }
    }

    /// Sends a message of JSON for other services, with a payload of JSON and perhaps of bytes: now, or at the end of the turn.
    pub(super) fn send_payload(&self, header: &str, json: &str, behind: Option<&[u8]>) {
        let mut message = header.as_bytes().to_vec();
        if !json.is_empty() {
            // Before the brace at its end.
            message.pop();
            let payload = json.len() + behind.map_or(0, <[u8]>::len);
            message.extend_from_slice(format!(",\"payload\":{payload}").as_bytes());
            if behind.is_some() {
                message.extend_from_slice(format!(",\"json\":{}", json.len()).as_bytes());
            }
            message.push(b'}');
        }
        message.push(b'\n');
        message.extend_from_slice(json.as_bytes());
        message.extend_from_slice(behind.unwrap_or_default());
        self.outgoing().push(&message);
    }

    /// The turn is over: sends what is held, and waits until it is on its way.
    pub(super) fn end_turn(&self) {
        self.outgoing().end_turn();
    }

    fn outgoing(&self) -> MutexGuard<'_, Outgoing> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message, unless another is being written at this moment.
    pub(super) fn try_send(&self, message: &ToRunner<'_>) {
        if let (Ok(line), Ok(mut outgoing)) = (line(message), self.outgoing.try_lock()) {
            outgoing.send(&line);
        }
    }
}

/// Both halves.
#[derive(Debug)]
pub(super) struct HostChannel {
    socket: OwnedFd,
    sender: Arc<HostSender>,
    /// What came and is not a whole message yet: at most [`LINE_LIMIT`] and a payload.
    received: Vec<u8>,
    /// A message whose payload is still coming.
    begun: Option<Begun>,
}

/// A message that waits for its payload.
#[derive(Debug)]
struct Begun {
    /// Its line; none where nothing is known of it.
    header: Option<String>,
    length: usize,
    json: Option<usize>,
}

/// The runner is gone, or speaks another protocol: the host exits at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

impl HostChannel {
    /// Speaks on this socket.
    ///
    /// # Errors
    /// Where the descriptor cannot be duplicated.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        let outgoing = Outgoing::new(socket.try_clone()?);
        let sender = Arc::new(HostSender { outgoing: Mutex::new(outgoing) });
        Ok(Self { socket, sender, received: Vec::new(), begun: None })
    }

    /// The sending half.
    pub(super) fn sender(&self) -> Arc<HostSender> {
        Arc::clone(&self.sender)
    }

    /// Ends the turn, and sleeps until there is something to receive here or on one of the others, or until that moment; without
    /// one, for ever. Answers with where there is something: here, and on each of the others.
    pub(super) fn wait(
        &self,
        others: [Option<BorrowedFd<'_>>; 2],
        until: Option<Instant>,
    ) -> (bool, [bool; 2]) {
        self.sender.end_turn();
        let timeout = until.map(|until| timespec(until.saturating_duration_since(Instant::now())));
        let own = self.socket.as_fd();
        let [first, second] = others.map(|other| other.unwrap_or(own));
        let mut all = [own, first, second].map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::IN));
        // An interrupted sleep is a short sleep: the caller comes back.
        let woken = poll(&mut all, timeout.as_ref()).is_ok();
        let [own, first, second] = all.map(|polled| woken && !polled.revents().is_empty());
        (own, [first && others[0].is_some(), second && others[1].is_some()])
    }

    /// What has come since the last time, in order.
    ///
    /// # Errors
    /// [`Gone`] once the runner has closed its end.
    pub(super) fn receive(&mut self) -> Result<Vec<FromRunner>, Gone> {
        let mut chunk = [0; CHUNK];
        match recv(&self.socket, &mut chunk[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => Err(Gone),
            Ok((length, _)) => {
                self.received.extend_from_slice(&chunk[..length]);
                self.take_messages()
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Vec::new()),
            Err(_) => Err(Gone),
        }
    }

    /// Takes the whole messages out of what was received.
    fn take_messages(&mut self) -> Result<Vec<FromRunner>, Gone> {
        let mut messages = Vec::new();
        let mut taken = 0;
        loop {
            let rest = &self.received[taken..];
            if let Some(Begun { header, length, json }) = &mut self.begun {
                if rest.len() < *length {
                    break;
                }
                if let Some(header) = header.take() {
                    let payload = rest[..*length].to_vec();
                    messages.push(FromRunner::Said(Said { header, payload, json: *json }));
                }
                taken += *length;
                self.begun = None;
                continue;
            }
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                if rest.len() > LINE_LIMIT {
                    return Err(Gone);
                }
                break;
            };
            let heading: Heading = serde_json::from_slice(&rest[..end]).map_err(|_| Gone)?;
            let length = usize::try_from(heading.payload.unwrap_or(0)).map_err(|_| Gone)?;
            let header = SERVICE_TYPES
                .contains(&&*heading.r#type)
                .then(|| String::from_utf8_lossy(&rest[..end]).into_owned());
            messages.extend(heading.message());
            self.begun = Some(Begun { header, length, json: heading.json });
            taken += end + 1;
        }
        self.received.drain(..taken);
        Ok(messages)
    }
}

/// What other services say.
const SERVICE_TYPES: [&str; 10] =
    ["invoke", "cancel", "credit", "event", "config", "reply", "stream", "item", "end", "error"];

/// A line as it comes; what is not named here is ignored, as the protocol says.
#[derive(Deserialize)]
struct Heading {
    r#type: String,
    id: Option<u64>,
    payload: Option<u64>,
    json: Option<usize>,
}

impl Heading {
    fn message(&self) -> Option<FromRunner> {
        match (self.r#type.as_str(), self.id) {
            ("health", Some(id)) => Some(FromRunner::Health { id }),
            ("close", _) => Some(FromRunner::Close),
            _ => None,
        }
    }
}

fn line(message: &ToRunner<'_>) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// Rounded up, so that nobody wakes just before the moment.
fn timespec(duration: Duration) -> Timespec {
    let rounded = duration + Duration::from_micros(1);
    Timespec {
        tv_sec: rounded.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: rounded.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_is_said_in_one_turn_goes_together_after_the_first_and_in_order() {
        let (channel, mut runner) = channel();
        let sender = channel.sender();
        let mut heard = || {
            let mut bytes = [0; 1000];
            runner.set_nonblocking(true).unwrap();
            let count = runner.read(&mut bytes).unwrap_or(0);
            String::from_utf8(bytes[..count].to_vec()).unwrap()
        };
        sender.send_payload("{\"id\":1}", "[]", None);
        assert_eq!(heard(), "{\"id\":1,\"payload\":2}\n[]");
        sender.send_payload("{\"id\":2}", "", None);
        sender.send_payload("{\"id\":3}", "", None);
        assert_eq!(heard(), "");
        sender.send(&ToRunner::Close);
        assert_eq!(heard(), "{\"id\":2}\n{\"id\":3}\n{\"type\":\"close\"}\n");
        sender.send_payload("{\"id\":4}", "", None);
        sender.end_turn();
        assert_eq!(heard(), "{\"id\":4}\n");
        sender.end_turn();
        sender.send_payload("{\"id\":5}", "", None);
        assert_eq!(heard(), "{\"id\":5}\n");
    }

    fn channel() -> (HostChannel, UnixStream) {
        let (host, runner) = UnixStream::pair().unwrap();
        (HostChannel::new(host.into()).unwrap(), runner)
    }

    #[test]
    fn a_message_may_come_in_pieces_and_unknown_ones_are_passed_over_with_their_payload() {
        let (mut channel, mut runner) = channel();
        runner.write_all(b"{\"type\":\"novelty\",\"payload\":8}\nclose\n{}{\"type\":\"hea").unwrap();
        assert_eq!(channel.receive(), Ok(vec![]));
        runner.write_all(b"lth\",\"id\":7}\n{\"type\":\"close\",\"why\":\"later\"}\n").unwrap();
        assert_eq!(channel.receive(), Ok(vec![FromRunner::Health { id: 7 }, FromRunner::Close]));
    }

    #[test]
    fn the_end_of_the_descriptor_and_an_endless_line_both_mean_that_the_runner_is_gone() {
        let (mut ended, runner) = channel();
        drop(runner);
        assert_eq!(ended.receive(), Err(Gone));

        let (mut flooded, mut runner) = channel();
        let mut answer = Ok(vec![]);
        for _ in 0..=LINE_LIMIT / 4096 + 1 {
            runner.write_all(&[b' '; 4096]).unwrap();
            answer = flooded.receive();
        }
        assert_eq!(answer, Err(Gone));
    }
}
