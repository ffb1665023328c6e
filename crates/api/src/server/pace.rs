//! A connection that has to keep pace: who sends a request has to send it, and who gets an answer has to read it.
//!
//! What may take how long depends on whose turn it is. Before a request, the connection may be idle for longer than any
//! proxy keeps one, so that the proxy closes it and not we, in its face. Once a request has begun its head has to be there
//! soon. While it is answered nothing has to come; its body is timed where it is read.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

/// From the first byte of a request, or from the first moment of a connection, until its head is there.
const HEAD_MAX: Duration = Duration::from_secs(5);
/// Between two requests. Load balancers keep connections for 60 seconds.
pub const IDLE_MAX: Duration = Duration::from_secs(75);
/// Without a byte taken of an answer.
pub const STALLED_MAX: Duration = Duration::from_secs(15);

/// How often it has been the other side's turn: even while we wait for a request, odd while we answer.
#[derive(Debug, Clone, Default)]
pub struct Turn(Arc<AtomicU32>);

/// Ours, until it is dropped.
#[derive(Debug)]
pub struct Answering(Turn);

/// A body that ends our turn when it was sent, or will not be.
#[derive(Debug)]
pub struct Sending {
    body: Body,
    _answering: Answering,
}

/// A stream with a watch beside it.
#[derive(Debug)]
pub struct Paced<S> {
    stream: S,
    turn: Turn,
    /// The turn in which `due` was set.
    seen: u32,
    /// A request has begun.
    begun: bool,
    due: Instant,
    reading: Alarm,
    writing: Alarm,
    /// Since when nothing could be written.
    stalled: Option<Instant>,
}

#[derive(Debug, Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Turn {
    pub fn answering(&self) -> Answering {
        self.0.fetch_add(1, Ordering::Release);
        Answering(self.clone())
    }

    fn now(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }
}

impl Answering {
    pub fn until_sent(self, body: Body) -> Sending {
        Sending { body, _answering: self }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Release);
    }
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Alarm {
    fn rings(&mut self, due: Instant, cx: &mut Context<'_>) -> bool {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if sleep.deadline() != due {
            sleep.as_mut().reset(due);
        }
        sleep.as_mut().poll(cx).is_ready()
    }
}

impl<S> Paced<S> {
    pub fn new(stream: S, turn: Turn) -> Self {
        let (reading, writing) = (Alarm::default(), Alarm::default());
        // Who connects has something to ask.
        let due = Instant::now() + HEAD_MAX;
        Self { stream, turn, seen: 0, begun: true, due, reading, writing, stalled: None }
    }

    /// When something has to have come; none while it is our turn.
    fn due(&mut self) -> Option<Instant> {
        let turn = self.turn.now();
        if turn != self.seen {
            (self.seen, self.begun, self.due) = (turn, false, Instant::now() + IDLE_MAX);
        }
        turn.is_multiple_of(2).then_some(self.due)
    }

    /// Something has come: the rest of its head has to follow soon.
    fn came(&mut self) {
        if self.due().is_some() && !self.begun {
            (self.begun, self.due) = (true, Instant::now() + HEAD_MAX);
        }
    }

    /// What a write came to, unless there was none for too long.
    fn wrote(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let since = *self.stalled.get_or_insert_with(Instant::now);
        match self.writing.rings(since + STALLED_MAX, cx) {
            true => Poll::Ready(Err(late("nobody reads the answer"))),
            false => Poll::Pending,
        }
    }
}

fn late(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, into) {
            if into.filled().len() > before {
                self.came();
            }
            return Poll::Ready(read);
        }
        let Some(due) = self.due() else { return Poll::Pending };
        match self.reading.rings(due, cx) {
            true => Poll::Ready(Err(late("no request came"))),
            false => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
