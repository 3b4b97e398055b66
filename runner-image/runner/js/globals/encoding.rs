//! `TextEncoder` and `TextDecoder`: UTF-8, as the web's Encoding standard has it.

use rquickjs::{Array, Ctx, Function, IntoJs as _, Object, Result, TypedArray, Value};

use super::lazy::Script;
use crate::js::text;

const ENCODING: Script = Script { name: "encoding", source: include_str!("encoding.js"), natives };

/// Makes them.
///
/// # Errors
/// Where there is no memory for them.
pub(super) fn install(ctx: &Ctx<'_>) -> Result<()> {
    ENCODING.install(ctx, &["TextEncoder", "TextDecoder"])
}

fn natives<'js>(ctx: &Ctx<'js>, natives: &Object<'js>) -> Result<()> {
    natives.set("encode", Function::new(ctx.clone(), encode)?)?;
    natives.set("decode", Function::new(ctx.clone(), decode)?)
}

fn encode<'js>(ctx: Ctx<'js>, value: Value<'js>) -> Result<TypedArray<'js, u8>> {
    let text = text::of(&ctx, &value);
    TypedArray::new_copy(ctx, text)
}

/// Decodes bytes, which come as a text with a character for each: there is no safe view of the engine's own memory.
/// Returns the text, how many bytes were taken (all, but for a character that is not complete, where more may
/// follow), and whether all of it was UTF-8.
fn decode<'js>(ctx: Ctx<'js>, binary: String, more: bool) -> Result<Array<'js>> {
    let bytes: Vec<u8> = binary.chars().map(|character| character as u8).collect();
    let taken = if more { bytes.len() - incomplete_tail(&bytes) } else { bytes.len() };
    let decoded = String::from_utf8_lossy(&bytes[..taken]);
    let valid = matches!(decoded, std::borrow::Cow::Borrowed(_));
    let answer = Array::new(ctx.clone())?;
    answer.set(0, decoded.as_ref().into_js(&ctx)?)?;
    answer.set(1, taken)?;
    answer.set(2, valid)?;
    Ok(answer)
}

/// How many bytes at the end begin a character that is not complete.
fn incomplete_tail(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    match std::str::from_utf8(last) {
        Err(error) if error.error_len().is_none() => last.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::incomplete_tail;

    #[test]
    fn only_what_could_still_become_a_character_is_an_incomplete_tail() {
        let snowman = "\u{2603}".as_bytes();
        let cases: [(&[u8], usize); 6] =
            [(b"", 0), (b"abc", 0), (&snowman[..2], 2), (snowman, 0), (b"a\xff", 0), (b"\xf0\x9f", 2)];
        for (bytes, expected) in cases {
            assert_eq!(incomplete_tail(bytes), expected, "{bytes:?}");
        }
    }
}
