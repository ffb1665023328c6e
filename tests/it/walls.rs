//! The walls around the streams and read models: what each login may do, tried with that login. What the catalogue says of
//! them is in `catalogue.rs`.

use events::{
    Time,
    desk::{Role, WhyEnded},
};
use sqlx::{PgPool, Row};
use store::{Login, read};
use tests::Database;

use crate::facts::{client_with_bot, fill, recorded, write};

/// Statements that no login of ours may carry out, in whose name ever.
const FORBIDDEN: &[&str] = &[
    "update es.events set payload = '{}'",
    "delete from es.events",
    "truncate es.events",
    "truncate es.events_p0",
    "select * from es.events_p0",
    "update es.streams set head = 0",
    "update es.signed_heads set seq = 0",
    "insert into es.streams (client_id) values (gen_random_uuid())",
    "alter table es.events disable row level security",
    "set role pipelabs_owner",
    "set role pipelabs_compat",
    "drop schema es cascade",
];

async fn fails(pool: &PgPool, statement: &str) -> bool {
    sqlx::raw_sql(statement).execute(pool).await.is_err()
}

#[tokio::test]
async fn no_login_can_change_or_reach_around_what_was_recorded() {
    let database = Database::new().await;
    let streams = database.streams();
    client_with_bot(&streams, "acme").await;
    for login in Login::ALL {
        let pool = database.pool(login);
        for statement in FORBIDDEN {
            assert!(fails(&pool, statement).await, "{login:?} may {statement}");
        }
        let off = "set row_security = off; select count(*) from es.events";
        let passes = login != Login::Projector && !fails(&pool, off).await;
        assert!(!passes || login == Login::AdminQuery, "{login:?} reads everything with row security off");
    }
}

#[tokio::test]
async fn not_even_the_owner_changes_an_event_without_taking_the_trigger_away() {
    let database = Database::new().await;
    client_with_bot(&database.streams(), "acme").await;
    let superuser = database.superuser();
    for statement in
        ["update es.events set payload = '{}'", "delete from es.events", "truncate es.events", "truncate es.events_p3"]
    {
        let refused = sqlx::raw_sql(statement).execute(&superuser).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{statement}: {refused}");
    }
}

#[tokio::test]
async fn a_query_sees_the_client_that_its_transaction_names_and_no_other() {
    let database = Database::new().await;
    let streams = database.streams();
    let (one, bot) = client_with_bot(&streams, "one").await;
    let (two, _) = client_with_bot(&streams, "two").await;
    write(&streams, vec![recorded(one, fill(one, bot, 1, 0))]).await;
    for login in [Login::Query, Login::Auditor] {
        let pool = database.pool(login);
        let count = "select count(*), count(distinct client_id) from es.events";
        let none = sqlx::query(count).fetch_one(&pool).await.unwrap();
        assert_eq!(none.get::<i64, _>(0), 0, "{login:?} sees rows without naming a client");
        for (client, expected) in [(one, 3), (two, 2)] {
            let mut tx = pool.begin().await.unwrap();
            read::for_client(&mut tx, client).await.unwrap();
            let own = sqlx::query(count).fetch_one(&mut *tx).await.unwrap();
            assert_eq!((own.get::<i64, _>(0), own.get::<i64, _>(1)), (expected, 1));
            tx.commit().await.unwrap();
            let after = sqlx::query(count).fetch_one(&pool).await.unwrap();
            assert_eq!(after.get::<i64, _>(0), 0, "a pooled connection remembers the last client");
        }
    }
    let mut tx = database.pool(Login::Query).begin().await.unwrap();
    read::for_client(&mut tx, events::ClientId::DESK).await.unwrap();
    let desk = sqlx::query("select count(*) from es.events").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(desk.get::<i64, _>(0), 0, "the desk's own stream is shown to no client");
}

#[tokio::test]
async fn nobody_but_the_login_that_lets_people_in_sees_a_row_of_them() {
    let database = Database::new().await;
    let somebody = database.signed_in(Role::Admin, None).await;
    let (user, session) = (somebody.session.user.id, somebody.session.id);
    assert!(database.sessions().end(user, session, user, WhyEnded::Ended, Time::now()).await.unwrap());
    let superuser = database.superuser();
    let tables = "select c.oid::regclass::text, c.relrowsecurity and c.relforcerowsecurity
                    from pg_class c join pg_namespace n on n.oid = c.relnamespace
                   where n.nspname = 'auth' and c.relkind in ('r', 'p', 'v', 'm')";
    let tables: Vec<(String, bool)> = sqlx::query_as(tables).fetch_all(&superuser).await.unwrap();
    assert!(tables.len() >= 6, "{tables:?}");
    for (table, forced) in tables {
        assert!(forced, "{table} has no wall");
        for login in Login::ALL.into_iter().filter(|login| *login != Login::Auth) {
            assert!(fails(&database.pool(login), &format!("select from {table}")).await, "{login:?} reads {table}");
        }
        // The tables' owner passes grants, and not the wall.
        let seen = format!("set role pipelabs_owner; select 1 / (select count(*) from {table})");
        assert!(fails(&superuser, &seen).await, "the owner sees rows of {table}");
    }
    for statement in ["delete from auth.users", "truncate auth.users", "update auth.revocations set seq = 0"] {
        assert!(fails(&database.pool(Login::Auth), statement).await, "login auth may {statement}");
    }
}

#[tokio::test]
async fn the_append_takes_no_event_of_a_stream_whose_head_it_does_not_move() {
    let database = Database::new().await;
    let (client, _) = client_with_bot(&database.streams(), "acme").await;
    let stray =
        "select es.append('{}', '{}', '{}', '{}', '{}', '{}', '{}', array[$1], array[777], array['bot'], array['x'],
                                  array[9], array[gen_random_uuid()], array['BotStopped'], array['1'], array['{}'],
                                  array['{}'], array[now()], array[now()], array['\\x00'::bytea], array['\\x00'::bytea],
                                  array[null::uuid])";
    let refused = sqlx::query(stray).bind(client.0).execute(&database.pool(Login::Writer)).await.unwrap_err();
    assert!(refused.to_string().contains("heads move by 0 events, 1 were given"), "{refused}");
}
