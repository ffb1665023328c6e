//! Migrations: once, whoever races, and never over something that was changed by hand.

use sqlx::{ConnectOptions, Executor};
use store::{Login, MigrateError};
use tests::{Database, Servers};

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_may_migrate_one_empty_database_at_once_and_again() {
    let mut database = Database::new().await;
    let name = format!("test_blank_{}", std::process::id());
    let mut superuser = Servers::shared().superuser.connect().await.unwrap();
    superuser.execute(format!("create database {name}").as_str()).await.unwrap();
    database.move_to(&name);
    let racing: Vec<_> = (0..4).map(|_| database.start(&["migrate"])).collect();
    for mut process in racing {
        assert!(process.wait().unwrap().success());
    }
    database.succeed(&["migrate"]);
    database.succeed(&["client", "add", "--slug", "acme"]);
    let made = projections::all(&database.pool(Login::Projector)).len() as i64;
    let versions: i64 =
        sqlx::query_scalar("select count(*) from rm.versions").fetch_one(&database.superuser()).await.unwrap();
    assert_eq!(versions, made);
}

#[tokio::test]
async fn a_migration_that_is_not_the_one_that_was_applied_is_refused() {
    let database = Database::new().await;
    let other = "update pipelabs_migrations._sqlx_migrations set checksum = '\\x00' where version = 2";
    sqlx::query(other).execute(&database.superuser()).await.unwrap();
    let refused = store::migrate(&database.owner, &database.secret).await.unwrap_err();
    assert!(
        matches!(&refused, MigrateError::Apply(cause) if cause.to_string().contains("has been modified")),
        "{refused:?}"
    );
}
