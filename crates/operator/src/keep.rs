//! How a fill enters a client's ledger: once, under its exact identity, in the place of what was known of it before.
//!
//! A source without order ids can only give a provisional identity, and two texts for one fill would never collide. So
//! exact fills look for their provisional selves first, provisional ones for any fill of their trade; one gate a client
//! keeps the two apart in this process, the lease keeps other processes out.

use std::{collections::HashMap, sync::Arc};

use domain::ledger::{Fact, Verdict, correct, judge};
use events::{
    AggregateRef, Event, Time,
    ledger::{Fill, LedgerEvent},
};
use store::{Append, AppendError, Draft, Expected};
use tokio::sync::{Mutex, MutexGuard};

use crate::mandate::{HandError, Mandate};

/// Only one at a time may compare with what is recorded and write.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<()>>);

/// Having it is being the only one.
pub(crate) struct Alone<'a>(
    #[expect(dead_code, reason = "held for as long as the gate is to be closed")] MutexGuard<'a, ()>,
);

impl Gate {
    pub async fn close(&self) -> Alone<'_> {
        Alone(self.0.lock().await)
    }
}

/// What became of fills.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub new: u64,
    /// Known before from a source that knew less.
    pub corrected: u64,
    pub repeated: u64,
    pub disputed: u64,
    /// Those that cannot be true, by their places among those that were told, and why.
    pub impossible: Vec<(usize, String)>,
}

/// Records fills, each once.
pub(crate) async fn fills(mandate: &Mandate, _: &Alone<'_>, told: Vec<Fill>) -> Result<Kept, HandError> {
    let mut kept = Kept::default();
    let (mut fills, now) = (Vec::new(), Time::now());
    for (place, fill) in told.into_iter().enumerate() {
        match Fact::Fill(Box::new(fill.clone())).decide(now) {
            Ok(_) => fills.push(fill),
            Err(refusal) => kept.impossible.push((place, refusal.to_string())),
        }
    }
    let before = provisional(mandate, &fills).await?;
    let mut appends = Vec::with_capacity(fills.len());
    for fill in &fills {
        let known = before.get(&fill.identity());
        let event = match known {
            // Its identity is another, so there is something new to tell.
            Some((seq, was)) => correct(*seq, was, better(fill, was), "its order is known now".to_owned())
                .map_err(|refusal| HandError::NotYet(refusal.to_string()))?,
            None => LedgerEvent::FillRecorded(fill.clone()),
        };
        appends.push(append(mandate, event, fill.identity()));
    }
    let mut again = Vec::new();
    for (fill, outcome) in fills.into_iter().zip(mandate.means.streams.committer().append_all(appends).await) {
        match outcome {
            Ok(receipt) if receipt.repeated => again.push((receipt.first, fill)),
            Ok(_) if before.contains_key(&fill.identity()) => kept.corrected += 1,
            Ok(_) => kept.new += 1,
            Err(AppendError::Stale { .. }) => return Err(HandError::Overtaken),
            Err(cause) => return Err(cause.into()),
        }
    }
    compare(mandate, again, &mut kept).await?;
    Ok(kept)
}

/// An archive knows the order, but of a fee only what it was worth: what was charged may be known from before.
fn better(told: &Fill, was: &Fill) -> Fill {
    let fees = if told.precision.is_some() { was.fees.clone().or(told.fees.clone()) } else { told.fees.clone() };
    Fill { fees, ..told.clone() }
}

/// What is recorded of these fills under provisional identities and not yet under their own, by their own.
async fn provisional(mandate: &Mandate, fills: &[Fill]) -> Result<HashMap<String, (u64, Fill)>, HandError> {
    let exact: Vec<&Fill> = fills.iter().filter(|fill| fill.order.is_some()).collect();
    if exact.is_empty() {
        return Ok(HashMap::new());
    }
    let streams = &mandate.means.streams;
    let keys: Vec<String> = exact.iter().flat_map(|fill| [fill.provisional_identity(), fill.identity()]).collect();
    let stored = streams.stored_all(mandate.client, &keys).await?;
    let found: Vec<(u64, &Fill)> = exact
        .iter()
        .zip(stored.chunks(2))
        .filter_map(|(fill, stored)| stored[0].filter(|_| stored[1].is_none()).map(|seq| (seq, *fill)))
        .collect();
    let known = recorded(mandate, found.iter().map(|(seq, _)| *seq)).await?;
    Ok(found
        .into_iter()
        .filter_map(|(seq, fill)| match known.get(&seq) {
            Some(LedgerEvent::FillRecorded(was)) => Some((fill.identity(), (seq, was.clone()))),
            Some(_) | None => None,
        })
        .collect())
}

/// Fills whose identity is recorded already: mostly the same again. One that was rounded gives way to the exact one; a
/// rounded one that comes after the exact one says nothing; anything else is kept beside for a person to judge.
async fn compare(mandate: &Mandate, again: Vec<(u64, Fill)>, kept: &mut Kept) -> Result<(), HandError> {
    let known = recorded(mandate, again.iter().map(|(seq, _)| *seq)).await?;
    let mut appends = Vec::new();
    for (seq, told) in again {
        let Some((first, was)) = known.get(&seq).and_then(|event| last_told(seq, event)) else { continue };
        if told.precision.is_some() && told.precision >= was.precision {
            kept.repeated += 1;
            continue;
        }
        if was.precision.is_some() {
            if let Ok(event) = correct(first, was, told.clone(), "its exact numbers are known now".to_owned()) {
                appends.push(append(mandate, event, format!("exact:{}", told.identity())));
            }
            continue;
        }
        // A corrected fill kept the time of what was known first.
        let told = if first == seq { told } else { Fill { at: was.at, ..told } };
        let key = format!("dispute:{seq}:{}", told.raw_hash.as_deref().unwrap_or_default());
        match judge(&LedgerEvent::FillRecorded(told), &LedgerEvent::FillRecorded(was.clone()), first, Time::now()) {
            Verdict::Duplicate | Verdict::Conflict { dispute: None, .. } => kept.repeated += 1,
            Verdict::Conflict { dispute: Some(dispute), .. } => appends.push(append(mandate, *dispute, key)),
        }
    }
    for outcome in mandate.means.streams.committer().append_all(appends).await {
        match outcome {
            Ok(receipt) if receipt.repeated => kept.repeated += 1,
            Ok(_) => kept.corrected += 1,
            Err(AppendError::Stale { .. }) => return Err(HandError::Overtaken),
            Err(cause) => return Err(cause.into()),
        }
    }
    Ok(())
}

/// The number that a fill was recorded under first, and what the event tells of it.
fn last_told(seq: u64, event: &LedgerEvent) -> Option<(u64, &Fill)> {
    match event {
        LedgerEvent::FillRecorded(fill) => Some((seq, fill)),
        LedgerEvent::FillCorrected { corrects, fill, .. } => Some((*corrects, fill)),
        LedgerEvent::FillVoided { .. }
        | LedgerEvent::FillDisputed { .. }
        | LedgerEvent::OpeningPosition { .. }
        | LedgerEvent::FundingPaid { .. }
        | LedgerEvent::TransferRecorded { .. }
        | LedgerEvent::FeeRateSupplied { .. } => None,
    }
}

async fn recorded(
    mandate: &Mandate,
    numbers: impl Iterator<Item = u64>,
) -> Result<HashMap<u64, LedgerEvent>, HandError> {
    let numbers: Vec<u64> = numbers.collect();
    if numbers.is_empty() {
        return Ok(HashMap::new());
    }
    let events = mandate.means.streams.numbered(mandate.client, &numbers).await?;
    let facts = events.into_iter().filter_map(|recorded| match recorded.event {
        Event::Ledger(fact) => Some((recorded.seq, fact)),
        Event::Client(_)
        | Event::Bot(_)
        | Event::Credential(_)
        | Event::Market(_)
        | Event::Order(_)
        | Event::Manual(_)
        | Event::Desk(_)
        | Event::Subscription(_)
        | Event::Alert(_)
        | Event::Rule(_)
        | Event::Agreement(_)
        | Event::Channel(_)
        | Event::Schedule(_)
        | Event::Silence(_)
        | Event::Agent(_)
        | Event::Account(_) => None,
    });
    Ok(facts.collect())
}

fn append(mandate: &Mandate, event: LedgerEvent, key: String) -> Append {
    Append {
        client: mandate.client,
        aggregate: AggregateRef::ledger(mandate.client),
        expected: Expected::Any,
        events: vec![Draft { event: event.into(), key: Some(key) }],
        cause: mandate.cause(),
    }
}
