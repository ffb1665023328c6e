//! Following: nothing is skipped, whatever else the database is doing, and nobody waits for a stranger.

use std::time::Duration;

use domain::bot::{Bot, BotCommand, Sight};
use events::{ClientId, Time, bot::LogLevel};
use sqlx::Connection;
use store::{Cause, Follower, Login, Wakes};
use tests::Database;
use tokio::time::timeout;

use crate::facts::{client_with_bot, fill, recorded, write};

fn follower(database: &Database, client: ClientId, reached: u64) -> Follower {
    let db = database.pool(Login::Projector);
    Follower::new(db.clone(), Wakes::new(db), client, reached)
}

#[tokio::test]
async fn a_held_open_append_makes_followers_wait_and_never_skip() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let mut follower = follower(&database, client, 2);
    // Number 3 is written by a transaction that stays open.
    let held = database.superuser();
    let mut connection = held.acquire().await.unwrap();
    let mut tx = connection.begin().await.unwrap();
    let copy = "insert into es.events
                select client_id, client_seq + 1, aggregate_type, aggregate_id, aggregate_seq + 1, gen_random_uuid(),
                       event_type, event_version, payload, metadata, occurred_at, recorded_at, content_hash, chain_hash, null
                  from es.events where client_id = $1 and client_seq = 2";
    sqlx::query(copy).bind(client.0).execute(&mut *tx).await.unwrap();
    sqlx::query("update es.streams set head = 3 where client_id = $1").bind(client.0).execute(&mut *tx).await.unwrap();
    // Another process asks for number 4: it cannot overtake.
    let next = tokio::spawn({
        let (streams, append) = (database.streams(), recorded(client, fill(client, bot, 1, 0)));
        async move { streams.committer().append(append).await }
    });
    assert!(timeout(Duration::from_millis(2_500), follower.next()).await.is_err(), "nothing is there to be read");
    tx.commit().await.unwrap();
    assert_eq!(next.await.unwrap().unwrap().first, 4);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let events = timeout(Duration::from_secs(10), follower.next()).await.expect("they are there now").unwrap();
        seen.extend(events.into_iter().map(|event| event.seq));
    }
    assert_eq!(seen, [3, 4]);
}

#[tokio::test]
async fn a_long_foreign_transaction_stalls_no_follower() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let mut follower = follower(&database, client, 2);
    // A transaction with a number of its own, as old as it likes to be.
    let foreign = database.superuser();
    let mut connection = foreign.acquire().await.unwrap();
    let mut tx = connection.begin().await.unwrap();
    sqlx::query("create table somebody_elses (n integer)").execute(&mut *tx).await.unwrap();
    for n in 1..=20 {
        write(&streams, vec![recorded(client, fill(client, bot, n, 0))]).await;
        let events = timeout(Duration::from_secs(10), follower.next()).await.expect("it does not stall").unwrap();
        assert_eq!(events[0].seq, n + 2);
    }
    tx.rollback().await.unwrap();
}

#[tokio::test]
async fn a_follower_finds_what_is_new_without_being_woken() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let mut follower = follower(&database, client, 2);
    let superuser = database.superuser();
    let waiting = tokio::spawn(async move { follower.next().await.unwrap()[0].seq });
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Nobody listens any more, and nobody may again.
    let deaf = "select pg_terminate_backend(pid) from pg_stat_activity where query like '%LISTEN%' and pid <> pg_backend_pid()";
    sqlx::query(deaf).execute(&superuser).await.unwrap();
    write(&streams, vec![recorded(client, fill(client, bot, 1, 0))]).await;
    assert_eq!(timeout(Duration::from_secs(20), waiting).await.expect("it looks by itself").unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_some_kinds_gets_all_of_them_in_order_and_nothing_else() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let mut follower = follower(&database, client, 0).only(&["bot"]);
    let mut seen = Vec::new();
    for round in 0..5_u64 {
        write(&streams, (0..700).map(|n| recorded(client, fill(client, bot, round * 700 + n, n as i64))).collect())
            .await;
        for _ in 0..2 {
            let cause = Cause::system("test");
            let (id, at) = (bot.to_string(), Time::now());
            let report =
                BotCommand::Saw { sight: Sight::Logged { level: LogLevel::Warning, message: "hot".into() }, at };
            streams.execute::<Bot>(client, &id, report, None, &cause).await.unwrap();
        }
        while seen.len() < 1 + (round as usize + 1) * 2 {
            seen.extend(timeout(Duration::from_secs(60), follower.next()).await.unwrap().unwrap());
        }
    }
    assert!(seen.iter().all(|event| event.aggregate.kind == "bot"));
    let numbers: Vec<u64> = seen.iter().map(|event| event.aggregate_seq).collect();
    assert_eq!(numbers, (1..=11).collect::<Vec<_>>());
}
