//! What the clients did before the demo begins; where it is from stands in `demo/README.md`.

use std::{fs, io::Read, path::Path};

use anyhow::{Context, ensure};
use events::{Decimal, Slug};
use flate2::read::GzDecoder;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{import, settings::Platform};

/// Its end.
pub const AS_OF_MS: i64 = 1_723_161_905_012;
/// Whose fills it holds.
pub const CLIENTS: [&str; 2] = ["acme", "borealis"];

const FILLS: &[u8] = include_bytes!("../../demo/fills.jsonl.gz");
const RATES: &[u8] = include_bytes!("../../demo/rates.jsonl.gz");
const TRANSFERS: &str = include_str!("../../demo/transfers.jsonl");
const EXPECTED: &str = include_str!("../../demo/expected.json");

/// What a client's totals are by an independent program.
#[derive(Debug, Clone, Deserialize)]
pub struct Expected {
    pub fills: i64,
    pub total_usdt: Decimal,
}

/// Goes into the streams of its clients, who are onboarded by it.
pub async fn record(platform: &Platform, below: &Path) -> anyhow::Result<()> {
    let dir = tempfile::tempdir_in(below).context("could not make a folder for the history")?;
    for (name, text) in [("fills.jsonl", fills()?), ("rates.jsonl", rates()?), ("transfers.jsonl", TRANSFERS.into())] {
        fs::write(dir.path().join(name), text).context("could not write the history")?;
    }
    let count = import::import(platform, dir.path()).await?;
    ensure!(count.refused == 0 && count.duplicates == 0, "the demo's own data was not taken as new: {count}");
    Ok(())
}

/// Its fills, a line each.
pub fn fills() -> anyhow::Result<String> {
    unpacked(FILLS)
}

/// The middle of the market, a line at most each second.
pub fn rates() -> anyhow::Result<String> {
    unpacked(RATES)
}

fn unpacked(packed: &[u8]) -> anyhow::Result<String> {
    let mut text = String::new();
    GzDecoder::new(packed).read_to_string(&mut text).context("the history is broken")?;
    Ok(text)
}

/// The expected totals of a client.
pub fn expected(client: &Slug) -> anyhow::Result<Expected> {
    expectation("clients", client)
}

/// What a client has put in, less what it took out, in USDT.
pub fn expected_net_flows(client: &Slug) -> anyhow::Result<Decimal> {
    expectation("net_flows_usdt", client)
}

fn expectation<T: DeserializeOwned>(of: &str, client: &Slug) -> anyhow::Result<T> {
    let all: serde_json::Value = serde_json::from_str(EXPECTED)?;
    serde_json::from_value(all[of][client.as_str()].clone()).with_context(|| format!("nothing is expected of {client}"))
}
