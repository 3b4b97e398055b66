//! A [`ConnectionPort`] in memory, for tests: [`pair`] behaves as the two ends of a WebSocket do.

use tokio::sync::{mpsc, oneshot};

use crate::connection_port::{ConnectionPort, Ending, Outgoing, PortClosed, Source, port};
use crate::frame::Frame;

/// Two connected ports. Needs a tokio runtime, as the ports of a WebSocket do.
#[must_use]
pub fn pair() -> (ConnectionPort, ConnectionPort) {
    let (to_left, left_incoming) = mpsc::channel(1);
    let (to_right, right_incoming) = mpsc::channel(1);
    (end(left_incoming, to_right), end(right_incoming, to_left))
}

/// What one end gives the other. The channel's end without a `Closed` is a connection that was lost.
#[derive(Debug)]
enum Parcel {
    Frame(Frame),
    Closed,
}

/// The receiving half's source.
#[derive(Debug)]
pub(crate) struct ChannelReceiver {
    incoming: mpsc::Receiver<Parcel>,
    /// Dropped with this half: then the writer ends as well.
    _alive: oneshot::Sender<()>,
}

impl ChannelReceiver {
    pub(crate) async fn receive(&mut self) -> Result<Frame, PortClosed> {
        match self.incoming.recv().await {
            Some(Parcel::Frame(frame)) => Ok(frame),
            Some(Parcel::Closed) => Err(PortClosed::ByPeer),
            None => Err(PortClosed::Lost),
        }
    }
}

fn end(incoming: mpsc::Receiver<Parcel>, peer: mpsc::Sender<Parcel>) -> ConnectionPort {
    let (alive, gone) = oneshot::channel();
    let ending = Ending::default();
    let source = Source::Channel(ChannelReceiver { incoming, _alive: alive });
    let (port, outgoing) = port(source, ending.clone());
    tokio::spawn(write(outgoing, peer, gone, ending));
    port
}

async fn write(
    mut outgoing: mpsc::Receiver<Outgoing>,
    peer: mpsc::Sender<Parcel>,
    mut gone: oneshot::Receiver<()>,
    ending: Ending,
) {
    loop {
        // As in the WebSocket, the receiver's end comes first: an end that is dropped whole has died, not closed.
        let next = tokio::select! {
            biased;
            _ = &mut gone => return drop(ending.set(PortClosed::Here)),
            next = outgoing.recv() => next,
        };
        let (parcel, last) = match &next {
            Some(Outgoing::Frame { frame, .. }) => (Parcel::Frame(frame.clone()), false),
            Some(Outgoing::Close { .. }) | None => (Parcel::Closed, true),
        };
        let sent = tokio::select! {
            biased;
            _ = &mut gone => return drop(ending.set(PortClosed::Here)),
            sent = peer.send(parcel) => sent,
        };
        if last {
            return drop(ending.set(PortClosed::Here));
        }
        if sent.is_err() {
            return drop(ending.set(PortClosed::Lost));
        }
    }
}
