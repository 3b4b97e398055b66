//! `crypto`: randomness from the system, and nothing else of it.

use rquickjs::{Ctx, Exception, Function, Object, Result, TypedArray};

use super::lazy::Script;

const CRYPTO: Script = Script { name: "crypto", source: include_str!("crypto.js"), natives };

/// Makes `crypto`.
///
/// # Errors
/// Where there is no memory for it.
pub(super) fn install(ctx: &Ctx<'_>) -> Result<()> {
    CRYPTO.install(ctx, &["crypto"])
}

fn natives<'js>(ctx: &Ctx<'js>, natives: &Object<'js>) -> Result<()> {
    natives.set("random", Function::new(ctx.clone(), random)?)
}

/// That many random bytes; the script asks for 64 KiB at the most.
fn random<'js>(ctx: Ctx<'js>, length: usize) -> Result<TypedArray<'js, u8>> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).map_err(|error| Exception::throw_message(&ctx, &error.to_string()))?;
    TypedArray::new_copy(ctx, bytes)
}
