//! Whether the Hummingbot API answers at all: told to the desk's stream, and to every client's, once when it is lost and
//! once when it is back. One process asks at a time.

use events::{AggregateRef, ClientId, Event, Time, account::AccountEvent, desk::DeskEvent};
use store::{Append, AppendError, Cause, Draft, Expected, Fence, Leases, read};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::mandate::Means;

/// The lease under which a process asks.
const LEASE: &str = "probe";
/// So many unanswered questions in a row, or as long as so many take, and it is lost; so many answers, and it is back.
const UNANSWERED: u32 = 3;
const ANSWERED: u32 = 2;
/// What events of it are told under.
const HUMMINGBOT: &str = "hummingbot";

/// Why it could not be told.
#[derive(Debug, thiserror::Error)]
enum TellError {
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error("could not ask the database")]
    Database(#[from] sqlx::Error),
}

/// What this process knows.
#[derive(Debug, Default)]
struct Probe {
    /// Since when it is told to be lost.
    lost: Option<Time>,
    /// Since when questions were not answered, and how many.
    unanswered: Option<(Time, u32)>,
    /// How many were answered since.
    answered: u32,
}

/// Asks again and again until told to stop.
pub(crate) async fn keep_asking(means: Means, leases: Leases, stop: CancellationToken) {
    let every = means.settings.probe_every;
    let mut holds: Option<(Fence, Probe)> = None;
    while !stop.is_cancelled() {
        if let Some((fence, _)) = &holds {
            let kept = leases.renew(&[(ClientId::DESK, fence.clone())], every * 4).await;
            holds = holds.filter(|_| kept.is_ok_and(|kept| !kept.is_empty()));
        }
        if holds.is_none() {
            holds = begin(&means, &leases).await;
        }
        if let Some((_, probe)) = &mut holds
            && let Err(cause) = probe.ask(&means).await
        {
            warn!(error = &cause as &dyn std::error::Error, "could not tell whether Hummingbot answers, trying again");
        }
        tokio::select! { () = tokio::time::sleep(every) => {}, () = stop.cancelled() => {} }
    }
    if let Some((fence, _)) = holds {
        // Else it ends by itself.
        let _ = leases.release(ClientId::DESK, &fence).await;
    }
}

/// Takes the lease, and looks up what was told last.
async fn begin(means: &Means, leases: &Leases) -> Option<(Fence, Probe)> {
    let fence = leases.take(ClientId::DESK, LEASE, means.settings.probe_every * 4).await.ok().flatten()?;
    let told = read::told_of(&means.db, ClientId::DESK, "desk", Some(HUMMINGBOT.to_owned())).await.ok()?;
    let lost = told.last().and_then(|event| {
        let Event::Desk(DeskEvent::HummingbotLost { since, .. }) = &event.event else { return None };
        Some(*since)
    });
    Some((fence, Probe { lost, unanswered: None, answered: 0 }))
}

impl Probe {
    async fn ask(&mut self, means: &Means) -> Result<(), TellError> {
        let asked_at = Time::now();
        match means.hummingbot.accounts().await {
            Ok(_) => {
                (self.unanswered, self.answered) = (None, self.answered + 1);
                let Some(since) = self.lost.filter(|_| self.answered >= ANSWERED) else { return Ok(()) };
                let at = Time::now();
                let key = format!("hummingbot_back:{}", since.micros());
                tell(means, &key, DeskEvent::HummingbotBack { at }, AccountEvent::HummingbotBack { at }).await?;
                self.lost = None;
            }
            Err(fault) => {
                let (since, times) = self.unanswered.map_or((asked_at, 1), |(since, times)| (since, times + 1));
                (self.unanswered, self.answered) = (Some((since, times)), 0);
                let (at, reason) = (Time::now(), fault.to_string());
                let lasts_us = (means.settings.probe_every * UNANSWERED).as_micros();
                let is_lost = times >= UNANSWERED || i128::from(at.micros() - since.micros()) >= lasts_us.cast_signed();
                if !is_lost || self.lost.is_some() {
                    return Ok(());
                }
                let lost = AccountEvent::HummingbotLost { since, reason: reason.clone(), at };
                let key = format!("hummingbot_lost:{}", since.micros());
                tell(means, &key, DeskEvent::HummingbotLost { since, reason, at }, lost).await?;
                self.lost = Some(since);
            }
        }
        Ok(())
    }
}

/// To the desk, and to every client, each once.
async fn tell(means: &Means, key: &str, desk: DeskEvent, client: AccountEvent) -> Result<(), TellError> {
    let cause = Cause::system("operator");
    let heads = read::heads_of_all(&means.db).await?;
    let appends = heads.into_iter().filter(|(of, _)| *of != ClientId::DESK).map(|(of, _)| {
        let events = vec![Draft { event: client.clone().into(), key: Some(key.to_owned()) }];
        let aggregate = AggregateRef::new("account", HUMMINGBOT);
        Append { client: of, aggregate, expected: Expected::Any, events, cause: cause.clone() }
    });
    for outcome in means.streams.committer().append_all(appends.collect()).await {
        outcome?;
    }
    // Last, so that whoever is stopped in between tells the others first when it goes on.
    means.streams.note(AggregateRef::new("desk", HUMMINGBOT), desk, Some(key.to_owned()), &cause).await?;
    Ok(())
}
