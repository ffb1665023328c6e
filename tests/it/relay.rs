//! The relay: whatever is killed, lost or repeated, NATS ends with each event once, in order, under its own number.

use std::{fs, path::Path, process::Child, time::Duration};

use async_nats::jetstream::{Context, ErrorCode, context::GetStreamErrorKind};
use ed25519_dalek::SigningKey;
use events::{BotId, ClientId, Event, Recorded, Time, desk::DeskEvent, export::SignedHead};
use futures::StreamExt;
use relay::{Relay, Settings, heads_subject, stream_name};
use store::{Login, Streams, read};
use tests::{Database, OwnNats, arrived};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::facts::{client_with_bot, fill, recorded, write};

/// A relay in this process.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(database: &Database, settings: Settings) -> Self {
        let (stop, server) = (CancellationToken::new(), database.nats().url.parse().unwrap());
        let access = database.nats().access();
        let relay = Relay::new(database.pool(Login::Relay), database.streams(), server, access, settings);
        Self { task: tokio::spawn(relay.run(stop.clone())), stop }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("it neither fails nor panics");
    }
}

/// A database and a NATS that no other test uses.
async fn own_nats() -> (Database, OwnNats) {
    let (mut database, nats) = (Database::new().await, OwnNats::start());
    database.use_nats(&nats.at);
    (database, nats)
}

async fn fills(streams: &Streams, client: ClientId, bot: BotId, numbers: std::ops::Range<u64>) {
    write(streams, numbers.map(|n| recorded(client, fill(client, bot, n, n as i64))).collect()).await;
}

/// Asks again and again until it is so.
async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), asking).await.unwrap_or_else(|_| panic!("it never is so: {what}"));
}

async fn last_on_nats(js: &Context, client: ClientId) -> Option<u64> {
    let stream = js.get_stream(stream_name(client)).await.ok()?;
    Some(stream.cached_info().state.last_sequence)
}

/// Every divergence that the desk was told of.
async fn divergences(database: &Database) -> Vec<(ClientId, u64)> {
    let desk = read::after(&database.pool(Login::Projector), ClientId::DESK, 0, 10_000).await.unwrap();
    let told = |event: Recorded| {
        let Event::Desk(DeskEvent::RelayDiverged { client, seq, .. }) = event.event else { return None };
        Some((client, seq))
    };
    desk.into_iter().filter_map(told).collect()
}

/// Somebody else's message in a client's stream.
async fn publish_foreign(js: &Context, client: ClientId) {
    let subject = format!("pipelabs.{}.events.bot.BotStopped", client.0.simple());
    js.publish(subject, "{}".into()).await.unwrap().await.unwrap();
}

fn kill(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn four_relays_store_each_event_of_several_clients_once_and_in_order_and_none_of_the_desks() {
    let database = Database::new().await;
    let streams = database.streams();
    let relays: Vec<Running> = (0..4).map(|_| Running::start(&database, Settings::default())).collect();
    let mut clients = Vec::new();
    for slug in ["one", "two", "three"] {
        let (client, bot) = client_with_bot(&streams, slug).await;
        clients.push(client);
        let streams = streams.clone();
        tokio::spawn(async move {
            for n in 0..50 {
                fills(&streams, client, bot, n * 10..n * 10 + 10).await;
            }
        });
    }
    for client in clients {
        let (db, written) = (database.pool(Login::Projector), client);
        until("all is recorded", || async {
            let heads = read::heads_of_all(&db).await.unwrap();
            heads.into_iter().any(|(client, head)| client == written && head == 502)
        })
        .await;
        arrived(&database, client, None).await;
    }
    let js = database.nats().jetstream().await;
    let desk = js.get_stream(stream_name(ClientId::DESK)).await.unwrap_err();
    assert!(
        matches!(desk.kind(), GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
    );
    for relay in relays {
        relay.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_that_is_killed_under_load_ends_with_every_event_once() {
    let (database, nats) = own_nats().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let relays: Vec<Running> = (0..2).map(|_| Running::start(&database, Settings::default())).collect();
    let writing = tokio::spawn(async move {
        for n in 0..300 {
            fills(&streams, client, bot, n * 20..n * 20 + 20).await;
        }
    });
    let mut before = 0;
    for _ in 0..4 {
        let js = nats.at.jetstream().await;
        // In the middle of its work, whenever that is.
        until("it goes on", || async {
            last_on_nats(&js, client).await.is_some_and(|last| last > before + 50) || writing.is_finished()
        })
        .await;
        nats.kill();
        nats.start_again();
        before = last_on_nats(&nats.at.jetstream().await, client).await.unwrap_or(0);
    }
    writing.await.unwrap();
    arrived(&database, client, None).await;
    assert!(divergences(&database).await.is_empty());
    for relay in relays {
        relay.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_copy_is_made_again_at_the_right_number() {
    let (database, nats) = own_nats().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    fills(&streams, client, bot, 0..700).await;
    let relay = Running::start(&database, Settings::default());
    arrived(&database, client, None).await;
    // Removed by hand: noticed with the next event.
    nats.at.jetstream().await.delete_stream(stream_name(client)).await.unwrap();
    fills(&streams, client, bot, 700..701).await;
    arrived(&database, client, None).await;
    // The whole server's: noticed with the next connection, without any event.
    nats.lose_everything();
    arrived(&database, client, None).await;
    assert!(divergences(&database).await.is_empty());
    relay.stop().await;
}

/// As a machine that loses power does: JetStream acknowledges before it syncs.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_lost_its_end_is_continued_where_it_ends() {
    let (database, nats) = own_nats().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    fills(&streams, client, bot, 0..100).await;
    let relay = Running::start(&database, Settings::default());
    arrived(&database, client, None).await;
    let older = tempfile::tempdir().unwrap();
    nats.while_down(|store| copy(&store, older.path()));
    fills(&streams, client, bot, 100..900).await;
    arrived(&database, client, None).await;
    nats.while_down(|store| {
        fs::remove_dir_all(&store).unwrap();
        copy(older.path(), &store);
    });
    arrived(&database, client, None).await;
    assert!(divergences(&database).await.is_empty());
    relay.stop().await;
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_killed_in_the_middle_leaves_nothing_out_and_nothing_twice() {
    let (database, nats) = own_nats().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let js = nats.at.jetstream().await;
    let (mut reached, mut in_the_middle) = (0, 0);
    for round in 0..4 {
        fills(&streams, client, bot, round * 4_000..(round + 1) * 4_000).await;
        let mut relay = database.start(&["serve", "--roles", "relay"]);
        until("it works", || async { last_on_nats(&js, client).await.is_some_and(|last| last > reached) }).await;
        kill(&mut relay);
        reached = last_on_nats(&js, client).await.unwrap();
        in_the_middle += u32::from(reached < (round + 1) * 4_000 + 2);
    }
    assert!(in_the_middle > 0, "it was never killed in the middle");
    let mut relay = database.start(&["serve", "--roles", "relay"]);
    arrived(&database, client, None).await;
    kill(&mut relay);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_that_is_away_from_the_start_delays_its_subscribers_and_nobody_else() {
    let (database, nats) = own_nats().await;
    nats.kill();
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    fills(&streams, client, bot, 0..50).await;
    let mut serving = database.start(&["serve", "--roles", "api,projector,relay", "--port", "0"]);
    let db = database.pool(Login::Projector);
    until("the projector works", || async {
        projections::checkpoints::reach(&db, "pnl", client).await.unwrap().reached == 52
    })
    .await;
    nats.start_again();
    arrived(&database, client, None).await;
    nats.kill();
    fills(&streams, client, bot, 50..60).await;
    until("the projector goes on", || async {
        projections::checkpoints::reach(&db, "pnl", client).await.unwrap().reached == 62
    })
    .await;
    assert!(serving.try_wait().unwrap().is_none(), "it ended");
    // Told to stop, it stops, with NATS away, too.
    let term = format!("kill -TERM {}", serving.id());
    assert!(std::process::Command::new("sh").args(["-c", &term]).status().unwrap().success());
    assert!(serving.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_message_stops_its_client_is_told_once_and_is_left_as_it_is() {
    let (database, nats) = own_nats().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "struck").await;
    let (other, other_bot) = client_with_bot(&streams, "other").await;
    let relays: Vec<Running> = (0..3).map(|_| Running::start(&database, Settings::default())).collect();
    arrived(&database, client, None).await;
    let js = nats.at.jetstream().await;
    publish_foreign(&js, client).await;
    fills(&streams, client, bot, 0..20).await;
    until("the desk is told", || async { !divergences(&database).await.is_empty() }).await;
    fills(&streams, other, other_bot, 0..200).await;
    arrived(&database, other, None).await;
    for relay in relays {
        relay.stop().await;
    }
    // One that starts now finds the same, and says nothing new.
    fills(&streams, client, bot, 20..30).await;
    let relay = Running::start(&database, Settings::default());
    fills(&streams, other, other_bot, 200..210).await;
    arrived(&database, other, None).await;
    let stopped = "select reached, diverged from relay.checkpoints where client_id = $1";
    let stands: (i64, Option<i64>) =
        sqlx::query_as(stopped).bind(client.0).fetch_one(&database.pool(Login::AdminQuery)).await.unwrap();
    assert_eq!(stands, (2, Some(3)));
    assert_eq!(divergences(&database).await, [(client, 3)]);
    let stream = js.get_stream(stream_name(client)).await.unwrap();
    assert_eq!(stream.cached_info().state.last_sequence, 3);
    assert_eq!(&*stream.get_raw_message(3).await.unwrap().payload, b"{}");
    assert!(stream.delete_message(3).await.is_err() && stream.purge().await.is_err(), "a copy cannot be edited");
    relay.stop().await;
    // Whoever has looked into it removes the copy.
    js.delete_stream(stream_name(client)).await.unwrap();
    let relay = Running::start(&database, Settings::default());
    arrived(&database, client, None).await;
    relay.stop().await;
    assert_eq!(divergences(&database).await, [(client, 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_ours_is_stored_behind_a_foreign_message_that_came_in_the_middle_of_a_window() {
    let (database, nats) = own_nats().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    fills(&streams, client, bot, 0..3_000).await;
    let js = nats.at.jetstream().await;
    let relay = Running::start(&database, Settings::default());
    until("it is at work", || async { last_on_nats(&js, client).await.is_some_and(|last| last > 0) }).await;
    publish_foreign(&js, client).await;
    until("the desk is told", || async { !divergences(&database).await.is_empty() }).await;
    relay.stop().await;
    let stream = js.get_stream(stream_name(client)).await.unwrap();
    let last = stream.cached_info().state.last_sequence;
    let foreign = |seq| {
        let stream = &stream;
        async move { stream.get_raw_message(seq).await.unwrap().headers.get("ce-id").is_none() }
    };
    let found: Vec<bool> = futures::stream::iter(1..=last).map(foreign).buffered(64).collect().await;
    assert_eq!(found.iter().filter(|foreign| **foreign).count(), 1);
    assert_eq!(found.last(), Some(&true), "of {last} messages one that is not ours has ours behind it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_may_keep_only_some_is_made_again_with_the_newest() {
    let (database, nats) = own_nats().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let (quiet, _) = client_with_bot(&streams, "quiet").await;
    let settings = Settings { kept_max: 100.try_into().ok() };
    let relays: Vec<Running> = (0..2).map(|_| Running::start(&database, settings)).collect();
    fills(&streams, client, bot, 0..350).await;
    arrived(&database, client, Some(100)).await;
    nats.lose_everything();
    arrived(&database, client, Some(100)).await;
    arrived(&database, quiet, Some(100)).await;
    fills(&streams, client, bot, 350..360).await;
    arrived(&database, client, Some(100)).await;
    assert!(divergences(&database).await.is_empty());
    for relay in relays {
        relay.stop().await;
    }
    // Fewer from now on.
    let relay = Running::start(&database, Settings { kept_max: 10.try_into().ok() });
    arrived(&database, client, Some(10)).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_listens_hears_the_signed_head() {
    let database = Database::new().await;
    let (client, _) = client_with_bot(&database.streams(), "acme").await;
    let key = SigningKey::from_bytes(&[7; 32]);
    store::sign_heads(&database.pool(Login::Projector), &key, Time::now()).await.unwrap();
    let listener = database.nats().admin().await;
    let mut heads = listener.subscribe(heads_subject(client)).await.unwrap();
    listener.flush().await.unwrap();
    let relay = Running::start(&database, Settings::default());
    let heard = tokio::time::timeout(Duration::from_secs(60), heads.next()).await.expect("it is told").unwrap();
    let head: SignedHead = serde_json::from_slice(&heard.payload).unwrap();
    assert!(head.is_consistent());
    assert_eq!((head.head.client_id, head.head.seq), (client, 2));
    relay.stop().await;
}
