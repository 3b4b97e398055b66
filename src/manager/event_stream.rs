//! [`EventStream`]: the one stream of events, numbered, with a bounded memory of the last ones, read by any number
//! of readers at their own pace.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use orchestrator_core::report::{Event, EventKind};
use tokio::sync::watch;

/// How many events are kept. A reader that falls further behind is told how many it missed.
const KEPT: usize = 8192;

/// The project's events, as their one source writes them. Dropped when the project has ended: readers then end.
#[derive(Debug)]
pub(crate) struct EventStream {
    kept: Kept,
    /// The number of the newest event; readers wait on it.
    newest: watch::Sender<u64>,
}

type Kept = Arc<Mutex<VecDeque<Arc<Event>>>>;

/// The reading half of the stream. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct EventView {
    kept: Kept,
    newest: watch::Receiver<u64>,
}

/// Reads events in order, each exactly once.
#[derive(Debug)]
pub struct EventReader {
    stream: Kept,
    newest: watch::Receiver<u64>,
    /// The number of the last event that was given out or reported as missed.
    last: u64,
}

/// What a reader gets.
#[derive(Clone, Debug)]
pub enum EventItem {
    /// The next event.
    Event(Arc<Event>),
    /// So many events came and went before the reader asked for them.
    Missed(u64),
}

impl EventStream {
    pub(crate) fn new() -> Self {
        Self { kept: Arc::default(), newest: watch::Sender::new(0) }
    }

    /// Numbers an event, stamps it with the time and hands it to all readers.
    pub(crate) fn publish(&self, kind: EventKind) -> Arc<Event> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let seq = *self.newest.borrow() + 1;
        let event = Arc::new(Event { seq, time: now_millis(), kind });
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(event.clone());
        drop(kept);
        self.newest.send_replace(seq);
        event
    }

    /// The number of the newest event.
    pub(crate) fn newest(&self) -> u64 {
        *self.newest.borrow()
    }

    pub(crate) fn view(&self) -> EventView {
        EventView { kept: self.kept.clone(), newest: self.newest.subscribe() }
    }
}

impl EventView {
    pub(crate) fn read(&self, after: u64) -> EventReader {
        EventReader { stream: self.kept.clone(), newest: self.newest.clone(), last: after }
    }
}

impl EventReader {
    /// The next event, or how many were missed. None once the project has ended and all has been read.
    pub async fn next(&mut self) -> Option<EventItem> {
        loop {
            if let Some(item) = self.next_kept() {
                return Some(item);
            }
            // The sender lives in every clone of the stream, so an error means that nothing will come any more.
            self.newest.changed().await.ok()?;
        }
    }

    /// The next event that has already happened. None where there is none yet.
    pub fn next_kept(&mut self) -> Option<EventItem> {
        let kept = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = kept.front()?.seq;
        if self.last + 1 < oldest {
            let missed = oldest - 1 - self.last;
            // A reader that starts at 0 wants what is kept; only one that was already reading has missed anything.
            let began = self.last > 0;
            self.last = oldest - 1;
            if began {
                return Some(EventItem::Missed(missed));
            }
        }
        let index = usize::try_from(self.last + 1 - oldest).ok()?;
        let event = kept.get(index)?.clone();
        self.last = event.seq;
        Some(EventItem::Event(event))
    }
}

/// Milliseconds since 1970-01-01 UTC, by the host's clock.
pub(crate) fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use orchestrator_core::ServiceName;
    use orchestrator_core::report::EventKind;

    use super::*;

    fn child(created: bool) -> EventKind {
        EventKind::Child { service: ServiceName::parse("a/b").unwrap(), created }
    }

    #[tokio::test]
    async fn a_reader_sees_the_past_then_the_present_then_the_end() {
        let stream = EventStream::new();
        stream.publish(child(true));
        let mut reader = stream.view().read(0);
        assert!(matches!(reader.next().await, Some(EventItem::Event(event)) if event.seq == 1));
        assert!(reader.next_kept().is_none());
        stream.publish(child(false));
        assert!(matches!(reader.next().await, Some(EventItem::Event(event)) if event.seq == 2));
        drop(stream);
        assert!(reader.next().await.is_none());
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_what_it_missed() {
        let stream = EventStream::new();
        stream.publish(child(true));
        let mut reader = stream.view().read(0);
        reader.next().await;
        for _ in 0..KEPT + 10 {
            stream.publish(child(true));
        }
        assert!(matches!(reader.next().await, Some(EventItem::Missed(10))));
        assert!(matches!(reader.next().await, Some(EventItem::Event(event)) if event.seq == 12));
    }
}
