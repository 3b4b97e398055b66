//! `crypto`: randomness from the system, and nothing else of it.

use rquickjs::{Ctx, Exception, Function, Object, Result, TypedArray};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

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

/// That many random bytes; the script asks for 64 KiB at the most. The kernel is asked by the call itself: the `getrandom` crate
/// opens a file in a program that is linked statically, and confined code may open none.
fn random<'js>(ctx: Ctx<'js>, length: usize) -> Result<TypedArray<'js, u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(Exception::throw_message(&ctx, &error.to_string())),
        }
    }
    TypedArray::new_copy(ctx, bytes)
}
