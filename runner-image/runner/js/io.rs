//! [`Io`]: `fs`, `fetch` and `secrets`, as far as they are in this process: requests go out over descriptor 4, to `js-io`,
//! and answers settle promises. Secrets are read before the process loses the right to open anything.
//!
//! What they look like to a service is written in `io.js`, which is compiled when one of them is first used.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use rquickjs::context::EvalOptions;
use rquickjs::function::Rest;
use rquickjs::{Ctx, Exception, Function, Object, Persistent, Result, TypedArray, Value};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::current::{Current, Then};
use super::globals::Shared;
use super::outgoing::write_all;
use super::text;
use super::watchdog::Watchdog;
use crate::js_io::denied;
use crate::js_io::messages::{Decoder, Done, Failure, Greeting, LONGEST_PAYLOAD, Message, Request, line};

const SOURCE: &str = include_str!("io.js");

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// The longest greeting.
const LONGEST_GREETING: usize = 256;

/// Asks for what this process cannot do. Cheap to clone.
#[derive(Clone)]
pub(super) struct Io {
    service: Rc<str>,
    secrets: Rc<BTreeMap<String, Vec<u8>>>,
    watchdog: Arc<Watchdog>,
    current: Current,
    web: Shared,
    /// Whether there is a `fetch` in `globalThis`.
    fetch: bool,
    state: Rc<RefCell<State>>,
}

struct State {
    /// None where there was never anybody to ask.
    socket: Option<OwnedFd>,
    /// Whether nobody answers any more. The socket is kept: this process closes nothing.
    lost: bool,
    decoder: Decoder<Done>,
    /// By number, who waits for which answer.
    asked: HashMap<u64, Asker>,
    last: u64,
    /// What goes out with the next request.
    body: Vec<u8>,
    /// What the script has made, once it was needed.
    made: Option<Persistent<Object<'static>>>,
}

/// Who waits for an answer.
struct Asker {
    callback: Persistent<Function<'static>>,
    /// Whether the payload is to be a text.
    as_text: bool,
    /// During what it was asked.
    during: Then,
}

impl Io {
    /// Asks over this socket, on which a greeting waits.
    ///
    /// # Errors
    /// Where there is a socket without one.
    pub(super) fn new(
        socket: Option<OwnedFd>,
        service: &str,
        secrets: BTreeMap<String, Vec<u8>>,
        watchdog: Arc<Watchdog>,
        current: Current,
        web: Shared,
    ) -> io::Result<Self> {
        let greeting = socket.as_ref().map(greeting).transpose()?.unwrap_or_default();
        let state = State {
            socket,
            lost: false,
            decoder: Decoder::default(),
            asked: HashMap::new(),
            last: 0,
            body: Vec::new(),
            made: None,
        };
        Ok(Self {
            service: service.into(),
            secrets: Rc::new(secrets),
            watchdog,
            current,
            web,
            fetch: greeting.fetch,
            state: Rc::new(RefCell::new(state)),
        })
    }

    /// Makes the global function, where there is one.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub(super) fn install<'js>(&self, ctx: &Ctx<'js>) -> Result<()> {
        if !self.fetch {
            return Ok(());
        }
        let io = self.clone();
        let fetch = move |ctx: Ctx<'js>, arguments: Rest<Value<'js>>| -> Result<Value<'js>> {
            io.made(&ctx)?.get::<_, Function<'js>>("fetch")?.call((arguments,))
        };
        ctx.globals().set("fetch", Function::new(ctx.clone(), fetch)?.with_name("fetch")?)
    }

    /// `fs`, `fetch` and `secrets`.
    ///
    /// # Errors
    /// Where there is no memory for them.
    pub(super) fn made<'js>(&self, ctx: &Ctx<'js>) -> Result<Object<'js>> {
        let made = self.state.borrow().made.clone();
        if let Some(made) = made {
            return made.restore(ctx);
        }
        let mut options = EvalOptions::default();
        options.filename = Some("orchestrator:io".into());
        let script: Function<'js> = ctx.eval_with_options(SOURCE, options)?;
        let made: Object<'js> = script.call((self.natives(ctx)?,))?;
        self.state.borrow_mut().made = Some(Persistent::save(ctx, made.clone()));
        Ok(made)
    }

    /// What becomes readable when there is an answer.
    pub(super) fn with_socket<T>(&self, wait: impl FnOnce(Option<BorrowedFd<'_>>) -> T) -> T {
        wait(self.state.borrow().open().map(AsFd::as_fd))
    }

    /// Whether no answer is waited for.
    pub(super) fn is_idle(&self) -> bool {
        self.state.borrow().asked.is_empty()
    }

    /// The answers that have come. Where none can come any more, every request is answered with that.
    pub(super) fn receive(&self) -> Vec<Message<Done>> {
        let mut state = self.state.borrow_mut();
        let Some(socket) = state.open() else { return Vec::new() };
        let mut chunk = vec![0; CHUNK];
        let received = match recv(socket, &mut chunk[..], RecvFlags::DONTWAIT) {
            Ok((count @ 1.., _)) => state.decoder.take(&chunk[..count]).ok(),
            Err(Errno::AGAIN | Errno::INTR) => Some(Vec::new()),
            Ok((0, _)) | Err(_) => None,
        };
        received.unwrap_or_else(|| {
            state.lost = true;
            let lost = |&id: &u64| Message { id, what: Done::Failed(lost()), payload: Vec::new() };
            state.asked.keys().map(lost).collect()
        })
    }

    /// Calls who waits for this answer.
    ///
    /// # Errors
    /// With what the callback throws.
    pub(super) fn settle(&self, ctx: &Ctx<'_>, answer: Message<Done>) -> Result<()> {
        let asked = self.state.borrow_mut().asked.remove(&answer.id);
        let Some(Asker { callback, as_text, during }) = asked else { return Ok(()) };
        self.current.set(during);
        let callback = callback.restore(ctx)?;
        let payload = match as_text {
            true => rquickjs::String::from_str(ctx.clone(), &String::from_utf8_lossy(&answer.payload))
                .map(rquickjs::String::into_value),
            false => TypedArray::new_copy(ctx.clone(), answer.payload).map(TypedArray::into_value),
        };
        match payload {
            Ok(payload) => callback.call((json(&answer.what), payload)),
            Err(_) => {
                ctx.catch();
                let full = Failure::new("limit", "there is no room in the heap for what came back");
                callback.call((json(&Done::Failed(full)),))
            }
        }
    }

    fn natives<'js>(&self, ctx: &Ctx<'js>) -> Result<Object<'js>> {
        let natives = Object::new(ctx.clone())?;
        let io = self.clone();
        let ask = move |ctx: Ctx<'js>, request: String, as_text: bool, callback: Function<'js>| {
            io.ask(&ctx, &request, as_text, callback)
        };
        natives.set("ask", Function::new(ctx.clone(), ask)?)?;
        let io = self.clone();
        let abort = move |fetch: f64| io.send(0, &Request::Abort { fetch: fetch as u64 }, &[]);
        natives.set("abort", Function::new(ctx.clone(), abort)?)?;
        let io = self.clone();
        // Bytes come as texts with a character for each: there is no safe view of the engine's own memory.
        let append = move |binary: String| io.state.borrow_mut().body.extend(binary.chars().map(|c| c as u8));
        natives.set("append", Function::new(ctx.clone(), append)?)?;
        let io = self.clone();
        let append = move |ctx: Ctx<'js>, value: Value<'js>| {
            let text = text::of(&ctx, &value);
            io.state.borrow_mut().body.extend_from_slice(text.as_bytes());
        };
        natives.set("appendText", Function::new(ctx.clone(), append)?)?;
        let io = self.clone();
        let secret = move |ctx: Ctx<'js>, name: String| io.secret(&ctx, &name);
        natives.set("secret", Function::new(ctx.clone(), secret)?)?;
        let web = self.web.clone();
        natives.set("web", Function::new(ctx.clone(), move |ctx: Ctx<'js>| web.made(&ctx))?)?;
        Ok(natives)
    }

    /// Sends a request with the body that was given before; answers with its number.
    fn ask<'js>(&self, ctx: &Ctx<'js>, text: &str, as_text: bool, callback: Function<'js>) -> Result<f64> {
        let body = std::mem::take(&mut self.state.borrow_mut().body);
        if body.len() as u64 > LONGEST_PAYLOAD {
            let message = format!("more than {} MiB at one time", LONGEST_PAYLOAD >> 20);
            return Err(Exception::throw_range(ctx, &message));
        }
        let request: Request =
            serde_json::from_str(text).map_err(|error| Exception::throw_type(ctx, &error.to_string()))?;
        if self.state.borrow().open().is_none() {
            return Err(Exception::throw_message(ctx, &lost().message));
        }
        let id = {
            let mut state = self.state.borrow_mut();
            state.last += 1;
            let id = state.last;
            let callback = Persistent::save(ctx, callback);
            state.asked.insert(id, Asker { callback, as_text, during: self.current.now() });
            id
        };
        self.send(id, &request, &body);
        Ok(id as f64)
    }

    /// Waits until it is on its way, which is not the service's fault. That nobody is there is seen when answers are read.
    fn send(&self, id: u64, request: &Request, body: &[u8]) {
        let state = self.state.borrow();
        let Some(socket) = state.open() else { return };
        self.watchdog.uncounted(|| {
            write_all(socket.as_fd(), &line(id, request, body.len()));
            write_all(socket.as_fd(), body);
        });
    }

    fn secret<'js>(&self, ctx: &Ctx<'js>, name: &str) -> Result<Object<'js>> {
        let answer = Object::new(ctx.clone())?;
        let granted = self.secrets.get(name).ok_or_else(|| {
            let line = format!("secrets: [{{ name: {name}, file: PATH }}]");
            denied(&self.service, format_args!("read the secret '{name}'"), line)
        });
        let text = granted.and_then(|bytes| {
            let binary = |_| Failure::new("EINVAL", format!("the secret '{name}' is no text in UTF-8"));
            std::str::from_utf8(bytes).map_err(binary)
        });
        match text {
            Ok(text) => answer.set("value", text)?,
            Err(failure) => {
                answer.set("code", failure.code)?;
                answer.set("message", failure.message)?;
            }
        }
        Ok(answer)
    }
}

impl State {
    fn open(&self) -> Option<&OwnedFd> {
        self.socket.as_ref().filter(|_| !self.lost)
    }
}

fn greeting(socket: &OwnedFd) -> io::Result<Greeting> {
    let mut bytes = [0; LONGEST_GREETING];
    let (count, _) = recv(socket, &mut bytes[..], RecvFlags::empty())?;
    Ok(serde_json::from_slice(&bytes[..count])?)
}

fn lost() -> Failure {
    Failure::new("lost", "there is nobody to open files and connections for this service")
}

fn json(done: &Done) -> String {
    serde_json::to_string(done).unwrap_or_default()
}
