//! [`Script`]: globals that are written in JavaScript, and compiled when they are first looked at.

use std::cell::RefCell;
use std::rc::Rc;

use rquickjs::context::EvalOptions;
use rquickjs::object::{Accessor, Property};
use rquickjs::{Ctx, Function, Object, Persistent, Result, Value};

/// A script: an expression that is a function. It is called with an object of native functions, and returns an object
/// of globals.
#[derive(Clone, Copy)]
pub(super) struct Script {
    /// What it is called in stacks, where nobody sees it.
    pub(super) name: &'static str,
    /// Its text.
    pub(super) source: &'static str,
    /// Adds the native functions that it needs.
    pub(super) natives: for<'a, 'js> fn(&'a Ctx<'js>, &'a Object<'js>) -> Result<()>,
}

impl Script {
    /// Makes these of its globals appear; the first use of any of them compiles the script.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub(super) fn install(self, ctx: &Ctx<'_>, globals: &[&'static str]) -> Result<()> {
        self.shared().install(ctx, globals)
    }

    /// The script, for several that need it.
    pub(super) fn shared(self) -> Shared {
        Shared { script: self, made: Rc::default() }
    }

    /// Compiles the script and calls it.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub(super) fn load<'js>(self, ctx: &Ctx<'js>) -> Result<Object<'js>> {
        let mut options = EvalOptions::default();
        options.filename = Some(format!("orchestrator:{}", self.name));
        let natives = Object::new(ctx.clone())?;
        (self.natives)(ctx, &natives)?;
        ctx.eval_with_options::<Function<'js>, _>(self.source, options)?.call((natives,))
    }
}

/// A script that is compiled once, whoever needs it first. Cheap to clone.
#[derive(Clone)]
pub(in super::super) struct Shared {
    script: Script,
    /// What the script has returned, once it was called.
    made: Rc<RefCell<Option<Persistent<Object<'static>>>>>,
}

impl Shared {
    /// What the script makes.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub(in super::super) fn made<'js>(&self, ctx: &Ctx<'js>) -> Result<Object<'js>> {
        let made = self.made.borrow().clone();
        if let Some(made) = made {
            return made.restore(ctx);
        }
        let made = self.script.load(ctx)?;
        *self.made.borrow_mut() = Some(Persistent::save(ctx, made.clone()));
        Ok(made)
    }

    /// As [`Script::install`].
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub(super) fn install(&self, ctx: &Ctx<'_>, globals: &[&'static str]) -> Result<()> {
        for &name in globals {
            let accessor = Accessor::new(self.getter(name), setter(name));
            ctx.globals().prop(name, accessor.configurable())?;
        }
        Ok(())
    }

    fn getter(&self, name: &'static str) -> impl for<'js> Fn(Ctx<'js>) -> Result<Value<'js>> + use<> {
        let shared = self.clone();
        move |ctx| {
            let value: Value<'_> = shared.made(&ctx)?.get(name)?;
            define(&ctx, name, value.clone())?;
            Ok(value)
        }
    }
}

fn setter(name: &'static str) -> impl for<'js> Fn(Ctx<'js>, Value<'js>) -> Result<()> {
    move |ctx, value| define(&ctx, name, value)
}

/// From now on it is a global like any other.
fn define<'js>(ctx: &Ctx<'js>, name: &str, value: Value<'js>) -> Result<()> {
    ctx.globals().prop(name, Property::from(value).writable().configurable())
}
