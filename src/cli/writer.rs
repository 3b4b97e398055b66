//! [`Writer`]: standard output and standard error behind a queue and a thread of their own. A terminal that stands still
//! (Ctrl-S, a pipe that nobody reads) holds up what is written to it, and nothing else.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::painter::Painter;

/// How many texts may wait to be written.
const QUEUE: usize = 256;

/// How long a terminal may stand still, once everything has ended, before what is left is not waited for any more.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// Something to show.
#[derive(Clone, Debug)]
pub(crate) enum Text {
    /// A line of standard output: what the services wrote.
    Out(String),
    /// A line of standard error: what happens to them.
    Err(String),
    /// Lines at the end of standard error that are painted over by whatever comes next.
    Table(Vec<String>),
}

/// The way to the terminal. When the last of it has been written, [`Writer::end`] returns.
#[derive(Debug)]
pub(crate) struct Writer {
    /// To the thread. When it is full, whoever has more to write waits for room and reads no further meanwhile: the
    /// log is on disk and events are kept, each as much as its bound, so a terminal that stands still for long is told how
    /// many it missed. What is of the moment only is left out then.
    queue: mpsc::Sender<Text>,
    /// Changes with every text that has been written; closed when the thread has ended.
    written: watch::Receiver<()>,
}

/// A place in the queue.
#[derive(Debug)]
pub(crate) struct Room<'a>(mpsc::Permit<'a, Text>);

impl Room<'_> {
    /// Writes a text, if there is one. The place is free again otherwise.
    pub(crate) fn write(self, text: Option<Text>) {
        if let Some(text) = text {
            self.0.send(text);
        }
    }
}

impl Writer {
    /// A writer to these two, which are the terminal, or where the shell sent them.
    ///
    /// # Errors
    /// Where no thread can be made.
    pub(crate) fn new(
        out: impl Write + Send + 'static,
        err: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, mut texts) = mpsc::channel(QUEUE);
        let (told, written) = watch::channel(());
        let mut painter = Painter::new(out, err);
        thread::Builder::new().name("terminal".into()).spawn(move || {
            while let Some(text) = texts.blocking_recv() {
                // The reader has gone. Dropping the queue tells it to whoever would write more.
                if painter.show(text).is_err() {
                    return;
                }
                told.send_replace(());
            }
            painter.clear();
        })?;
        Ok(Self { queue, written })
    }

    /// The next thing to write, asked for only when there is room for it. Cancel-safe where `next` is. Waits for ever
    /// once the reader has gone.
    pub(crate) async fn when_room<T>(&self, next: impl Future<Output = T>) -> (Room<'_>, T) {
        match self.queue.reserve().await {
            Ok(room) => (Room(room), next.await),
            Err(_) => std::future::pending().await,
        }
    }

    /// Writes what is of the moment only, if there is room for it.
    pub(crate) fn now(&self, text: Text) {
        let _ = self.queue.try_send(text);
    }

    /// Waits until nobody reads standard output any more.
    pub(crate) async fn gone(&self) {
        self.queue.closed().await;
    }

    /// Waits until everything has been written, or the terminal has stood still for [`PATIENCE`].
    pub(crate) async fn end(self) {
        let Self { queue, mut written } = self;
        drop(queue);
        while let Ok(Ok(())) = tokio::time::timeout(PATIENCE, written.changed()).await {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// An output that takes a piece whenever it is let, and shows what it has taken.
    struct Slow {
        let_go: Receiver<()>,
        taken: Sender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.let_go.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            let _ = self.taken.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Writer, Sender<()>, Receiver<String>) {
        let ((go, let_go), (taken, seen)) = (channel(), channel());
        (Writer::new(Slow { let_go, taken }, io::sink()).unwrap(), go, seen)
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_not_asked_for() {
        let (writer, go, seen) = slow();
        let mut asked = 0;
        let more = async |asked: &mut usize| {
            let (room, n) = writer.when_room(async { *asked + 1 }).await;
            *asked = n;
            room.write(Some(Text::Out(n.to_string())));
        };
        // The one that is being written, and a queue full of others.
        for _ in 0..=QUEUE {
            more(&mut asked).await;
        }
        let stuck = tokio::time::timeout(Duration::ZERO, more(&mut asked)).await;
        assert!(stuck.is_err() && asked == QUEUE + 1, "{asked}");
        for _ in 0..=QUEUE {
            go.send(()).unwrap();
        }
        writer.end().await;
        let lines: Vec<_> = seen.iter().collect();
        assert_eq!((lines.len(), lines[QUEUE].as_str()), (QUEUE + 1, "257\n"), "and nothing was lost");
    }

    #[tokio::test]
    async fn a_reader_that_has_gone_is_told_of() {
        let (writer, go, _seen) = slow();
        drop(go);
        writer.now(Text::Out("x".into()));
        writer.gone().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_terminal_that_stands_still_is_not_waited_for_for_ever() {
        let (writer, go, seen) = slow();
        writer.now(Text::Out("x".into()));
        writer.end().await;
        assert!(seen.try_recv().is_err());
        drop(go);
    }
}
