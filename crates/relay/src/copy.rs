//! What NATS holds of one client: asked, made where it is missing, and compared with what was recorded.

use std::{num::NonZeroU64, time::Duration};

use async_nats::jetstream::{
    ErrorCode,
    context::{CreateStreamError, CreateStreamErrorKind, GetStreamError, GetStreamErrorKind, UpdateStreamError},
    stream::{Config, RawMessageError, RawMessageErrorKind, StorageType, Stream},
};
use events::ClientId;
use sqlx::PgPool;
use store::{ReadError, read};

use crate::{
    message::{self, stream_name, subjects},
    session::Session,
};

/// How long JetStream remembers message ids. It decides nothing: a repeated message is refused by its number.
const DUPLICATE_WINDOW: Duration = Duration::from_millis(100);

/// What NATS was found to hold.
#[derive(Debug)]
pub(crate) enum Found {
    /// Our events, up to this number.
    Ours(u64),
    Diverged(Divergence),
}

/// A copy that holds something else than the recorded event.
#[derive(Debug)]
pub(crate) struct Divergence {
    /// Where that was seen.
    pub seq: u64,
    /// What stands there.
    pub holds: &'static str,
    /// When the copy was made: one copy diverges once.
    pub copy: String,
}

/// Why it could not be found out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error("could not ask NATS for its stream")]
    Ask(#[from] GetStreamError),
    #[error("could not make the stream on NATS")]
    Make(#[from] CreateStreamError),
    #[error("could not change how much the stream on NATS keeps")]
    Change(#[source] UpdateStreamError),
    #[error("could not read message {seq} of the stream on NATS")]
    Message {
        seq: u64,
        #[source]
        cause: RawMessageError,
    },
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Asks NATS what it holds of a client whose stream stands at `head`.
pub(crate) async fn look(
    session: &Session,
    db: &PgPool,
    client: ClientId,
    head: u64,
    kept_max: Option<NonZeroU64>,
) -> Result<Found, CopyError> {
    let stream = match session.jetstream.get_stream(stream_name(client)).await {
        Ok(stream) => stream,
        Err(error) if is_missing(&error) => make(session, client, head, kept_max).await?,
        Err(error) => return Err(error.into()),
    };
    keep(session, &stream, kept_max).await?;
    compare(&stream, db, client).await
}

fn is_missing(error: &GetStreamError) -> bool {
    matches!(error.kind(), GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// A stream whose first message is the oldest event that is to be kept.
async fn make(
    session: &Session,
    client: ClientId,
    head: u64,
    kept_max: Option<NonZeroU64>,
) -> Result<Stream, CopyError> {
    let first = kept_max.map_or(1, |kept| (head + 1).saturating_sub(kept.get()).max(1));
    let config = Config {
        name: stream_name(client),
        subjects: vec![subjects(client)],
        storage: StorageType::File,
        first_sequence: Some(first),
        max_messages: limit(kept_max),
        num_replicas: 1,
        duplicate_window: DUPLICATE_WINDOW,
        // Nobody can put something else in an event's place.
        deny_delete: true,
        deny_purge: true,
        ..Config::default()
    };
    match session.jetstream.create_stream(config).await {
        Ok(stream) => Ok(stream),
        // Another relay made it meanwhile, from a younger head.
        Err(error) if is_there(&error) => Ok(session.jetstream.get_stream(stream_name(client)).await?),
        Err(error) => Err(error.into()),
    }
}

fn is_there(error: &CreateStreamError) -> bool {
    matches!(error.kind(), CreateStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NAME_EXIST)
}

/// As JetStream writes it.
fn limit(kept_max: Option<NonZeroU64>) -> i64 {
    kept_max.map_or(-1, |kept| i64::try_from(kept.get()).unwrap_or(i64::MAX))
}

/// Lets an older copy keep as much as is wanted now.
async fn keep(session: &Session, stream: &Stream, kept_max: Option<NonZeroU64>) -> Result<(), CopyError> {
    let config = &stream.cached_info().config;
    if config.max_messages != limit(kept_max) {
        let wanted = Config { max_messages: limit(kept_max), ..config.clone() };
        session.jetstream.update_stream(wanted).await.map_err(CopyError::Change)?;
    }
    Ok(())
}

/// Holds the copy's last message against the event of that number. All before it were stored behind each other.
async fn compare(stream: &Stream, db: &PgPool, client: ClientId) -> Result<Found, CopyError> {
    let info = stream.cached_info();
    let last = info.state.last_sequence;
    let diverged = |holds| Ok(Found::Diverged(Divergence { seq: last, holds, copy: info.created.to_string() }));
    // Read after NATS was asked: another relay publishes only what is recorded.
    let recorded = read::lines(db, client, last, last).await?.pop();
    let fresh = info.state.messages == 0 && last + 1 == info.config.first_sequence.unwrap_or(1).max(1);
    match recorded {
        Some(_) if fresh => Ok(Found::Ours(last)),
        None if fresh && last == 0 => Ok(Found::Ours(0)),
        None => diverged("more than was recorded"),
        Some(line) => match stream.get_raw_message(last).await {
            Ok(found) if message::is(&found.headers, line.event_id) => Ok(Found::Ours(last)),
            Ok(_) => diverged("another message"),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => diverged("no message"),
            Err(cause) => Err(CopyError::Message { seq: last, cause }),
        },
    }
}
