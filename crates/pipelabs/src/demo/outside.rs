//! What lies beyond the operator's door: a `pipelabs paper`, a process of its own that is reached over HTTP and MQTT
//! alone and ends with the demo.

use std::{collections::BTreeMap, fs, path::Path, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Error, ensure};
use events::{AccountName, Asset, Decimal, Exchange, Market, OrderId, Pair, ledger::Side};
use reqwest::Client as Http;
use serde::Deserialize;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use super::tape;
use crate::settings;

const USER: &str = "desk";
/// It has to be no longer than the paper server takes for anything; bots beat often enough for it.
const PATIENCE: Duration = Duration::from_secs(18);
const BEAT_MS: u32 = 1_000;
/// Docker and exchanges are quick on paper.
const STOP_MS: u32 = 200;
const ARCHIVE_MS: u32 = 500;
/// How long it may take to end.
const ENDS: Duration = Duration::from_secs(10);

/// The running process.
#[derive(Debug)]
pub struct Outside {
    /// Where its API answers.
    pub url: String,
    mqtt: String,
    password: String,
    http: Http,
    process: Child,
}

/// A fill as it really happened, as far as it is looked at here.
#[derive(Debug, Clone, Deserialize)]
pub struct TrueFill {
    #[serde(rename = "exchange_trade_id")]
    pub trade: String,
    #[serde(rename = "order_id")]
    pub order: OrderId,
    pub account: AccountName,
    /// The instance; absent where the API itself sent the order.
    pub bot: Option<String>,
    pub exchange: Exchange,
    pub market: Market,
    pub pair: Pair,
    pub side: Side,
    pub price: Decimal,
    pub amount: Decimal,
    pub fees: Vec<TrueFee>,
}

/// What was charged for one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TrueFee {
    pub asset: Asset,
    pub amount: Decimal,
}

#[derive(Deserialize)]
struct Truth {
    fills: Vec<TrueFill>,
}

impl Outside {
    /// Starts one whose exchanges play the tape so many times as fast as the market was.
    pub async fn start(below: &Path, speed: u32) -> anyhow::Result<Self> {
        // It reads its files when it starts, and nobody else shall read its password.
        let dir = tempfile::tempdir_in(below).context("could not make a folder for the paper server")?;
        let password = hex::encode(rand::random::<[u8; 12]>());
        let path = dir.path().join("paper.json");
        fs::write(&path, chosen(&password, &tape::write(dir.path(), speed)?))
            .context("could not write its settings")?;
        let mut process = Command::new(std::env::current_exe()?)
            .args(["paper", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--until-stdin-ends", "--settings"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C in the terminal ends us, and we end it when nobody needs it any more.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("could not start the paper server")?;
        let mut said = BufReader::new(process.stdout.take().context("its output is read")?).lines();
        let ready = said.next_line().await?.unwrap_or_default();
        let places = ready.strip_prefix("ready: ").and_then(|places| places.split_once(' '));
        let (url, mqtt) = places.context("the paper server did not start")?;
        // A proxy of the surroundings has no way to our loopback.
        let http = Http::builder().no_proxy().build()?;
        Ok(Self { url: url.to_owned(), mqtt: mqtt.to_owned(), password, http, process })
    }

    /// How role operator reaches it.
    pub fn settings(&self) -> anyhow::Result<settings::Outside> {
        let (password, mqtt) = (self.password.as_str().into(), self.mqtt.as_str().into());
        settings::Outside::new(&self.url, USER, &password, &mqtt, PATIENCE).map_err(Error::msg)
    }

    /// Every fill that really happened, whatever anybody was told of it.
    pub async fn fills(&self) -> anyhow::Result<Vec<TrueFill>> {
        let ask = self.http.get(format!("{}/paper/truth", self.url)).basic_auth(USER, Some(&self.password));
        let answer = ask.send().await?;
        ensure!(answer.status().is_success(), "the paper server answers {}", answer.status());
        Ok(answer.json::<Truth>().await?.fills)
    }

    /// Ends it, and returns when it is gone.
    pub async fn end(mut self) -> anyhow::Result<()> {
        drop(self.process.stdin.take());
        if timeout(ENDS, self.process.wait()).await.is_err() {
            self.process.kill().await?;
        }
        Ok(())
    }
}

/// Its settings: each exchange plays the same tapes.
fn chosen(password: &str, tapes: &BTreeMap<Pair, PathBuf>) -> String {
    let markets = Exchange::ALL.iter().flat_map(|exchange| {
        tapes.iter().map(move |(pair, path)| {
            let venue = json!({"exchange": exchange, "market": Market::Spot, "pair": pair});
            json!({"venue": venue, "feed": {"tape": {"paths": [path]}}})
        })
    });
    json!({
        "username": USER,
        "password": password,
        "markets": markets.collect::<Vec<_>>(),
        "heartbeat_ms": BEAT_MS,
        "stop_ms": STOP_MS,
        "archive_ms": ARCHIVE_MS,
    })
    .to_string()
}
