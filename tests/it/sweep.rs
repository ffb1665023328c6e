//! The sweep after the suite finds what it is there to find: in files of whatever kind, and in every table.

use std::fs;

use tests::{
    Database,
    canaries::{Found, in_database, in_files, kinds_in, none_in},
};

use crate::facts::client_with_bot;

/// As each would lie around if somebody had let it.
const SPILLED: &[(&str, &str)] = &[
    ("logs/7-1-serve.log", "level=INFO stored okx_api_key=fake-acme-okx_api_key of client 01900000"),
    ("logs/7-2-serve.log", "log in of desk@acme.example with not-a-real-password-1 refused"),
    ("nats/jetstream/pipelabs_01/msgs/1.blk", "\u{0}\u{1}{\"payload\":{\"secret\":\"fake-secret\"}}\u{0}"),
    ("postgres.log", "ERROR: invalid input, STATEMENT: alter role x password 'for-tests-only'"),
    (
        "nats.log",
        "[TRC] <<- [CONNECT {\"auth_token\":\"eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIwMTkwMDAwMDAwMDAifQ.c2lnbmF0dXJlIG9mIGl0IGFsbA\"}]",
    ),
];

#[test]
fn a_secret_in_a_file_is_found_and_the_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("nats/jetstream/pipelabs_01/msgs")).unwrap();
    fs::create_dir_all(dir.path().join("logs")).unwrap();
    fs::write(dir.path().join("logs/clean.log"), "level=INFO nothing happened, and no key was shown").unwrap();
    assert_eq!(in_files(dir.path()).unwrap(), []);
    for (file, text) in SPILLED {
        fs::write(dir.path().join(file), text).unwrap();
        let found = in_files(dir.path()).unwrap();
        let [Found { place, seen, .. }] = found.as_slice() else { panic!("{file}: {found:?}") };
        assert!(place.ends_with(file) && text.contains(seen.trim_matches('\u{0}')), "{found:?}");
        fs::remove_file(dir.path().join(file)).unwrap();
    }
}

#[tokio::test]
async fn a_secret_in_a_table_is_found_and_hashes_of_passwords_only_where_they_do_not_belong() {
    let database = Database::new().await;
    let (client, _) = client_with_bot(&database.streams(), "acme").await;
    assert_eq!(in_database(&database.owner).await.unwrap(), []);
    let superuser = database.superuser();
    let user = "insert into auth.users (user_id, email, password_hash, role, created_at)
                values (gen_random_uuid(), 'a@b.example', '$argon2id$v=19$x', 'admin', now())";
    sqlx::query(user).execute(&superuser).await.unwrap();
    assert_eq!(in_database(&database.owner).await.unwrap(), []);
    for (table, spill) in [
        ("rm.attempts", "insert into rm.attempts values ($1, 'bots', 1, 1, 1, 'cannot read fake-secret')"),
        (
            "operator.quarantine",
            "insert into operator.quarantine values ($1, gen_random_uuid(), 'x', 'mqtt', 'x', 'key: fake-key'::bytea, now())",
        ),
        (
            "es.snapshots",
            "insert into es.snapshots values ($1, 'bot', 'x', 'x', 1, '{\"hash\": \"$argon2id$v=19$x\"}')",
        ),
    ] {
        sqlx::query(spill).bind(client.0).execute(&superuser).await.unwrap();
        let found = in_database(&database.owner).await.unwrap();
        let [Found { place, .. }] = found.as_slice() else { panic!("{table}: {found:?}") };
        assert!(place.ends_with(table), "{found:?}");
        sqlx::query(&format!("delete from {table}")).execute(&superuser).await.unwrap();
    }
}

#[test]
#[should_panic(expected = "the answer to /api/x holds [\"a token\"]")]
fn an_answer_that_tells_a_secret_fails_the_test_that_asked() {
    let answer = SPILLED[4].1.as_bytes();
    assert_eq!(kinds_in(answer), ["a token"]);
    none_in("the answer to /api/x", answer, &["a token"]);
    none_in("the answer to /api/x", answer, &[]);
}

#[tokio::test]
async fn the_sweep_fails_where_it_finds_something_or_has_nothing_to_look_at() {
    let dir = tempfile::tempdir().unwrap();
    let sweep = || std::process::Command::new(env!("CARGO_BIN_EXE_sweep")).arg(dir.path()).output().unwrap();
    let empty = sweep();
    assert_eq!(empty.status.code(), Some(1), "{}", String::from_utf8_lossy(&empty.stdout));
    fs::create_dir_all(dir.path().join("logs")).unwrap();
    fs::write(dir.path().join("logs/spilled.log"), SPILLED[0].1).unwrap();
    let found = sweep();
    let told = String::from_utf8_lossy(&found.stderr).into_owned();
    assert_eq!(found.status.code(), Some(1), "{told}");
    assert!(told.contains("logs/spilled.log holds a key, secret or passphrase of an exchange"), "{told}");
}
