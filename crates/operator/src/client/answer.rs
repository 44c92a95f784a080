//! The body of an answer. It keeps its stream until it is read or dropped.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use tower::BoxError;

use super::{connection::Stream, pool::Silent};

/// See the [module documentation](self).
pub struct Answer {
    body: Incoming,
    stream: Option<Stream>,
    /// How long the server may say nothing.
    patience: Option<(Duration, Pin<Box<Sleep>>)>,
}

impl Answer {
    pub fn new(body: Incoming, stream: Stream, patience: Option<Duration>) -> Self {
        Self { body, stream: Some(stream), patience: patience.map(|limit| (limit, Box::pin(sleep(limit)))) }
    }

    /// The stream is free for the next.
    fn end(&mut self) {
        if let Some(mut stream) = self.stream.take() {
            stream.end();
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            if let Some((limit, timer)) = &mut this.patience {
                timer.as_mut().reset(Instant::now() + *limit);
            }
            if frame.is_none() {
                this.end();
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)));
        }
        let Some((limit, timer)) = &mut this.patience else { return Poll::Pending };
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Some(Err(Silent(*limit).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.body.is_end_stream() {
            self.end(); // a reader that knows the length does not ask for more
        } else if let (Some(stream), Some((limit, timer))) = (&self.stream, &self.patience) {
            let left = timer.deadline().saturating_duration_since(Instant::now());
            stream.given_up(limit.saturating_sub(left));
        }
    }
}
