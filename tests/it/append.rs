//! The append: gapless, once, provable, and no command pays for another's fault.

use std::{collections::HashMap, time::Duration};

use domain::bot::{Bot, BotCommand, BotRefusal, Deed};
use events::{
    AggregateRef, ClientId,
    bot::BotEvent,
    client::ClientEvent,
    export::{Expected as Pinned, Head, SignedHead, verify},
};
use futures::future::join_all;
use rand::{Rng, SeedableRng, rngs::StdRng};
use sqlx::Connection;
use store::{AppendError, Cause, Draft, ExecuteError, Expected, Login, Streams, read};
use tests::Database;

use crate::facts::{append, at, bot, client_id, client_with_bot, fill, recorded, write};

/// The whole stream as an export, checked as an auditor would.
pub async fn verified(database: &Database, client: ClientId) -> u64 {
    let projector = database.pool(Login::Projector);
    let heads: HashMap<ClientId, u64> = read::heads_of_all(&projector).await.unwrap().into_iter().collect();
    let head = heads[&client];
    let lines = read::lines(&projector, client, 1, head).await.unwrap();
    let last = lines.last().expect("the stream has events");
    let signed = SignedHead::unsigned(Head {
        client_id: client,
        seq: head,
        chain_hash: last.chain_hash.clone(),
        at: last.recorded_at,
    });
    let mut file: Vec<String> = lines.iter().map(events::chain::canonical).collect();
    file.push(events::chain::canonical(&signed));
    let file = file.join("\n") + "\n";
    verify(file.as_bytes(), &Pinned::default(), drop).unwrap_or_else(|bad| panic!("{bad}")).events
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_have_no_gap_whoever_writes_and_whatever_is_refused() {
    let database = Database::new().await;
    // Three processes' worth of committers on the same five clients.
    let processes = [database.streams(), database.streams(), database.streams()];
    let clients: Vec<(ClientId, events::BotId)> = join_all((0..5).map(|n| client_with_bot_of(&processes[0], n))).await;
    let mut work = Vec::new();
    for (process, streams) in processes.iter().enumerate() {
        let (streams, clients) = (streams.clone(), clients.clone());
        work.push(tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(process as u64);
            let mut receipts = Vec::new();
            for _ in 0..30 {
                let batch = (0..10).map(|_| {
                    let (client, bot) = clients[random.random_range(0..clients.len())];
                    // Few numbers, so that the three often tell the same fill.
                    recorded(client, fill(client, bot, random.random_range(0..150), 0))
                });
                let batch: Vec<_> = batch.collect();
                let outcomes = streams.committer().append_all(batch.clone()).await;
                receipts.extend(batch.into_iter().zip(outcomes.into_iter().map(Result::unwrap)));
                let (client, bot) = clients[0];
                let deploy = BotCommand::Deploy { at: at(0) };
                let _ = streams.execute::<Bot>(client, &bot.to_string(), deploy, None, &Cause::system("test")).await;
            }
            receipts
        }));
    }
    let receipts: Vec<_> = join_all(work).await.into_iter().flat_map(Result::unwrap).collect();
    for (client, _) in &clients {
        verified(&database, *client).await;
    }
    let mut places: HashMap<(ClientId, String), u64> = HashMap::new();
    for (append, receipt) in &receipts {
        let stored = processes[0].numbered(append.client, &[receipt.first]).await.unwrap();
        assert_eq!(stored[0].event, append.events[0].event, "a receipt names the event that was acknowledged");
        let key = (append.client, append.events[0].key.clone().unwrap());
        assert_eq!(*places.entry(key).or_insert(receipt.first), receipt.first, "one fill has one place");
    }
}

async fn client_with_bot_of(streams: &Streams, n: u32) -> (ClientId, events::BotId) {
    client_with_bot(streams, &format!("client-{n}")).await
}

#[tokio::test]
async fn a_command_that_is_sent_again_gets_its_old_answer_and_writes_nothing() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let cause = Cause::system("test");
    let id = bot.to_string();
    let deploy = || {
        let key = Some("deploy-1".to_owned());
        streams.execute::<Bot>(client, &id, BotCommand::Deploy { at: at(1) }, key, &cause)
    };
    let first = deploy().await.unwrap().unwrap();
    assert!(!first.repeated);
    let answers = join_all((0..50).map(|_| deploy())).await;
    for again in answers {
        let again = again.unwrap().unwrap();
        assert_eq!((again.first, again.last, again.repeated), (first.first, first.last, true));
    }
    let refused = streams
        .execute::<Bot>(client, &bot.to_string(), BotCommand::Deploy { at: at(2) }, Some("deploy-2".into()), &cause)
        .await;
    assert!(matches!(refused, Err(ExecuteError::Refused(BotRefusal::AlreadyWanted))), "{refused:?}");
}

#[tokio::test]
async fn a_thousand_starts_with_one_key_from_four_processes_are_one_event() {
    let database = Database::new().await;
    let processes: Vec<Streams> = (0..4).map(|_| database.streams()).collect();
    let (client, bot) = client_with_bot(&processes[0], "acme").await;
    let cause = Cause::system("test");
    let starts = (0..1_000).map(|n| {
        let deploy = BotCommand::Deploy { at: at(1) };
        let streams = processes[n % 4].clone();
        let cause = cause.clone();
        async move { streams.execute::<Bot>(client, &bot.to_string(), deploy, Some("start".into()), &cause).await }
    });
    let receipts: Vec<_> = join_all(starts).await.into_iter().map(|answer| answer.unwrap().unwrap()).collect();
    assert_eq!(receipts.iter().filter(|receipt| !receipt.repeated).count(), 1);
    assert!(receipts.iter().all(|receipt| receipt.first == receipts[0].first));
}

#[tokio::test]
async fn a_decision_that_was_overtaken_is_refused_with_both_versions() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let aggregate = AggregateRef::new("bot", bot);
    let stop = || append(client, aggregate.clone(), BotEvent::BotStopped { at: at(1) }.into(), None);
    let expecting = |version| store::Append { expected: Expected::Version(version), ..stop() };
    assert_eq!(streams.committer().append(expecting(1)).await.map(|receipt| receipt.repeated).ok(), Some(false));
    let overtaken = streams.committer().append(expecting(1)).await.unwrap_err();
    assert!(matches!(&overtaken, AppendError::Conflict { expected: 1, actual: 2, .. }), "{overtaken}");
    // What this process remembers is no reason to refuse: another one wrote in between.
    let other = database.streams();
    write(&other, vec![stop()]).await;
    assert!(streams.committer().append(expecting(3)).await.is_ok());
}

#[tokio::test]
async fn one_command_that_cannot_be_kept_fails_alone() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let renamed = |name: String| {
        let event = ClientEvent::ClientRenamed { name, at: at(1) };
        append(client, AggregateRef::new("client", client), event.into(), None)
    };
    let mut twice = recorded(client, fill(client, bot, 900, 0));
    twice.events.push(twice.events[0].clone());
    let outcomes = streams
        .committer()
        .append_all(vec![
            renamed("fine".into()),
            renamed("a\0b".into()),
            renamed("x".repeat(300_000)),
            twice,
            recorded(client, fill(client, bot, 901, 0)),
        ])
        .await;
    let kept: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(kept, [true, false, false, false, true], "{outcomes:?}");
    assert!(
        outcomes.iter().flat_map(|outcome| outcome.as_ref().err()).all(|e| matches!(e, AppendError::Refused { .. }))
    );
    verified(&database, client).await;
}

#[tokio::test]
async fn a_command_of_which_only_a_part_is_stored_says_so() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let one = recorded(client, fill(client, bot, 1, 0));
    let stored = write(&streams, vec![one.clone()]).await[0].first;
    let mut both = one.clone();
    both.events.push(recorded(client, fill(client, bot, 2, 0)).events.remove(0));
    let partly = streams.committer().append(both).await.unwrap_err();
    assert!(matches!(&partly, AppendError::PartlyStored { stored: at, of: 2, .. } if *at == [stored]), "{partly}");
}

#[tokio::test]
async fn a_stream_that_somebody_holds_does_not_hold_up_the_others() {
    let database = Database::new().await;
    let streams = database.streams();
    let ((held, bot_a), (free, bot_b)) =
        (client_with_bot(&streams, "held").await, client_with_bot(&streams, "free").await);
    let mut other = database.superuser().acquire().await.unwrap();
    let mut tx = other.begin().await.unwrap();
    sqlx::query("select 1 from es.streams where client_id = $1 for update")
        .bind(held.0)
        .execute(&mut *tx)
        .await
        .unwrap();
    let waits = tokio::spawn({
        let streams = streams.clone();
        // Both in one group: the free one must not wait for the held one.
        async move { streams.committer().append(recorded(held, fill(held, bot_a, 1, 0))).await }
    });
    for n in 0..20 {
        let quick = tokio::time::timeout(
            Duration::from_secs(10),
            streams.committer().append(recorded(free, fill(free, bot_b, n, 0))),
        );
        quick.await.expect("it is not held up").unwrap();
    }
    assert!(!waits.is_finished());
    tx.rollback().await.unwrap();
    waits.await.unwrap().unwrap();
    verified(&database, held).await;
}

#[tokio::test]
async fn an_append_whose_connection_was_cut_is_written_once() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let superuser = database.superuser();
    let cut = tokio::spawn(async move {
        for _ in 0..40 {
            let cut = "select pg_terminate_backend(pid) from pg_stat_activity
                        where application_name = 'pipelabs_writer' and datname = current_database()";
            sqlx::query(cut).execute(&superuser).await.unwrap();
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    });
    let mut acknowledged = Vec::new();
    let mut n = 0;
    while !cut.is_finished() {
        // Without a key nothing but the event's own id tells whether it was written.
        let keyless: Vec<_> = (n..n + 5)
            .map(|n| store::Append {
                events: vec![Draft { key: None, ..recorded(client, fill(client, bot, n, 0)).events.remove(0) }],
                ..recorded(client, fill(client, bot, n, 0))
            })
            .collect();
        n += 5;
        acknowledged.extend(write(&streams, keyless).await);
    }
    cut.await.unwrap();
    let before = acknowledged[0].first;
    assert_eq!(verified(&database, client).await, before + n - 1, "each of {n} is there once");
}

#[tokio::test]
async fn a_snapshot_and_its_tail_are_the_full_replay() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let (cause, id) = (Cause::system("test"), bot.to_string());
    let superuser = database.superuser();
    let snapshots = || sqlx::query_scalar::<_, i64>("select count(*) from es.snapshots").fetch_one(&superuser);
    for round in 0..120 {
        for command in [
            BotCommand::Deploy { at: at(round) },
            BotCommand::Did { deed: Deed::Deployed { instance: format!("i{round}") }, at: at(round) },
            BotCommand::Stop { reason: "enough".into(), at: at(round) },
            BotCommand::Did { deed: Deed::Stopped, at: at(round) },
        ] {
            streams.execute::<Bot>(client, &id, command, None, &cause).await.unwrap();
        }
        if round % 20 == 0 {
            assert_eq!(
                streams.load::<Bot>(client, &id).await.unwrap(),
                streams.replay::<Bot>(client, &id).await.unwrap()
            );
        }
    }
    assert_eq!(snapshots().await.unwrap(), 1, "a long history got one");
    let whole = streams.replay::<Bot>(client, &id).await.unwrap();
    assert_eq!(streams.load::<Bot>(client, &id).await.unwrap(), whole);
    // One of another shape, or one that does not read back, is as good as none.
    sqlx::query("update es.snapshots set state = '\"nonsense\"'").execute(&superuser).await.unwrap();
    assert_eq!(streams.load::<Bot>(client, &id).await.unwrap(), whole);
}

#[tokio::test]
async fn two_clients_are_two_streams_and_the_desk_has_its_own() {
    let database = Database::new().await;
    let streams = database.streams();
    let (one, bot_one) = client_with_bot(&streams, "one").await;
    let (two, _) = client_with_bot(&streams, "two").await;
    write(&streams, vec![recorded(one, fill(one, bot_one, 1, 0))]).await;
    bot(&streams, two, "second").await;
    let heads = read::heads_of_all(&database.pool(Login::Projector)).await.unwrap();
    let of = |client: ClientId| heads.iter().find(|(other, _)| *other == client).map(|(_, head)| *head);
    assert_eq!((of(one), of(two), of(ClientId::DESK)), (Some(3), Some(3), Some(2)));
    assert_eq!(of(client_id(1)), None);
}
