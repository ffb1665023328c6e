//! Each wall between clients alone, with the others taken away: what a client asks is answered the same, and whatever it
//! tries gets at nothing of its neighbour's.
//!
//! Two walls stand between a question and another client's rows. The *conditions*: each query takes the client, which only
//! a verified token can name, and asks for its rows. *Row security*: the question's transaction says which client it is
//! for, and Postgres shows no row of another. Here the first falls on the way from the real binary to Postgres (see
//! `tests/src/forgetful.rs`), the second in the database; with both gone the same tries do find the neighbour, so the
//! proofs can fail. Nothing can be changed of it even then: a command works on its caller's stream alone.
//!
//! This is about login `query`, under which everything is looked up that a client asks for, ownership of what a path names
//! included (`crates/api/src/known.rs`), and login `auth`, under which its people are. No other login brings a client's id to a table when a client asks; what they do
//! is asserted below, statement by statement:
//!
//! - `writer` may read no table. It calls functions of schema `es` that take the stream they work on as an argument and
//!   run with the rights of the streams' owner: decisions need the newest state, whatever read models know. That argument is
//!   the wall here: it is the `ClientId` that a verified token made, and each function's condition on it stands in
//!   `migrations/`, where no request reaches.
//! - `vault` works across clients, since a rotation does. What it brings back is sealed under the client's own key and says
//!   whose it is, which is checked after it was opened: rows that are exchanged open to nobody (`tests/it/vault.rs`).
//! - `auth` looks for a user, by the id in the verified token, before it is known whose the user is. Where it asks on a
//!   client's behalf, its transaction says so, and row security shows that client's people alone.
//! - `admin_query` sees all clients, for the desk's own questions and to know how far every read model is. An admin who
//!   names a client is answered under `query`, as that client.
//! - projector, relay and operator work across clients for nobody who asks.

use std::collections::BTreeSet;

use store::Login;
use tests::Forgetful;

use crate::{
    neighbours::Neighbours,
    trespass::{answers, trespasses},
};

/// Statements that lose a condition when every route is asked: about as many as there are queries of a client's.
const FORGOTTEN_MIN: usize = 25;

/// The statements that other logins may bring a client's id to while clients ask, by how they begin.
const OF_OTHERS: &[(Login, &str)] = &[
    (Login::Writer, "select es.append("),
    (Login::Writer, "from es.append("),
    (Login::Writer, "from es.seen("),
    (Login::Writer, "from es.tips("),
    (Login::Writer, "from es.versions("),
    (Login::Writer, "from es.history("),
    (Login::Writer, "from es.numbered("),
    (Login::Writer, "from es.written("),
    (Login::Writer, "from es.load_snapshot("),
    (Login::Writer, "es.save_snapshot("),
    (Login::Vault, "vault."),
    // What it writes says whose it is.
    (Login::Auth, "insert into auth."),
];

/// Lets every policy of row security show everything.
async fn without_row_security(neighbours: &Neighbours) {
    let open = "do $$ declare p record; begin
                  for p in select * from pg_policies where cmd in ('ALL', 'SELECT') loop
                    execute format('alter policy %I on %I.%I using (true)', p.policyname, p.schemaname, p.tablename);
                  end loop;
                end $$";
    sqlx::raw_sql(open).execute(&neighbours.edge.database.superuser()).await.unwrap();
    let mut tx = neighbours.edge.database.pool(Login::Query).begin().await.unwrap();
    let seen: i64 =
        sqlx::query_scalar("select count(distinct client_id) from es.events").fetch_one(&mut *tx).await.unwrap();
    assert!(seen >= 2, "row security still holds");
}

async fn forgetful(neighbours: &Neighbours) -> Forgetful {
    Forgetful::to(neighbours.edge.database.port(), neighbours.edge.acme.client).await
}

#[tokio::test(flavor = "multi_thread")]
async fn row_security_alone_keeps_clients_apart() {
    let neighbours = Neighbours::new().await;
    let line = forgetful(&neighbours).await;
    let (served, me) = (neighbours.serve_at(line.port()), &neighbours.edge.acme);
    let as_ever = answers(&neighbours.edge.served, &neighbours.edge, me).await;
    assert_eq!(answers(&served, &neighbours.edge, me).await, as_ever);
    let wrong = trespasses(&neighbours, &served, &me.token).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    assert_eq!(line.kept(), BTreeSet::new(), "these still asked for a client");
    let forgotten = line.forgotten();
    assert!(forgotten.len() >= FORGOTTEN_MIN, "{} statements forgot: {forgotten:#?}", forgotten.len());
    let expected = |(role, text): &(String, String)| {
        OF_OTHERS.iter().any(|(login, part)| login.role() == role && text.contains(part))
    };
    let unexpected: Vec<_> = line.of_others().into_iter().filter(|told| !expected(told)).collect();
    assert!(unexpected.is_empty(), "another login asked for a client: {unexpected:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_conditions_of_the_queries_alone_keep_clients_apart() {
    let neighbours = Neighbours::new().await;
    let me = &neighbours.edge.acme;
    let as_ever = answers(&neighbours.edge.served, &neighbours.edge, me).await;
    without_row_security(&neighbours).await;
    let served = neighbours.serve_at(neighbours.edge.database.port());
    assert_eq!(answers(&served, &neighbours.edge, me).await, as_ever);
    let wrong = trespasses(&neighbours, &served, &me.token).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_both_walls_gone_the_same_tries_find_the_neighbour() {
    let neighbours = Neighbours::new().await;
    let me = &neighbours.edge.acme;
    let as_ever = answers(&neighbours.edge.served, &neighbours.edge, me).await;
    without_row_security(&neighbours).await;
    let line = forgetful(&neighbours).await;
    let served = neighbours.serve_at(line.port());
    let answers = answers(&served, &neighbours.edge, me).await;
    let same: Vec<&String> =
        answers.iter().filter(|(asked, answer)| as_ever[*asked] == **answer).map(|(asked, _)| asked).collect();
    let changed = answers.len() - same.len();
    assert!(changed * 2 > answers.len(), "{changed} of {} answers changed; these did not: {same:#?}", answers.len());
    let wrong = trespasses(&neighbours, &served, &me.token).await;
    let canaries = neighbours.canaries();
    let found: Vec<&String> =
        canaries.iter().filter(|canary| wrong.iter().any(|told| told.contains(*canary))).collect();
    assert!(found.len() * 3 > canaries.len() * 2, "only {found:?} was found of {canaries:?}");
    // A command is decided on, and written to, the stream of its caller's client: there the neighbour's bot never was.
    assert!(!wrong.iter().any(|told| told.contains("has other rows")), "something of the neighbour's was changed");
}
