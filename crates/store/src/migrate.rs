//! Brings a database up to date: logins, then numbered migrations, embedded, checksummed, under one lock.

use secrecy::SecretString;
use sqlx::{ConnectOptions, Connection, migrate::Migrator, postgres::PgConnectOptions};

use crate::logins;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// What went wrong on the way.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("could not connect to the database as its owner")]
    Connect(#[source] sqlx::Error),
    #[error("could not make the database's logins: DATABASE_URL needs a user that may create roles")]
    Logins(#[source] sqlx::Error),
    #[error("could not apply the migrations")]
    Apply(#[source] sqlx::migrate::MigrateError),
    #[error("could not prepare the schema that remembers migrations")]
    Prepare(#[source] sqlx::Error),
}

/// Two processes that migrate at once wait for each other on this advisory lock.
const ONE_AT_A_TIME: i64 = 0x7069_7065_6c61_6273;

/// Applies what is missing. Safe to repeat and to run from several processes at once.
pub async fn migrate(owner: &PgConnectOptions, secret: &SecretString) -> Result<(), MigrateError> {
    // The logins' passwords stand in its statements.
    let quiet = owner.clone().disable_statement_logging();
    let mut db = quiet.connect().await.map_err(MigrateError::Connect)?;
    sqlx::query("select pg_advisory_lock($1)")
        .bind(ONE_AT_A_TIME)
        .execute(&mut db)
        .await
        .map_err(MigrateError::Connect)?;
    logins::create(&mut db, secret).await.map_err(MigrateError::Logins)?;
    // Everything belongs to a role that nobody logs in as; the record of migrations has a schema of its own.
    sqlx::raw_sql(
        "set role pipelabs_owner;
         create schema if not exists pipelabs_migrations;
         set search_path = pipelabs_migrations",
    )
    .execute(&mut db)
    .await
    .map_err(MigrateError::Prepare)?;
    MIGRATIONS.run_direct(&mut db).await.map_err(MigrateError::Apply)?;
    db.close().await.map_err(MigrateError::Connect)
}
