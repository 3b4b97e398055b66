//! What a js service finds in `globalThis` beyond the language: docs/services.md lists it.
//!
//! Only what a service uses costs it anything: the parts written in JavaScript are compiled at their first use.

#![expect(clippy::needless_pass_by_value, reason = "the engine hands the arguments of native functions over")]

mod console;
mod crypto;
mod encoding;
mod lazy;
mod url;

use rquickjs::{Ctx, Result};

use self::lazy::Script;
pub(super) use self::lazy::Shared;
use super::output::Output;

/// Makes them all.
///
/// # Errors
/// Where there is no memory for them.
pub(super) fn install(ctx: &Ctx<'_>, output: &Output, web: &Shared) -> Result<()> {
    console::install(ctx, output)?;
    crypto::install(ctx)?;
    encoding::install(ctx)?;
    url::install(ctx)?;
    let structured_clone = Script {
        name: "structured_clone",
        source: include_str!("structured_clone.js"),
        natives: |_, _| Ok(()),
    };
    structured_clone.install(ctx, &["structuredClone"])?;
    let abort = Script { name: "abort", source: include_str!("abort.js"), natives: |_, _| Ok(()) };
    abort.install(ctx, &["AbortController", "AbortSignal"])?;
    web.install(ctx, &["Headers", "Request", "Response"])
}

/// What HTTP is made of, for services and for the host's own scripts.
pub(super) fn web() -> Shared {
    Script { name: "web", source: include_str!("web.js"), natives: |_, _| Ok(()) }.shared()
}
