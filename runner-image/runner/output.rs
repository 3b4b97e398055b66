//! What a service writes to its standard output and error, sent on as it comes, cut anywhere.
//!
//! Nothing is dropped and nothing is gathered: a chunk is read when the one before it has been queued, so an
//! orchestrator that is slow slows the service down, through the pipe.

use bytes::Bytes;
use orchestrator_port::message::control::{FromRemote, Stream};
use orchestrator_port::{Frame, PortSender};

use crate::source::Source;

/// The most bytes of one message.
const CHUNK: usize = 32 * 1024;

/// Sends everything from `source` on, until its end or the connection's.
pub(crate) async fn pump(mut source: Source, stream: Stream, port: PortSender) {
    while let Ok(Some(bytes)) = source.read::<CHUNK, _>(Bytes::copy_from_slice).await {
        let output = FromRemote::Output { stream, lost: 0 };
        if port.send(Frame::control(&output, bytes)).await.is_err() {
            return;
        }
    }
}
