//! Single acknowledged appends, each of a client of its caller's own, chained and with a dedupe key, beside pgbench's
//! one-row inserts over as many connections.

use std::time::{Duration, Instant};

use events::ClientId;
use store::Streams;
use tokio::task::JoinSet;

use crate::{
    facts,
    ground::{Ground, a_second},
    plain::Plain,
    table::{Pair, Row},
};

/// Callers, and how many hundredths of pgbench's rate they should reach.
const CALLERS: [(usize, u64); 4] = [(1, 50), (16, 70), (64, 130), (256, 175)];

pub async fn run(ground: &Ground) -> Vec<Row> {
    let mut rows = Vec::new();
    for (callers, at_least) in CALLERS {
        let database = ground.database().await;
        let (plain, streams) = (Plain::new(&database).await, database.streams());
        let mut callers_of = Callers::new((0..callers).map(|n| (streams.clone(), facts::client(n))).collect());
        let mut rounds = Vec::new();
        for _ in 0..ground.rounds() {
            let baseline = plain.inserts(callers, ground.turn()).await;
            let subject = callers_of.append(ground.turn()).await;
            rounds.push(Pair { subject, baseline });
        }
        let what = format!("append, {callers} callers");
        rows.push(Row::ratio(what, Pair::median(rounds), Some(at_least)));
    }
    rows
}

/// Callers that append one fill after the other, each as soon as its last one is acknowledged.
#[derive(Debug)]
pub struct Callers {
    callers: Vec<(Streams, ClientId)>,
    turns: u64,
}

impl Callers {
    /// Each with its way in and its client.
    pub fn new(callers: Vec<(Streams, ClientId)>) -> Self {
        Self { callers, turns: 0 }
    }

    /// Acknowledged appends a second.
    pub async fn append(&mut self, turn: Duration) -> u64 {
        let (started, mut work) = (Instant::now(), JoinSet::new());
        for (n, (streams, client)) in self.callers.iter().enumerate() {
            // No number is used twice, by whatever caller of the same client and in whatever turn.
            let first = (self.turns * self.callers.len() as u64 + n as u64) << 32;
            work.spawn(append_until(streams.clone(), *client, first, started + turn));
        }
        self.turns += 1;
        let appended: u64 = work.join_all().await.into_iter().sum();
        a_second(appended, started)
    }
}

/// Appends until then; how many were acknowledged.
pub async fn append_until(streams: Streams, client: ClientId, first: u64, until: Instant) -> u64 {
    let mut appended = 0;
    while Instant::now() < until {
        let n = first + appended;
        let receipt = streams.committer().append(facts::recorded(client, n..=n)).await.expect("it is written");
        assert!(!receipt.repeated, "fill {n} of client {client} was told before");
        appended += 1;
    }
    appended
}
