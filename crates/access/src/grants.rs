//! Which clients an auditor may read, and how long. An admin grants it, for an audit and no longer; it ends by itself.

use std::collections::HashMap;

use events::{
    ClientId, Slug, Time, UserId,
    desk::{DeskEvent, Role},
};
use serde::Serialize;
use sqlx::PgPool;
use store::Cause;

use crate::{
    people::{self, PeopleError, Whose},
    reason::Reason,
    register::{Change, Register, stamp},
};

/// An audit is over some day.
const LENGTH_MAX_US: i64 = 366 * 86_400 * 1_000_000;

/// Until when which user may read which client. Few: auditors are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grants(HashMap<(UserId, ClientId), Time>);

/// A client that a user may read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Granted {
    pub client_id: ClientId,
    pub client: Slug,
    pub made_at: Time,
    /// It ends then, by itself.
    pub until: Time,
}

/// What shall be granted.
#[derive(Debug, Clone)]
pub struct Grant {
    pub user: UserId,
    pub client: ClientId,
    pub slug: Slug,
    pub until: Time,
    pub reason: Reason,
}

impl Grants {
    pub fn until(&self, user: UserId, client: ClientId) -> Option<Time> {
        self.0.get(&(user, client)).copied()
    }
}

/// All that hold.
pub(crate) async fn all(auth: &PgPool) -> sqlx::Result<Grants> {
    let rows = sqlx::query!("select user_id, client_id, until from auth.grants where until > now()");
    let rows = rows.fetch_all(auth).await?;
    Ok(Grants(rows.into_iter().map(|row| ((UserId(row.user_id), ClientId(row.client_id)), row.until.into())).collect()))
}

/// What a user may read now, by the client's name.
pub async fn of(register: &Register, user: UserId) -> sqlx::Result<Vec<Granted>> {
    let rows = sqlx::query!(
        r#"
        select client_id, slug, made_at, until
          from auth.grants
         where user_id = $1 and until > now()
         order by slug
        "#,
        user.0
    )
    .fetch_all(register.auth())
    .await?;
    rows.into_iter()
        .map(|row| {
            let client = row.slug.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            Ok(Granted {
                client_id: ClientId(row.client_id),
                client,
                made_at: row.made_at.into(),
                until: row.until.into(),
            })
        })
        .collect()
}

/// Lets an auditor read a client. Granted again, it lasts as long as was said last.
pub async fn give(register: &Register, grant: Grant, by: UserId, at: Time) -> Result<(), PeopleError> {
    let Grant { user, client, slug, until, reason } = grant;
    if until <= at || until.micros() - at.micros() > LENGTH_MAX_US {
        return Err(PeopleError::Until);
    }
    let cause = Cause::user(by);
    let mut change = people::change(register, &cause).await?;
    let known = people::find(&mut change.db, Whose::Desk, user).await?;
    if known.role != Role::Auditor {
        return Err(PeopleError::NoAuditor);
    }
    sqlx::query!(
        r#"
        insert into auth.grants (user_id, client_id, slug, made_at, until)
        values ($1, $2, $3, $4, $5)
        on conflict (user_id, client_id) do update set made_at = $4, until = $5
        "#,
        user.0,
        client.0,
        slug.as_str(),
        stamp(at),
        stamp(until)
    )
    .execute(&mut *change.db)
    .await?;
    change.note(user, &DeskEvent::GrantGiven { user, client, until, by, reason: reason.into(), at }).await?;
    Ok(change.commit().await?)
}

/// Ends what was granted before its time.
pub async fn withdraw(
    register: &Register,
    user: UserId,
    client: ClientId,
    reason: Reason,
    by: UserId,
    at: Time,
) -> Result<(), PeopleError> {
    let cause = Cause::user(by);
    let mut change = people::change(register, &cause).await?;
    let ended = sqlx::query!(
        "delete from auth.grants where user_id = $1 and client_id = $2 and until > $3",
        user.0,
        client.0,
        stamp(at)
    )
    .execute(&mut *change.db)
    .await?;
    if ended.rows_affected() == 0 {
        return Err(PeopleError::NotThere);
    }
    change.note(user, &DeskEvent::GrantWithdrawn { user, client, by, reason: reason.into(), at }).await?;
    Ok(change.commit().await?)
}

/// Ends all that a user was granted, as part of a change.
pub(crate) async fn withdraw_all(
    change: &mut Change<'_>,
    user: UserId,
    reason: &str,
    by: UserId,
    at: Time,
) -> sqlx::Result<()> {
    let ended = sqlx::query_scalar!(
        "delete from auth.grants where user_id = $1 and until > $2 returning client_id",
        user.0,
        stamp(at)
    )
    .fetch_all(&mut *change.db)
    .await?;
    for client in ended.into_iter().map(ClientId) {
        let event = DeskEvent::GrantWithdrawn { user, client, by, reason: reason.to_owned(), at };
        change.note(user, &event).await?;
    }
    Ok(())
}

/// Throws away what is long over.
pub(crate) async fn forget(auth: &PgPool) -> sqlx::Result<()> {
    sqlx::query!("delete from auth.grants where until < now() - interval '90 days'").execute(auth).await.map(drop)
}
