//! Judging agreements: when a day is over and what is late of it has come, what it came to by what was promised is recorded,
//! with the figures that it was judged by. When something of it comes later still, it is judged once more. That a promise was
//! not kept is an alert of its own, which reads that event.

use std::collections::{BTreeMap, BTreeSet};

use domain::agreement::{Agreement, AgreementCommand, Figures};
use events::{
    AgreementId, Asset, BotId, ClientId, Decimal, Event, Pair, Recorded, Time, ledger::LedgerEvent, market::MarketEvent,
};
use projections::{
    checkpoints,
    projection::{ProjectError, Projection},
    trading::{self, Trading},
    uptime::{self, Except, Uptime},
    versions,
};
use sqlx::{PgConnection, PgPool};
use store::{AppendError, Cause, ExecuteError, Fence, ReadError, Streams, read};
use tokio::time::{Duration, Instant};
use tracing::warn;

const SNAPSHOT: &str = "begin isolation level repeatable read, read only";
const DAY_US: i64 = 86_400_000_000;
const LOOK_EVERY: Duration = Duration::from_secs(5);
const LATER: Duration = Duration::from_secs(300);
/// Days that whoever takes a client over looks at once more: something late may have come of them when nobody was there.
const LOOKED_AGAIN: usize = 7;

/// Whoever judges one client's agreements.
pub(crate) struct Judge {
    client: ClientId,
    fence: Fence,
    streams: Streams,
    desk: PgPool,
    reached: u64,
    agreements: BTreeMap<AgreementId, Agreement>,
    looked: Option<Instant>,
    /// The day that is to be judged, and how far the stream went when that was seen: read models have to know all of it.
    due: Option<(AgreementId, Time, u64)>,
    /// Those that could not be judged, until when.
    put_off: BTreeMap<AgreementId, Instant>,
    /// Days that were judged and of which something came since, and when they are looked at.
    late: BTreeMap<(AgreementId, Time), Instant>,
}

/// Why nothing is judged at the moment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JudgeError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl Judge {
    /// Knows what the stream tells up to there.
    pub async fn open(
        client: ClientId,
        fence: Fence,
        streams: Streams,
        desk: PgPool,
        reached: u64,
    ) -> Result<Self, JudgeError> {
        let known = streams.all_of_kind(client, "agreement", 1..=reached).await?;
        let mut judge = Self {
            client,
            fence,
            streams,
            desk,
            reached,
            agreements: BTreeMap::new(),
            looked: None,
            due: None,
            put_off: BTreeMap::new(),
            late: BTreeMap::new(),
        };
        known.into_iter().for_each(|event| judge.hear(&event));
        let days = judge.agreements.iter().flat_map(|(id, agreement)| {
            let mut days: Vec<Time> = agreement.judged().collect();
            days.drain(..days.len().saturating_sub(LOOKED_AGAIN));
            days.into_iter().map(|day| (*id, day))
        });
        judge.late = days.map(|late| (late, Instant::now())).collect();
        Ok(judge)
    }

    /// Takes an event in that follows.
    pub fn hear(&mut self, event: &Recorded) {
        self.reached = self.reached.max(event.seq);
        if let Event::Agreement(told) = &event.event
            && let Ok(id) = event.aggregate.id.parse()
        {
            self.agreements.entry(id).or_default().remember(told.clone());
            self.looked = None;
        }
        days_of(&event.event).into_iter().for_each(|day| self.came_late(day));
    }

    fn came_late(&mut self, day: Time) {
        let judged = self.agreements.iter().filter(|(_, agreement)| agreement.judged().any(|judged| judged == day));
        let ids: Vec<AgreementId> = judged.map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| {
            self.late.entry((id, day)).or_insert_with(|| Instant::now() + LATER);
        });
    }

    /// Judges one day that is due, if there is one.
    pub async fn look(&mut self) -> Result<(), JudgeError> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let Some((id, day, bot)) = self.next() else { return Ok(()) };
        let least = match self.due.filter(|(of, when, _)| (*of, *when) == (id, day)) {
            Some((.., least)) => least,
            None => self.reached,
        };
        self.due = Some((id, day, least));
        let except = self.agreements[&id].excluded(day);
        match figures(&self.desk, self.client, bot, (day, except.clone()), least).await {
            Ok(Some((figures, as_of_seq))) => {
                self.due = None;
                self.late.remove(&(id, day));
                self.judge(id, day, (figures, except), as_of_seq).await
            }
            Ok(None) => {
                self.looked = None;
                Ok(())
            }
            Err(fault) => {
                warn!(client.id = %self.client, error = %fault, "an agreement is judged later");
                // The others are not held up by it.
                self.put_off.insert(id, Instant::now() + LATER);
                Ok(())
            }
        }
    }

    /// The next day that is to be judged: one that never was, before one that may come to something else.
    fn next(&mut self) -> Option<(AgreementId, Time, BotId)> {
        let (now, clock) = (Time::now(), Instant::now());
        self.put_off.retain(|_, until| *until > clock);
        let mut rest = self.agreements.iter().filter(|(id, _)| !self.put_off.contains_key(id));
        let due = rest.find_map(|(id, agreement)| Some((*id, agreement.due(now)?, agreement.bot()?)));
        let mut late = self.late.iter().filter(|((id, _), at)| **at <= clock && !self.put_off.contains_key(id));
        due.or_else(|| late.find_map(|((id, day), _)| Some((*id, *day, self.agreements.get(id)?.bot()?))))
    }

    async fn judge(
        &self,
        id: AgreementId,
        day: Time,
        (figures, excluded): (Figures, Vec<(Time, Time)>),
        as_of_seq: u64,
    ) -> Result<(), JudgeError> {
        let command = AgreementCommand::Judge { day, figures: Box::new(figures), excluded, as_of_seq, at: Time::now() };
        let cause = Cause::system("alerts").under(self.fence.clone());
        match self.streams.execute::<Agreement>(self.client, &id.to_string(), command, None, &cause).await {
            // Another has judged it, or it is nobody's any more.
            Ok(_) | Err(ExecuteError::Refused(_)) => Ok(()),
            Err(ExecuteError::Append(fault)) => Err(fault.into()),
            Err(ExecuteError::Read(fault)) => Err(fault.into()),
        }
    }
}

/// The days that an event changes what they come to.
fn days_of(event: &Event) -> Vec<Time> {
    let at = if let Event::Ledger(told) = event {
        moments_of(told)
    } else if let Event::Market(
        MarketEvent::QuoteMinute { at, .. }
        | MarketEvent::DepthMinute { at, .. }
        | MarketEvent::VolumeObserved { day: at, .. },
    ) = event
    {
        vec![*at]
    } else {
        Vec::new()
    };
    at.into_iter().map(Time::midnight).collect()
}

fn moments_of(told: &LedgerEvent) -> Vec<Time> {
    match told {
        LedgerEvent::FillRecorded(fill) => vec![fill.at],
        LedgerEvent::FillCorrected { was, fill, .. } => vec![was.at, fill.at],
        LedgerEvent::FillVoided { was, .. } => vec![was.at],
        LedgerEvent::FillDisputed { .. }
        | LedgerEvent::OpeningPosition { .. }
        | LedgerEvent::FundingPaid { .. }
        | LedgerEvent::TransferRecorded { .. }
        | LedgerEvent::FeeRateSupplied { .. } => Vec::new(),
    }
}

/// A day's figures, and up to which event they know; absent: the read models do not know enough yet.
async fn figures(
    desk: &PgPool,
    client: ClientId,
    bot: BotId,
    (day, except): (Time, Vec<(Time, Time)>),
    least: u64,
) -> Result<Option<(Figures, u64)>, ProjectError> {
    let mut tx = desk.begin_with(SNAPSHOT).await?;
    read::for_client(&mut tx, client).await?;
    versions::use_live(&mut tx).await?;
    let mut known = u64::MAX;
    for model in [Uptime::NAME, Trading::NAME] {
        known = known.min(checkpoints::reach(&mut *tx, model, client).await?.reached);
    }
    if known < least {
        return Ok(None);
    }
    let window = Except { begin: day, end: day.plus_micros(DAY_US), except };
    let figures = of_day(&mut tx, client, bot, &window).await?;
    Ok(Some((figures, known)))
}

async fn of_day(db: &mut PgConnection, client: ClientId, bot: BotId, window: &Except) -> Result<Figures, ProjectError> {
    let quoting = uptime::of_window(db, client, bot, window).await?;
    let traded = trading::of_bot(db, client, bot, window.begin, window.end).await?;
    let sum = |of: fn(&trading::Line) -> Decimal| {
        let sum = traded.markets.iter().map(of).try_fold(Decimal::ZERO, Decimal::plus);
        sum.map_err(|cause| ProjectError::Unfoldable { seq: 0, reason: cause.to_string() })
    };
    // Amounts of several assets have no sum.
    let of_one = |asset: fn(&Pair) -> Asset| {
        let assets: BTreeSet<Asset> = traded.markets.iter().map(|line| asset(&line.pair)).collect();
        assets.len() <= 1
    };
    let net_volume = if of_one(Pair::quote_asset) { Some(sum(|line| line.net_volume)?) } else { None };
    let everybodys = sum(|line| line.volume_share.denominator)?;
    let filled = sum(|line| line.volume_share.numerator)?;
    let counted_us = window.us();
    Ok(Figures {
        counted_us,
        excluded_us: DAY_US - counted_us,
        two_sided_us: quoting.two_sided.numerator_us,
        sides_us: quoting.sides.numerator_us,
        within_us: quoting.within.iter().map(|within| (within.bps, within.share.numerator_us)).collect(),
        spread_bps_us: quoting.spread_bps.numerator_bps_us,
        depth_quote_us: quoting
            .depth
            .iter()
            .map(|deep| (deep.bps, [deep.own_bid_quote.numerator_quote_us, deep.own_ask_quote.numerator_quote_us]))
            .collect(),
        sized_us: quoting.sizes.iter().map(|of| ((of.bps, of.quote_amount), of.share.numerator_us)).collect(),
        net_volume,
        share: (everybodys.is_positive() && of_one(Pair::base_asset)).then_some([filled, everybodys]),
    })
}
