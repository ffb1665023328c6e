//! The Postgres logins: one a job, each with only what its job needs, their passwords derived from one secret.
//!
//! Logins and not `SET ROLE`, because any session can reset a role. None bypasses row security.

use std::time::Duration;

use hkdf::Hkdf;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// A job that has its own login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// Commands: may run the append and load what a decision needs.
    Writer,
    /// Projection workers: read every stream, own every read model.
    Projector,
    /// Queries on behalf of one client.
    Query,
    /// Queries of the desk over all clients.
    AdminQuery,
    /// Reads one client's events, and nothing else.
    Auditor,
    /// Users and passwords.
    Auth,
    /// The way onto NATS: reads every stream, changes only its own checkpoints.
    Relay,
    /// The desk's hands: read every stream, keep what came in that belongs to nobody for sure.
    Operator,
    /// Sealed keys of clients: reads and changes schema `vault`, and nothing else.
    Vault,
    /// Alerts: reads every stream, keeps where its engines stand.
    Alerts,
}

/// How long the writer waits for a stream that another transaction holds, and for one statement. Its committer splits
/// the group then, so that one held stream does not hold up the others.
const WRITER_LOCK_MAX: &str = "1s";
const WRITER_STATEMENT_MAX: &str = "10s";

/// How long a question waits for a connection: shorter than whoever asked does, so that an older answer can be given
/// instead.
const QUESTION_WAIT_MAX: Duration = Duration::from_secs(3);

/// How long a transaction may sit idle before Postgres ends it. Without it a stopped process holds its locks for ever.
const IDLE_IN_TRANSACTION_MAX: &str = "15s";

/// A projector and the relay read long stretches of one stream, in order. The planner thinks that reading everybody's
/// events and sorting a client's own is cheaper than the index which has them in order: it costs three times as much, and
/// memory.
const BY_INDEX: [(&str, &str); 2] = [("enable_seqscan", "off"), ("enable_bitmapscan", "off")];

/// How long a connection that nobody uses is believed to be alive.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

impl Login {
    pub const ALL: [Self; 10] = [
        Self::Writer,
        Self::Projector,
        Self::Query,
        Self::AdminQuery,
        Self::Auditor,
        Self::Auth,
        Self::Relay,
        Self::Operator,
        Self::Vault,
        Self::Alerts,
    ];

    /// The role's name in Postgres. One cluster serves one deployment.
    pub const fn role(self) -> &'static str {
        match self {
            Self::Writer => "pipelabs_writer",
            Self::Projector => "pipelabs_projector",
            Self::Query => "pipelabs_query",
            Self::AdminQuery => "pipelabs_admin_query",
            Self::Auditor => "pipelabs_auditor",
            Self::Auth => "pipelabs_auth",
            Self::Relay => "pipelabs_relay",
            Self::Operator => "pipelabs_operator",
            Self::Vault => "pipelabs_vault",
            Self::Alerts => "pipelabs_alerts",
        }
    }

    /// The login's password: HKDF-SHA-256 of the deployment's secret, so that one `DATABASE_URL` configures all.
    fn password(self, secret: &SecretString) -> SecretString {
        let mut derived = [0; 24];
        Hkdf::<Sha256>::new(Some(b"pipelabs postgres logins"), secret.expose_secret().as_bytes())
            .expand(self.role().as_bytes(), &mut derived)
            .expect("24 bytes are within what HKDF gives");
        hex::encode(derived).into()
    }

    /// A pool of connections under this login, to the database that `owner` names.
    pub fn pool(self, owner: &PgConnectOptions, secret: &SecretString, most: u32) -> PgPool {
        let pool = PgPoolOptions::new()
            .max_connections(most)
            .test_before_acquire(false)
            .before_acquire(|db, kept| Box::pin(answers(db, kept.idle_for)));
        let pool = match self {
            Self::Query | Self::AdminQuery => pool.acquire_timeout(QUESTION_WAIT_MAX),
            Self::Writer
            | Self::Projector
            | Self::Auditor
            | Self::Auth
            | Self::Relay
            | Self::Operator
            | Self::Vault
            | Self::Alerts => pool,
        };
        pool.connect_lazy_with(self.options(owner, secret))
    }

    /// How to connect under this login, to the database that `owner` names.
    pub fn options(self, owner: &PgConnectOptions, secret: &SecretString) -> PgConnectOptions {
        let options = owner
            .clone()
            .username(self.role())
            .password(self.password(secret).expose_secret())
            // No query of ours runs long enough to be worth compiling, and one over many partitions is taken for such.
            .options([("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_MAX), ("jit", "off")])
            .application_name(self.role());
        match self {
            Self::Writer => {
                options.options([("lock_timeout", WRITER_LOCK_MAX), ("statement_timeout", WRITER_STATEMENT_MAX)])
            }
            // Each question is planned for what it asks: a plan for any bot of any client would be a bad one for most.
            Self::Query | Self::AdminQuery => options.options([("plan_cache_mode", "force_custom_plan")]),
            Self::Projector | Self::Operator | Self::Relay | Self::Alerts => options.options(BY_INDEX),
            Self::Auditor | Self::Auth | Self::Vault => options,
        }
    }
}

/// Whether a kept connection still answers. To ask each time costs a round trip before every query; one that was used a
/// moment ago is taken as it is.
async fn answers(db: &mut PgConnection, idle_for: Duration) -> sqlx::Result<bool> {
    Ok(idle_for < TRUSTED_FOR || db.ping().await.is_ok())
}

/// Makes the owner and every login, or brings their passwords up to date. Safe to repeat.
pub(crate) async fn create(db: &mut PgConnection, secret: &SecretString) -> sqlx::Result<()> {
    ensure(db, "pipelabs_owner", "nologin").await?;
    // Nobody logs in as this one in production: it reads and writes the streams as stock postgres-es does.
    ensure(db, "pipelabs_compat", "nologin").await?;
    for login in Login::ALL {
        let password = login.password(secret);
        ensure(db, login.role(), &format!("login password '{}'", password.expose_secret())).await?;
    }
    let over: Vec<String> = sqlx::query_scalar(
        "select rolname::text from pg_roles where rolname like 'pipelabs\\_%' and (rolsuper or rolbypassrls)",
    )
    .fetch_all(&mut *db)
    .await?;
    assert!(over.is_empty(), "{} pass every row's wall: take superuser and bypassrls from them", over.join(", "));
    // So that migrations run as the owner, whoever `DATABASE_URL` logs in as.
    run(db, "grant pipelabs_owner to current_user").await?;
    let database: String = sqlx::query_scalar("select quote_ident(current_database())").fetch_one(&mut *db).await?;
    run(db, &format!("grant create on database {database} to pipelabs_owner, pipelabs_projector")).await
}

async fn ensure(db: &mut PgConnection, role: &str, attributes: &str) -> sqlx::Result<()> {
    let there: bool = sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)")
        .bind(role)
        .fetch_one(&mut *db)
        .await?;
    match there {
        // Only a superuser may name these two when a role is there already.
        true => run(db, &format!("alter role {role} with {attributes}")).await,
        false => run(db, &format!("create role {role} with {attributes} nosuperuser nobypassrls")).await,
    }
}

/// Role statements take no parameters; every part of these texts is ours.
async fn run(db: &mut PgConnection, statement: &str) -> sqlx::Result<()> {
    sqlx::raw_sql(statement).execute(db).await.map(drop)
}
