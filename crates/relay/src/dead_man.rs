//! Whether anybody evaluates alerts: watched by whoever runs a relay, told to the desk's stream when nobody does, and on NATS
//! every ten seconds, so that somebody outside can notice that even this has gone quiet.

use std::time::Duration;

use async_nats::Client;
use events::{AggregateRef, ClientId, Event, Time, desk::DeskEvent};
use serde::Serialize;
use sqlx::PgPool;
use store::{AppendError, Cause, ReadError, Streams, read};
use tokio_util::sync::CancellationToken;
use tracing::warn;

const EVERY: Duration = Duration::from_secs(10);
/// So long nobody got through all that some client's alerts follow from; whoever does says so every few seconds.
const SILENT_US: i64 = 30_000_000;
/// What events of it are told under, and the subject that beats go to.
const ALERTS: &str = "alerts";
const BEATS: &str = "pipelabs_beats.alerts";

/// What is told on NATS.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Beat {
    /// Whether somebody evaluates the alerts of every client; null: nobody ever did.
    alive: Option<bool>,
    /// When somebody last did, of the client that has waited longest.
    until: Option<Time>,
    at: Time,
}

/// Why it could not be looked at, or told.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error("could not ask the database")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Tells the desk's stream when alerts go silent, and when they are back, until told to stop. NATS plays no part in it.
pub(crate) async fn watch(db: PgPool, streams: Streams, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(cause) = look(&db, &streams).await {
            warn!(
                error = &cause as &dyn std::error::Error,
                "could not see whether alerts are evaluated, looking again"
            );
        }
        tokio::select! { () = tokio::time::sleep(EVERY) => {}, () = stop.cancelled() => {} }
    }
}

async fn look(db: &PgPool, streams: &Streams) -> Result<(), WatchError> {
    let Some(until) = passed(db).await? else { return Ok(()) };
    let at = Time::now();
    let silent = is_silent(until, at);
    let told = read::told_of(db, ClientId::DESK, "desk", Some(ALERTS.to_owned())).await?;
    let since = told.last().and_then(|event| {
        let Event::Desk(DeskEvent::AlertsSilent { since, .. }) = &event.event else { return None };
        Some(*since)
    });
    let (key, event) = match (silent, since) {
        (true, None) => (format!("alerts_silent:{}", until.micros()), DeskEvent::AlertsSilent { since: until, at }),
        (false, Some(since)) => (format!("alerts_back:{}", since.micros()), DeskEvent::AlertsBack { at }),
        (true, Some(_)) | (false, None) => return Ok(()),
    };
    // The key: several relays see the same.
    streams.note(AggregateRef::new("desk", ALERTS), event, Some(key), &Cause::system("relay")).await?;
    Ok(())
}

/// When the alerts were last evaluated of the client of which that is longest ago; absent: nobody ever did.
async fn passed(db: &PgPool) -> sqlx::Result<Option<Time>> {
    let passed = sqlx::query_scalar!("select min(passed_at) from alerts.engines").fetch_one(db).await?;
    Ok(passed.map(Time::from))
}

fn is_silent(until: Time, now: Time) -> bool {
    now.micros() - until.micros() > SILENT_US
}

/// Tells on NATS whether somebody evaluates alerts, for ever.
pub(crate) async fn beat(client: &Client, db: &PgPool) {
    loop {
        match passed(db).await {
            Ok(until) => {
                let at = Time::now();
                let beat = Beat { alive: until.map(|until| !is_silent(until, at)), until, at };
                let text = serde_json::to_vec(&beat).expect("a beat always has a JSON form");
                // Core NATS: nobody waits, and the next one comes soon.
                if let Err(cause) = client.publish(BEATS, text.into()).await {
                    warn!(error = %cause, "could not tell whether alerts are evaluated");
                }
            }
            Err(cause) => warn!(error = %cause, "could not see whether alerts are evaluated, looking again"),
        }
        tokio::time::sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_evaluated_half_a_minute_ago_is_silence() {
        let at = |seconds: i64| Time::EPOCH.plus_micros(seconds * 1_000_000);
        assert!(!is_silent(at(100), at(130)) && is_silent(at(100), at(131)));
    }
}
