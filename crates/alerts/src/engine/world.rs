//! What is known of a client's bots and markets beside what single rules remember: folded from events, read by all rules.

use std::collections::BTreeMap;

use events::{
    Amount, Asset, BotId, Decimal, Event, Exchange, Market, Pair, Price, Recorded, Time,
    account::AccountEvent,
    bot::{BotEvent, Limits, Venue},
    ledger::{BookKey, Fill, LedgerEvent, Side},
    market::MarketEvent,
};
use serde::{Deserialize, Serialize};

use crate::exact::{divided, minus, plus, times};

const MINUTE_US: i64 = 60_000_000;

/// Everything that several rules want to know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct World {
    pub bots: BTreeMap<BotId, Bot>,
    /// The last mark of each pair.
    pub marks: BTreeMap<Pair, Price>,
    /// The last best quotes of each bot, where it trades.
    pub quotes: BTreeMap<(BotId, Venue), Quote>,
    /// The middle of each order book that was seen, and when.
    pub middles: BTreeMap<Venue, (Price, Time)>,
    /// What is held: all of it, and what no order holds.
    pub balances: BTreeMap<(Exchange, Market, Asset), (Decimal, Decimal)>,
    /// What each bot made and holds, since ever.
    pub books: BTreeMap<(BotId, Venue), Book>,
    /// Whether the Hummingbot API does not answer.
    pub hummingbot_lost: bool,
}

/// A bot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bot {
    pub name: String,
    pub venue: Option<Venue>,
    pub parameters: BTreeMap<String, String>,
    pub limits: Limits,
    /// Whether somebody wants it to run, and since when it is so.
    pub wanted: bool,
    pub wanted_at: Time,
    /// When it was asked to run last; absent: it never was.
    pub asked_at: Option<Time>,
    /// Since when it runs; absent: it does not.
    pub runs_since: Option<Time>,
}

/// A bot's own best quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    pub bid: Option<Price>,
    pub ask: Option<Price>,
    pub at: Time,
}

/// What one bot did in one market, in its quote asset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    pub position: Decimal,
    /// What has flown in and out, fees as far as they can be valued among it.
    pub cash: Decimal,
}

impl World {
    /// Takes in an event.
    pub(super) fn hear(&mut self, event: &Recorded) {
        match &event.event {
            Event::Bot(told) => {
                if let Ok(bot) = event.aggregate.id.parse() {
                    self.hear_of_bot(bot, told);
                }
            }
            Event::Ledger(told) => self.hear_of_ledger(told),
            Event::Market(told) => self.hear_of_market(told),
            Event::Account(told) => self.hear_of_account(told),
            Event::Client(_)
            | Event::Credential(_)
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
            | Event::Agent(_) => {}
        }
    }

    fn hear_of_bot(&mut self, id: BotId, told: &BotEvent) {
        if let BotEvent::BotCreated { name, config, at } = told {
            let bot = Bot {
                name: name.to_string(),
                venue: config.venue.clone(),
                parameters: config.parameters.clone(),
                limits: config.limits.clone(),
                wanted: false,
                wanted_at: *at,
                asked_at: None,
                runs_since: None,
            };
            self.bots.insert(id, bot);
        }
        if matches!(told, BotEvent::BotDeployRequested { .. }) {
            self.quotes.retain(|(of, _), _| *of != id);
        }
        if let Some(bot) = self.bots.get_mut(&id) {
            bot.hear(told);
        }
    }

    fn hear_of_ledger(&mut self, told: &LedgerEvent) {
        match told {
            LedgerEvent::FillRecorded(fill) => self.book(fill, false),
            LedgerEvent::FillCorrected { was, fill, .. } => {
                self.book(was, true);
                self.book(fill, false);
            }
            LedgerEvent::FillVoided { was, .. } => self.book(was, true),
            LedgerEvent::OpeningPosition { book, position, cost, .. } => self.moved(book, *position, -*cost),
            LedgerEvent::FundingPaid { book, amount, asset, .. } => {
                // What nobody can value is left out, as with fees.
                let mark = self.marks.get(&book.pair).copied().unwrap_or(Price(Decimal::ZERO));
                let cash = self.in_quote(&book.pair, mark, asset, *amount).unwrap_or_default();
                self.moved(book, Decimal::ZERO, cash);
            }
            LedgerEvent::FillDisputed { .. }
            | LedgerEvent::TransferRecorded { .. }
            | LedgerEvent::FeeRateSupplied { .. } => {}
        }
    }

    /// Books a fill, or takes it back.
    fn book(&mut self, fill: &Fill, back: bool) {
        let fees =
            fill.fees.iter().flatten().filter_map(|fee| self.in_quote(&fill.pair, fill.price, &fee.asset, fee.amount));
        let fees = fees.fold(Decimal::ZERO, plus);
        let worth = times(fill.price.0, fill.amount.0);
        let (amount, cash) = match fill.side {
            Side::Buy => (fill.amount.0, minus(-worth, fees)),
            Side::Sell => (-fill.amount.0, minus(worth, fees)),
        };
        let (amount, cash) = if back { (-amount, -cash) } else { (amount, cash) };
        self.moved(&fill.book(), amount, cash);
    }

    fn moved(&mut self, of: &BookKey, position: Decimal, cash: Decimal) {
        let book = self.books.entry((of.bot, place_of(of))).or_default();
        *book = Book { position: plus(book.position, position), cash: plus(book.cash, cash) };
    }

    /// An amount of some asset in the quote asset of a pair, as far as anybody can tell.
    fn in_quote(&self, pair: &Pair, price: Price, asset: &Asset, amount: Decimal) -> Option<Decimal> {
        if asset.as_str() == pair.quote() {
            return Some(amount);
        }
        if asset.as_str() == pair.base() {
            return Some(times(price.0, amount));
        }
        let mark = self.marks.get(&Pair::of(asset, &pair.quote_asset()))?;
        Some(times(mark.0, amount))
    }

    fn hear_of_market(&mut self, told: &MarketEvent) {
        match told {
            MarketEvent::MarkObserved { pair, price, .. } => {
                self.marks.insert(pair.clone(), *price);
            }
            MarketEvent::QuoteObserved { bot, venue, bid, ask, at, .. } => {
                self.quotes.insert((*bot, venue.clone()), Quote { bid: *bid, ask: *ask, at: *at });
            }
            MarketEvent::QuotesUnknown { bot, venue, .. } => drop(self.quotes.remove(&(*bot, venue.clone()))),
            MarketEvent::QuoteMinute { bot, venue, bid, ask, at, .. } => {
                // A minute that does not tell how it ended leaves what was told before.
                if bid.is_some() || ask.is_some() {
                    let at = at.plus_micros(MINUTE_US);
                    self.quotes.insert((*bot, venue.clone()), Quote { bid: *bid, ask: *ask, at });
                }
            }
            MarketEvent::DepthObserved { venue, middle, at, .. } => match middle {
                Some(middle) => drop(self.middles.insert(venue.clone(), (*middle, *at))),
                None => drop(self.middles.remove(venue)),
            },
            MarketEvent::DepthMinute { venue, middles, at, .. } => {
                if let Some((since_ms, middle)) = middles.last_key_value() {
                    let at = at.plus_micros(i64::from(*since_ms) * 1_000);
                    self.middles.insert(venue.clone(), (*middle, at));
                }
            }
            MarketEvent::VolumeObserved { .. } => {}
        }
    }

    fn hear_of_account(&mut self, told: &AccountEvent) {
        match told {
            AccountEvent::BalanceObserved { exchange, market, asset, total, available, .. } => {
                self.balances.insert((*exchange, *market, asset.clone()), (*total, *available));
            }
            AccountEvent::HummingbotLost { .. } => self.hummingbot_lost = true,
            AccountEvent::HummingbotBack { .. } => self.hummingbot_lost = false,
        }
    }

    /// Whether somebody wants this bot to run.
    pub fn is_wanted(&self, bot: BotId) -> bool {
        self.bots.get(&bot).is_some_and(|bot| bot.wanted)
    }

    /// Whether somebody wants this bot to run there.
    pub fn trades(&self, bot: BotId, venue: &Venue) -> bool {
        self.bots.get(&bot).is_some_and(|bot| bot.wanted && bot.venue.as_ref().is_none_or(|of| of == venue))
    }

    /// What people call a bot.
    pub fn name(&self, bot: BotId) -> String {
        self.bots.get(&bot).map_or_else(|| bot.to_string(), |bot| bot.name.clone())
    }

    /// What a bot has made in a market since ever, what it holds valued at the mark; absent: it holds
    /// something that nobody can value.
    pub fn made(&self, bot: BotId, venue: &Venue) -> Option<Decimal> {
        let book = self.books.get(&(bot, venue.clone())).copied().unwrap_or_default();
        if book.position.is_zero() {
            return Some(book.cash);
        }
        Some(plus(book.cash, times(self.marks.get(&venue.pair)?.0, book.position)))
    }

    /// The bots that trade in a pair and are wanted, where they do.
    pub fn wanted_in(&self, pair: &Pair) -> impl Iterator<Item = (BotId, &Venue)> {
        let there = |bot: &Bot| bot.venue.as_ref().is_some_and(|venue| venue.pair == *pair);
        let of = self.bots.iter().filter(move |(_, bot)| bot.wanted && there(bot));
        of.filter_map(|(id, bot)| Some((*id, bot.venue.as_ref()?)))
    }
}

impl Bot {
    fn hear(&mut self, told: &BotEvent) {
        match told {
            BotEvent::BotConfigChanged { config, .. } => {
                (self.venue, self.parameters) = (config.venue.clone(), config.parameters.clone());
                self.limits = config.limits.clone();
            }
            BotEvent::BotDeployRequested { at } => {
                (self.wanted, self.wanted_at, self.asked_at) = (true, *at, Some(*at));
            }
            BotEvent::BotDeployed { at, .. } => self.runs_since = Some(*at),
            BotEvent::BotDeployFailed { at, .. } | BotEvent::BotStopRequested { at, .. } => {
                (self.wanted, self.wanted_at) = (false, *at);
            }
            // It runs on.
            BotEvent::BotStopFailed { at, .. } => (self.wanted, self.wanted_at) = (true, *at),
            BotEvent::BotStopped { .. } => self.runs_since = None,
            // It is told to stop by that.
            BotEvent::BotLimitBroken { .. }
            | BotEvent::BotCreated { .. }
            | BotEvent::BotConfigApplied { .. }
            | BotEvent::BotConfigNotApplied { .. }
            | BotEvent::BotDeployStarted { .. }
            | BotEvent::BotStateReported { .. }
            | BotEvent::BotSeenAlive { .. }
            | BotEvent::BotSilent { .. }
            | BotEvent::BotArchived { .. }
            | BotEvent::BotStrayFound { .. }
            | BotEvent::BotStrayStopped { .. }
            | BotEvent::BotGapOpened { .. }
            | BotEvent::BotGapHealed { .. }
            | BotEvent::BotLimitNeared { .. }
            | BotEvent::BotLogged { .. }
            | BotEvent::BotFiguresReported { .. } => {}
        }
    }

    /// What it quotes with, in the quote asset; absent: its config does not say.
    pub fn capital(&self) -> Option<Decimal> {
        self.parameters.get("total_amount_quote")?.trim().parse().ok().filter(Decimal::is_positive)
    }

    /// Its spreads to one side, as parts of the middle.
    pub fn spreads(&self, name: &str) -> Vec<Decimal> {
        let text = self.parameters.get(name).map(|text| text.trim()).unwrap_or_default();
        let list = text.strip_prefix('[').and_then(|list| list.strip_suffix(']')).unwrap_or(text);
        list.split(',').filter_map(|spread| spread.trim().trim_matches('"').parse().ok()).collect()
    }

    /// How far apart its best quotes shall be, in bps of the middle; absent: its config does not say, or says it as a multiple
    /// of something that moves.
    pub fn spread_bps(&self) -> Option<Decimal> {
        let best = |name: &str| self.spreads(name).into_iter().filter(Decimal::is_positive).min();
        let both = plus(best("buy_spreads")?, best("sell_spreads")?);
        // A tenth of the price apart: a multiple, and no part of it.
        (both < Decimal::new(1, 1)).then(|| times(both, Decimal::from_int(10_000)))
    }

    /// The worth of one of its orders, in the quote asset.
    pub fn order_worth(&self) -> Option<Decimal> {
        let levels = self.spreads("buy_spreads").len() + self.spreads("sell_spreads").len();
        divided(self.capital()?, Decimal::from_int(i64::try_from(levels).ok()?))
    }
}

impl Quote {
    /// The middle and the spread in bps of it; absent: a side is missing.
    pub fn spread(&self) -> Option<(Decimal, Decimal)> {
        let (bid, ask) = (self.bid?.0, self.ask?.0);
        let middle = divided(plus(bid, ask), Decimal::from_int(2))?;
        let bps = minus(ask, bid).mul_div(Decimal::from_int(10_000), middle).ok()?;
        Some((middle, bps))
    }
}

/// Where a book is kept.
pub fn place_of(book: &BookKey) -> Venue {
    Venue { exchange: book.exchange, market: book.market, pair: book.pair.clone() }
}

/// Where a fill was executed.
pub fn venue_of(fill: &Fill) -> Venue {
    Venue { exchange: fill.exchange, market: fill.market, pair: fill.pair.clone() }
}

/// The worth of a fill, in the quote asset.
pub fn worth(price: Price, amount: Amount) -> Decimal {
    times(price.0, amount.0)
}
