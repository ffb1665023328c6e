//! How far read models, and what is published on NATS, are behind the streams: told to the desk's stream, by whoever evaluates
//! the desk's own alerts, each time it has doubled, when it has come down by as much twice, and when it is hardly any.

use std::{collections::BTreeMap, time::Duration};

use events::{AggregateRef, ClientId, Event, Time, desk::DeskEvent};
use projections::checkpoints;
use sqlx::PgPool;
use store::{AppendError, Cause, ReadError, Streams, read};
use tokio_util::sync::CancellationToken;
use tracing::warn;

const EVERY: Duration = Duration::from_secs(2);
/// Events behind, and microseconds, at which the first step begins and at which the second does: what is well by default, and
/// what is not. Each of those that follow is twice the one before.
const EVENTS: [u64; 2] = [50, 125];
const AGE_US: [u64; 2] = [2_000_000, 5_000_000];
/// What events of it are told under.
const LAG: &str = "lag";

/// Why it could not be told.
#[derive(Debug, thiserror::Error)]
enum LagError {
    #[error("could not ask how far read models are")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Looks again and again until told to stop. `desk`: connections of login `admin_query`; `db`: of login `alerts`.
pub(crate) async fn watch(desk: PgPool, db: PgPool, streams: Streams, stop: CancellationToken) {
    let mut known = None;
    while !stop.is_cancelled() {
        if let Err(cause) = look(&desk, &db, &streams, &mut known).await {
            warn!(
                error = &cause as &dyn std::error::Error,
                "could not tell how far read models are behind, looking again"
            );
        }
        tokio::select! { () = tokio::time::sleep(EVERY) => {}, () = stop.cancelled() => {} }
    }
}

async fn look(
    desk: &PgPool,
    db: &PgPool,
    streams: &Streams,
    known: &mut Option<BTreeMap<String, u32>>,
) -> Result<(), LagError> {
    if known.is_none() {
        *known = Some(told_last(db).await?);
    }
    let steps = known.get_or_insert_default();
    for (part, (events, age_us)) in behind(desk).await? {
        if is_news(steps.get(&part).copied().unwrap_or_default(), (events, age_us)) {
            let told = DeskEvent::LagObserved { part: part.clone(), events, age_us, at: Time::now() };
            streams.note(AggregateRef::new("desk", LAG), told, None, &Cause::system("alerts")).await?;
            steps.insert(part, step(events, age_us));
        }
    }
    Ok(())
}

/// At which step each part was when somebody looked last.
async fn told_last(db: &PgPool) -> Result<BTreeMap<String, u32>, LagError> {
    let told = read::told_of(db, ClientId::DESK, "desk", Some(LAG.to_owned())).await?;
    let steps = told.into_iter().filter_map(|recorded| {
        let Event::Desk(DeskEvent::LagObserved { part, events, age_us, .. }) = recorded.event else { return None };
        Some((part, step(events, age_us)))
    });
    Ok(steps.collect())
}

/// How many events each read model lacks of the client that it is furthest behind of, and for how long the oldest of any
/// client has been missing.
async fn behind(desk: &PgPool) -> sqlx::Result<BTreeMap<String, (u64, u64)>> {
    let now = Time::now();
    let mut parts = BTreeMap::new();
    for (name, _, reach) in checkpoints::reaches(desk).await? {
        let since = reach.behind_since.filter(|_| reach.reached < reach.head);
        let age = since.map_or(0, |since| now.micros().saturating_sub(since.micros()).max(0).unsigned_abs());
        let (events, oldest) = parts.entry(format!("projection:{name}")).or_insert((0, 0));
        *events = reach.head.saturating_sub(reach.reached).max(*events);
        *oldest = age.max(*oldest);
    }
    parts.insert("relay".to_owned(), relay_behind(desk, now).await?);
    Ok(parts)
}

/// The same of what is published on NATS.
async fn relay_behind(desk: &PgPool, now: Time) -> sqlx::Result<(u64, u64)> {
    let row = sqlx::query!(
        r#"select coalesce(max(events), 0)::bigint as "events!", min(since) as since from relay.behind()"#
    )
    .fetch_one(desk)
    .await?;
    let age =
        row.since.map_or(0, |since| now.micros().saturating_sub(Time::from(since).micros()).max(0).unsigned_abs());
    Ok((row.events.unsigned_abs(), age))
}

fn step(events: u64, age_us: u64) -> u32 {
    let step = |of: u64, [first, second]: [u64; 2]| match (of / second).checked_ilog2() {
        Some(doublings) => 2 + doublings,
        None => u32::from(of >= first),
    };
    step(events, EVENTS).max(step(age_us, AGE_US))
}

/// Whatever lies about an edge between two steps is not told again and again.
fn is_news(told: u32, (events, age_us): (u64, u64)) -> bool {
    let now = step(events, age_us);
    let is_none = events < EVENTS[0] / 2 && age_us < AGE_US[0] / 2;
    now > told || now + 1 < told || is_none && told > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_many_events_or_a_long_time_make_a_step() {
        for (events, age_us, expected) in [
            (0, 0, 0),
            (49, 1_999_999, 0),
            (50, 0, 1),
            (124, 0, 1),
            (0, 2_000_000, 1),
            (125, 0, 2),
            (0, 5_000_000, 2),
            (500, 0, 4),
            (9, 80_000_000, 6),
        ] {
            assert_eq!(step(events, age_us), expected, "{events} {age_us}");
        }
    }

    #[test]
    fn what_grows_is_told_at_each_step_and_what_trembles_about_an_edge_is_not() {
        let seen =
            [(0, 49), (0, 50), (1, 49), (1, 50), (1, 24), (1, 125), (2, 124), (2, 125), (3, 60), (3, 49), (3, 24)];
        let news = seen.map(|(told, events)| is_news(told, (events, 0)));
        assert_eq!(news, [false, true, false, false, true, true, false, false, true, true, true]);
    }
}
