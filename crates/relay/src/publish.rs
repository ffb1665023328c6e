//! A client's events, a window at a time: sent without waiting, then acknowledged one by one.

use async_nats::jetstream::{
    context::{PublishAckFuture, PublishError, PublishErrorKind},
    publish::PublishAck,
};
use events::{ClientId, EventId, export::EventLine};
use futures::future::join_all;
use sqlx::PgPool;
use store::{ReadError, read};
use tokio_util::sync::CancellationToken;

use crate::{checkpoints, message, session::Session, told};

/// Events in flight at most, of one client.
const WINDOW: u64 = 500;
/// Windows of one client before the others have their turn.
const WINDOWS_OF_TURN: u32 = 20;

/// What NATS said of one event.
type Answer = (u64, Result<PublishAck, PublishError>);

/// Why a client's turn ended before its stream did.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishFault {
    /// NATS does not stand where we thought: another relay was there, or NATS lost something.
    #[error("NATS does not stand before event {seq}")]
    Overtaken { seq: u64 },
    #[error("NATS did not take event {seq}")]
    Refused {
        seq: u64,
        #[source]
        cause: PublishError,
    },
    #[error("event {seq} has no JSON text")]
    Payload {
        seq: u64,
        #[source]
        cause: serde_json::Error,
    },
    #[error("the stream has a gap before event {seq}")]
    Gap { seq: u64 },
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("could not note how far NATS has come")]
    Checkpoint(#[from] sqlx::Error),
}

/// Publishes what comes after `reached` and moves it as NATS acknowledges. Told to stop, it still waits for what is in
/// flight.
pub(crate) async fn publish(
    session: &Session,
    db: &PgPool,
    client: ClientId,
    reached: &mut u64,
    stop: &CancellationToken,
) -> Result<(), PublishFault> {
    let mut window = after(db, client, *reached).await?;
    for _ in 0..WINDOWS_OF_TURN {
        let Some(last) = window.last() else { return Ok(()) };
        // The next window is read while this one is in flight.
        let (sent, next) = tokio::join!(send(session, &window, reached), after(db, client, last.client_seq));
        checkpoints::published(db, client, *reached).await?;
        sent?;
        if stop.is_cancelled() {
            return Ok(());
        }
        window = next?;
    }
    Ok(())
}

/// The next events of a client, gapless.
async fn after(db: &PgPool, client: ClientId, reached: u64) -> Result<Vec<EventLine>, PublishFault> {
    let window = read::lines(db, client, reached + 1, reached + WINDOW).await?;
    match window.iter().zip(reached + 1..).find(|(line, seq)| line.client_seq != *seq) {
        Some((line, _)) => Err(PublishFault::Gap { seq: line.client_seq }),
        None => Ok(window),
    }
}

/// Sends a window and waits for every answer, so that none is in flight when somebody asks NATS where it stands.
async fn send(session: &Session, window: &[EventLine], reached: &mut u64) -> Result<(), PublishFault> {
    let connects = session.connects();
    let (in_flight, unsent) = send_all(session, window).await;
    let answers = tokio::select! {
        // All at once: their times would add up.
        answers = join_all(in_flight) => answers,
        () = session.is_another_than(connects) => return Err(PublishFault::Overtaken { seq: *reached + 1 }),
    };
    let (mut stored, mut failed) = (0, None);
    for (seq, answer) in answers {
        match acknowledged(seq, answer) {
            // Behind one that failed: what became of these is asked of NATS.
            Ok(_) | Err(_) if failed.is_some() => {}
            Ok(new) => {
                *reached = seq;
                stored += u64::from(new);
            }
            Err(fault) => failed = Some(fault),
        }
    }
    told::published(stored);
    failed.or(unsent).map_or(Ok(()), Err)
}

/// Each message only behind the one that was sent before it: what fails takes all behind it along.
async fn send_all(
    session: &Session,
    window: &[EventLine],
) -> (Vec<impl Future<Output = Answer> + use<>>, Option<PublishFault>) {
    let mut in_flight = Vec::with_capacity(window.len());
    let mut behind = None;
    for line in window {
        match send_one(session, line, behind).await {
            Ok(acknowledgement) => in_flight.push(answer(line.client_seq, acknowledgement)),
            Err(fault) => return (in_flight, Some(fault)),
        }
        behind = Some(line.event_id);
    }
    (in_flight, None)
}

async fn answer(seq: u64, acknowledgement: PublishAckFuture) -> Answer {
    (seq, acknowledgement.await)
}

async fn send_one(
    session: &Session,
    line: &EventLine,
    behind: Option<EventId>,
) -> Result<PublishAckFuture, PublishFault> {
    let seq = line.client_seq;
    let payload = message::payload(line).map_err(|cause| PublishFault::Payload { seq, cause })?;
    session
        .jetstream
        .publish_with_headers(message::subject(line), message::headers(line, behind), payload)
        .await
        .map_err(|cause| PublishFault::Refused { seq, cause })
}

/// Whether it was new to NATS.
fn acknowledged(seq: u64, answer: Result<PublishAck, PublishError>) -> Result<bool, PublishFault> {
    match answer {
        Ok(taken) if taken.sequence == seq => Ok(!taken.duplicate),
        Ok(_) => Err(PublishFault::Overtaken { seq }),
        Err(cause) => match cause.kind() {
            PublishErrorKind::WrongLastSequence
            | PublishErrorKind::WrongLastMessageId
            | PublishErrorKind::StreamNotFound => Err(PublishFault::Overtaken { seq }),
            PublishErrorKind::TimedOut
            | PublishErrorKind::BrokenPipe
            | PublishErrorKind::MaxAckPending
            | PublishErrorKind::MaxPayloadExceeded
            | PublishErrorKind::Other => Err(PublishFault::Refused { seq, cause }),
        },
    }
}
