//! [`Exports`]: what a service's entry module offers: its hooks, and the names of its methods.
//!
//! What counts is said once for all JavaScript hosts, in the node plugin's `service.mjs`.

use rquickjs::function::This;
use rquickjs::{Ctx, Function, Module, Object, Persistent, Promise, Result, Value};

use super::talk::{SERVICE, SERVICE_SOURCE};

/// Calls a hook, so that whatever it does becomes a promise: returning, throwing, or being asynchronous itself.
const CALL: &str = "(async (hook) => await hook())";

/// The name of what answers requests over HTTP.
const FETCH: &str = "fetch";

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
    /// The hooks that there are.
    hooks: Vec<(Hook, Persistent<Function<'static>>)>,
    /// What answers requests over HTTP.
    pub(super) fetch: Option<Persistent<Function<'static>>>,
    /// The methods, nested ones with dots, in alphabetical order.
    pub(super) methods: Vec<String>,
}

impl Exports {
    /// Reads the namespace of an evaluated module; and the map of its methods' names to functions. What is called `fetch` is a
    /// method, too, where the service is not `asked` over HTTP.
    ///
    /// # Errors
    /// Where a getter of the service throws.
    pub(super) fn of<'js>(
        ctx: &Ctx<'js>,
        namespace: &Object<'js>,
        asked: bool,
    ) -> Result<(Self, Value<'js>)> {
        let (module, done) = Module::declare(ctx.clone(), SERVICE, SERVICE_SOURCE)?.eval()?;
        done.finish::<()>()?;
        let offered: Function<'js> = module.namespace()?.get("offered")?;
        let offered: Object<'js> =
            offered.call((namespace.clone(), if asked { vec![FETCH] } else { Vec::new() }))?;
        let hooks: Object<'js> = offered.get("hooks")?;
        let mut exports = Self::default();
        let get: Function<'js> = hooks.get("get")?;
        for hook in Hook::ALL {
            let function: Option<Function<'js>> = get.call((This(hooks.clone()), hook.name()))?;
            exports.hooks.extend(function.map(|function| (hook, Persistent::save(ctx, function))));
        }
        let fetch: Option<Function<'js>> = get.call((This(hooks.clone()), FETCH))?;
        exports.fetch = fetch.map(|fetch| Persistent::save(ctx, fetch));
        let methods: Value<'js> = offered.get("methods")?;
        let names: Function<'js> = ctx.eval("(methods) => [...methods.keys()].sort()")?;
        exports.methods = names.call((methods.clone(),))?;
        Ok((exports, methods))
    }

    /// Whether there is such a hook.
    pub(super) fn has(&self, hook: Hook) -> bool {
        self.hooks.iter().any(|(known, _)| *known == hook)
    }

    /// Calls a hook; none if there is no such hook.
    ///
    /// # Errors
    /// Only where there is no memory to call anything: what the hook throws is in the promise.
    pub(super) fn call<'js>(&self, ctx: &Ctx<'js>, hook: Hook) -> Result<Option<Promise<'js>>> {
        let Some((_, function)) = self.hooks.iter().find(|(known, _)| *known == hook).cloned() else {
            return Ok(None);
        };
        let mut options = rquickjs::context::EvalOptions::default();
        options.filename = Some("orchestrator:call".into());
        let call: Function<'js> = ctx.eval_with_options(CALL, options)?;
        call.call((function.restore(ctx)?,)).map(Some)
    }
}
