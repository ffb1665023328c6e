//! Users: made by an admin's command, each told to the desk's stream without a word of who it is.

use std::fmt;

use events::{
    AggregateRef, ClientId, Time, UserId,
    desk::{DeskEvent, Role},
};
use secrecy::SecretString;
use serde::Serialize;
use sqlx::PgPool;
use store::{AppendError, Cause, Streams};

use crate::{
    email::Email,
    password::{self, PasswordRefusal},
};

/// A person who has proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub role: Role,
    /// Whose a user of role `client` is; absent for an admin.
    pub client: Option<ClientId>,
}

/// What is known of a user. Personal data: told to that user only.
#[derive(Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Profile {
    pub user_id: UserId,
    pub email: String,
    pub role: Role,
    /// Whose a user of role `client` is; null for an admin.
    pub client_id: Option<ClientId>,
    pub created_at: Time,
}

/// The address is never shown.
impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile").field("user_id", &self.user_id).field("role", &self.role).finish_non_exhaustive()
    }
}

/// A person to be let in.
#[derive(Debug)]
pub struct AddUser {
    pub email: Email,
    pub password: SecretString,
    pub role: Role,
    /// Whose a user of role `client` is.
    pub client: Option<ClientId>,
}

/// Why nobody was added.
#[derive(Debug, thiserror::Error)]
pub enum AddUserError {
    #[error(transparent)]
    Password(#[from] PasswordRefusal),
    #[error("a user of role client belongs to a client: name it")]
    NoClient,
    #[error("an admin belongs to no client: leave it out")]
    AdminOfClient,
    #[error("a user with this e-mail address is there already")]
    Exists,
    #[error("could not keep the user")]
    Database(#[from] sqlx::Error),
    #[error("the user is kept but not yet recorded in the desk's stream: add it again to finish")]
    Record(#[from] AppendError),
}

/// Adds a user, over connections of login `auth`. A crash half way is mended by adding the same one again.
pub async fn add(
    auth: &PgPool,
    streams: &Streams,
    user: AddUser,
    at: Time,
    cause: &Cause,
) -> Result<UserId, AddUserError> {
    match (user.role, user.client) {
        (Role::Client, None) => return Err(AddUserError::NoClient),
        (Role::Admin, Some(_)) => return Err(AddUserError::AdminOfClient),
        (Role::Admin, None) | (Role::Client, Some(_)) => {}
    }
    let AddUser { email, password, role, client } = user;
    let hash = tokio::task::spawn_blocking(move || password::hash(&password)).await.expect("hashing does not panic")?;
    let id = keep(auth, &email, &hash, role, client, at).await?;
    let event = DeskEvent::UserAdded { user: id, role, client, at };
    let recorded = streams.note(AggregateRef::new("desk", id), event, Some(format!("user:{id}")), cause).await?;
    if recorded.repeated { Err(AddUserError::Exists) } else { Ok(id) }
}

/// The row comes first: an event of a user who has none would be for ever, a row without its event is found again.
async fn keep(
    auth: &PgPool,
    email: &Email,
    hash: &str,
    role: Role,
    client: Option<ClientId>,
    at: Time,
) -> sqlx::Result<UserId> {
    let id = UserId::new();
    let kept = sqlx::query_scalar!(
        r#"
        with added as (
          insert into auth.users (user_id, email, password_hash, role, client_id, created_at)
          values ($1, $2, $3, $4, $5, $6)
          on conflict (lower(email)) do nothing
          returning user_id)
        select user_id as "user_id!" from added
        union all
        select user_id from auth.users where lower(email) = lower($2)
        "#,
        id.0,
        email.text(),
        hash,
        role_name(role),
        client.map(|client| client.0),
        chrono::DateTime::<chrono::Utc>::from(at)
    )
    .fetch_one(auth)
    .await?;
    Ok(UserId(kept))
}

/// The user who logs in with this address, and the hash of its password.
pub(crate) async fn find(auth: &PgPool, email: &Email) -> sqlx::Result<Option<(User, String)>> {
    let row = sqlx::query!(
        r#"
        select user_id, role, client_id, password_hash
          from auth.users
         where lower(email) = lower($1) and barred_at is null
        "#,
        email.text()
    )
    .fetch_optional(auth)
    .await?;
    row.map(|row| {
        let user = User { id: UserId(row.user_id), role: role(&row.role)?, client: row.client_id.map(ClientId) };
        Ok((user, row.password_hash))
    })
    .transpose()
}

/// Lets no user of a client log in any more; how many that concerned. Tokens that they hold end within ten minutes.
pub async fn bar(auth: &PgPool, client: ClientId) -> sqlx::Result<u64> {
    let barred = sqlx::query!(
        r#"
        update auth.users
           set barred_at = now()
         where client_id = $1 and barred_at is null
        "#,
        client.0
    )
    .execute(auth)
    .await?;
    Ok(barred.rows_affected())
}

/// Puts a hash in another's place. A password that was changed meanwhile stays changed.
pub(crate) async fn rehash(auth: &PgPool, user: UserId, old: &str, renewed: &str) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        update auth.users
           set password_hash = $3
         where user_id = $1 and password_hash = $2
        "#,
        user.0,
        old,
        renewed
    )
    .execute(auth)
    .await
    .map(drop)
}

pub(crate) async fn profile(auth: &PgPool, user: UserId) -> sqlx::Result<Option<Profile>> {
    let row = sqlx::query!(
        r#"
        select email, role, client_id, created_at
          from auth.users
         where user_id = $1
        "#,
        user.0
    )
    .fetch_optional(auth)
    .await?;
    row.map(|row| {
        let (role, client_id) = (role(&row.role)?, row.client_id.map(ClientId));
        Ok(Profile { user_id: user, email: row.email, role, client_id, created_at: row.created_at.into() })
    })
    .transpose()
}

fn role(name: &str) -> sqlx::Result<Role> {
    match name {
        "admin" => Ok(Role::Admin),
        "client" => Ok(Role::Client),
        other => Err(sqlx::Error::Decode(format!("{other} is no role of a user").into())),
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Admin => "admin",
        Role::Client => "client",
    }
}
