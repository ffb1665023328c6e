//! Held against something we did not write: the stock repository of postgres-es, unmodified, over the compatibility view.

use std::collections::HashMap;

use cqrs_es::{CqrsFramework, EventStore, persist::PersistedEventStore};
use domain::bot::{Bot, BotCommand, Deed, Sight};
use events::{
    ClientId,
    bot::{BotConfig, ConfigChange, ReportedState},
};
use postgres_es::{PostgresEventRepository, postgres_cqrs};
use rand::{Rng, SeedableRng, rngs::StdRng};
use sqlx::{PgPool, postgres::PgPoolOptions};
use store::{Cause, ClientStore, Login, Streams, read};
use tests::Database;

use crate::{
    append::verified,
    facts::{at, client_with_bot},
};

/// Connections as stock postgres-es needs them: one client's streams as the tables `events` and `snapshots`.
fn stock(database: &Database, client: ClientId) -> PgPool {
    let id = client.to_string();
    let settings = [("role", "pipelabs_compat"), ("search_path", "compat"), ("app.client_id", id.as_str())];
    PgPoolOptions::new().max_connections(4).connect_lazy_with(database.owner.clone().options(settings))
}

fn random_command(random: &mut StdRng, n: i64) -> BotCommand {
    let at = at(n);
    match random.random_range(0..9) {
        0 => BotCommand::Create { name: "maker".parse().unwrap(), config: config(n), at },
        1 => BotCommand::ChangeConfig { change: change(random.random_range(0..3)), at },
        2 => BotCommand::Deploy { at },
        3 => BotCommand::Did { deed: Deed::Deployed { instance: format!("i{n}") }, at },
        4 => BotCommand::Did { deed: Deed::DeployFailed { reason: "no \"answer\" \u{1f980}\n".into() }, at },
        5 => BotCommand::Stop { reason: "enough".into(), at },
        6 => BotCommand::Did { deed: Deed::Stopped, at },
        7 => BotCommand::Did { deed: Deed::StopFailed { reason: "\u{7f}\u{85}".into() }, at },
        _ => BotCommand::Saw { sight: Sight::Reported(ReportedState::Running), at },
    }
}

fn config(n: i64) -> BotConfig {
    let parameters = [("spread_bps".to_owned(), n.to_string()), ("note".to_owned(), "é\u{e000}𝄞ü".to_owned())];
    BotConfig { controller: Some("pmm_simple".into()), parameters: parameters.into(), ..BotConfig::default() }
}

fn change(n: i64) -> ConfigChange {
    let parameters = [("spread_bps".to_owned(), Some(n.to_string())), ("note".to_owned(), None)];
    ConfigChange { parameters: parameters.into(), ..ConfigChange::default() }
}

#[tokio::test]
async fn the_same_commands_through_stock_postgres_es_and_through_ours_give_the_same() {
    for seed in 0..6 {
        let database = Database::new().await;
        let streams = database.streams();
        let (ours, _) = client_with_bot(&streams, "ours").await;
        let (theirs, _) = client_with_bot(&streams, "theirs").await;
        let framework = CqrsFramework::<Bot, _>::new(store_of(&streams, ours), vec![], ());
        let stock_framework = postgres_cqrs::<Bot>(stock(&database, theirs), vec![], ());
        let mut random = StdRng::seed_from_u64(seed);
        for n in 0..300 {
            let id = ["one", "two"][random.random_range(0..2)];
            let command = random_command(&mut random, n);
            let (left, right) =
                (framework.execute(id, command.clone()).await, stock_framework.execute(id, command).await);
            assert_eq!(left.map_err(|e| e.to_string()), right.map_err(|e| e.to_string()), "seed {seed}, command {n}");
        }
        same_rows(&database, ours, theirs).await;
        for id in ["one", "two"] {
            let (left, right) =
                (streams.load::<Bot>(ours, id).await.unwrap(), streams.load::<Bot>(theirs, id).await.unwrap());
            assert_eq!(left, right);
        }
        verified(&database, ours).await;
        verified(&database, theirs).await;
    }
}

fn store_of(streams: &Streams, client: ClientId) -> ClientStore {
    ClientStore::new(streams.clone(), client, Cause::system("test"))
}

async fn same_rows(database: &Database, ours: ClientId, theirs: ClientId) {
    let projector = database.pool(Login::Projector);
    let mut told = Vec::new();
    for client in [ours, theirs] {
        let events = read::after(&projector, client, 2, 10_000).await.unwrap();
        told.push(events.into_iter().map(|e| (e.aggregate, e.aggregate_seq, e.event)).collect::<Vec<_>>());
    }
    assert!(told[0].len() > 15, "only {} events", told[0].len());
    assert_eq!(told[0], told[1]);
}

#[tokio::test]
async fn each_reads_what_the_other_wrote() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let id = bot.to_string();
    let cause = Cause::system("test");
    // Ours wrote the creation; stock loads it, and goes on; ours goes on from there.
    let stock_framework = postgres_cqrs::<Bot>(stock(&database, client), vec![], ());
    stock_framework.execute(&id, BotCommand::Deploy { at: at(1) }).await.unwrap();
    let confirm = BotCommand::Did { deed: Deed::Deployed { instance: "i".into() }, at: at(2) };
    streams.execute::<Bot>(client, &id, confirm, None, &cause).await.unwrap();
    let stock_store =
        PersistedEventStore::<_, Bot>::new_event_store(PostgresEventRepository::new(stock(&database, client)));
    let theirs = stock_store.load_events(&id).await.unwrap();
    let ours = EventStore::<Bot>::load_events(&store_of(&streams, client), &id).await.unwrap();
    let told = |events: &[cqrs_es::EventEnvelope<Bot>]| {
        events.iter().map(|e| (e.sequence, e.payload.clone())).collect::<Vec<_>>()
    };
    assert_eq!(told(&theirs), told(&ours));
    assert_eq!(theirs.len(), 3);
}

#[tokio::test]
async fn the_stores_of_cqrs_es_run_on_our_repository() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let id = bot.to_string();
    let on_ours =
        CqrsFramework::new(PersistedEventStore::<_, Bot>::new_event_store(store_of(&streams, client)), vec![], ());
    on_ours.execute(&id, BotCommand::Deploy { at: at(1) }).await.unwrap();
    let refused = on_ours.execute(&id, BotCommand::Deploy { at: at(2) }).await.unwrap_err();
    assert_eq!(refused.to_string(), "the bot is asked for or running already: stop it first");
    let all =
        PersistedEventStore::<_, Bot>::new_event_store(store_of(&streams, client)).load_events(&id).await.unwrap();
    assert_eq!(all.len(), 2);
    verified(&database, client).await;
}

#[tokio::test]
async fn of_two_writers_at_one_version_one_conflicts_whichever_repository_it_uses() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let (id, ours) = (bot.to_string(), store_of(&streams, client));
    let theirs = PersistedEventStore::<_, Bot>::new_event_store(PostgresEventRepository::new(stock(&database, client)));
    let event = || vec![events::bot::BotEvent::BotDeployRequested { at: at(1) }];
    let (mine, stale) =
        (EventStore::<Bot>::load_aggregate(&ours, &id).await.unwrap(), theirs.load_aggregate(&id).await.unwrap());
    let mine_too = EventStore::<Bot>::load_aggregate(&ours, &id).await.unwrap();
    assert!(EventStore::<Bot>::commit(&ours, event(), mine, HashMap::new()).await.is_ok());
    let refused = theirs.commit(event(), stale, HashMap::new()).await.unwrap_err();
    assert!(matches!(refused, cqrs_es::AggregateError::AggregateConflict), "{refused}");
    let refused = EventStore::<Bot>::commit(&ours, event(), mine_too, HashMap::new()).await.unwrap_err();
    assert!(matches!(refused, cqrs_es::AggregateError::AggregateConflict), "{refused}");
}
