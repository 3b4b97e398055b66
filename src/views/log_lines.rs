//! [`LogLines`]: what services write, merged, each line behind the name of who wrote it.

use orchestrator_core::report::{LogRecord, Stream};

use crate::escape::neutralise;
use crate::palette::Palette;

/// Renders log records. The prefix is as wide as the longest name so far.
#[derive(Debug)]
pub struct LogLines {
    palette: Palette,
    width: usize,
}

impl LogLines {
    /// With names that are known to come, so that the first lines stand where the last ones will.
    #[must_use]
    pub fn new(palette: Palette, names: impl IntoIterator<Item = String>) -> Self {
        let width = names.into_iter().map(|name| name.chars().count()).max().unwrap_or_default();
        Self { palette, width }
    }

    /// The record as one line, without its end; before it, one that tells what was lost.
    pub fn line(&mut self, record: &LogRecord) -> String {
        let name = record.replica.to_string();
        self.width = self.width.max(name.chars().count());
        let padded = format!("{name:<width$}", width = self.width);
        let name = self.palette.service(&record.replica.service, &padded);
        let bar = match record.stream {
            Stream::Stdout => "|".to_owned(),
            Stream::Stderr => self.palette.bad("|"),
        };
        let lost = match record.lost {
            0 => String::new(),
            lost => format!("{name} {bar} {}\n", self.palette.bad(&format!("({lost} bytes were lost here)"))),
        };
        let goes_on = if record.partial { "…" } else { "" };
        format!("{lost}{name} {bar} {}{goes_on}", neutralise(&record.text))
    }

    /// A line for records that are no longer there.
    #[must_use]
    pub fn missed(&self, records: u64) -> String {
        self.palette.bad(&format!("({records} older lines are gone: the log is bounded)"))
    }
}

#[cfg(test)]
mod tests {
    use orchestrator_core::{Generation, ReplicaId, ServiceName};

    use super::*;

    fn record(service: &str, text: &str) -> LogRecord {
        LogRecord {
            seq: 1,
            time: 0,
            replica: ReplicaId { service: ServiceName::parse(service).unwrap(), index: 1 },
            generation: Generation(1),
            stream: Stream::Stdout,
            text: text.into(),
            partial: false,
            lost: 0,
        }
    }

    #[test]
    fn lines_stand_behind_who_wrote_them() {
        let mut lines = LogLines::new(Palette::new(false), ["catalog-1".to_owned()]);
        assert_eq!(lines.line(&record("db", "ready")), "db-1      | ready");
        assert_eq!(lines.line(&record("catalog", "\x1b[2J")), "catalog-1 | ^[[2J");
        let long = LogRecord { partial: true, lost: 7, ..record("db", "half") };
        assert_eq!(lines.line(&long), "db-1      | (7 bytes were lost here)\ndb-1      | half…");
        assert_eq!(lines.missed(3), "(3 older lines are gone: the log is bounded)");
    }
}
