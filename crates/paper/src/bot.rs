//! A bot's process: ticks once a second, places and cancels orders by its controllers' configurations, and dies.

pub(crate) mod figures;
pub(crate) mod maker;
pub(crate) mod taker;
pub(crate) mod words;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use events::{Time, bot::Venue, ledger::Side};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    exchange::{OrderNo, wallet::WalletKey},
    floats,
    truth::FillNo,
};
use figures::Figures;

const LOGS_MAX: usize = 50;

#[derive(Debug)]
pub(crate) struct Bot {
    pub name: Arc<str>,
    pub account: String,
    /// With whose keys it trades, by connector: those that the account had when it was deployed.
    pub wallets: BTreeMap<String, WalletKey>,
    /// Only then are its events published.
    pub tells_events: bool,
    pub strategy: &'static str,
    pub controllers: Vec<Controller>,
    pub life: Life,
    /// How often its strategy was started.
    pub starts: u32,
    /// The last tick of its clock: what it takes for the time.
    pub ticked: Time,
    /// What it saw itself, and therefore has in its database.
    pub fills: Vec<Seen>,
    pub orders: Vec<OrderNo>,
    pub logs: VecDeque<Value>,
    pub error_logs: VecDeque<Value>,
    pub rng: StdRng,
    pub archived: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    /// The process is there, its strategy is not.
    Stopped,
    /// Gone without a word.
    Crashed,
}

/// A fill and the second in which the bot's clock stood.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub fill: FillNo,
    pub ticked: Time,
}

#[derive(Debug)]
pub(crate) struct Controller {
    pub id: String,
    pub config: Value,
    pub style: Style,
    pub levels: BTreeMap<(bool, usize), Level>,
    pub taken: Option<Time>,
    pub figures: Figures,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Quotes both sides and waits.
    Maker,
    /// Takes what stands in the book.
    Taker,
}

/// One price level of a maker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Level {
    pub order: Option<OrderNo>,
    pub placed: Time,
    pub free: Time,
}

/// An order that a controller wants.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub venue: Venue,
    pub side: Side,
    pub price: Option<events::Decimal>,
    pub amount: events::Decimal,
}

impl Controller {
    pub(crate) fn new(id: &str, config: Value, style: Style) -> Self {
        Self { id: id.to_owned(), config, style, levels: BTreeMap::new(), taken: None, figures: Figures::default() }
    }
}

impl Bot {
    pub(crate) fn new(name: &str, account: &str, strategy: &'static str, at: Time, seed: u64) -> Self {
        let own = name.bytes().fold(seed, |seed, byte| seed.rotate_left(7) ^ u64::from(byte));
        Self {
            name: name.into(),
            account: account.to_owned(),
            wallets: BTreeMap::new(),
            tells_events: true,
            strategy,
            controllers: Vec::new(),
            life: Life::Running,
            starts: 0,
            ticked: at,
            fills: Vec::new(),
            orders: Vec::new(),
            logs: VecDeque::new(),
            error_logs: VecDeque::new(),
            rng: StdRng::seed_from_u64(own),
            archived: false,
        }
    }

    /// Keeps a line as its log has it, and gives it to be published.
    pub(crate) fn log(&mut self, error: bool, message: &str, logger: &str, at: Time) -> Value {
        let (level, number) = if error { ("ERROR", 40) } else { ("INFO", 20) };
        let line = json!({
            "level_name": level,
            "msg": message,
            "timestamp": floats::seconds(at),
            "level_no": number,
            "logger_name": logger,
        });
        let lines = if error { &mut self.error_logs } else { &mut self.logs };
        lines.push_back(line.clone());
        if lines.len() > LOGS_MAX {
            lines.pop_front();
        }
        line
    }

    /// The four characters that its order ids end with.
    pub(crate) fn mark(&self) -> String {
        let sum = self.name.bytes().fold(0_u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(u16::from(byte)));
        format!("{sum:04x}")
    }
}
