//! Leases: one holder at a time, and nothing from one who was overtaken.

use std::time::Duration;

use events::{ClientId, bot::BotEvent};
use store::{Append, AppendError, Cause, Draft, Expected, Fence, Leases, Login, Streams};
use tests::Database;

use crate::facts::{at, client_with_bot};

const LONG: Duration = Duration::from_secs(60);

fn seen(client: ClientId, bot: &str, n: i64, fence: &Fence) -> Append {
    Append {
        client,
        aggregate: events::AggregateRef::new("bot", bot),
        expected: Expected::Any,
        events: vec![Draft { event: BotEvent::BotSeenAlive { at: at(n) }.into(), key: Some(format!("seen:{n}")) }],
        cause: Cause::system("test").under(fence.clone()),
    }
}

#[tokio::test]
async fn a_lease_has_one_holder_until_its_time_is_over_or_it_is_given_back() {
    let database = Database::new().await;
    let (client, _) = client_with_bot(&database.streams(), "acme").await;
    let writer = database.pool(Login::Writer);
    let (one, other) = (Leases::new(writer.clone()), Leases::new(writer));
    let fence = one.take(client, "hands", LONG).await.unwrap().expect("nobody holds it");
    assert_eq!(other.take(client, "hands", LONG).await.unwrap(), None);
    assert_eq!(one.renew(&[(client, fence.clone())], LONG).await.unwrap(), [client]);
    assert!(other.take(client, "others", LONG).await.unwrap().is_some(), "another name is another lease");
    one.release(client, &fence).await.unwrap();
    let next = other.take(client, "hands", LONG).await.unwrap().expect("it was given back");
    assert_eq!(one.renew(&[(client, fence.clone())], LONG).await.unwrap(), []);
    one.release(client, &fence).await.unwrap();
    assert_eq!(other.renew(&[(client, next)], LONG).await.unwrap(), [client], "an old holder cannot give it back");
}

#[tokio::test]
async fn what_an_overtaken_holder_still_sends_is_refused_and_what_others_send_beside_it_is_written() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let (free, free_bot) = client_with_bot(&streams, "other").await;
    let leases = Leases::new(database.pool(Login::Writer));
    let old = leases.take(client, "hands", Duration::ZERO).await.unwrap().unwrap();
    let told = streams.committer().append(seen(client, &bot.to_string(), 1, &old)).await.unwrap();
    // Its time is over, but nobody took it: it may go on.
    let new = leases.take(client, "hands", LONG).await.unwrap().expect("its time was over");
    let beside = leases.take(free, "hands", LONG).await.unwrap().unwrap();
    let answers = streams
        .committer()
        .append_all(vec![
            seen(client, &bot.to_string(), 2, &old),
            seen(client, &bot.to_string(), 3, &new),
            seen(free, &free_bot.to_string(), 4, &beside),
            seen(client, &bot.to_string(), 1, &old),
        ])
        .await;
    assert!(matches!(answers[0], Err(AppendError::Stale { .. })), "{:?}", answers[0]);
    assert!(answers[1].is_ok() && answers[2].is_ok(), "{answers:?}");
    // What was written before it was overtaken keeps its old answer.
    assert_eq!(answers[3].as_ref().unwrap().first, told.first);
}

#[tokio::test]
async fn of_many_holders_who_take_over_from_each_other_all_the_time_each_writes_only_as_the_newest() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let mut holders = tokio::task::JoinSet::new();
    for holder in 0..4_i64 {
        let (leases, streams) = (Leases::new(database.pool(Login::Writer)), Streams::new(database.pool(Login::Writer)));
        let bot = bot.to_string();
        holders.spawn(async move {
            let mut written = Vec::new();
            for turn in 0..25 {
                let fence = loop {
                    match leases.take(client, "hands", Duration::from_millis(4)).await.unwrap() {
                        Some(fence) => break fence,
                        None => tokio::task::yield_now().await,
                    }
                };
                for step in 0..4 {
                    let n = holder * 1_000 + turn * 10 + step;
                    match streams.committer().append(seen(client, &bot, n, &fence)).await {
                        Ok(receipt) => written.push((receipt.first, fence.clone())),
                        Err(AppendError::Stale { .. }) => break,
                        Err(other) => panic!("{other}"),
                    }
                }
            }
            written
        });
    }
    let mut written: Vec<(u64, Fence)> = holders.join_all().await.into_iter().flatten().collect();
    written.sort_by_key(|(seq, _)| *seq);
    assert!(written.len() >= 4, "holders got on: {}", written.len());
    // In the order of the stream, a token never comes back once a higher one has written.
    let tokens: Vec<u64> = written.iter().map(|(_, fence)| fence.token()).collect();
    assert!(tokens.is_sorted(), "{tokens:?}");
}
