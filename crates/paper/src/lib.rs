//! A Hummingbot that trades on paper: the API server, its MQTT broker, the bots and the exchanges in one process, which
//! others reach over HTTP and MQTT alone.
//!
//! It answers as the real server does, with the same words, statuses and defects, plays a recorded tape or a seeded walk,
//! and fills a resting order only when a real print goes strictly through it. What really happened stands in a truth
//! ledger (`GET /paper/truth`), whatever was told, lost or told wrong; faults are set with `POST /paper/faults`.
//! Everything is kept in memory and ends with the process.
//!
//! # What a test can do
//!
//! | call | body | does |
//! | --- | --- | --- |
//! | `GET /paper/truth` | - | fills, orders, balances and funding, decimals exact |
//! | `GET /paper/counts` | - | how many fills and orders that are |
//! | `GET /paper/now` | - | the paper clock |
//! | `GET`, `POST /paper/faults` | any fields of [`Faults`] | shows them; sets those that are sent |
//! | `POST /paper/step` | `{"ms": 1000}` | lets time pass, where the pace is stepped |
//! | `POST /paper/markets` | [`MarketSettings`] | lists a market, or puts another feed under it |
//! | `POST /paper/shock` | `{"connector", "trading_pair", "percent", "prints"}` | the price falls by so much over so many prints |
//! | `POST /paper/prints` | `{"connector", "trading_pair", "prints": [{"price", "amount"}]}` | prints now |
//! | `POST /paper/funding` | - | positions pay funding now |
//! | `POST /paper/kill-bot` | `{"bot"}` | the bot dies without a word, its orders stay |
//! | `POST /paper/broker/stop`, `start`, `restart` | - | everybody is put out; what is said meanwhile is lost |
//!
//! All but the truth, its counts and the faults answer `{"now_ms"}`, when what they caused has happened and what the bots said of it
//! has reached the broker. They need the same user and password as the API, and no fault ever meets them.

mod accounts;
mod archive;
mod bot;
mod bots;
mod broker;
mod connectors;
mod control;
mod controllers;
mod exact;
mod exchange;
mod faults;
mod floats;
mod input;
mod market_data;
mod paper;
mod portfolio;
mod server;
mod settings;
mod trading;
mod truth;
mod world;

pub use broker::BrokerFault;
pub use exchange::{listing::Listing, tape::TapeFault};
pub use faults::{BadChance, Faults};
pub use paper::{Paper, PaperFault, run};
pub use settings::{FeedSettings, MarketSettings, Pace, Settings};
