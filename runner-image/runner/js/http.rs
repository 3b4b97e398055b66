//! [`Http`]: the exported `fetch` and those who ask it over HTTP. Requests come over a descriptor of their own, from `js-http`,
//! which accepts connections; answers go back there.
//!
//! What a request and an answer look like to a service is written in `globals/web.js`, what becomes of them in `http.js`. Both
//! are compiled for a service that is asked, and for no other.

use std::cell::{OnceCell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use rquickjs::context::EvalOptions;
use rquickjs::{Ctx, Exception, Function, Object, Persistent, Result, TypedArray, Value};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::globals::Shared;
use super::outgoing::Outgoing;
use super::output::{Output, Stream};
use super::watchdog::Watchdog;
use super::{text, thrown};
use crate::js_http::messages::{FromService, NO_REQUEST, ToService};
use crate::js_io::messages::{Decoder, LONGEST_PAYLOAD, Message, line};

const SOURCE: &str = include_str!("http.js");

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// The answer to what finds no room in the heap.
const NO_ROOM: u16 = 503;

/// Where a service is asked.
pub(super) struct Listening {
    /// From `js-http`.
    pub(super) socket: OwnedFd,
    /// What it listens on, for people.
    pub(super) places: String,
}

/// Is asked over HTTP, once [`Http::accept`] has been called.
pub(super) struct Http {
    /// None where the service listens on nothing.
    listening: Option<Listening>,
    /// Whether nobody is there any more. The socket is kept: this process closes nothing.
    lost: bool,
    decoder: Decoder<ToService>,
    chunk: Vec<u8>,
    answers: Option<Answers>,
    output: Output,
    web: Shared,
    /// The functions of `http.js` that are called, once the service has a `fetch`.
    hearers: OnceCell<Hearers>,
}

/// What `http.js` says. Cheap to clone.
#[derive(Clone)]
struct Answers {
    said: Rc<RefCell<Said>>,
    watchdog: Arc<Watchdog>,
}

struct Said {
    outgoing: Outgoing,
    /// What goes out with the next message that has no text.
    bytes: Vec<u8>,
}

struct Hearers {
    request: Persistent<Function<'static>>,
    taken: Persistent<Function<'static>>,
    gone: Persistent<Function<'static>>,
    closing: Persistent<Function<'static>>,
}

impl Http {
    /// Is asked there, if anywhere.
    ///
    /// # Errors
    /// Where the descriptor cannot be duplicated.
    pub(super) fn new(
        listening: Option<Listening>,
        output: Output,
        watchdog: &Arc<Watchdog>,
        web: Shared,
    ) -> io::Result<Self> {
        let answers = |listening: &Listening| {
            let outgoing = Outgoing::new(listening.socket.try_clone()?);
            let said = Rc::new(RefCell::new(Said { outgoing, bytes: Vec::new() }));
            Ok::<_, io::Error>(Answers { said, watchdog: Arc::clone(watchdog) })
        };
        let answers = listening.as_ref().map(answers).transpose()?;
        let decoder = Decoder::default();
        let chunk = vec![0; if listening.is_some() { CHUNK } else { 0 }];
        Ok(Self { listening, lost: false, decoder, chunk, answers, output, web, hearers: OnceCell::new() })
    }

    /// What it listens on; none where that is nothing.
    pub(super) fn places(&self) -> Option<&str> {
        self.listening.as_ref().map(|listening| &*listening.places)
    }

    /// From now on this is what answers.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub(super) fn serve<'js>(&self, ctx: &Ctx<'js>, fetch: Function<'js>) -> Result<()> {
        let Some(answers) = &self.answers else { return Ok(()) };
        let mut options = EvalOptions::default();
        options.filename = Some("orchestrator:http".into());
        let script: Function<'js> = ctx.eval_with_options(SOURCE, options)?;
        let natives = answers.natives(ctx, &self.output)?;
        natives.set("web", self.web.made(ctx)?)?;
        let make: Function<'js> = script.call((natives,))?;
        let made: Object<'js> = make.call((fetch,))?;
        let hearer =
            |name| Ok::<_, rquickjs::Error>(Persistent::save(ctx, made.get::<_, Function<'js>>(name)?));
        let [request, taken] = [hearer("request")?, hearer("taken")?];
        let [gone, closing] = [hearer("gone")?, hearer("closing")?];
        self.hearers.get_or_init(|| Hearers { request, taken, gone, closing });
        Ok(())
    }

    /// Requests may come, where there is something to answer them.
    pub(super) fn accept(&self) {
        if self.is_asked() {
            self.say(&FromService::Accept);
        }
    }

    /// No connections are wanted any more. Answers that come in pieces are told so.
    ///
    /// # Errors
    /// With what was thrown and not caught.
    pub(super) fn close(&self, ctx: &Ctx<'_>) -> Result<()> {
        let Some(Hearers { closing, .. }) = self.hearers.get() else { return Ok(()) };
        self.say(&FromService::Drain);
        closing.clone().restore(ctx)?.call(())
    }

    /// Whether [`ToService::Drained`] will come, once [`Http::close`] was called and everything is answered.
    pub(super) fn is_asked(&self) -> bool {
        self.hearers.get().is_some() && !self.lost
    }

    fn say(&self, what: &FromService) {
        if let Some(answers) = &self.answers {
            answers.said.borrow_mut().outgoing.send(&line(NO_REQUEST, what, 0));
        }
    }

    /// The turn is over: sends what is held.
    pub(super) fn end_turn(&self) {
        if let Some(answers) = &self.answers {
            answers.said.borrow_mut().outgoing.end_turn();
        }
    }

    /// What becomes readable when there is a request.
    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        let listening = self.listening.as_ref().filter(|_| self.is_asked())?;
        Some(listening.socket.as_fd())
    }

    /// What has come since the last time. Where nobody is there any more, nothing comes: the runner ends this start.
    pub(super) fn receive(&mut self) -> Vec<Message<ToService>> {
        let Some(listening) = self.listening.as_ref().filter(|_| self.is_asked()) else {
            return Vec::new();
        };
        let received = match recv(&listening.socket, &mut self.chunk[..], RecvFlags::DONTWAIT) {
            Ok((count @ 1.., _)) => self.decoder.take(&self.chunk[..count]).ok(),
            Err(Errno::AGAIN | Errno::INTR) => Some(Vec::new()),
            Ok((0, _)) | Err(_) => None,
        };
        self.lost = received.is_none();
        received.unwrap_or_default()
    }

    /// Takes in a message.
    ///
    /// # Errors
    /// With what was thrown and not caught.
    pub(super) fn hear(&self, ctx: &Ctx<'_>, message: Message<ToService>) -> Result<()> {
        let Some(Hearers { request, taken, gone, .. }) = self.hearers.get() else { return Ok(()) };
        let id = message.id as f64;
        match message.what {
            ToService::Request { method, url, headers } => {
                let body = match message.payload.is_empty() {
                    true => Ok(Value::new_null(ctx.clone())),
                    false => TypedArray::new_copy(ctx.clone(), message.payload).map(TypedArray::into_value),
                };
                match body {
                    Ok(body) => request.clone().restore(ctx)?.call((id, method, url, headers, body)),
                    Err(_) => self.refuse(ctx, message.id),
                }
            }
            ToService::Taken => taken.clone().restore(ctx)?.call((id,)),
            ToService::Gone => gone.clone().restore(ctx)?.call((id,)),
            ToService::Drained => Ok(()),
        }
    }

    fn refuse(&self, ctx: &Ctx<'_>, id: u64) -> Result<()> {
        ctx.catch();
        let Some(answers) = &self.answers else { return Ok(()) };
        let what = FromService::Answer { status: NO_ROOM, headers: String::new(), more: false };
        answers.push(ctx, id, &what, Some(String::new()))
    }
}

impl Answers {
    /// Sends a message with a text, or without one with the bytes that were given before.
    fn push(&self, ctx: &Ctx<'_>, id: u64, what: &FromService, text: Option<String>) -> Result<()> {
        let said = &mut *self.said.borrow_mut();
        let bytes = std::mem::take(&mut said.bytes);
        let body = text.map_or(bytes, String::into_bytes);
        if body.len() as u64 > LONGEST_PAYLOAD {
            let message = format!("more than {} MiB at one time", LONGEST_PAYLOAD >> 20);
            return Err(Exception::throw_range(ctx, &message));
        }
        let message = [line(id, what, body.len()), body].concat();
        // Waits until there is room, which is not the service's fault.
        self.watchdog.uncounted(|| said.outgoing.push(&message));
        Ok(())
    }

    fn natives<'js>(&self, ctx: &Ctx<'js>, output: &Output) -> Result<Object<'js>> {
        let natives = Object::new(ctx.clone())?;
        let answers = self.clone();
        let answer =
            move |ctx: Ctx<'js>, id: f64, status: u16, headers: String, more: bool, text: Value<'js>| {
                let what = FromService::Answer { status, headers, more };
                answers.push(&ctx, id as u64, &what, given(&ctx, &text))
            };
        natives.set("answer", Function::new(ctx.clone(), answer)?)?;
        let answers = self.clone();
        let piece = move |ctx: Ctx<'js>, id: f64, text: Value<'js>| {
            answers.push(&ctx, id as u64, &FromService::Piece, given(&ctx, &text))
        };
        natives.set("piece", Function::new(ctx.clone(), piece)?)?;
        let answers = self.clone();
        let end = move |ctx: Ctx<'js>, id: f64, whole: bool| {
            answers.push(&ctx, id as u64, &FromService::End { whole }, Some(String::new()))
        };
        natives.set("end", Function::new(ctx.clone(), end)?)?;
        let answers = self.clone();
        // Bytes come as texts with a character for each: there is no safe view of the engine's own memory.
        let append = move |binary: String, is_first: bool| {
            let bytes = &mut answers.said.borrow_mut().bytes;
            if is_first {
                bytes.clear();
            }
            bytes.extend(binary.chars().map(|c| c as u8));
        };
        natives.set("append", Function::new(ctx.clone(), append)?)?;
        let output = output.clone();
        let complain = move |ctx: Ctx<'js>, what: String, error: Value<'js>| {
            let error = thrown::describe(&ctx, &error);
            let stack = if error.stack.is_empty() { String::new() } else { format!("\n{}", error.stack) };
            let line = format!("{what} threw {}: {}{stack}", error.name, error.message);
            output.write_line(Stream::Stderr, &line);
        };
        natives.set("complain", Function::new(ctx.clone(), complain)?)?;
        Ok(natives)
    }
}

/// The text that comes with a message; none where bytes do.
fn given<'js>(ctx: &Ctx<'js>, text: &Value<'js>) -> Option<String> {
    (!text.is_null()).then(|| text::of(ctx, text))
}
