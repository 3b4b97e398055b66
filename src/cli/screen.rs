//! [`Screen`]: what a person who runs `up` is shown, as texts: services' lines, what happens to them, and how far they
//! have come.

use std::time::Instant;

use orchestrator_core::report::{EventKind, Snapshot};
use orchestrator_manager::{EventItem, LogItem};
use orchestrator_views::{LogLines, event_line, is_news, progress, up_of_wanted};

use crate::interrupts::Wish;
use crate::news::Item;
use crate::terminal::Terminal;
use crate::writer::Text;

/// Turns what happens into what is shown. Writes nothing itself.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: Terminal,
    lines: LogLines,
    began: Instant,
    /// Everything that was wanted has come up once.
    up: bool,
}

impl Screen {
    /// With the names that lines will stand behind.
    pub(crate) fn new(terminal: Terminal, names: Vec<String>) -> Self {
        let lines = LogLines::new(terminal.palette(), names);
        Self { terminal, lines, began: Instant::now(), up: false }
    }

    /// Whether a table is to be painted, again and again.
    pub(crate) fn is_painted(&self) -> bool {
        self.terminal.live && !self.up
    }

    /// What is shown of something that happened; None where that is nothing.
    pub(crate) fn show(&mut self, item: &Item) -> Option<Text> {
        match item {
            Item::Log(LogItem::Record(record)) => Some(Text::Out(self.lines.line(record))),
            Item::Log(LogItem::Missed(missed)) => Some(Text::Out(self.lines.missed(*missed))),
            Item::LogLost(error) => Some(Text::Err(format!("the log cannot be read any more: {error}"))),
            Item::Event(item) => self.event(item).map(Text::Err),
            Item::Snapshot(snapshot) => self.status(snapshot).map(Text::Err),
        }
    }

    fn event(&self, item: &EventItem) -> Option<String> {
        match item {
            EventItem::Missed(missed) => Some(format!("({missed} events came too fast to be shown)")),
            EventItem::Event(event) if is_news(event) || matches!(event.kind, EventKind::Finished { .. }) => {
                Some(event_line(event, self.terminal.palette()))
            }
            EventItem::Event(_) => None,
        }
    }

    /// Says once that everything is up.
    fn status(&mut self, snapshot: &Snapshot) -> Option<String> {
        let (up, wanted) = up_of_wanted(snapshot);
        if self.up || up < wanted || wanted == 0 {
            return None;
        }
        self.up = true;
        let took = self.began.elapsed().as_millis();
        let services = if wanted == 1 { "1 service is".into() } else { format!("all {wanted} services are") };
        Some(self.terminal.palette().good(&format!("{services} up after {took} ms")))
    }

    /// How far the start has come, at this time.
    pub(crate) fn table(&self, snapshot: &Snapshot, now: u64) -> Text {
        let (columns, rows) = Terminal::size();
        // The last row and the last column stay free: a terminal that wraps or scrolls cannot be painted over.
        Text::Table(progress(snapshot, now, rows.saturating_sub(1), columns.saturating_sub(1)))
    }

    /// What is answered to a signal that asks for this.
    pub(crate) fn answer(wish: Wish) -> Text {
        Text::Err(match wish {
            Wish::End => "closing in order; press Ctrl-C again to kill".into(),
            Wish::EndNow => "killing everything".into(),
            Wish::Reload => "reloading everything that runs".into(),
        })
    }
}
