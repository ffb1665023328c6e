//! Users: made by an admin's command, each told to the desk's stream without a word of who it is.

use std::fmt;

use events::{
    ClientId, Time, UserId,
    desk::{DeskEvent, Role, WhyEnded},
};
use secrecy::SecretString;
use serde::Serialize;
use sqlx::{PgConnection, PgExecutor, PgPool};
use store::Cause;
use uuid::Uuid;

use crate::{
    caller::belongs,
    email::Email,
    password::{self, PasswordRefusal},
    register::{Register, stamp},
    sessions::{self, Which},
};

/// A person who has proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub role: Role,
    /// Whose a client's user is; absent for whoever belongs to the desk.
    pub client: Option<ClientId>,
    /// Rises whenever what the user may do changes, or what it proves itself with.
    pub perm_ver: u64,
}

impl User {
    /// One as it is stored.
    pub(crate) fn kept(id: Uuid, role: &str, client: Option<Uuid>, perm_ver: i64) -> sqlx::Result<Self> {
        let (role, client) = (role_of(role)?, client.map(ClientId));
        Ok(Self { id: UserId(id), role, client, perm_ver: perm_ver.cast_unsigned() })
    }
}

/// What is known of a user. Personal data: told to that user only.
#[derive(Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Profile {
    pub user_id: UserId,
    /// Null for a program.
    pub email: Option<String>,
    pub role: Role,
    /// Whose a client's user is; null for whoever belongs to the desk.
    pub client_id: Option<ClientId>,
    /// Whether codes are shown beside the password.
    pub second_factor: bool,
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
    /// Whose a client's user is.
    pub client: Option<ClientId>,
}

/// Why nobody was added.
#[derive(Debug, thiserror::Error)]
pub enum AddUserError {
    #[error(transparent)]
    Password(#[from] PasswordRefusal),
    #[error("a user of this role belongs to a client: name it")]
    NoClient,
    #[error("a user of this role belongs to no client: leave it out")]
    OfClient,
    #[error("a user with this e-mail address is there already")]
    Exists,
    #[error("could not keep the user")]
    Database(#[from] sqlx::Error),
}

/// Adds a user who may log in at once.
pub async fn add(register: &Register, user: AddUser, at: Time, cause: &Cause) -> Result<UserId, AddUserError> {
    let AddUser { email, password, role, client } = user;
    if !belongs(role, client) {
        return Err(if client.is_none() { AddUserError::NoClient } else { AddUserError::OfClient });
    }
    let hash = tokio::task::spawn_blocking(move || password::hash(&password)).await.expect("hashing does not panic")?;
    let id = UserId::new();
    let mut change = register.change(cause).await?;
    if !keep(&mut change.db, id, &email, Some(&hash), role, client, at).await? {
        return Err(AddUserError::Exists);
    }
    change.note(id, &DeskEvent::UserAdded { user: id, role, client, at }).await?;
    change.commit().await?;
    Ok(id)
}

/// Whether the address was free. Without a hash nobody can log in yet.
pub(crate) async fn keep(
    db: &mut PgConnection,
    id: UserId,
    email: &Email,
    hash: Option<&str>,
    role: Role,
    client: Option<ClientId>,
    at: Time,
) -> sqlx::Result<bool> {
    let kept = sqlx::query!(
        r#"
        insert into auth.users (user_id, email, password_hash, role, client_id, created_at)
        values ($1, $2, $3, $4, $5, $6)
        on conflict (lower(email)) do nothing
        "#,
        id.0,
        email.text(),
        hash,
        role_name(role),
        client.map(|client| client.0),
        stamp(at)
    )
    .execute(db)
    .await?;
    Ok(kept.rows_affected() > 0)
}

/// The user who logs in with this address, and the hash of its password.
pub(crate) async fn find(auth: &PgPool, email: &Email) -> sqlx::Result<Option<(User, String)>> {
    let row = sqlx::query!(
        r#"
        select user_id, role, client_id, perm_ver, password_hash as "password_hash!"
          from auth.users
         where lower(email) = lower($1) and barred_at is null and password_hash is not null
        "#,
        email.text()
    )
    .fetch_optional(auth)
    .await?;
    row.map(|row| {
        let user = User::kept(row.user_id, &row.role, row.client_id, row.perm_ver)?;
        Ok((user, row.password_hash))
    })
    .transpose()
}

/// Who logs in with this address.
pub async fn id_of(register: &Register, email: &Email) -> sqlx::Result<Option<UserId>> {
    let id = sqlx::query_scalar!("select user_id from auth.users where lower(email) = lower($1)", email.text());
    Ok(id.fetch_optional(register.auth()).await?.map(UserId))
}

/// A person who is there, and the hash of its password.
pub(crate) async fn of_id(auth: impl PgExecutor<'_>, user: UserId) -> sqlx::Result<Option<(User, String)>> {
    let row = sqlx::query!(
        r#"
        select user_id, role, client_id, perm_ver, password_hash as "password_hash!"
          from auth.users
         where user_id = $1 and barred_at is null and password_hash is not null
        "#,
        user.0
    )
    .fetch_optional(auth)
    .await?;
    row.map(|row| {
        let user = User::kept(row.user_id, &row.role, row.client_id, row.perm_ver)?;
        Ok((user, row.password_hash))
    })
    .transpose()
}

/// Lets no user of a client in any more, and ends their sessions; how many that concerned.
pub async fn bar(register: &Register, client: ClientId, reason: &str, at: Time, cause: &Cause) -> sqlx::Result<usize> {
    let mut change = register.change(cause).await?;
    let barred = sqlx::query_scalar!(
        r#"
        update auth.users
           set barred_at = $2
         where client_id = $1 and barred_at is null
        returning user_id
        "#,
        client.0,
        stamp(at)
    )
    .fetch_all(&mut *change.db)
    .await?;
    for user in barred.iter().copied().map(UserId) {
        change.note(user, &DeskEvent::UserBarred { user, by: None, reason: reason.to_owned(), at }).await?;
        sessions::end(&mut change, Which::AllBut(user, None), None, WhyEnded::Barred, at).await?;
    }
    change.commit().await?;
    Ok(barred.len())
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

/// Puts a hash in place, if the user is what it was when it proved itself.
pub(crate) async fn set_hash(db: &mut PgConnection, user: &User, hash: &str) -> sqlx::Result<bool> {
    let kept = sqlx::query!(
        r#"
        update auth.users
           set password_hash = $3, perm_ver = perm_ver + 1
         where user_id = $1 and perm_ver = $2 and barred_at is null
        "#,
        user.id.0,
        user.perm_ver.cast_signed(),
        hash
    );
    Ok(kept.execute(db).await?.rows_affected() > 0)
}

/// What a user proves itself with is another: whatever was proved before, and counts nowhere yet, counts no more.
pub(crate) async fn proves_otherwise(db: &mut PgConnection, user: UserId) -> sqlx::Result<()> {
    let raise = sqlx::query!("update auth.users set perm_ver = perm_ver + 1 where user_id = $1", user.0);
    raise.execute(db).await.map(drop)
}

pub(crate) async fn profile(auth: &PgPool, user: UserId) -> sqlx::Result<Option<Profile>> {
    let row = sqlx::query!(
        r#"
        select email, role, client_id, created_at,
               exists (select from auth.second_factors f where f.user_id = u.user_id and f.confirmed_at is not null)
                 as "second_factor!"
          from auth.users u
         where user_id = $1
        "#,
        user.0
    )
    .fetch_optional(auth)
    .await?;
    row.map(|row| {
        let (role, client_id) = (role_of(&row.role)?, row.client_id.map(ClientId));
        let (second_factor, created_at) = (row.second_factor, row.created_at.into());
        Ok(Profile { user_id: user, email: row.email, role, client_id, second_factor, created_at })
    })
    .transpose()
}

pub(crate) fn role_of(name: &str) -> sqlx::Result<Role> {
    match name {
        "admin" => Ok(Role::Admin),
        "operator" => Ok(Role::Operator),
        "auditor" => Ok(Role::Auditor),
        // What an owner was called at first.
        "client_owner" | "client" => Ok(Role::ClientOwner),
        "client_viewer" => Ok(Role::ClientViewer),
        "service" => Ok(Role::Service),
        other => Err(sqlx::Error::Decode(format!("{other} is no role of a user").into())),
    }
}

pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Admin => "admin",
        Role::Operator => "operator",
        Role::Auditor => "auditor",
        Role::ClientOwner => "client_owner",
        Role::ClientViewer => "client_viewer",
        Role::Service => "service",
    }
}
