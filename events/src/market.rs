//! What the market was worth, and how a bot stood in it, as far as a client's own figures need it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Amount, BotId, Decimal, Pair, Price, Time, bot::Venue};

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

impl MarketEvent {
    /// When it was seen.
    pub fn at(&self) -> Time {
        match self {
            Self::MarkObserved { at, .. }
            | Self::QuoteObserved { at, .. }
            | Self::QuoteMinute { at, .. }
            | Self::VolumeObserved { at, .. } => *at,
        }
    }
}
