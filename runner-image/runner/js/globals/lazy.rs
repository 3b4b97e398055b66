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
    /// Where there is no memory for them.
    pub(super) fn install(self, ctx: &Ctx<'_>, globals: &[&'static str]) -> Result<()> {
        let loaded = Loaded::default();
        for &name in globals {
            let accessor = Accessor::new(self.getter(Rc::clone(&loaded), name), setter(name));
            ctx.globals().prop(name, accessor.configurable())?;
        }
        Ok(())
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

    fn getter(self, loaded: Loaded, name: &'static str) -> impl for<'js> Fn(Ctx<'js>) -> Result<Value<'js>> {
        move |ctx| {
            let known = loaded.borrow().clone();
            let globals = match known {
                Some(globals) => globals.restore(&ctx)?,
                None => self.load(&ctx)?,
            };
            *loaded.borrow_mut() = Some(Persistent::save(&ctx, globals.clone()));
            let value: Value<'_> = globals.get(name)?;
            define(&ctx, name, value.clone())?;
            Ok(value)
        }
    }
}

/// What a script has returned, once it was called.
type Loaded = Rc<RefCell<Option<Persistent<Object<'static>>>>>;

fn setter(name: &'static str) -> impl for<'js> Fn(Ctx<'js>, Value<'js>) -> Result<()> {
    move |ctx, value| define(&ctx, name, value)
}

/// From now on it is a global like any other.
fn define<'js>(ctx: &Ctx<'js>, name: &str, value: Value<'js>) -> Result<()> {
    ctx.globals().prop(name, Property::from(value).writable().configurable())
}
