//! [`Service`]: the js process, as those see it who have requests answered: who asks gets an answer, or one that comes in
//! pieces.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc, oneshot};

use super::messages::{FromService, NO_REQUEST, ToService, WINDOW};
use super::{ANSWERS, IN_FLIGHT, JsHttpError};
use crate::js_io::messages::{Decoder, Message, line};
use crate::js_io::room::{Room, Share};

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// How much the js process may not have read yet when it is asked something more.
const UNREAD: usize = 16 << 20;

/// The js process.
pub(super) struct Service {
    /// What it is still to be told: at most [`UNREAD`], one request, and what is said of those that it has.
    outgoing: RefCell<Vec<u8>>,
    /// That there is something.
    said: Notify,
    /// Who waits, by the numbers of the requests: at most [`IN_FLIGHT`].
    waiting: RefCell<HashMap<u64, Waiter>>,
    last: Cell<u64>,
    answers: Room,
}

enum Waiter {
    Answer(oneshot::Sender<Answer>),
    Pieces(mpsc::Sender<Piece>),
}

/// An answer, as it came.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: String,
    /// The body, or what there is of it; none where there is no room for it.
    pub(super) body: Option<Held>,
    /// The rest of it.
    pub(super) rest: Option<mpsc::Receiver<Piece>>,
}

/// Bytes, and the room that they take.
pub(super) struct Held {
    pub(super) bytes: Bytes,
    _share: Share,
}

/// A piece of an answer; none where there will not be all of it.
pub(super) type Piece = Option<Held>;

/// A request that the js process has. It is told where this is dropped before all of the answer has come.
pub(super) struct Question {
    service: Rc<Service>,
    id: u64,
}

impl Service {
    pub(super) fn new() -> Self {
        Self {
            outgoing: RefCell::default(),
            said: Notify::new(),
            waiting: RefCell::default(),
            last: Cell::new(NO_REQUEST),
            answers: Room::new(ANSWERS),
        }
    }

    /// Asks; none where it has too much to do. The answer comes where nothing else becomes of it.
    pub(super) fn ask(
        self: &Rc<Self>,
        request: &ToService,
        body: &[u8],
    ) -> Option<(Question, oneshot::Receiver<Answer>)> {
        if self.waiting.borrow().len() >= IN_FLIGHT || self.outgoing.borrow().len() >= UNREAD {
            return None;
        }
        let id = self.last.get() + 1;
        self.last.set(id);
        let (answer, answered) = oneshot::channel();
        self.waiting.borrow_mut().insert(id, Waiter::Answer(answer));
        self.say(id, request, body);
        Some((Question { service: Rc::clone(self), id }, answered))
    }

    /// Everything that was asked is answered.
    pub(super) fn say_drained(&self) {
        self.say(NO_REQUEST, &ToService::Drained, &[]);
    }

    fn say(&self, id: u64, what: &ToService, payload: &[u8]) {
        let mut outgoing = self.outgoing.borrow_mut();
        outgoing.extend_from_slice(&line(id, what, payload.len()));
        outgoing.extend_from_slice(payload);
        self.said.notify_one();
    }

    /// Writes what is said, all that is there at once, until nobody reads it.
    pub(super) async fn write(&self, mut writer: OwnedWriteHalf) {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            std::mem::swap(&mut bytes, &mut self.outgoing.borrow_mut());
            if bytes.is_empty() {
                self.said.notified().await;
            } else if writer.write_all(&bytes).await.is_err() {
                return;
            }
            // What a long body has taken is not kept.
            bytes.shrink_to(CHUNK);
        }
    }

    /// Hears answers until the js process ends; `drain` is told when it wants no further connections.
    ///
    /// # Errors
    /// Where what comes is no conversation.
    pub(super) async fn hear(&self, mut reader: OwnedReadHalf, drain: &Notify) -> Result<(), JsHttpError> {
        let (mut decoder, mut chunk) = (Decoder::<FromService>::default(), vec![0; CHUNK]);
        loop {
            let count = reader.read(&mut chunk).await.map_err(JsHttpError::Socket)?;
            if count == 0 {
                return Ok(());
            }
            for message in decoder.take(&chunk[..count])? {
                match message.what {
                    FromService::Drain => drain.notify_one(),
                    _ => self.take(message)?,
                }
            }
        }
    }

    /// Hands over what was said to who waits for it. What nobody waits for was under way when its asker went.
    fn take(&self, message: Message<FromService>) -> Result<(), JsHttpError> {
        let Message { id, what, payload } = message;
        match what {
            FromService::Answer { status, headers, more } => {
                let Some(Waiter::Answer(waiter)) = self.waiting.borrow_mut().remove(&id) else {
                    return Ok(());
                };
                let rest = more.then(|| {
                    // One more: that there will not be all of it.
                    let (sender, rest) = mpsc::channel(WINDOW + 1);
                    self.waiting.borrow_mut().insert(id, Waiter::Pieces(sender));
                    rest
                });
                // Where the asker has gone, so has the number.
                let _ = waiter.send(Answer { status, headers, body: self.hold(payload), rest });
                Ok(())
            }
            FromService::Piece => self.take_piece(id, payload),
            FromService::End { whole } => {
                if let Some(Waiter::Pieces(pieces)) = self.waiting.borrow_mut().remove(&id)
                    && !whole
                {
                    // There is room for it, or nobody who waits.
                    let _ = pieces.try_send(None);
                }
                Ok(())
            }
            FromService::Accept | FromService::Drain => Ok(()),
        }
    }

    fn take_piece(&self, id: u64, payload: Vec<u8>) -> Result<(), JsHttpError> {
        let mut waiting = self.waiting.borrow_mut();
        let Some(Waiter::Pieces(pieces)) = waiting.get(&id) else { return Ok(()) };
        if pieces.capacity() <= 1 {
            return Err(JsHttpError::Credit);
        }
        let held = self.hold(payload);
        let is_lost = held.is_none();
        let _ = pieces.try_send(held);
        if is_lost {
            waiting.remove(&id);
            self.say(id, &ToService::Gone, &[]);
        }
        Ok(())
    }

    fn hold(&self, payload: Vec<u8>) -> Option<Held> {
        let mut share = self.answers.share();
        share.grow(payload.len()).ok()?;
        Some(Held { bytes: payload.into(), _share: share })
    }
}

impl Question {
    /// A piece of the answer is on its way: there is room for one more.
    pub(super) fn say_taken(&self) {
        self.service.say(self.id, &ToService::Taken, &[]);
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if self.service.waiting.borrow_mut().remove(&self.id).is_some() {
            self.service.say(self.id, &ToService::Gone, &[]);
        }
    }
}
