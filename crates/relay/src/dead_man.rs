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
/// The lease that whoever evaluates the desk's own alerts holds, and renews every other second.
const LEASE: &str = "alerts";
/// Nobody has renewed it for so long after it ended: with the lease's own time it is half a minute.
const SILENT_US: i64 = 20_000_000;
/// What events of it are told under, and the subject that beats go to.
const ALERTS: &str = "alerts";
const BEATS: &str = "pipelabs_beats.alerts";

/// What is told on NATS.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Beat {
    /// Whether somebody evaluates alerts; null: nobody ever did.
    alive: Option<bool>,
    /// Until when somebody is known to have done it.
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
    let mut free = None;
    while !stop.is_cancelled() {
        if let Err(cause) = look(&db, &streams, &mut free).await {
            warn!(
                error = &cause as &dyn std::error::Error,
                "could not see whether alerts are evaluated, looking again"
            );
        }
        tokio::select! { () = tokio::time::sleep(EVERY) => {}, () = stop.cancelled() => {} }
    }
}

/// `free`: since when the lease is seen to have been given back.
async fn look(db: &PgPool, streams: &Streams, free: &mut Option<Time>) -> Result<(), WatchError> {
    let Some(ends) = streams.lease_ends(ClientId::DESK, LEASE).await? else { return Ok(()) };
    let at = Time::now();
    let until = ended(ends, at, free);
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

/// Since when nobody holds a lease that ends then: one that was given back counts from when that is seen first.
fn ended(ends: Time, now: Time, free: &mut Option<Time>) -> Time {
    *free = (ends == Time::EPOCH).then(|| free.unwrap_or(now));
    free.unwrap_or(ends)
}

fn is_silent(until: Time, now: Time) -> bool {
    now.micros() - until.micros() > SILENT_US
}

/// Tells on NATS whether somebody evaluates alerts, for ever.
pub(crate) async fn beat(client: &Client, streams: &Streams) {
    let mut free = None;
    loop {
        match streams.lease_ends(ClientId::DESK, LEASE).await {
            Ok(ends) => {
                let at = Time::now();
                let until = ends.map(|ends| ended(ends, at, &mut free));
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
    fn a_lease_that_ended_a_while_ago_is_silence() {
        let at = |seconds: i64| Time::EPOCH.plus_micros(seconds * 1_000_000);
        assert!(!is_silent(at(100), at(90)) && !is_silent(at(100), at(120)) && is_silent(at(100), at(121)));
    }

    #[test]
    fn one_that_was_given_back_counts_from_when_it_was_seen() {
        let at = |seconds: i64| Time::EPOCH.plus_micros(seconds * 1_000_000);
        let mut free = None;
        assert_eq!(ended(at(100), at(90), &mut free), at(100));
        assert_eq!(ended(Time::EPOCH, at(95), &mut free), at(95));
        assert_eq!(ended(Time::EPOCH, at(105), &mut free), at(95));
        assert_eq!(ended(at(120), at(110), &mut free), at(120), "somebody took it");
        assert_eq!(ended(Time::EPOCH, at(130), &mut free), at(130));
    }
}
