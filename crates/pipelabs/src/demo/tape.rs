//! The data that the demo plays; where it is from stands in `demo/README.md`.

use std::{fs, io::Read};

use anyhow::Context;
use events::{Decimal, Slug};
use flate2::read::GzDecoder;
use serde::{Deserialize, de::DeserializeOwned};
use tempfile::TempDir;

/// The end of the tape.
pub const AS_OF_MS: i64 = 1_723_161_905_012;
/// Whose fills it holds.
pub const CLIENTS: [&str; 2] = ["acme", "borealis"];
/// The client whose history is exported.
pub const EXPORTED: &str = "acme";
/// A client that has not traded yet.
pub const NEWCOMER: &str = "cygnus";

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

/// A folder to import from; it goes when it is dropped.
pub fn unpack() -> anyhow::Result<TempDir> {
    let dir = tempfile::tempdir().context("could not make a folder for the tape")?;
    for (name, packed) in [("fills.jsonl", FILLS), ("rates.jsonl", RATES)] {
        let mut text = Vec::new();
        GzDecoder::new(packed).read_to_end(&mut text).context("the tape is broken")?;
        fs::write(dir.path().join(name), text).context("could not write the tape")?;
    }
    fs::write(dir.path().join("transfers.jsonl"), TRANSFERS).context("could not write the tape")?;
    Ok(dir)
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
