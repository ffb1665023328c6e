//! The client of the Hummingbot API and of its bots' MQTT, in its true wire format.
//!
//! One user of that API owns every client, so whoever holds a [`Hummingbot`] can reach all of them: every call here names
//! exactly one account, and an answer that holds rows of another is a fault, not data.
//!
//! Nothing here goes through a float: numbers are read from their text. What the server says wrongly (the prices of a
//! portfolio, the filled amount of an order) is not offered at all. A fill is exact in [`mqtt`] only; where it comes with
//! six decimals it has another type, [`RoundedTrade`].

mod accounts;
mod archive;
mod as_written;
mod bots;
mod call;
mod connectors;
mod controllers;
mod fault;
mod fees;
mod funding;
mod history;
mod inside;
mod market_data;
pub mod mqtt;
mod names;
mod numbers;
mod orders;
mod patience;
mod performance;
mod portfolio;
mod positions;
mod runs;
mod scripts;
mod scrub;
mod times;
mod trades;
mod trading;
mod windows;

use std::{fmt, sync::Arc};

use reqwest::{Client, redirect};
use secrecy::SecretString;
use url::Url;

pub use accounts::Added;
pub use archive::{ArchivePath, ArchivedOrder, LastEvent, Summary};
pub use as_written::AsWritten;
pub use bots::{BotState, BotStatus, ControllerDeployment, LogLine, ScriptDeployment, Start};
pub use connectors::{ConfigMap, Field, OrderType, TradingRule};
pub use controllers::Config;
pub use fault::{Fault, FieldFault, Why};
pub use fees::{FeePaid, RoundedFees, TradeFee};
pub use funding::FundingPayment;
pub use history::{RoundedTrade, Since};
pub use market_data::{Candle, Level, OrderBook};
pub use names::{BadName, BotName, ConfigName, ConnectorName};
pub use numbers::tolerant;
pub use orders::{Order, OrderStatus};
pub use patience::Patience;
pub use performance::{ControllerPerformance, Performance, PositionHeld};
pub use portfolio::{Balance, Balances};
pub use positions::Position;
pub use runs::{BotRun, DeploymentStatus, RunStatus};
pub use trades::Trade;
pub use trading::NewOrder;
pub use windows::{PAGE_MAX, Window};

/// The Hummingbot API. Cheap to clone: clones share their connections.
#[derive(Clone)]
pub struct Hummingbot {
    http: Client,
    base: Url,
    user: Arc<User>,
    patience: Patience,
}

struct User {
    name: String,
    password: SecretString,
}

/// An address of the API that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    #[error("the address of the Hummingbot API is not a URL: {0}")]
    NotAUrl(String),
    #[error(
        "the address of the Hummingbot API begins with {0}://: this client speaks plain http, inside a private network"
    )]
    NotHttp(String),
    #[error("the address of the Hummingbot API holds a user or password: give them in settings of their own")]
    HoldsCredentials,
    #[error("the HTTP client could not be made: {0}")]
    Client(String),
}

impl Hummingbot {
    /// A client of the API at `url`. Nothing is sent yet.
    pub fn new(url: &str, username: &str, password: SecretString, patience: Patience) -> Result<Self, BadAddress> {
        let base = address(url)?;
        // The API stands beside us: a proxy of the environment must never see its password.
        let http = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(patience.connect)
            .pool_idle_timeout(patience.idle)
            .build()
            .map_err(|cause| BadAddress::Client(fault::chain(&cause)))?;
        Ok(Self { http, base, user: Arc::new(User { name: username.to_owned(), password }), patience })
    }
}

fn address(text: &str) -> Result<Url, BadAddress> {
    let url: Url = text.parse().map_err(|cause: url::ParseError| BadAddress::NotAUrl(cause.to_string()))?;
    if url.scheme() != "http" {
        return Err(BadAddress::NotHttp(url.scheme().to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BadAddress::HoldsCredentials);
    }
    Ok(url)
}

impl fmt::Debug for Hummingbot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hummingbot").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}
