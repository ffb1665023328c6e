//! kill -9 at random: of the importing process, of a worker, of Postgres itself. What was acknowledged is there, once.

use std::{fmt::Write, path::Path, process::Child, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use store::{Login, read};
use tests::{Database, Servers};

use crate::{
    append::verified,
    facts::{client_with_bot, fill, recorded},
    worker::equal_to_a_rebuild,
};

/// Rounds in `make test`; `make chaos` asks for more.
const ROUNDS: u64 = 12;

pub fn rounds() -> std::ops::Range<u64> {
    rounds_of(ROUNDS)
}

/// The seeds to try: so many, unless `make chaos` asks for others.
pub fn rounds_of(usual: u64) -> std::ops::Range<u64> {
    let asked = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first = asked("CHAOS_SEED").unwrap_or(0);
    first..first + asked("CHAOS_ROUNDS").unwrap_or(usual)
}

fn kill(child: &mut Child) {
    // Already gone is as good.
    let _ = child.kill();
    let _ = child.wait();
}

/// Fills of three clients, arriving mostly in order, with rates in between.
fn write_files(dir: &Path, random: &mut StdRng, lines: u32) {
    let (mut fills, mut rates) = (String::new(), String::new());
    for n in 0..lines {
        let ts = 1_723_161_000_000_u64 + u64::from(n) * 900 + random.random_range(0..5_000);
        let (client, side) = (random.random_range(0..3), ["buy", "sell"][random.random_range(0..2)]);
        let price = 17_000 + random.random_range(0..500);
        writeln!(
            fills,
            r#"{{"client":"c{client}","bot":"b{client}","exchange":"okx","market":"spot","pair":"SOL-USDT","side":"{side}","price":"{}.{:02}","amount":"0.{}","fee":"0.0{}","fee_asset":"SOL","liquidity":"maker","order_id":"o{n}","trade_id":"t{n}","ts":{ts}}}"#,
            price / 100,
            price % 100,
            random.random_range(1..99),
            random.random_range(1..9)
        )
        .unwrap();
        writeln!(rates, r#"{{"ts":{ts},"pair":"SOL-USDT","price":"{}"}}"#, price / 100).unwrap();
    }
    std::fs::write(dir.join("fills.jsonl"), fills).unwrap();
    std::fs::write(dir.join("rates.jsonl"), rates).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_acknowledged_is_lost_or_doubled_by_kill_9() {
    // Servers of its own: killing the shared ones would hurt the other tests.
    let dir = tempfile::tempdir().unwrap();
    let servers = Servers::start(dir.path());
    for round in rounds() {
        let mut random = StdRng::seed_from_u64(round);
        let database = Database::on(&servers).await;
        one_round(&servers, &database, &mut random).await;
        println!("round {round}: nothing lost, nothing doubled");
    }
    servers.stack.down(&mut |_| {}).unwrap();
}

async fn one_round(servers: &Servers, database: &Database, random: &mut StdRng) {
    let files = tempfile::tempdir().unwrap();
    let lines = 400;
    write_files(files.path(), random, lines);
    let folder = files.path().to_string_lossy().into_owned();
    let acknowledged = tokio::spawn(appending(database.streams()));
    let mut importer = database.start(&["import", "--dir", &folder]);
    let mut worker = database.start(&["serve", "--roles", "projector"]);
    for _ in 0..random.random_range(2..5) {
        tokio::time::sleep(Duration::from_millis(random.random_range(20..400))).await;
        match random.random_range(0..3) {
            0 => {
                kill(&mut importer);
                importer = database.start(&["import", "--dir", &folder]);
            }
            1 => {
                kill(&mut worker);
                worker = database.start(&["serve", "--roles", "projector"]);
            }
            _ => {
                servers.stack.kill_postgres().unwrap();
                servers.stack.start_postgres().unwrap();
            }
        }
    }
    let receipts = acknowledged.await.unwrap();
    kill(&mut importer);
    kill(&mut worker);
    database.import(files.path());
    let again = database.import(files.path());
    assert!(again.starts_with("imported: 0 new, ") && again.ends_with(" 0 refused"), "{again}");
    holds(database, lines, receipts).await;
}

/// Fills appended one by one while everything is killed around them: what was acknowledged, and as which number.
async fn appending(streams: store::Streams) -> Vec<(store::Append, u64)> {
    let mut receipts = Vec::new();
    let (client, bot) = loop {
        let begun = tokio::spawn({
            let streams = streams.clone();
            async move { client_with_bot(&streams, "direct").await }
        });
        if let Ok(begun) = begun.await {
            break begun;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    for n in 0..150 {
        let append = recorded(client, fill(client, bot, n, n as i64));
        if let Ok(receipt) = streams.committer().append(append.clone()).await {
            receipts.push((append, receipt.first));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    receipts
}

async fn holds(database: &Database, lines: u32, receipts: Vec<(store::Append, u64)>) {
    let db = database.pool(Login::Projector);
    let streams = database.streams();
    for (append, seq) in &receipts {
        let stored = streams.numbered(append.client, &[*seq]).await.unwrap();
        assert_eq!(stored.first().map(|event| &event.event), Some(&append.events[0].event), "acknowledged as {seq}");
    }
    for (client, _) in read::heads_of_all(&db).await.unwrap() {
        verified(database, client).await;
    }
    let fills = "select count(*), count(distinct payload #>> '{FillRecorded,trade}')
                   from es.events where event_type = 'FillRecorded' and payload #>> '{FillRecorded,source}' = 'import'";
    let (fills, trades): (i64, i64) = sqlx::query_as(fills).fetch_one(&database.superuser()).await.unwrap();
    assert_eq!((fills, trades), (i64::from(lines), i64::from(lines)), "each line is one fill");
    for model in &mut projections::all(&db) {
        let parked = projections::worker::catch_up(&mut **model, |_| {}).await.unwrap();
        assert!(parked.is_empty(), "{parked:?}");
    }
    equal_to_a_rebuild(database).await;
}
