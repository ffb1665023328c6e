//! Schema `auth` and the desk's stream, kept in step. Personal data stands in the one, what happened in the other: a change
//! is committed together with the events that tell of it, as rows that wait, and whoever comes next puts them into the
//! stream, each once. So nothing changes untold, whatever is killed.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use events::{AggregateRef, ClientId, CommandId, Time, UserId, desk::DeskEvent};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use store::{Append, AppendError, Cause, Draft, Expected, Streams, Waker};
use tokio_util::sync::CancellationToken;

use crate::{grants, looks, programs, revoked, sessions, tickets};

/// Something was revoked.
pub const AUTH_CHANGED: &str = "auth_changed";

/// How often it is looked for what a killed process left untold.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// In one of so many looks, what is long over is thrown away.
const FORGET_EVERY: u32 = 720;
/// Events that are put into the stream at once.
const AT_ONCE: i64 = 200;

/// The way to change anything of schema `auth`. Cloned freely.
#[derive(Clone)]
pub struct Register {
    auth: PgPool,
    streams: Streams,
    changed: Waker,
}

/// A change under way, and what tells of it.
pub(crate) struct Change<'a> {
    pub db: Transaction<'static, Postgres>,
    register: &'a Register,
    cause: &'a Cause,
}

/// Why events still wait.
#[derive(Debug, thiserror::Error)]
pub enum Untold {
    #[error("events of the desk that wait could not be read")]
    Database(#[from] sqlx::Error),
    #[error("an event of the desk could not be put into its stream")]
    Append(#[from] AppendError),
}

impl Register {
    /// Over connections of login `auth`.
    pub fn new(auth: PgPool, streams: Streams) -> Self {
        Self { changed: Waker::start(auth.clone(), AUTH_CHANGED), auth, streams }
    }

    /// Begins a change that somebody wants.
    pub(crate) async fn change<'a>(&'a self, cause: &'a Cause) -> sqlx::Result<Change<'a>> {
        Ok(Change { db: self.auth.begin().await?, register: self, cause })
    }

    pub(crate) fn auth(&self) -> &PgPool {
        &self.auth
    }

    /// Puts every event that waits into the stream, in order. Two who do it at once take turns.
    pub async fn tell(&self) -> Result<(), Untold> {
        while self.tell_some().await? {}
        Ok(())
    }

    /// Whether there may be more.
    async fn tell_some(&self) -> Result<bool, Untold> {
        let mut tx = self.auth.begin().await?;
        let waiting = waiting(&mut tx).await?;
        if waiting.is_empty() {
            return Ok(false);
        }
        let (places, appends): (Vec<i64>, Vec<Append>) = waiting.into_iter().unzip();
        let mut refused = None;
        let mut told = Vec::new();
        for (place, outcome) in places.iter().zip(self.streams.committer().append_all(appends).await) {
            match outcome {
                Ok(_) => told.push(*place),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        sqlx::query!("delete from auth.untold where place = any($1)", &told).execute(&mut *tx).await?;
        tx.commit().await?;
        match refused {
            Some(error) => Err(error.into()),
            None => Ok(places.len() as i64 == AT_ONCE),
        }
    }

    /// Tells what others left untold and throws away what is long over, until told to stop.
    pub async fn keep_on(self, stop: CancellationToken) {
        for look in 0_u32.. {
            if let Err(error) = self.tell().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "events of the desk are told later");
            }
            if look.is_multiple_of(FORGET_EVERY)
                && let Err(cause) = self.forget().await
            {
                tracing::warn!(error = %cause, "what is over is thrown away later");
            }
            tokio::select! { () = tokio::time::sleep(LOOK_EVERY) => {}, () = stop.cancelled() => return }
        }
    }

    async fn forget(&self) -> sqlx::Result<()> {
        revoked::forget(&self.auth).await?;
        sessions::forget(&self.auth).await?;
        tickets::forget(&self.auth).await?;
        programs::forget(&self.auth).await?;
        grants::forget(&self.auth).await?;
        looks::forget(&self.auth).await
    }
}

impl fmt::Debug for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Register").finish_non_exhaustive()
    }
}

impl Change<'_> {
    /// Nobody else changes anything about this user before the change has ended. Whatever else it locks comes after, and
    /// so two changes never wait for each other.
    pub async fn lock(&mut self, user: UserId) -> sqlx::Result<()> {
        let row = sqlx::query!("select user_id from auth.users where user_id = $1 for update", user.0);
        row.fetch_optional(&mut *self.db).await.map(drop)
    }

    /// What tells of the change, about a user.
    pub async fn note(&mut self, about: UserId, event: &DeskEvent) -> sqlx::Result<()> {
        let event = serde_json::to_string(event).expect("an event has a JSON form");
        sqlx::query!(
            r#"
            insert into auth.untold (event_key, about, event, actor, correlation)
            values (gen_random_uuid(), $1, $2, $3, $4)
            "#,
            about.0,
            event,
            self.cause.actor.to_string(),
            self.cause.correlation.0
        )
        .execute(&mut *self.db)
        .await
        .map(drop)
    }

    /// From here on it is so, and told: at once if that can be, else soon.
    pub async fn commit(self) -> sqlx::Result<()> {
        self.db.commit().await?;
        self.register.changed.wake();
        if let Err(error) = self.register.tell().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "events of the desk are told later");
        }
        Ok(())
    }
}

/// The events that wait; nobody else takes them before this transaction ends.
async fn waiting(db: &mut PgConnection) -> sqlx::Result<Vec<(i64, Append)>> {
    let rows = sqlx::query!(
        r#"
        select place, event_key, about, event, actor, correlation
          from auth.untold
         order by place
         limit $1
           for update
        "#,
        AT_ONCE
    )
    .fetch_all(db)
    .await?;
    let unreadable = |error: &dyn fmt::Display| sqlx::Error::Decode(format!("an event that waits: {error}").into());
    rows.into_iter()
        .map(|row| {
            let event: DeskEvent = serde_json::from_str(&row.event).map_err(|error| unreadable(&error))?;
            let actor = row.actor.parse().map_err(|error: String| unreadable(&error))?;
            let cause = Cause { actor, correlation: CommandId(row.correlation), causation: None, fence: None };
            let events = vec![Draft { event: event.into(), key: Some(format!("auth:{}", row.event_key)) }];
            let aggregate = AggregateRef::new("desk", UserId(row.about));
            Ok((row.place, Append { client: ClientId::DESK, aggregate, expected: Expected::Any, events, cause }))
        })
        .collect()
}

/// A moment as Postgres takes it.
pub(crate) fn stamp(at: Time) -> DateTime<Utc> {
    at.into()
}
