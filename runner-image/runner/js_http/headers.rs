//! Headers between HTTP and the js process: lines of `name:value`, a character for each byte of a value.

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

/// What is not the service's to say: how long an answer is, and what becomes of the connection.
const OWN: [HeaderName; 6] = [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

/// As the js process reads them.
pub(super) fn to_lines(headers: &HeaderMap) -> String {
    let mut lines = String::with_capacity(64 * headers.len());
    for (name, value) in headers {
        lines.push_str(name.as_str());
        lines.push(':');
        lines.extend(value.as_bytes().iter().copied().map(char::from));
        lines.push('\n');
    }
    lines
}

/// As it has written them, without those that are not its to say. None where a line is no header.
pub(super) fn from_lines(lines: &str) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines.lines() {
        let (name, value) = line.split_once(':')?;
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let value: Option<Vec<u8>> = value.chars().map(|c| u8::try_from(c).ok()).collect();
        let value = HeaderValue::from_bytes(&value?).ok()?;
        if !OWN.contains(&name) {
            headers.append(name, value);
        }
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_the_same_on_both_ways_whatever_their_bytes() {
        let lines = "x-a:1\nx-a:2:3\nx-b:caf\u{e9}\nx-c:\n";
        let headers = from_lines(lines).unwrap();
        assert_eq!(headers["x-b"].as_bytes(), b"caf\xe9");
        assert_eq!(headers.get_all("x-a").iter().count(), 2);
        assert_eq!(to_lines(&headers), lines);
        assert_eq!(from_lines("").unwrap().len(), 0);
    }

    #[test]
    fn what_is_not_the_services_to_say_is_left_out_and_what_is_no_header_refused() {
        let headers = from_lines("content-length:7\nConnection:upgrade\ndate:today\n").unwrap();
        assert_eq!(to_lines(&headers), "date:today\n");
        for none in ["x", ":1", "a b:1", "x:\u{0}", "x:\u{100}", "\n"] {
            assert!(from_lines(none).is_none(), "{none:?}");
        }
    }
}
