//! [`Token`]: the secret by which one start of one service proves that it is itself.

use std::fmt;
use std::hint::black_box;

/// 256 random bits, made for one start and good for one connection. It travels by descriptor, never in an
/// argument or an environment; it is not shown by `{:?}`, and its bytes are wiped when it is dropped.
#[derive(Clone)]
pub struct Token([u8; 32]);

/// A text that is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token is 64 hexadecimal digits")]
pub struct NotAToken;

impl Token {
    /// A new token, from the kernel's random numbers.
    ///
    /// # Panics
    /// Where the kernel gives no random numbers: there is nothing safe to do then.
    #[must_use]
    pub fn generate() -> Self {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the kernel gives random numbers");
        Self(bytes)
    }

    /// As 64 hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }

    /// Reads what [`Token::to_hex`] wrote.
    ///
    /// # Errors
    /// Where it is anything else.
    pub fn from_hex(text: &str) -> Result<Self, NotAToken> {
        let digits = text.as_bytes().as_chunks::<2>();
        let (pairs, []) = digits else { return Err(NotAToken) };
        let pairs: &[[u8; 2]; 32] = pairs.try_into().map_err(|_| NotAToken)?;
        let mut bytes = [0; 32];
        for (byte, &[high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(high)? << 4 | digit(low)?;
        }
        Ok(Self(bytes))
    }

    /// Whether both are the same, in a time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        let difference = self.0.iter().zip(&other.0).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
        difference == 0
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn digit(byte: u8) -> Result<u8, NotAToken> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(NotAToken),
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.0.fill(0);
        // So that the wiping is not taken for a write that nobody reads.
        black_box(&self.0);
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let token = Token::generate();
        assert!(Token::from_hex(&token.to_hex()).unwrap().matches(&token));
        assert!(!Token::generate().matches(&token));
        assert_eq!(token.to_hex().len(), 64);
    }

    #[test]
    fn what_is_not_64_digits_is_no_token() {
        let good = Token::generate().to_hex();
        for bad in
            ["", "00", &good[1..], &format!("{good}0"), &format!("{good}00"), &good.replace(&good[..1], "g")]
        {
            assert!(Token::from_hex(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        assert_eq!(format!("{:?}", Token::generate()), "Token(..)");
    }
}
