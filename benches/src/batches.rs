//! Commands of a hundred events each, as collectors and imports send them, beside inserts of a hundred rows each.

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

const CALLERS: usize = 8;
const OF: u64 = 100;

pub async fn run(ground: &Ground) -> Vec<Row> {
    let database = ground.database().await;
    let (plain, streams) = (Plain::new(&database).await, database.streams());
    let mut rounds = Vec::new();
    for round in 0..ground.rounds() {
        let baseline = plain.batches(CALLERS, OF, ground.turn()).await;
        let subject = append(&streams, (round as u64) << 32, ground.turn()).await;
        rounds.push(Pair { subject, baseline });
    }
    vec![Row::ratio("events in commands of 100, 8 callers", Pair::median(rounds), Some(30))]
}

async fn append(streams: &Streams, first: u64, turn: Duration) -> u64 {
    let (started, mut work) = (Instant::now(), JoinSet::new());
    for n in 0..CALLERS {
        work.spawn(append_batches(streams.clone(), facts::client(n), first, started + turn));
    }
    let commands: u64 = work.join_all().await.into_iter().sum();
    a_second(commands * OF, started)
}

async fn append_batches(streams: Streams, client: ClientId, first: u64, until: Instant) -> u64 {
    let mut commands = 0;
    while Instant::now() < until {
        let from = first + commands * OF;
        let receipt = streams.committer().append(facts::recorded(client, from..from + OF)).await;
        assert!(!receipt.expect("it is written").repeated, "fill {from} was told before");
        commands += 1;
    }
    commands
}
