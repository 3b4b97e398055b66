//! [`Painter`]: lines, and below them a table that is painted over by whatever comes next.

use std::io::{self, Write};

use crate::writer::Text;

/// Standard output and standard error, which may be the same terminal.
#[derive(Debug)]
pub(crate) struct Painter<Out, Err> {
    out: Out,
    err: Err,
    /// The table that stands at the end now. The cursor is in its last line.
    painted: Vec<String>,
}

impl<Out: Write, Err: Write> Painter<Out, Err> {
    pub(crate) fn new(out: Out, err: Err) -> Self {
        Self { out, err, painted: Vec::new() }
    }

    /// Shows a text.
    ///
    /// # Errors
    /// Where nobody reads standard output any more. Nobody is left to be told of any other failure.
    pub(crate) fn show(&mut self, text: Text) -> io::Result<()> {
        match text {
            Text::Table(lines) if lines == self.painted => Ok(()),
            Text::Table(lines) => {
                self.clear();
                let _ = self.err.write_all(lines.join("\n").as_bytes());
                self.painted = lines;
                Ok(())
            }
            Text::Err(line) => {
                self.clear();
                let _ = self.err.write_all(format!("{line}\n").as_bytes());
                Ok(())
            }
            Text::Out(line) => {
                self.clear();
                let written = self.out.write_all(format!("{line}\n").as_bytes());
                written.and_then(|()| self.out.flush()).or_else(|error| match error.kind() {
                    io::ErrorKind::BrokenPipe => Err(error),
                    _ => Ok(()),
                })
            }
        }
    }

    /// Takes the table away.
    pub(crate) fn clear(&mut self) {
        let lines = std::mem::take(&mut self.painted).len();
        if lines > 0 {
            let up = "\x1b[A".repeat(lines - 1);
            let _ = self.err.write_all(format!("\r{up}\x1b[J").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written to standard error.
    fn written(texts: impl IntoIterator<Item = Text>) -> String {
        let mut painter = Painter::new(Vec::new(), Vec::new());
        for text in texts {
            painter.show(text).unwrap();
        }
        String::from_utf8(painter.err).unwrap()
    }

    fn table(lines: &[&str]) -> Text {
        Text::Table(lines.iter().map(|line| (*line).to_owned()).collect())
    }

    #[test]
    fn a_table_is_painted_over_by_what_comes_next() {
        let over = "\r\x1b[A\x1b[J";
        assert_eq!(written([table(&["a", "b"]), table(&["c"])]), format!("a\nb{over}c"));
        assert_eq!(written([table(&["a", "b"]), Text::Err("x".into())]), format!("a\nb{over}x\n"));
        assert_eq!(written([table(&["a", "b"]), Text::Out("x".into())]), format!("a\nb{over}"));
    }

    #[test]
    fn a_table_that_has_not_changed_is_left_alone() {
        assert_eq!(written([table(&["a"]), table(&["a"])]), "a");
        assert_eq!(written([table(&[]), Text::Err("x".into()), table(&[])]), "x\n", "no table, no escapes");
    }
}
