//! Users: made by an admin's command, each told to the desk's stream without a word of who it is.

use std::{fmt, str::FromStr};

use events::{
    AggregateRef, ClientId, Time, UserId,
    desk::{DeskEvent, Role},
};
use secrecy::SecretString;
use sqlx::PgPool;
use store::{AppendError, Cause, Streams};

use crate::password::{self, PasswordRefusal};

/// An e-mail address, as far as a login needs it: where it really leads only a message can show.
#[derive(Clone, PartialEq, Eq)]
pub struct Email(String);

impl FromStr for Email {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.len() <= 254 && !text.chars().any(|c| c.is_whitespace() || c.is_control());
        match text.split_once('@') {
            Some((name, host)) if plain && !name.is_empty() && host.contains('.') && !host.contains('@') => {
                Ok(Self(text.to_owned()))
            }
            _ => Err("an e-mail address is written name@host.domain".to_owned()),
        }
    }
}

/// Personal data: never in a log.
impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(..)")
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
    let role = match role {
        Role::Admin => "admin",
        Role::Client => "client",
    };
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
        email.0,
        hash,
        role,
        client.map(|client| client.0),
        chrono::DateTime::<chrono::Utc>::from(at)
    )
    .fetch_one(auth)
    .await?;
    Ok(UserId(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_for_its_form_and_never_shown() {
        for bad in ["", "a", "a@b", "@b.c", "a@b@c.d", "a b@c.d", "a@b.c\n"] {
            assert!(bad.parse::<Email>().is_err(), "{bad:?} passed as an address");
        }
        let email: Email = "someone@example.com".parse().unwrap();
        assert_eq!(format!("{email:?}"), "Email(..)");
    }
}
