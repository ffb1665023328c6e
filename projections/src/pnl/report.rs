//! The report: every figure of every book at a moment of event time, each by its rule, and the sums of a client.

use std::collections::BTreeMap;

use events::{
    Asset, BotId, Decimal, Event, Exchange, Market, Pair, Recorded, Slug, Time, bot::BotEvent, client::ClientEvent,
    decimal::ArithmeticError, ledger::BookKey,
};
use serde::Serialize;

use super::{
    book::Book,
    books::{Books, Days},
    tally::Day,
};
use crate::rates::{Known, sum_known};

/// P&L of any number of clients at `as_of`, late arrivals included.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Milliseconds since 1970, inclusive.
    pub as_of: i64,
    /// One for each book.
    pub groups: Vec<Group>,
    /// Each client's sums.
    pub clients: BTreeMap<Slug, Totals>,
    /// Deposits less withdrawals of the clients that had any, each valued when it happened; null where one could not be.
    pub net_flows_usdt: BTreeMap<Slug, Option<Decimal>>,
}

/// The figures of one book. Null is unknown, never zero.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    /// By its slug.
    pub client: Slug,
    /// By its name.
    pub bot: Slug,
    /// Where the book is.
    pub exchange: Exchange,
    /// Spot or perpetual.
    pub market: Market,
    /// What for what.
    pub pair: Pair,
    /// How many.
    pub fills: i64,
    /// How many of them bought.
    pub buys: i64,
    /// How many of them sold.
    pub sells: i64,
    /// Sum of raw amounts, in the base asset.
    pub volume_base: Decimal,
    /// Sum of price x raw amount.
    pub volume_quote: Decimal,
    /// The makers' share of `volume_quote`; null without volume.
    pub maker_ratio: Option<Decimal>,
    /// Held, in the base asset; below zero when short.
    pub position: Decimal,
    /// Cost of one unit held, by moving average; null when flat.
    pub avg_cost: Option<Decimal>,
    /// Realised by moving average, before fees and funding.
    pub realized_gross: Decimal,
    /// Every fee in its own asset; below zero was received.
    pub fees_by_asset: BTreeMap<Asset, Decimal>,
    /// Fees valued when they were charged.
    pub fees_quote: Decimal,
    /// Fees that no rate could value, in their own assets.
    pub unconverted_fees: BTreeMap<Asset, Decimal>,
    /// Funding that no rate could value, in its own assets.
    pub unconverted_funding: BTreeMap<Asset, Decimal>,
    /// Fills whose fees nobody knows.
    pub unknown_fees: i64,
    /// Valued when it was paid; below zero was paid.
    pub funding: Decimal,
    /// `realized_gross` less fees, with funding.
    pub realized_net: Decimal,
    /// The pair's rate; null where none is known.
    pub mark: Option<Decimal>,
    /// Position at the mark less its cost; null without a mark, 0 when flat.
    pub unrealized: Option<Decimal>,
    /// `realized_net` and `unrealized`; null without a mark.
    pub total_net: Option<Decimal>,
    /// Whether everything was known and could be valued.
    pub complete: bool,
    /// Sum of delta x (mid - price); null where a fill had no mid.
    pub spread_capture: Option<Decimal>,
    /// What is left of gross and unrealised P&L without the captured spread.
    pub inventory_pnl: Option<Decimal>,
    /// The deepest fall of equity, looked at each minute; null where a position had no mark.
    pub max_drawdown_1m: Option<Decimal>,
    /// Position, averaged over time from the first fill.
    pub tw_inventory: Option<Decimal>,
    /// The same of its distance from zero.
    pub tw_abs_inventory: Option<Decimal>,
    /// The one over the other: from -1, always short, to 1, always long; null where nothing was ever held.
    pub skew: Option<Decimal>,
    /// `volume_base` over `tw_abs_inventory`: how many times what was held on average was traded.
    pub turnover: Option<Decimal>,
    /// Each UTC day from the first fill on.
    pub daily: Vec<Day>,
    /// The same fills by other methods.
    pub alternatives: Alternatives,
}

/// The same fills by the other methods; `realized_gross` above is moving average cost.
#[derive(Debug, Clone, Serialize)]
pub struct Alternatives {
    /// The oldest lot is closed first.
    pub fifo: ByLots,
    /// The newest lot is closed first.
    pub lifo: ByLots,
    /// By the averages of all bought and all sold.
    pub matched_average: Matched,
}

/// Figures of a method that keeps lots.
#[derive(Debug, Clone, Serialize)]
pub struct ByLots {
    /// Before fees and funding.
    pub realized_gross: Decimal,
    /// Of the lots that are still open.
    pub cost: Decimal,
    /// Null without a mark.
    pub unrealized: Option<Decimal>,
}

/// min(bought, sold) x (average sold - average bought).
#[derive(Debug, Clone, Serialize)]
pub struct Matched {
    /// Before fees and funding.
    pub realized_gross: Decimal,
}

/// A client's sums (R11).
#[derive(Debug, Clone, Default, Serialize)]
pub struct Totals {
    /// Sums of the books by their quote asset.
    pub by_quote: BTreeMap<Asset, QuoteTotals>,
    /// Every fee in its own asset.
    pub commissions: BTreeMap<Asset, Decimal>,
    /// How many.
    pub fills: i64,
    /// Realised net and unrealised at the rates of `as_of`; null where a quote asset has no rate.
    pub total_usdt: Option<Decimal>,
    /// At the rates of `as_of`; null where a quote asset has no rate.
    pub volume_usdt: Option<Decimal>,
    /// Whether every book is, and every quote asset has a rate.
    pub complete: bool,
}

/// Sums over the books that share a quote asset.
#[derive(Debug, Clone, Default, Serialize)]
pub struct QuoteTotals {
    /// Realised after fees and funding.
    pub realized_net: Decimal,
    /// An unknown one counts zero here and makes the client incomplete.
    pub unrealized: Decimal,
    /// Fees valued when they were charged.
    pub fees_quote: Decimal,
    /// Below zero was paid.
    pub funding: Decimal,
    /// Sum of price x raw amount.
    pub volume_quote: Decimal,
}

/// Who is who in a client's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Its slug.
    pub client: Slug,
    /// Their names.
    pub bots: BTreeMap<BotId, Slug>,
}

/// A name that an event gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    Client(Slug),
    Bot(BotId, Slug),
}

impl Named {
    /// The name that this event gives, if it gives one.
    pub fn by(event: &Recorded) -> Option<Self> {
        match &event.event {
            Event::Client(ClientEvent::ClientOnboarded { slug, .. }) => Some(Self::Client(slug.clone())),
            // A bot whose id is none of ours has no fills either.
            Event::Bot(BotEvent::BotCreated { name, .. }) => {
                Some(Self::Bot(event.aggregate.id.parse().ok()?, name.clone()))
            }
            Event::Client(_)
            | Event::Bot(_)
            | Event::Credential(_)
            | Event::Ledger(_)
            | Event::Market(_)
            | Event::Order(_)
            | Event::Subscription(_)
            | Event::Alert(_)
            | Event::Rule(_)
            | Event::Agreement(_)
            | Event::Channel(_)
            | Event::Schedule(_)
            | Event::Silence(_)
            | Event::Agent(_)
            | Event::Manual(_)
            | Event::Desk(_)
            | Event::Account(_) => None,
        }
    }
}

impl Report {
    /// A report without clients yet.
    pub fn new(as_of: Time) -> Self {
        Self { as_of: as_of.millis(), ..Self::default() }
    }

    /// Adds a client: its books after the last entry at or before `as_of`, and the days that ended before.
    pub fn add(&mut self, names: &Names, mut books: Books, mut days: Days, as_of: Time) -> Result<(), ArithmeticError> {
        books.pass(as_of, &mut days)?;
        let mut totals = Totals { complete: true, ..Totals::default() };
        let mut groups = Vec::new();
        for (key, book) in books.iter() {
            let mut group = group(names, key, (**book).clone(), books.known(), as_of)?;
            group.daily = daily(&days, key, book, &books, as_of)?;
            totals.add(&group)?;
            groups.push(group);
        }
        totals.convert(books.known())?;
        if let Some(flows) = &books.net_flows {
            self.net_flows_usdt.insert(names.client.clone(), flows.worth);
        }
        if !groups.is_empty() {
            groups.sort_by(|a, b| a.order().cmp(&b.order()));
            self.groups.extend(groups);
            self.clients.insert(names.client.clone(), totals);
        }
        Ok(())
    }
}

impl Group {
    fn order(&self) -> (&Slug, Exchange, Market, &Pair) {
        (&self.bot, self.exchange, self.market, &self.pair)
    }
}

fn daily(days: &Days, key: &BookKey, book: &Book, books: &Books, as_of: Time) -> Result<Vec<Day>, ArithmeticError> {
    let ended = days.iter().filter(|((_, of), _)| of == key).map(|(_, day)| day.clone());
    let under_way = book.tally.day(as_of.day(), books.known().observed.of(&key.pair))?;
    Ok(ended.chain(under_way).collect())
}

fn group(
    names: &Names,
    key: &BookKey,
    mut book: Book,
    known: Known<'_>,
    as_of: Time,
) -> Result<Group, ArithmeticError> {
    let mark = known.observed.of(&key.pair);
    book.tally.check()?;
    book.tally.sample(mark)?;
    book.tally.weigh(as_of)?;
    let tally = book.tally;
    let unrealized = tally.unrealized(tally.cost, mark)?;
    let over_time = |weighted: Decimal| match tally.opened {
        Some(opened) if opened < as_of => {
            weighted.divided_by(Decimal::from_int(as_of.micros() - opened.micros())).map(Some)
        }
        Some(_) | None => Ok(None),
    };
    let ratio = |part: Decimal, whole: Decimal| match whole.is_zero() {
        true => Ok(None),
        false => part.divided_by(whole).map(Some),
    };
    let tw_abs_inventory = over_time(tally.weighted_abs)?;
    let inventory = |unrealized: Decimal, captured: Decimal| tally.realized.plus(unrealized)?.minus(captured);
    let by_lots = |realized_gross, cost| Ok(ByLots { realized_gross, cost, unrealized: tally.unrealized(cost, mark)? });
    Ok(Group {
        client: names.client.clone(),
        bot: names.bots.get(&key.bot).cloned().unwrap_or_else(|| unnamed(key)),
        exchange: key.exchange,
        market: key.market,
        pair: key.pair.clone(),
        fills: tally.fills,
        buys: tally.buys,
        sells: tally.sells,
        volume_base: tally.volume_base,
        volume_quote: tally.volume_quote,
        maker_ratio: ratio(tally.maker_volume, tally.volume_quote)?,
        position: tally.position,
        avg_cost: ratio(tally.cost, tally.position)?,
        realized_gross: tally.realized,
        fees_quote: tally.fees_quote,
        funding: tally.funding,
        realized_net: tally.realized_net()?,
        mark: mark.map(|mark| mark.0),
        unrealized,
        total_net: tally.total_net(mark)?,
        complete: tally.is_complete() && unrealized.is_some(),
        spread_capture: tally.spread_capture,
        inventory_pnl: unrealized.zip(tally.spread_capture).map(|(u, captured)| inventory(u, captured)).transpose()?,
        max_drawdown_1m: tally.drawdown,
        tw_inventory: over_time(tally.weighted)?,
        tw_abs_inventory,
        skew: ratio(tally.weighted, tally.weighted_abs)?,
        turnover: ratio(tally.volume_base, tw_abs_inventory.unwrap_or_default())?,
        daily: Vec::new(),
        alternatives: Alternatives {
            fifo: by_lots(tally.fifo_realized, tally.fifo_cost)?,
            lifo: by_lots(tally.lifo_realized, tally.lifo_cost)?,
            matched_average: Matched { realized_gross: tally.matched_average()? },
        },
        fees_by_asset: tally.fees_by_asset,
        unconverted_fees: tally.unconverted_fees,
        unconverted_funding: tally.unconverted_funding,
        unknown_fees: tally.unknown_fees,
    })
}

/// A bot that nobody created in this stream is shown by its id.
fn unnamed(key: &BookKey) -> Slug {
    key.bot.to_string().parse().expect("an id is a valid slug")
}

impl Totals {
    fn add(&mut self, group: &Group) -> Result<(), ArithmeticError> {
        let sums = self.by_quote.entry(group.pair.quote_asset()).or_default();
        sums.realized_net = sums.realized_net.plus(group.realized_net)?;
        sums.unrealized = sums.unrealized.plus(group.unrealized.unwrap_or_default())?;
        sums.fees_quote = sums.fees_quote.plus(group.fees_quote)?;
        sums.funding = sums.funding.plus(group.funding)?;
        sums.volume_quote = sums.volume_quote.plus(group.volume_quote)?;
        for (asset, amount) in &group.fees_by_asset {
            let sum = self.commissions.entry(asset.clone()).or_default();
            *sum = sum.plus(*amount)?;
        }
        self.fills += group.fills;
        self.complete &= group.complete;
        Ok(())
    }

    fn convert(&mut self, known: Known<'_>) -> Result<(), ArithmeticError> {
        let (mut total, mut volume) = (Some(Decimal::ZERO), Some(Decimal::ZERO));
        for (asset, sums) in &self.by_quote {
            let net = sums.realized_net.plus(sums.unrealized)?;
            // Without a rate even a sum of zero has no worth: the total would change its meaning with the next fill.
            let usdt = Asset::usdt();
            let has_rate = known.observed_worth(Decimal::ONE, asset, &usdt)?.is_some();
            let worth = |sum| if has_rate { known.observed_worth(sum, asset, &usdt) } else { Ok(None) };
            total = sum_known(total, worth(net)?)?;
            volume = sum_known(volume, worth(sums.volume_quote)?)?;
        }
        self.complete &= total.is_some() && volume.is_some();
        (self.total_usdt, self.volume_usdt) = (total, volume);
        Ok(())
    }
}
