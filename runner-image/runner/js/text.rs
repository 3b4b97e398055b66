//! Text of any value, whatever the service has made of it.

use rquickjs::{Coerced, Ctx, FromJs as _, String as JsString, Value};

/// What `String(value)` says: lone surrogates, which UTF-8 cannot say, are replaced. A conversion that throws, as the
/// service's own `toString` may, is an empty text.
pub(super) fn of<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> String {
    if let Some(symbol) = value.as_symbol() {
        let description = symbol.description().map_or_else(|_| String::new(), |text| of(ctx, &text));
        return format!("Symbol({description})");
    }
    match Coerced::<JsString<'js>>::from_js(ctx, value.clone()) {
        Ok(Coerced(text)) => text.to_string().unwrap_or_else(|_| well_formed(ctx, &text)),
        Err(_) => {
            ctx.catch();
            String::new()
        }
    }
}

/// Says the same with replacement characters for lone surrogates.
fn well_formed<'js>(ctx: &Ctx<'js>, text: &JsString<'js>) -> String {
    let replace = || -> rquickjs::Result<String> {
        let replace: rquickjs::Function<'js> = ctx.eval("(text) => text.toWellFormed()")?;
        replace.call::<_, JsString<'js>>((text.clone(),))?.to_string()
    };
    replace().unwrap_or_else(|_| {
        ctx.catch();
        String::new()
    })
}
