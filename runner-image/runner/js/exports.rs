//! [`Exports`]: what a service's entry module offers: its hooks, and the names of its methods.
//!
//! What the module exports by name counts, and what its default export holds, if that is an object. Functions are
//! methods; plain objects are namespaces; the functions `start`, `close` and `health` are hooks instead.

use rquickjs::{Coerced, Ctx, Function, Object, Persistent, Promise, Result, Value};

/// How deep namespaces can be nested.
const DEPTH_LIMIT: usize = 8;

/// Calls a hook, so that whatever it does becomes a promise: returning, throwing, or being asynchronous itself.
const CALL: &str = "(async (hook, owner) => await hook.call(owner))";

/// What is called at certain moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// Before the service is running.
    Start,
    /// When somebody asks how it is.
    Health,
    /// Before it ends.
    Close,
}

impl Hook {
    const ALL: [Self; 3] = [Self::Start, Self::Health, Self::Close];

    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Health => "health",
            Self::Close => "close",
        }
    }
}

/// What an entry module offers.
#[derive(Clone, Default)]
pub(super) struct Exports {
    /// The hooks that there are, each with what it is called on.
    hooks: Vec<(Hook, Persistent<Function<'static>>, Persistent<Value<'static>>)>,
    /// The methods, nested ones with dots, in alphabetical order.
    pub(super) methods: Vec<String>,
}

impl Exports {
    /// Reads the namespace of an evaluated module.
    ///
    /// # Errors
    /// Where a getter of the service throws.
    pub(super) fn of<'js>(ctx: &Ctx<'js>, namespace: &Object<'js>) -> Result<Self> {
        let mut exports = Self::default();
        exports.collect(ctx, namespace, &Value::new_undefined(ctx.clone()))?;
        let default: Value<'js> = namespace.get("default")?;
        if let Some(object) = default.as_object().filter(|object| !object.is_function()) {
            exports.collect(ctx, object, &default)?;
        }
        exports.methods.sort();
        exports.methods.dedup();
        Ok(exports)
    }

    /// Whether there is such a hook.
    pub(super) fn has(&self, hook: Hook) -> bool {
        self.hooks.iter().any(|(known, ..)| *known == hook)
    }

    /// Calls a hook; none if there is no such hook.
    ///
    /// # Errors
    /// Only where there is no memory to call anything: what the hook throws is in the promise.
    pub(super) fn call<'js>(&self, ctx: &Ctx<'js>, hook: Hook) -> Result<Option<Promise<'js>>> {
        let Some((_, function, owner)) = self.hooks.iter().find(|(known, ..)| *known == hook).cloned() else {
            return Ok(None);
        };
        let mut options = rquickjs::context::EvalOptions::default();
        options.filename = Some("orchestrator:call".into());
        let call: Function<'js> = ctx.eval_with_options(CALL, options)?;
        call.call((function.restore(ctx)?, owner.restore(ctx)?)).map(Some)
    }

    fn collect<'js>(&mut self, ctx: &Ctx<'js>, exported: &Object<'js>, owner: &Value<'js>) -> Result<()> {
        for name in exported.keys::<String>() {
            let name = name?;
            let value: Value<'js> = exported.get(&*name)?;
            match (Hook::ALL.into_iter().find(|hook| hook.name() == name), value.as_function()) {
                (Some(hook), Some(function)) if !self.has(hook) => {
                    let function = Persistent::save(ctx, function.clone());
                    self.hooks.push((hook, function, Persistent::save(ctx, owner.clone())));
                }
                (Some(_), Some(_)) => {}
                _ if name == "default" => {}
                _ => self.add_methods(name, &value, DEPTH_LIMIT)?,
            }
        }
        Ok(())
    }

    fn add_methods(&mut self, name: String, value: &Value<'_>, depth: usize) -> Result<()> {
        if let Some(function) = value.as_function() {
            if !is_class(function)? {
                self.methods.push(name);
            }
        } else if let Some(object) = value.as_object().filter(|object| depth > 0 && is_plain(object)) {
            for key in object.keys::<String>() {
                let key = key?;
                let value: Value<'_> = object.get(&*key)?;
                self.add_methods(format!("{name}.{key}"), &value, depth - 1)?;
            }
        }
        Ok(())
    }
}

/// Whether it is an object literal, not an array, a map, or an instance of something.
fn is_plain(object: &Object<'_>) -> bool {
    object.get_prototype().is_none_or(|prototype| {
        prototype.get_prototype().is_none() && prototype.contains_key("isPrototypeOf").unwrap_or(false)
    })
}

/// A class cannot be called.
fn is_class(function: &Function<'_>) -> Result<bool> {
    let source: Coerced<String> =
        function.get::<_, Function<'_>>("toString")?.call((rquickjs::function::This(function.clone()),))?;
    Ok(source.0.starts_with("class"))
}
