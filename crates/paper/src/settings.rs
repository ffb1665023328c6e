//! What can be chosen when the paper server starts. All of it has a default: a Hummingbot with six walking exchanges.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use events::{Decimal, bot::Venue};
use secrecy::SecretString;
use serde::Deserialize;

use crate::{exchange::listing::Listing, faults::Faults};

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Loopback; port 0 takes a free one.
    pub http: SocketAddr,
    pub mqtt: SocketAddr,
    pub username: String,
    pub password: SecretString,
    pub pace: Pace,
    /// Of the walks and the bots.
    pub seed: u64,
    /// Markets with a feed of their own; any other is a walk, opened when it is first asked for.
    pub markets: Vec<MarketSettings>,
    /// Prints a second of a walk.
    pub prints_per_second: u32,
    /// What a key owns that logs in for the first time.
    pub balances: BTreeMap<String, Decimal>,
    /// What these keys own instead.
    pub keys: BTreeMap<String, BTreeMap<String, Decimal>>,
    /// Only `keys` can log in.
    pub strict: bool,
    pub heartbeat_ms: u32,
    pub performance_ms: u32,
    /// From a stop's publication until the bot obeys.
    pub stop_ms: u32,
    /// From stop-and-archive until the archive is there.
    pub archive_ms: u32,
    pub faults: Faults,
}

/// How time passes in the paper world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// So many times as fast as the clock on the wall.
    Times(u32),
    /// Only when `/paper/step` is called, and then as fast as possible.
    Stepped,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarketSettings {
    pub venue: Venue,
    pub feed: FeedSettings,
    /// Absent: what is known of the asset.
    #[serde(default)]
    pub listing: Option<Listing>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FeedSettings {
    /// Files, played one after the other and then again.
    Tape {
        paths: Vec<PathBuf>,
    },
    Walk {
        prints_per_second: u32,
    },
    /// Nothing moves but what `/paper/prints` injects.
    Still,
}

impl Default for Settings {
    fn default() -> Self {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let owned = [("USDT", 100_000), ("BTC", 2), ("ETH", 30), ("SOL", 500), ("PEPE", 10_000_000_000), ("BNB", 10)];
        Self {
            http: free,
            mqtt: free,
            username: "admin".to_owned(),
            password: "admin".into(),
            pace: Pace::Times(1),
            seed: 1,
            markets: Vec::new(),
            prints_per_second: 4,
            balances: owned.map(|(asset, units)| (asset.to_owned(), Decimal::from_int(units))).into(),
            keys: BTreeMap::new(),
            strict: false,
            heartbeat_ms: 10_000,
            performance_ms: 1_000,
            stop_ms: 1_000,
            archive_ms: 20_000,
            faults: Faults::default(),
        }
    }
}
