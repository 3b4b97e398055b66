//! [`queried`]: the name that a packet to a name server asks for.

/// A header's length: number, flags, and how many questions, answers, authorities and additions follow.
const HEADER: usize = 12;

/// The longest name, written with dots.
const LONGEST_NAME: usize = 253;

/// The name in a query, in lower case, without a dot at its end; none where the bytes are no query.
pub(super) fn queried(packet: &[u8]) -> Option<String> {
    let (header, mut rest) = packet.split_at_checked(HEADER)?;
    let is_query = header[2] & 0xf8 == 0;
    let counts = (&header[4..6], &header[6..8], &header[8..10]);
    if !is_query || counts != (&[0, 1], &[0, 0], &[0, 0]) {
        return None;
    }
    let mut name = String::new();
    loop {
        let (&length, more) = rest.split_first()?;
        let (label, more) = more.split_at_checked(usize::from(length))?;
        rest = more;
        if length == 0 {
            break;
        }
        let plain = |&byte: &u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if length > 63 || !label.iter().all(plain) {
            return None;
        }
        let dot = if name.is_empty() { "" } else { "." };
        name.extend([dot, std::str::from_utf8(label).ok()?]);
    }
    // The class of the question is that of the internet.
    let is_internet = rest.get(2..4) == Some(&[0, 1]);
    (is_internet && !name.is_empty() && name.len() <= LONGEST_NAME).then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(flags: u8, name: &[u8], class: u8) -> Vec<u8> {
        [&[7, 7, flags, 0, 0, 1, 0, 0, 0, 0, 0, 1], name, &[0, 1, 0, class], b"an option"].concat()
    }

    #[test]
    fn the_name_of_a_query_is_read_and_nothing_else_is_one() {
        let name = b"\x03API\x07example\x03com\0";
        assert_eq!(queried(&query(1, name, 1)).as_deref(), Some("api.example.com"));
        assert_eq!(queried(&query(0x81, name, 1)), None, "an answer");
        assert_eq!(queried(&query(1, name, 3)), None, "of another network");
        assert_eq!(queried(&query(1, b"\0", 1)), None, "the root");
        assert_eq!(queried(&query(1, b"\xc0\x0c", 1)), None, "a pointer");
        assert_eq!(queried(b"GET / HTTP/1.1\r\nhost: example.com\r\n\r\n"), None);
        assert_eq!(queried(&query(1, name, 1)[..20]), None, "cut");
    }
}
