//! What the market was worth, and how a bot stood in it, as far as a client's own figures need it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Amount, BotId, Decimal, Pair, Price, Time, bot::Venue};

/// Upper ends of the bands of a spread, and distances that depth is summed up to, in bps of the middle.
pub const GRID_BPS: [u32; 14] = [1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1_000];

/// Facts of aggregate `market`, keyed by the pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum MarketEvent {
    /// The middle of best bid and best ask, of no particular exchange. Never the last trade's price.
    MarkObserved { pair: Pair, price: Price, source: String, at: Time },
    /// A bot's own best quotes, recorded when they moved into another band.
    QuoteObserved {
        bot: BotId,
        venue: Venue,
        /// Its own best bid; absent: it bids nothing.
        bid: Option<Price>,
        /// Its own best ask; absent: it offers nothing.
        ask: Option<Price>,
        /// The first step of the grid, in bps of the middle, that its spread fits into; absent: not two-sided, or wider
        /// than the grid.
        band_bps: Option<u32>,
        at: Time,
    },
    /// A bot's quotes over one minute, by exact time.
    QuoteMinute {
        bot: BotId,
        venue: Venue,
        /// How long it bid, in microseconds.
        bid_us: u64,
        /// How long it offered, in microseconds.
        ask_us: u64,
        /// How long it did both, in microseconds.
        two_sided_us: u64,
        /// The integral of its spread in bps over the time it did both, in bps x microseconds.
        spread_bps_us: Decimal,
        /// How long nobody could tell, in microseconds.
        unknown_us: u64,
        /// How long its spread was in each band of the grid, in microseconds, by the band's upper end in bps; what is
        /// wider than the grid is in none. Absent: nobody measured it, or it was never two-sided.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        band_us: BTreeMap<u32, u64>,
        /// How many changes of band or sides in this minute no `QuoteObserved` tells of; absent: none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        changes_left_out: Option<u64>,
        /// Its best bid and its best ask when the minute ended; absent: there was none then, or nobody wrote it down.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bid: Option<Price>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ask: Option<Price>,
        /// Begin of the minute.
        at: Time,
    },
    /// From then on nobody could tell how a bot quotes: it fell silent, or what it says could not be heard. The next
    /// `QuoteObserved` or `QuoteMinute` says how it does again.
    QuotesUnknown { bot: BotId, venue: Venue, at: Time },
    /// What stood in the order book of a bot's venue, everybody's orders, recorded when it moved into another band: a side came
    /// or went, the spread passed a step of the grid, or the depth of a side within 50, 100 or 200 bps of the middle passed a step
    /// of 1, 2, 5, 10, 20, 50 and so on of the quote asset.
    DepthObserved {
        bot: BotId,
        venue: Venue,
        /// Between best bid and best ask, what distances are counted from; absent: a side was empty.
        middle: Option<Price>,
        /// The best bid and the best ask; absent: nobody bid or offered, or nobody wrote it down.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        best_bid: Option<Price>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        best_ask: Option<Price>,
        /// Within each step of the grid, in bps of the middle; absent: the book was not seen so far out.
        within: BTreeMap<u32, Depth>,
        at: Time,
    },
    /// What stood in the order book of a bot's venue over one minute, by exact time, and what of it was the bot's own.
    DepthMinute {
        bot: BotId,
        venue: Venue,
        /// How long the book was known, in microseconds.
        known_us: u64,
        /// How long the bot's own orders were known beside it, in microseconds.
        own_known_us: u64,
        /// Within each step of the grid, in bps of the middle; absent: the book was never seen so far out, and the bot had
        /// nothing there.
        within: BTreeMap<u32, DepthSum>,
        /// How many changes of band in this minute no `DepthObserved` tells of; absent: none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        changes_left_out: Option<u64>,
        /// What it cost to trade so much of the quote asset at once, by that amount; absent: nobody measured it.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        slippage: BTreeMap<u32, SlippageSum>,
        /// How long the bot's own orders were worth so much of the quote asset on each of both sides, in microseconds: by how
        /// near to the middle they were, in bps, and then by the highest step of 1, 2, 5, 10, 20, 50 and so on that the
        /// thinner side reached. Absent: never, or nobody measured it.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        sized_us: BTreeMap<u32, BTreeMap<Decimal, u64>>,
        /// The middle at each look at the book, by milliseconds after the minute's begin; absent: nobody wrote it down.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        middles: BTreeMap<u32, Price>,
        /// The best bid and the best ask when the minute ended; absent: there was none then, nobody could tell, or nobody
        /// wrote it down.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        best_bid: Option<Price>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        best_ask: Option<Price>,
        /// Begin of the minute.
        at: Time,
    },
    /// Everybody's trading on a venue since the day began, by its candles: what a bot's own share is a share of. A later
    /// one of the same day stands in the place of the earlier.
    VolumeObserved {
        venue: Venue,
        /// Begin of the UTC day that it counts from.
        day: Time,
        /// In the base asset.
        amount: Amount,
        /// Until when it counts.
        at: Time,
    },
}

/// What is bid and offered up to some distance of the middle: sums of price x amount, in the quote asset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Depth {
    pub bid_quote: Decimal,
    pub ask_quote: Decimal,
}

/// The same over a stretch of time: integrals, in the quote asset x microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepthSum {
    pub bid_quote_us: Decimal,
    pub ask_quote_us: Decimal,
    /// Of the bot's own orders, as far as nothing of them was executed; absent: zero.
    #[serde(default, skip_serializing_if = "Decimal::is_zero")]
    pub own_bid_quote_us: Decimal,
    #[serde(default, skip_serializing_if = "Decimal::is_zero")]
    pub own_ask_quote_us: Decimal,
    /// How much of the time that the book was known it was not seen so far out, in microseconds; it is in no sum of the whole
    /// book. Absent: none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub beyond_us: u64,
}

/// How far the mean price of an amount taken out of the book at once lay from the middle, over a stretch of time: integrals, in
/// bps of the middle x microseconds, and for how long the book was seen deep enough, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlippageSum {
    pub buy_bps_us: Decimal,
    pub buy_us: u64,
    pub sell_bps_us: Decimal,
    pub sell_us: u64,
}

impl SlippageSum {
    /// Both together; absent: there are no such numbers.
    pub fn plus(self, other: Self) -> Option<Self> {
        Some(Self {
            buy_bps_us: self.buy_bps_us.plus(other.buy_bps_us).ok()?.normalised(),
            buy_us: self.buy_us.checked_add(other.buy_us)?,
            sell_bps_us: self.sell_bps_us.plus(other.sell_bps_us).ok()?.normalised(),
            sell_us: self.sell_us.checked_add(other.sell_us)?,
        })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_none(us: &u64) -> bool {
    *us == 0
}

impl MarketEvent {
    /// When it was seen.
    pub fn at(&self) -> Time {
        match self {
            Self::MarkObserved { at, .. }
            | Self::QuoteObserved { at, .. }
            | Self::QuoteMinute { at, .. }
            | Self::QuotesUnknown { at, .. }
            | Self::DepthObserved { at, .. }
            | Self::DepthMinute { at, .. }
            | Self::VolumeObserved { at, .. } => *at,
        }
    }
}
