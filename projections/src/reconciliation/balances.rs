//! What accounts were seen to hold, against what our ledger says has moved since they were seen first. Units alone: what they
//! are worth plays no part.
//!
//! A fill on spot moves its base, its quote and its fees' assets by exactly what it says, and a transfer what it is of. A
//! perpetual moves nothing until the exchange counts its realised P&L, by its own rules and at its own times: those balances are
//! told, and not compared.

use std::collections::{BTreeMap, BTreeSet};

use events::{
    Asset, ClientId, CredentialId, Decimal, Exchange, Market, Time,
    decimal::ArithmeticError,
    ledger::{Fill, LedgerEvent, Precision, Side},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::differences::{Because, Cause, left};
use crate::{projection::ProjectError, rows};

/// What happened so close to a look may be in it or not.
const NEAR_US: i64 = 10_000_000;
/// Moves since the last look that are remembered one by one.
const RECENT_MAX: usize = 2_000;

/// What an account holds of an asset, as it was seen and as our ledger has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Balance {
    pub client_id: Uuid,
    pub exchange: Exchange,
    pub market: Market,
    pub asset: Asset,
    /// When it was seen first under the key that is in use, and what it was then: what is compared is what moved since.
    pub first: Decimal,
    pub first_at: Time,
    /// What was seen last, and when.
    pub observed: Decimal,
    pub observed_at: Time,
    /// What moved by our fills, their fees and transfers; null: that cannot be told.
    pub ours: Option<Decimal>,
    /// What moved as it was seen, less ours; null where ours is.
    pub difference: Option<Decimal>,
    /// What makes it, or can.
    pub because: Vec<Because>,
    /// What is left of the difference: a deposit or withdrawal that nobody recorded, or somebody else's trade on the account.
    /// Null where a cause has no known bound.
    pub unexplained: Option<Decimal>,
}

/// A client's balances, as facts arrive.
#[derive(Debug, Default)]
pub(super) struct Balances {
    held: BTreeMap<Place, Held>,
    changed: BTreeSet<Place>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    exchange: Exchange,
    market: Market,
    asset: Asset,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    client_id: Uuid,
    exchange: Exchange,
    market: Market,
    asset: Asset,
    first: Decimal,
    first_at: Time,
    observed: Decimal,
    observed_at: Time,
    /// Another key came into use then: what is seen after it may be of another account.
    renewed_at: Option<Time>,
    /// By our ledger, from the first look to the last.
    moved: Decimal,
    /// After the last look, as far as it is not among `recent`.
    later: Decimal,
    /// Moves since shortly before the last look.
    recent: Vec<Move>,
    /// How much moved so close to the first look that it may be in it or not.
    near_first: Decimal,
    /// The most that cut numbers can be off.
    cut_most: Decimal,
    /// Fills whose fees nobody knows.
    unknown_fees: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Move {
    at: Time,
    amount: Decimal,
}

impl Balances {
    pub async fn open(db: &mut PgConnection, client: ClientId) -> sqlx::Result<Self> {
        let rows = sqlx::query_scalar!(
            r#"select to_jsonb(b)::text as "row!" from balances_compared b where b.client_id = $1"#,
            client.0
        )
        .fetch_all(db)
        .await?;
        let held = rows.iter().map(|row| rows::read::<Held>(row)).map(|held| (held.place(), held));
        Ok(Self { held: held.collect(), changed: BTreeSet::new() })
    }

    pub async fn save(&mut self, db: &mut PgConnection) -> sqlx::Result<()> {
        let changed = std::mem::take(&mut self.changed);
        let Some(rows) = rows::written(changed.iter().map(|place| &self.held[place])) else { return Ok(()) };
        sqlx::query!(
            "delete from balances_compared b using jsonb_populate_recordset(null::balances_compared, $1) n
              where (b.client_id, b.exchange, b.market, b.asset) = (n.client_id, n.exchange, n.market, n.asset)",
            rows
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!(
            "insert into balances_compared select * from jsonb_populate_recordset(null::balances_compared, $1)",
            rows
        )
        .execute(db)
        .await?;
        Ok(())
    }

    /// An account was seen to hold so much.
    pub fn observe(
        &mut self,
        client: ClientId,
        (exchange, market, asset): (Exchange, Market, Asset),
        total: Decimal,
        at: Time,
    ) -> Result<(), ArithmeticError> {
        let place = Place { exchange, market, asset };
        match self.held.get_mut(&place) {
            Some(held) if held.renewed_at.is_some_and(|renewed| at > renewed) => {
                *held = Held::seen(client, &place, total, at);
            }
            Some(held) => held.observe(total, at)?,
            None => drop(self.held.insert(place.clone(), Held::seen(client, &place, total, at))),
        }
        self.changed.insert(place);
        Ok(())
    }

    /// A key came into use.
    pub fn renew(&mut self, client: ClientId, credential: &str, at: Time) {
        let lets_into = credential.parse::<CredentialId>().ok().and_then(|credential| credential.lets_into(client));
        let Some((exchange, market)) = lets_into else { return };
        for (place, held) in self.held.iter_mut().filter(|(of, _)| (of.exchange, of.market) == (exchange, market)) {
            held.renewed_at = Some(at);
            self.changed.insert(place.clone());
        }
    }

    /// Takes a fact of the ledger in.
    pub fn count(&mut self, fact: &LedgerEvent) -> Result<(), ArithmeticError> {
        match fact {
            LedgerEvent::FillRecorded(fill) => self.trade(fill, 1),
            LedgerEvent::FillCorrected { was, fill, .. } => {
                self.trade(was, -1)?;
                self.trade(fill, 1)
            }
            LedgerEvent::FillVoided { was, .. } => self.trade(was, -1),
            LedgerEvent::TransferRecorded { exchange, asset, amount, at, .. } => {
                let place = Place { exchange: *exchange, market: Market::Spot, asset: asset.clone() };
                self.moves(place, *amount, *at)
            }
            // An opening tells what was there before anybody looked; funding is a perpetual's.
            LedgerEvent::OpeningPosition { .. }
            | LedgerEvent::FundingPaid { .. }
            | LedgerEvent::FillDisputed { .. }
            | LedgerEvent::FeeRateSupplied { .. } => Ok(()),
        }
    }

    fn trade(&mut self, fill: &Fill, times: i64) -> Result<(), ArithmeticError> {
        if fill.market == Market::Perp {
            return Ok(());
        }
        let place = |asset: Asset| Place { exchange: fill.exchange, market: fill.market, asset };
        let (base, quote) = (place(fill.pair.base_asset()), place(fill.pair.quote_asset()));
        let sign = Decimal::from_int(if fill.side == Side::Buy { times } else { -times });
        self.moves(base.clone(), fill.amount.0.times(sign)?, fill.at)?;
        self.moves(quote.clone(), -fill.price.times(fill.amount)?.times(sign)?, fill.at)?;
        let times_of = |amount: Decimal| amount.times(Decimal::from_int(times));
        for fee in fill.fees.iter().flatten() {
            self.moves(place(fee.asset.clone()), -times_of(fee.amount)?, fill.at)?;
        }
        if fill.precision == Some(Precision::SixPlaces) {
            let last_place = Decimal::new(1, 6);
            self.cut(&base, times_of(last_place)?, fill.at)?;
            self.cut(&quote, times_of(last_place.times(fill.price.0.plus(fill.amount.0)?)?)?, fill.at)?;
        }
        if fill.fees.is_none() {
            for place in [base, quote] {
                if let Some(held) = self.since_first(&place, fill.at) {
                    held.unknown_fees += times;
                }
            }
        }
        Ok(())
    }

    fn moves(&mut self, place: Place, amount: Decimal, at: Time) -> Result<(), ArithmeticError> {
        let Some(held) = self.held.get_mut(&place) else { return Ok(()) };
        held.moves(Move { at, amount })?;
        self.changed.insert(place);
        Ok(())
    }

    fn cut(&mut self, place: &Place, most: Decimal, at: Time) -> Result<(), ArithmeticError> {
        let Some(held) = self.since_first(place, at) else { return Ok(()) };
        held.cut_most = held.cut_most.plus(most)?.normalised();
        Ok(())
    }

    /// What is known of a place, where something happened there since it was seen first.
    fn since_first(&mut self, place: &Place, at: Time) -> Option<&mut Held> {
        self.held.get_mut(place).filter(|held| at > held.first_at)
    }
}

impl Held {
    fn seen(client: ClientId, place: &Place, total: Decimal, at: Time) -> Self {
        let Place { exchange, market, asset } = place.clone();
        Self {
            client_id: client.0,
            exchange,
            market,
            asset,
            first: total,
            first_at: at,
            observed: total,
            observed_at: at,
            renewed_at: None,
            moved: Decimal::ZERO,
            later: Decimal::ZERO,
            recent: Vec::new(),
            near_first: Decimal::ZERO,
            cut_most: Decimal::ZERO,
            unknown_fees: 0,
        }
    }

    fn place(&self) -> Place {
        Place { exchange: self.exchange, market: self.market, asset: self.asset.clone() }
    }

    fn observe(&mut self, total: Decimal, at: Time) -> Result<(), ArithmeticError> {
        // Told by another process, whose clock is behind.
        if at <= self.observed_at {
            return Ok(());
        }
        let since = self.recent.iter().filter(|of| of.at > self.observed_at && of.at <= at);
        let sum = since.map(|of| of.amount).chain([std::mem::take(&mut self.later)]);
        self.moved = sum.into_iter().try_fold(self.moved, Decimal::plus)?.normalised();
        (self.observed, self.observed_at) = (total, at);
        self.recent.retain(|of| of.at.plus_micros(NEAR_US) > at);
        Ok(())
    }

    fn moves(&mut self, of: Move) -> Result<(), ArithmeticError> {
        if (of.at.micros() - self.first_at.micros()).abs() <= NEAR_US {
            self.near_first = self.near_first.plus(of.amount.abs())?.normalised();
        }
        if of.at <= self.first_at {
            return Ok(());
        }
        if of.at <= self.observed_at {
            self.moved = self.moved.plus(of.amount)?.normalised();
        }
        if of.at.plus_micros(NEAR_US) > self.observed_at {
            self.recent.push(of);
        }
        self.forget_single_ones()
    }

    /// A long time without a look has more moves than are worth to be told apart.
    fn forget_single_ones(&mut self) -> Result<(), ArithmeticError> {
        if self.recent.len() <= RECENT_MAX {
            return Ok(());
        }
        let newest = self.recent.iter().map(|of| of.at).max().unwrap_or(self.observed_at);
        let (observed_at, is_old) = (self.observed_at, |of: &Move| of.at.plus_micros(2 * NEAR_US) <= newest);
        let old = self.recent.iter().filter(|of| is_old(of) && of.at > observed_at).map(|of| of.amount);
        self.later = old.into_iter().try_fold(self.later, Decimal::plus)?.normalised();
        self.recent.retain(|of| !is_old(of));
        Ok(())
    }

    /// `gap_open`: fills of the client may be missing. `has_perps`: the account may be one with a perpetual's.
    fn compared(self, gap_open: bool, has_perps: bool) -> Result<Balance, ArithmeticError> {
        let is_spot = self.market == Market::Spot;
        let difference = match is_spot {
            true => Some(self.observed.minus(self.first)?.minus(self.moved)?.normalised()),
            false => None,
        };
        let mut because = if is_spot { self.causes()? } else { Vec::new() };
        if gap_open {
            let words = "a gap is open: fills may not have reached us yet";
            because.push(Because::unbounded(Cause::FillsMissing, words));
        }
        if has_perps || !is_spot {
            let words =
                "a perpetual's realised P&L moves the balance by the exchange's own rules, maybe this one's too";
            because.push(Because::unbounded(Cause::Method, words));
        }
        because.retain(Because::says_something);
        let unexplained = difference.map(|difference| left(difference, &because)).transpose()?.flatten();
        Ok(Balance {
            client_id: self.client_id,
            exchange: self.exchange,
            market: self.market,
            asset: self.asset,
            first: self.first,
            first_at: self.first_at,
            observed: self.observed,
            observed_at: self.observed_at,
            ours: is_spot.then_some(self.moved),
            difference,
            because,
            unexplained,
        })
    }

    fn causes(&self) -> Result<Vec<Because>, ArithmeticError> {
        let is_near = |of: &&Move| (of.at.micros() - self.observed_at.micros()).abs() <= NEAR_US;
        let near = self.recent.iter().filter(is_near).map(|of| of.amount.abs());
        let near = near.into_iter().try_fold(self.near_first, Decimal::plus)?;
        let mut causes = vec![
            Because::at_most(
                Cause::NotReportedYet,
                near,
                "what happened within ten seconds of a look may be in it or not",
            ),
            Because::at_most(Cause::ProvisionalPrices, self.cut_most, "numbers of fills are known to six places only"),
        ];
        // A double has 15 digits, of both looks.
        let seen = self.first.abs().plus(self.observed.abs())?;
        let rounding = seen.times(Decimal::new(1, 15))?;
        causes.push(Because::at_most(Cause::Rounding, rounding, "Hummingbot tells balances in binary fractions"));
        if self.unknown_fees != 0 {
            let words = format!("the fees of {} fills are not known to us", self.unknown_fees);
            causes.push(Because::unbounded(Cause::FeesInAnotherAsset, words));
        }
        Ok(causes)
    }
}

/// What a client's accounts hold anything of, as it was seen last.
pub async fn held(db: &mut PgConnection, client: ClientId) -> sqlx::Result<Vec<(Exchange, Market, Asset)>> {
    let rows = sqlx::query_scalar!(
        r#"select to_jsonb(b)::text as "row!" from balances_compared b where b.client_id = $1 and b.observed <> 0"#,
        client.0
    )
    .fetch_all(db)
    .await?;
    let held = rows.iter().map(|row| rows::read::<Held>(row));
    Ok(held.map(|held| (held.exchange, held.market, held.asset)).collect())
}

/// What every account holds, of every client, against its ledger. For the desk alone.
pub async fn of_all(db: &mut PgConnection) -> Result<Vec<Balance>, ProjectError> {
    let rows = sqlx::query!(
        r#"
        with gaps as (
               select distinct on (client_id, bot_id) client_id, gap_open
                 from reconciliations
                order by client_id, bot_id, seq desc)
        select to_jsonb(b)::text as "row!",
               exists (select from gaps g where g.client_id = b.client_id and g.gap_open) as "gap_open!",
               exists (select from balances_compared p
                        where p.client_id = b.client_id and p.exchange = b.exchange and p.market = 'perp') as "has_perps!"
          from balances_compared b
         order by b.client_id, b.exchange, b.market, b.asset
        "#
    )
    .fetch_all(db)
    .await?;
    let compared = rows.into_iter().map(|row| rows::read::<Held>(&row.row).compared(row.gap_open, row.has_perps));
    compared
        .collect::<Result<_, _>>()
        .map_err(|cause: ArithmeticError| ProjectError::Unfoldable { seq: 0, reason: cause.to_string() })
}

#[cfg(test)]
mod tests;
