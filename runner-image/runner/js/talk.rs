//! [`Talk`]: what the service says to other services and hears from them, between `talk.mjs` and the host's channel.
//!
//! The script is the one of the node plugin, and is compiled when it is first needed: by the service, or by who calls it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use rquickjs::context::EvalOptions;
use rquickjs::{Ctx, Function, IntoJs as _, Module, Object, Persistent, Promise, Result, TypedArray, Value};

use super::current::Current;
use super::host_channel::{HostSender, Said};
use super::output::{Output, Stream};
use super::watchdog::Watchdog;
use super::{text, thrown};

/// The name of the script, as a module.
pub(super) const TALK: &str = "orchestrator:talk";

/// The name of the script of what a module offers, and its source.
pub(super) const SERVICE: &str = "orchestrator:service";
pub(super) const SERVICE_SOURCE: &str = include_str!("../../plugins/node/service.mjs");

/// What `talk.mjs` calls that one.
pub(super) const SERVICE_BESIDE: &str = "./service.mjs";

const SOURCE: &str = include_str!("../../plugins/node/talk.mjs");
const HOST: &str = include_str!("talk_host.js");

/// Speaks with other services. Cheap to clone.
#[derive(Clone)]
pub(super) struct Talk {
    sender: Arc<HostSender>,
    output: Output,
    watchdog: Arc<Watchdog>,
    current: Current,
    /// Whether an answer is waited for.
    busy: Rc<Cell<bool>>,
    /// What can be called, once that is known.
    methods: Rc<RefCell<Option<Persistent<Value<'static>>>>>,
    /// What the script has made, once it was needed.
    made: Rc<RefCell<Option<Persistent<Object<'static>>>>>,
}

impl Talk {
    /// Speaks by this sender. Time in which the runner does not listen is not counted as the service's own.
    pub(super) fn new(
        sender: Arc<HostSender>,
        output: Output,
        watchdog: Arc<Watchdog>,
        current: Current,
    ) -> Self {
        let (busy, methods, made) = Default::default();
        Self { sender, output, watchdog, current, busy, methods, made }
    }

    /// Whether no answer is waited for.
    pub(super) fn is_idle(&self) -> bool {
        !self.busy.get()
    }

    /// From now on these can be called: a map of names to functions.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub(super) fn serve<'js>(&self, ctx: &Ctx<'js>, methods: Value<'js>) -> Result<()> {
        let made = self.made.borrow().clone();
        match made {
            Some(made) => made.restore(ctx)?.get::<_, Function<'js>>("serve")?.call((methods,)),
            None => {
                *self.methods.borrow_mut() = Some(Persistent::save(ctx, methods));
                Ok(())
            }
        }
    }

    /// Takes in a message.
    ///
    /// # Errors
    /// With what was thrown and not caught.
    pub(super) fn hear(&self, ctx: &Ctx<'_>, said: Said) -> Result<()> {
        let message: Value<'_> = ctx.json_parse(said.header)?;
        let behind = said.json.and_then(|json| said.payload.get(json..)).map(<[u8]>::to_vec);
        let json = said.json.map_or(&*said.payload, |json| said.payload.get(..json).unwrap_or_default());
        let text = String::from_utf8_lossy(json).into_js(ctx)?;
        let behind = match behind {
            Some(bytes) => TypedArray::new(ctx.clone(), bytes)?.into_value(),
            None => Value::new_undefined(ctx.clone()),
        };
        self.made(ctx)?.get::<_, Function<'_>>("hear")?.call((message, text, behind))
    }

    /// Lets what is served be finished: a promise of that, where anything is.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub(super) fn drain<'js>(&self, ctx: &Ctx<'js>) -> Result<Option<Promise<'js>>> {
        let made = self.made.borrow().clone();
        let Some(made) = made else { return Ok(None) };
        made.restore(ctx)?.get::<_, Function<'js>>("drain")?.call(())
    }

    /// What `makeTalk` has returned.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub(super) fn made<'js>(&self, ctx: &Ctx<'js>) -> Result<Object<'js>> {
        let made = self.made.borrow().clone();
        if let Some(made) = made {
            return made.restore(ctx);
        }
        let (module, done) = Module::declare(ctx.clone(), TALK, SOURCE)?.eval()?;
        done.finish::<()>()?;
        let mut options = EvalOptions::default();
        options.filename = Some("orchestrator:host".into());
        let host: Function<'js> = ctx.eval_with_options(HOST, options)?;
        let host: Object<'js> = host.call((self.natives(ctx)?,))?;
        let make: Function<'js> = module.namespace()?.get("makeTalk")?;
        let made: Object<'js> = make.call((host,))?;
        *self.made.borrow_mut() = Some(Persistent::save(ctx, made.clone()));
        if let Some(methods) = self.methods.borrow_mut().take() {
            let methods = methods.restore(ctx)?;
            made.get::<_, Function<'js>>("serve")?.call::<_, ()>((methods,))?;
        }
        Ok(made)
    }

    fn natives<'js>(&self, ctx: &Ctx<'js>) -> Result<Object<'js>> {
        let natives = Object::new(ctx.clone())?;
        let (sender, watchdog) = (Arc::clone(&self.sender), Arc::clone(&self.watchdog));
        let behind = Rc::new(RefCell::new(Vec::new()));
        let appended = Rc::clone(&behind);
        // Bytes come as texts with a character for each: there is no safe view of the engine's own memory.
        let append = move |binary: String| appended.borrow_mut().extend(binary.chars().map(|c| c as u8));
        natives.set("append", Function::new(ctx.clone(), append)?)?;
        let send = move |ctx: Ctx<'js>, header: Value<'js>, json: Value<'js>, has_bytes: bool| {
            let (header, json) = (text::of(&ctx, &header), text::of(&ctx, &json));
            let bytes = behind.take();
            let bytes = has_bytes.then_some(&*bytes);
            watchdog.uncounted(|| sender.send_payload(&header, &json, bytes));
        };
        natives.set("send", Function::new(ctx.clone(), send)?)?;
        let entered = self.current.clone();
        let enter = move |ctx: Ctx<'js>, invocation: Value<'js>| entered.enter(&ctx, invocation);
        natives.set("enter", Function::new(ctx.clone(), enter)?)?;
        let current = self.current.clone();
        natives.set("current", Function::new(ctx.clone(), move |ctx: Ctx<'js>| current.get(&ctx))?)?;
        let busy = Rc::clone(&self.busy);
        natives.set("busy", Function::new(ctx.clone(), move |flag: bool| busy.set(flag))?)?;
        let describe = |ctx: Ctx<'js>, error: Value<'js>| -> Result<Object<'js>> {
            let described = thrown::describe(&ctx, &error);
            let words = Object::new(ctx)?;
            words.set("name", described.name)?;
            words.set("message", described.message)?;
            words.set("stack", described.stack)?;
            Ok(words)
        };
        natives.set("describe", Function::new(ctx.clone(), describe)?)?;
        let output = self.output.clone();
        let complain = move |ctx: Ctx<'js>, line: Value<'js>| {
            output.write_line(Stream::Stderr, &text::of(&ctx, &line));
        };
        natives.set("complain", Function::new(ctx.clone(), complain)?)?;
        Ok(natives)
    }
}
