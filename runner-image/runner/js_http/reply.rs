//! [`Reply`]: the body of an answer on its way to a client, as hyper takes it: whole, or piece by piece.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::service::{Held, Piece, Question};

/// A body.
pub(super) enum Reply {
    /// What is not taken yet of one that is here.
    Whole(Option<Held>),
    /// One that comes in pieces: as fast as the client takes them.
    Pieces {
        /// The next ones.
        rest: mpsc::Receiver<Piece>,
        /// Whose answer it is. The js process is told where this is dropped before the last piece.
        question: Question,
    },
}

/// An answer that ends too early: its connection is broken off, so that the client sees it.
#[derive(Debug, thiserror::Error)]
#[error("the answer is not whole")]
pub(super) struct Broken;

impl Body for Reply {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut *self {
            Self::Whole(held) => Poll::Ready(held.take().map(|held| Ok(Frame::data(held.bytes)))),
            Self::Pieces { rest, question } => Poll::Ready(ready!(rest.poll_recv(context)).map(|piece| {
                let held = piece.ok_or(Broken)?;
                question.say_taken();
                Ok(Frame::data(held.bytes))
            })),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(held) => {
                SizeHint::with_exact(held.as_ref().map_or(0, |held| held.bytes.len() as u64))
            }
            Self::Pieces { .. } => SizeHint::default(),
        }
    }
}
