//! What a service writes to its standard output and error, sent on as it comes, cut anywhere.
//!
//! Nothing is dropped and nothing is gathered: a chunk is read when the one before it has been queued, so an
//! orchestrator that is slow slows the service down, through the pipe. So does a limit on the output.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use orchestrator_port::message::control::{FromRemote, Stream};
use orchestrator_port::{Frame, PortSender};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::source::Source;

/// The most bytes of one message.
const CHUNK: usize = 32 * 1024;

/// Sends everything from `source` on, until its end or the connection's. Once the service has `finished`, what it has left
/// in the pipe is not held back any more.
pub(crate) async fn pump(
    mut source: Source,
    stream: Stream,
    port: PortSender,
    rate: Rate,
    mut finished: watch::Receiver<bool>,
) {
    while let Ok(Some(bytes)) = source.read::<CHUNK, _>(Bytes::copy_from_slice).await {
        let size = bytes.len();
        let output = FromRemote::Output { stream, lost: 0 };
        if port.send(Frame::control(&output, bytes)).await.is_err() {
            return;
        }
        if let Some(until) = rate.spend(size, Instant::now()) {
            tokio::select! {
                () = sleep_until(until) => {}
                _ = finished.wait_for(|finished| *finished) => {}
            }
        }
    }
}

/// How much may be written in a second, by all streams of a service together.
#[derive(Clone, Debug)]
pub(crate) struct Rate {
    bytes_per_second: Option<u64>,
    /// When all that has been written would have been, at this rate.
    paid: Arc<Mutex<Option<Instant>>>,
}

impl Rate {
    /// At most so many bytes in a second, after a first second's worth at once; or any number.
    pub(crate) fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second, paid: Arc::default() }
    }

    /// Notes that so much was written; answers until when nothing more may be.
    fn spend(&self, bytes: usize, now: Instant) -> Option<Instant> {
        const AT_ONCE: Duration = Duration::from_secs(1);
        let rate = self.bytes_per_second?;
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        // Who has been quiet has a second in advance, and no more.
        let from = paid.filter(|paid| *paid > now).unwrap_or(now);
        let until = from + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        *paid = Some(until);
        (until > now + AT_ONCE).then(|| until - AT_ONCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_had_at_once_and_the_rest_at_the_rate() {
        let (rate, start) = (Rate::new(Some(1000)), Instant::now());
        assert_eq!(rate.spend(1000, start), None);
        assert_eq!(rate.clone().spend(500, start), Some(start + Duration::from_millis(500)));
        let later = start + Duration::from_secs(60);
        assert_eq!(rate.spend(1000, later), None, "what was not used is not saved up");
        assert_eq!(rate.spend(1000, later), Some(later + Duration::from_secs(1)));
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        assert_eq!(Rate::new(None).spend(usize::MAX, Instant::now()), None);
    }
}
