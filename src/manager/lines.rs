//! [`Lines`]: bytes as they come from a stream, to the texts of log records.

/// The longest text of one record, in bytes. A longer line becomes several records, all but the last partial.
pub(crate) const LONGEST: usize = 16 * 1024;

/// Cuts one stream of output into lines. Holds at most [`LONGEST`] bytes of an unfinished line.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    unfinished: Vec<u8>,
}

/// A line, or a piece of one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The text, without the line's end.
    pub(crate) text: String,
    /// The line goes on in the next piece.
    pub(crate) partial: bool,
}

impl Lines {
    /// Takes the stream's next bytes and gives the lines that they complete.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (content, ended) = match piece.strip_suffix(b"\n") {
                Some(content) => (content, true),
                None => (piece, false),
            };
            self.unfinished.extend_from_slice(content);
            while self.unfinished.len() > LONGEST {
                let rest = self.unfinished.split_off(whole_characters(&self.unfinished[..LONGEST]));
                lines.push(Line { text: text(&self.unfinished), partial: true });
                self.unfinished = rest;
            }
            if ended {
                lines.push(self.take());
            }
        }
        lines
    }

    /// The stream has ended: gives the last line, if it lacked its end.
    pub(crate) fn end(&mut self) -> Option<Line> {
        (!self.unfinished.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> Line {
        let bytes = std::mem::take(&mut self.unfinished);
        Line { text: text(bytes.strip_suffix(b"\r").unwrap_or(&bytes)), partial: false }
    }
}

/// How many of these bytes can be cut off without cutting a UTF-8 character in two.
fn whole_characters(bytes: &[u8]) -> usize {
    let starts = |byte: u8| byte & 0b1100_0000 != 0b1000_0000;
    let last_start = bytes.iter().rposition(|byte| starts(*byte)).unwrap_or(0);
    let complete = std::str::from_utf8(&bytes[last_start..]).is_ok();
    // More than three bytes after the last start of a character is no UTF-8 at all, so any cut will do.
    if complete || last_start == 0 || bytes.len() - last_start > 3 { bytes.len() } else { last_start }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn lines_are_found_wherever_the_bytes_are_cut() {
        let whole = "one\ntwo\r\n\nfünf\nrest".as_bytes();
        for cut in 0..whole.len() {
            let mut lines = Lines::default();
            let mut got = lines.feed(&whole[..cut]);
            got.extend(lines.feed(&whole[cut..]));
            got.extend(lines.end());
            assert_eq!(texts(&got), ["one", "two", "", "fünf", "rest"], "cut at {cut}");
            assert_eq!(lines.end(), None);
        }
    }

    #[test]
    fn a_long_line_is_cut_between_characters_and_nothing_of_it_is_lost() {
        let long = "é".repeat(600_000);
        let mut lines = Lines::default();
        let mut got = lines.feed(format!("x{long}").as_bytes());
        got.extend(lines.feed(b"\n"));
        assert_eq!(got.iter().map(|line| line.text.as_str()).collect::<String>(), format!("x{long}"));
        assert!(got.iter().all(|line| line.text.len() <= LONGEST));
        assert_eq!(got.iter().filter(|line| !line.partial).count(), 1);
        assert!(!got.last().unwrap().partial);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(texts(&Lines::default().feed(b"a\xff\xfeb\n")), ["a\u{fffd}\u{fffd}b"]);
    }
}
