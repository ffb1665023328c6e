//! What goes wrong: the real server's own defects, there unless switched off, and faults that come with a probability.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

/// Everything that can be set, by name. Probabilities lie between 0 and 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// The same seed draws the same faults in the same order.
    pub seed: u64,
    /// Defect 1: fills of API-placed orders within 10 ms of acceptance are never told.
    pub lost_api_fills: bool,
    /// Defect 2: three of ten filled orders say OPEN for ever.
    pub wrong_order_rows: bool,
    /// Defect 3: history calls of the same millisecond answer with one bot's trades.
    pub wrong_bot_history: bool,
    /// Defect 4: a credential field that is not sent is the one that was sent last, for any account.
    pub inherited_credentials: bool,
    /// Defect 5: pages end after twice the limit.
    pub broken_cursor: bool,
    /// Defect 6: STOPPED is written when the command is published, and a crash is never noticed.
    pub stuck_runs: bool,
    /// Defect 7: prices of the portfolio are looked up every 25 minutes.
    pub frozen_prices: bool,
    /// Defect 8: the performance of an archived bot answers 500.
    pub failing_performance: bool,
    /// Defect 9: two deploys of one name in one second get the same name.
    pub same_second_collision: bool,
    /// A fill's MQTT message comes twice.
    pub fill_duplicate: f64,
    /// It comes after later ones.
    pub fill_reorder: f64,
    /// It comes `fill_delay_ms` late.
    pub fill_delay: f64,
    pub fill_delay_ms: u32,
    /// It never comes.
    pub fill_drop: f64,
    /// By the beginning of a path: the answer is 200 with an error in it, and nothing was done.
    pub error_in_200: BTreeMap<String, f64>,
    /// By the beginning of a path: the work was done, the connection ends without an answer.
    pub cut_off: BTreeMap<String, f64>,
    /// By the beginning of a path: the connection ends without an answer, and the work is done this many milliseconds later.
    pub late_ms: BTreeMap<String, u32>,
    /// By the beginning of a path: this many milliseconds pass before an answer.
    pub latency_ms: BTreeMap<String, u32>,
    /// The archive cannot be listed or read.
    pub no_archive: bool,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            seed: 0,
            lost_api_fills: true,
            wrong_order_rows: true,
            wrong_bot_history: true,
            inherited_credentials: true,
            broken_cursor: true,
            stuck_runs: true,
            frozen_prices: true,
            failing_performance: true,
            same_second_collision: true,
            fill_duplicate: 0.0,
            fill_reorder: 0.0,
            fill_delay: 0.0,
            fill_delay_ms: 2_000,
            fill_drop: 0.0,
            error_in_200: BTreeMap::new(),
            cut_off: BTreeMap::new(),
            late_ms: BTreeMap::new(),
            latency_ms: BTreeMap::new(),
            no_archive: false,
        }
    }
}

/// A probability that is none.
#[derive(Debug, thiserror::Error)]
#[error("a probability lies between 0 and 1, got {0}")]
pub struct BadChance(f64);

impl Faults {
    /// Neither defects nor faults.
    pub fn none() -> Self {
        Self {
            lost_api_fills: false,
            wrong_order_rows: false,
            wrong_bot_history: false,
            inherited_credentials: false,
            broken_cursor: false,
            stuck_runs: false,
            frozen_prices: false,
            failing_performance: false,
            same_second_collision: false,
            ..Self::default()
        }
    }

    pub(crate) fn check(&self) -> Result<(), BadChance> {
        let own = [self.fill_duplicate, self.fill_reorder, self.fill_delay, self.fill_drop];
        let all = own.iter().chain(self.error_in_200.values()).chain(self.cut_off.values());
        all.copied().find(|chance| !(0.0..=1.0).contains(chance)).map_or(Ok(()), |bad| Err(BadChance(bad)))
    }
}

/// How one fill's message travels: milliseconds until each copy is published.
pub(crate) type Copies = Vec<i64>;

/// The faults and the dice for them.
#[derive(Debug)]
pub(crate) struct Dice {
    pub faults: Faults,
    rng: StdRng,
}

impl Dice {
    pub(crate) fn new(faults: Faults) -> Self {
        Self { rng: StdRng::seed_from_u64(faults.seed), faults }
    }

    pub(crate) fn happens(&mut self, chance: f64) -> bool {
        chance > 0.0 && self.rng.random_bool(chance)
    }

    pub(crate) fn among(&mut self, range: std::ops::RangeInclusive<i64>) -> i64 {
        self.rng.random_range(range)
    }

    pub(crate) fn travel(&mut self) -> Copies {
        let faults = &self.faults;
        let (drop, delay, reorder) = (faults.fill_drop, faults.fill_delay, faults.fill_reorder);
        let (twice, late) = (faults.fill_duplicate, i64::from(faults.fill_delay_ms));
        if self.happens(drop) {
            return Vec::new();
        }
        let mut first = 0;
        if self.happens(reorder) {
            first = self.among(100..=1_500);
        }
        if self.happens(delay) {
            first += late;
        }
        let mut copies = vec![first];
        if self.happens(twice) {
            copies.push(first + self.among(0..=500));
        }
        copies
    }

    pub(crate) fn fails_in_200(&mut self, path: &str) -> bool {
        let chance = longest(&self.faults.error_in_200, path).unwrap_or_default();
        self.happens(chance)
    }

    pub(crate) fn cuts_off(&mut self, path: &str) -> bool {
        let chance = longest(&self.faults.cut_off, path).unwrap_or_default();
        self.happens(chance)
    }

    pub(crate) fn late_ms(&self, path: &str) -> u32 {
        longest(&self.faults.late_ms, path).unwrap_or_default()
    }

    pub(crate) fn latency_ms(&self, path: &str) -> u32 {
        longest(&self.faults.latency_ms, path).unwrap_or_default()
    }
}

/// The value of the longest beginning of a path that is listed.
fn longest<T: Copy>(by_path: &BTreeMap<String, T>, path: &str) -> Option<T> {
    by_path
        .iter()
        .filter(|(start, _)| path.starts_with(start.as_str()))
        .max_by_key(|(start, _)| start.len())
        .map(|(_, v)| *v)
}
