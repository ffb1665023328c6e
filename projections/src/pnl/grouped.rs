//! One client's P&L between two moments, summed up by bot, pair, exchange or day, by any of the four methods.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use events::{Asset, ClientId, Decimal, Exchange, Money, Pair, Slug, Time, decimal::ArithmeticError};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::{
    report::{Group, Report},
    tables::{newest, report_of},
    tally::{Day, add},
};
use crate::{projection::ProjectError, rates::sum_known};

/// What books are summed up by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    #[default]
    Bot,
    Pair,
    Exchange,
    /// UTC days, by moving average, each told whole.
    Day,
}

/// Which purchase a sale is held against.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Moving average cost.
    #[default]
    Average,
    /// The oldest lot.
    Fifo,
    /// The newest lot.
    Lifo,
    /// The averages of all bought and all sold.
    Matched,
}

/// P&L of a window, late arrivals included.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Grouped {
    pub by: By,
    pub method: Method,
    /// The first moment that counts; null: from the beginning.
    pub from: Option<Time>,
    /// The last moment that counts, and of the marks; null: there are no facts yet.
    pub to: Option<Time>,
    /// One for each group and quote asset.
    pub lines: Vec<Line>,
    /// Everything up to `to` in USDT at its rates; null: an asset has no rate, or the window has a beginning.
    pub total_usdt: Option<Money>,
    /// Whether everything was known and could be valued.
    pub complete: bool,
}

/// The figures of one group in one quote asset. Null is unknown, never zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = PnlLine)]
pub struct Line {
    #[serde(flatten)]
    pub of: Of,
    /// What all money of this line is told in.
    pub quote_asset: Asset,
    /// How many; null of a day.
    pub fills: Option<i64>,
    /// Sum of price x amount.
    pub volume: Decimal,
    /// Realised by the method, before fees and funding.
    pub realized_gross: Decimal,
    /// Valued when they were charged.
    pub fees: Decimal,
    /// Valued when it was paid; below zero was paid.
    pub funding: Decimal,
    /// Realised, less fees, with funding.
    pub realized_net: Decimal,
    /// By how much it changed within the window; null without a mark.
    pub unrealized: Option<Decimal>,
    /// Realised net and unrealised; null without a mark.
    pub total_net: Option<Decimal>,
}

/// What a line is about: the field that it is grouped by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    Bot(Slug),
    Pair(Pair),
    Exchange(Exchange),
    #[schema(value_type = String, format = Date)]
    Day(NaiveDate),
}

/// What is summed up.
#[derive(Debug, Clone, Default)]
struct Sums {
    fills: i64,
    volume: Decimal,
    realized_gross: Decimal,
    fees: Decimal,
    funding: Decimal,
    /// None once a part is unknown.
    unrealized: Option<Decimal>,
}

type Lines = BTreeMap<(Of, Asset), Sums>;

/// A client's P&L from `from` to `to`, in a transaction that sees one snapshot and the live tables.
pub async fn grouped(
    db: &mut PgConnection,
    client: ClientId,
    by: By,
    method: Method,
    from: Option<Time>,
    to: Option<Time>,
) -> Result<Grouped, ProjectError> {
    let exact = |cause: ArithmeticError| ProjectError::Unfoldable { seq: 0, reason: cause.to_string() };
    let to = match to {
        Some(to) => Some(to),
        None => newest(db, client).await?.map(|newest| from.map_or(newest, |from| newest.max(from))),
    };
    let Some(last) = to else { return Ok(Grouped::empty(by, method, from)) };
    let end = report_of(db, client, last).await?;
    let mut lines = sums(&end, by, method, from).map_err(exact)?;
    if let Some(from) = from.filter(|_| by != By::Day) {
        let before = report_of(db, client, from.plus_micros(-1)).await?;
        take_away(&mut lines, sums(&before, by, method, None).map_err(exact)?).map_err(exact)?;
    }
    let totals = end.clients.values().next();
    let total = totals.and_then(|totals| totals.total_usdt).filter(|_| from.is_none());
    Ok(Grouped {
        lines: lines.into_iter().map(|(of, sums)| sums.line(of, by)).collect::<Result<_, _>>().map_err(exact)?,
        total_usdt: total.map(|amount| Money { amount, asset: Asset::usdt() }),
        complete: totals.is_none_or(|totals| totals.complete),
        ..Grouped { to, ..Grouped::empty(by, method, from) }
    })
}

impl Grouped {
    fn empty(by: By, method: Method, from: Option<Time>) -> Self {
        Self { by, method, from, to: None, lines: Vec::new(), total_usdt: None, complete: true }
    }
}

fn sums(report: &Report, by: By, method: Method, from: Option<Time>) -> Result<Lines, ArithmeticError> {
    let mut lines = Lines::new();
    for group in &report.groups {
        let quote = group.pair.quote_asset();
        let mut put = |of: Of, part: Sums| {
            let sums = lines.entry((of, quote.clone())).or_insert_with(Sums::nothing);
            sums.plus(&part, Decimal::ONE)
        };
        match by {
            By::Bot => put(Of::Bot(group.bot.clone()), Sums::of_book(group, method)?)?,
            By::Pair => put(Of::Pair(group.pair.clone()), Sums::of_book(group, method)?)?,
            By::Exchange => put(Of::Exchange(group.exchange), Sums::of_book(group, method)?)?,
            By::Day => {
                let first = from.map(Time::day);
                for day in group.daily.iter().filter(|day| first.is_none_or(|first| day.date >= first)) {
                    put(Of::Day(day.date), Sums::of_day(day)?)?;
                }
            }
        }
    }
    Ok(lines)
}

fn take_away(lines: &mut Lines, before: Lines) -> Result<(), ArithmeticError> {
    for (of, sums) in before {
        lines.entry(of).or_insert_with(Sums::nothing).plus(&sums, -Decimal::ONE)?;
    }
    Ok(())
}

impl Sums {
    fn nothing() -> Self {
        Self { unrealized: Some(Decimal::ZERO), ..Self::default() }
    }

    fn of_book(group: &Group, method: Method) -> Result<Self, ArithmeticError> {
        let other = &group.alternatives;
        let (realized_gross, unrealized) = match method {
            Method::Average => (group.realized_gross, group.unrealized),
            Method::Fifo => (other.fifo.realized_gross, other.fifo.unrealized),
            Method::Lifo => (other.lifo.realized_gross, other.lifo.unrealized),
            // Whatever the method, realised and unrealised come to the same (R9).
            Method::Matched => {
                let realized = other.matched_average.realized_gross;
                let rest = |unrealized| group.realized_gross.plus(unrealized)?.minus(realized);
                (realized, group.unrealized.map(rest).transpose()?)
            }
        };
        Ok(Self {
            fills: group.fills,
            volume: group.volume_quote,
            realized_gross,
            fees: group.fees_quote,
            funding: group.funding,
            unrealized,
        })
    }

    fn of_day(day: &Day) -> Result<Self, ArithmeticError> {
        let realized_net = day.realized.minus(day.fees_quote)?.plus(day.funding)?;
        Ok(Self {
            fills: 0,
            volume: day.volume_quote,
            realized_gross: day.realized,
            fees: day.fees_quote,
            funding: day.funding,
            unrealized: day.pnl.map(|pnl| pnl.minus(realized_net)).transpose()?,
        })
    }

    fn plus(&mut self, more: &Self, times: Decimal) -> Result<(), ArithmeticError> {
        self.fills += if times == Decimal::ONE { more.fills } else { -more.fills };
        for (sum, more) in [
            (&mut self.volume, more.volume),
            (&mut self.realized_gross, more.realized_gross),
            (&mut self.fees, more.fees),
            (&mut self.funding, more.funding),
        ] {
            add(sum, more.times(times)?)?;
        }
        self.unrealized =
            sum_known(self.unrealized, more.unrealized.map(|unrealized| unrealized.times(times)).transpose()?)?;
        Ok(())
    }

    fn line(self, (of, quote_asset): (Of, Asset), by: By) -> Result<Line, ArithmeticError> {
        let realized_net = self.realized_gross.minus(self.fees)?.plus(self.funding)?;
        Ok(Line {
            of,
            quote_asset,
            fills: (by != By::Day).then_some(self.fills),
            volume: self.volume,
            realized_gross: self.realized_gross,
            fees: self.fees,
            funding: self.funding,
            realized_net,
            unrealized: self.unrealized,
            total_net: self.unrealized.map(|unrealized| realized_net.plus(unrealized)).transpose()?,
        })
    }
}
