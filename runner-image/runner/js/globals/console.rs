//! `console`: a line for each call; `log`, `info` and `debug` on standard output, `warn` and `error` on standard error.

use std::cell::RefCell;
use std::rc::Rc;

use rquickjs::function::Rest;
use rquickjs::{Ctx, Function, Object, Persistent, Result, Value};

use super::lazy::Script;
use crate::js::output::{Output, Stream};
use crate::js::text;

/// Makes objects, and texts with `%s` in them, readable.
const FORMAT: Script = Script { name: "format", source: include_str!("format.js"), natives: |_, _| Ok(()) };

const METHODS: [(&str, Stream); 5] = [
    ("log", Stream::Stdout),
    ("info", Stream::Stdout),
    ("debug", Stream::Stdout),
    ("warn", Stream::Stderr),
    ("error", Stream::Stderr),
];

/// Makes `console`.
///
/// # Errors
/// Where there is no memory for it.
pub(super) fn install<'js>(ctx: &Ctx<'js>, output: &Output) -> Result<()> {
    let console = Object::new(ctx.clone())?;
    let formatter = Formatter::default();
    for (name, stream) in METHODS {
        let (output, formatter) = (output.clone(), formatter.clone());
        let write = move |ctx: Ctx<'js>, values: Rest<Value<'js>>| -> Result<()> {
            output.write_line(stream, &formatter.format(&ctx, values.0)?);
            Ok(())
        };
        console.set(name, Function::new(ctx.clone(), write)?.with_name(name)?)?;
    }
    ctx.globals().set("console", console)
}

/// What `FORMAT` makes, once it was needed.
#[derive(Clone, Default)]
struct Formatter {
    format: Rc<RefCell<Option<Persistent<Function<'static>>>>>,
}

impl Formatter {
    /// One line of several values. Texts and numbers alone, the usual line, need no script.
    fn format<'js>(&self, ctx: &Ctx<'js>, values: Vec<Value<'js>>) -> Result<String> {
        let first = values.first().filter(|_| values.len() > 1).and_then(Value::as_string);
        let simple = values.iter().all(|value| value.is_string() || value.is_number() || value.is_bool());
        if simple && first.is_none_or(|first| !text::of(ctx, first.as_value()).contains('%')) {
            return Ok(values.iter().map(|value| text::of(ctx, value)).collect::<Vec<_>>().join(" "));
        }
        let line: Value<'js> = self.function(ctx)?.call((Rest(values),))?;
        Ok(text::of(ctx, &line))
    }

    fn function<'js>(&self, ctx: &Ctx<'js>) -> Result<Function<'js>> {
        if let Some(format) = self.format.borrow().clone() {
            return format.restore(ctx);
        }
        let format: Function<'js> = FORMAT.load(ctx)?.get("format")?;
        *self.format.borrow_mut() = Some(Persistent::save(ctx, format.clone()));
        Ok(format)
    }
}
