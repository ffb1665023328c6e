//! The market that the paper exchanges play: the real one of the clients' history, as far as that history tells it.
//!
//! Its rates are best prices around that middle. Each of its fills was made by a real print that went strictly through
//! its price: here it is the least that this print must have been, one step beyond, for the same amount.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use events::{Decimal, Pair, ledger::Side};
use flate2::{Compression, write::GzEncoder};
use serde::Deserialize;

use super::history;

/// The markets that it knows.
const PAIRS: [&str; 2] = ["BTC-USDT", "ETH-USDT"];
/// In which both prices go.
const STEP: (i128, u32) = (1, 2);

#[derive(Deserialize)]
struct Rate {
    ts: i64,
    pair: Pair,
    price: Decimal,
}

#[derive(Deserialize)]
struct Fill {
    ts: i64,
    pair: Pair,
    side: Side,
    price: Decimal,
    amount: Decimal,
    trade_id: String,
}

/// Writes a tape for each pair, so many times as fast as the market was.
pub fn write(dir: &Path, speed: u32) -> anyhow::Result<BTreeMap<Pair, PathBuf>> {
    PAIRS.iter().map(|pair| pair.parse::<Pair>()).map(|pair| write_one(dir, pair?, speed)).collect()
}

fn write_one(dir: &Path, pair: Pair, speed: u32) -> anyhow::Result<(Pair, PathBuf)> {
    let mut lines = Vec::new();
    for text in history::rates()?.lines() {
        let rate: Rate = serde_json::from_str(text)?;
        lines.extend((rate.pair == pair).then(|| rate.told()).transpose()?);
    }
    for text in history::fills()?.lines() {
        let fill: Fill = serde_json::from_str(text)?;
        lines.extend((fill.pair == pair).then(|| fill.told()).transpose()?);
    }
    // At one moment the prices come before the prints.
    lines.sort_by_key(|line| line.ms);
    let path = dir.join(format!("{pair}.tape.csv.gz"));
    let mut file = GzEncoder::new(File::create(&path).context("could not write a tape")?, Compression::fast());
    for Line { kind, ms, rest } in lines {
        writeln!(file, "{kind},{},{rest}", ms / i64::from(speed))?;
    }
    file.finish().context("could not write a tape")?;
    Ok((pair, path))
}

/// One of the tape, as `paper::exchange::tape` reads it.
struct Line {
    kind: char,
    ms: i64,
    rest: String,
}

impl Rate {
    fn told(&self) -> anyhow::Result<Line> {
        let (step, middle) = (Decimal::new(STEP.0, STEP.1), self.price.rounded(STEP.1));
        let rest = format!("{},1,{},1", middle.minus(step)?, middle.plus(step)?);
        Ok(Line { kind: 'B', ms: self.ts, rest })
    }
}

impl Fill {
    fn told(&self) -> anyhow::Result<Line> {
        let step = Decimal::new(STEP.0, STEP.1);
        let (price, buyer_rested) = match self.side {
            Side::Buy => (self.price.minus(step)?, 1),
            Side::Sell => (self.price.plus(step)?, 0),
        };
        let rest = format!("{price},{},{buyer_rested},{}", self.amount, self.trade_id);
        Ok(Line { kind: 'T', ms: self.ts, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tape_of_each_pair_can_be_played() {
        let dir = tempfile::tempdir().unwrap();
        for (pair, path) in write(dir.path(), 5).unwrap() {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(File::open(path).unwrap()), &mut text)
                .unwrap();
            let first = text.lines().next().unwrap();
            assert!(first.starts_with("B,"), "{pair} begins with {first}");
            assert!(text.lines().all(|line| line.split(',').count() == 6), "{pair}");
            assert!(text.lines().filter(|line| line.starts_with("T,")).count() > 2_000, "{pair}");
        }
    }
}
