//! A request's body while it arrives: it has to come, all of it, and not drop by drop.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::{
    input::{BODY_MAX, cut_off, too_large},
    problem::Problem,
};

/// What a body may take without a byte coming, and then each byte buys a little more: the largest body has five seconds.
const PATIENCE: Duration = Duration::from_secs(3);
const BYTES_PER_SECOND_MIN: u64 = 32 * 1_024;
/// Of a body that is too large.
const LET_PASS_MAX: u64 = 4 * BODY_MAX as u64;

/// A body whose sender has to keep pace.
#[derive(Debug)]
pub struct Arriving {
    body: Body,
    began: Instant,
    bytes: u64,
    /// Made when there is something to wait for: most bodies come with their heads.
    alarm: Option<Pin<Box<Sleep>>>,
}

/// Why a body came to no end.
#[derive(Debug, thiserror::Error)]
#[error("a body came too slowly")]
struct TooSlow;

impl Arriving {
    pub fn new(body: Body) -> Self {
        Self { body, began: Instant::now(), bytes: 0, alarm: None }
    }

    fn due(&self) -> Instant {
        self.began + PATIENCE + Duration::from_micros(self.bytes.saturating_mul(1_000_000) / BYTES_PER_SECOND_MIN)
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let due = self.due();
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if alarm.deadline() != due {
            alarm.as_mut().reset(due);
        }
        alarm.as_mut().poll(cx).is_ready()
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                let came = frame.iter().flatten().filter_map(Frame::data_ref).map(Bytes::len).sum::<usize>();
                self.bytes += came as u64;
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending if self.is_late(cx) => Poll::Ready(Some(Err(TooSlow.into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request whose body is here as a whole: what handles it waits for no network.
pub async fn whole(request: Request) -> Result<Request, Problem> {
    let (head, body) = request.into_parts();
    Ok(Request::from_parts(head, Body::from(read(body).await?)))
}

/// Reads what nobody will look at: whoever is still sending when the connection is closed may never see the answer.
pub async fn let_pass(body: Body) {
    // However it ends, the answer is another one already.
    let _ = read(body).await;
}

/// All of it. Of one that is too large the rest is read and forgotten, within reason.
async fn read(body: Body) -> Result<Bytes, Problem> {
    let (mut arriving, mut whole) = (Arriving::new(body), Vec::new());
    while let Some(frame) = arriving.frame().await {
        let data = frame.map_err(|_| cut_off())?.into_data().unwrap_or_default();
        if arriving.bytes <= BODY_MAX as u64 {
            whole.extend_from_slice(&data);
        } else if arriving.bytes > LET_PASS_MAX {
            break;
        }
    }
    if arriving.bytes > BODY_MAX as u64 { Err(too_large()) } else { Ok(whole.into()) }
}
