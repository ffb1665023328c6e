//! The table of messages: made together with the note of what they tell, so that each thing goes into one of them; taken by
//! whoever sends; kept, so that it can be seen what was told.

use std::{collections::HashMap, time::Duration};

use events::{AlertId, ChannelId, ClientId, MessageId, RuleName, SealedId, Time};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

use super::{
    board::Board,
    plan::{Message, Said, Told},
    post::Outcome,
};

/// Nobody is at a message for longer than this.
const TAKEN_S: i32 = 40;
/// Messages of one client that a process is at at once.
const OF_CLIENT_MAX: i64 = 4;

/// So long it is kept what was told, and of what is over: longer than a message is tried, and than anything is news.
const KEPT_US: i64 = 30 * 86_400_000_000;

/// A message that somebody is at.
#[derive(Debug)]
pub struct Taken {
    pub client: ClientId,
    pub message: MessageId,
    pub channel: ChannelId,
    pub said: Said,
    pub made_at: Time,
    /// The how many-th try it is.
    pub attempt: u32,
    /// What came of that try, if it was made and nobody has recorded it yet.
    pub came: Option<Came>,
}

/// What came of a try, and of which target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Came {
    pub outcome: Outcome,
    /// Absent: it was none, because nothing was opened.
    pub sealed: Option<SealedId>,
}

/// What was put into messages of a client.
pub async fn told(db: &PgPool, client: ClientId) -> sqlx::Result<Told> {
    let rows = sqlx::query!(
        r#"
        select channel_id, alert_id, episode, notice, rule, told_at
          from alerts.told
         where client_id = $1
        "#,
        client.0
    )
    .fetch_all(db)
    .await?;
    let mut told = Told::default();
    for row in rows {
        // A test is of no rule; nothing asks for it again.
        let Ok(rule) = row.rule.parse::<RuleName>() else { continue };
        let at = Time::from(row.told_at);
        told.note(ChannelId(row.channel_id), &rule, AlertId(row.alert_id), row.episode as u64, row.notice, at);
    }
    Ok(told)
}

/// Forgets what was told long ago, but for episodes that may have to be told of again: those on the board.
pub async fn forget(db: &PgPool, client: ClientId, board: &Board, now: Time) -> sqlx::Result<()> {
    let before = chrono::DateTime::from(now.plus_micros(-KEPT_US));
    let (alerts, numbers): (Vec<Uuid>, Vec<i64>) =
        board.episodes().map(|(alert, number)| (alert.0, number as i64)).unzip();
    sqlx::query!(
        r#"
        delete from alerts.told t
         using (select channel_id, alert_id, episode
                  from alerts.told
                 where client_id = $1
                 group by channel_id, alert_id, episode
                having max(told_at) < $2) old
         where t.client_id = $1
           and (t.channel_id, t.alert_id, t.episode) = (old.channel_id, old.alert_id, old.episode)
           and (t.alert_id, t.episode) not in (select * from unnest($3::uuid[], $4::bigint[]))
        "#,
        client.0,
        before,
        &alerts,
        &numbers
    )
    .execute(db)
    .await?;
    sqlx::query!("delete from alerts.messages where client_id = $1 and over and made_at < $2", client.0, before)
        .execute(db)
        .await
        .map(drop)
}

/// Makes a message of what is due. False: another process has told some of it.
pub async fn put(db: &PgPool, client: ClientId, message: &Message) -> sqlx::Result<bool> {
    let mut tx = db.begin().await?;
    let id = MessageId::new();
    let said = serde_json::to_value(&message.said).expect("a message has a JSON form");
    sqlx::query!(
        "insert into alerts.messages (client_id, message_id, channel_id, said) values ($1, $2, $3, $4)",
        client.0,
        id.0,
        message.channel.0,
        said
    )
    .execute(&mut *tx)
    .await?;
    for (of, number, notice, rule) in parts(message) {
        if !note(&mut tx, client, message.told_as, (of, number, notice, rule), id).await? {
            tx.rollback().await?;
            return Ok(false);
        }
    }
    tx.commit().await?;
    Ok(true)
}

/// What of it is noted as told; of what somebody asked for, the channel and the event that asked.
fn parts(message: &Message) -> Vec<(Uuid, u64, String, String)> {
    match &message.said {
        Said::Alerts { rule, items } => {
            let part = |item: &super::plan::Item| (item.alert_id.0, item.episode, item.key.clone(), rule.to_string());
            items.iter().map(part).collect()
        }
        Said::Test { of } | Said::Report { of, .. } => {
            vec![(message.channel.0, *of, "asked".to_owned(), String::new())]
        }
    }
}

async fn note(
    tx: &mut PgConnection,
    client: ClientId,
    channel: ChannelId,
    (of, number, notice, rule): (Uuid, u64, String, String),
    message: MessageId,
) -> sqlx::Result<bool> {
    let noted = sqlx::query!(
        r#"
        insert into alerts.told (client_id, channel_id, alert_id, episode, notice, rule, message_id)
        values ($1, $2, $3, $4, $5, $6, $7)
        on conflict do nothing
        "#,
        client.0,
        channel.0,
        of,
        number as i64,
        notice,
        rule,
        message.0
    )
    .execute(tx)
    .await?;
    Ok(noted.rows_affected() == 1)
}

/// Takes messages whose time has come and that nobody is at, those that have waited longest first, and of no client so many that
/// slow receivers of its own hold others up. `sending`: how many of each client this process is at already.
pub async fn take(db: impl PgExecutor<'_>, most: i64, sending: &HashMap<ClientId, i64>) -> sqlx::Result<Vec<Taken>> {
    let (clients, counts): (Vec<Uuid>, Vec<i64>) = sending.iter().map(|(client, count)| (client.0, *count)).unzip();
    let rows = sqlx::query!(
        r#"
        update alerts.messages m
           set taken_until = now() + $2::int * interval '1 second', attempts = m.attempts + (m.came is null)::int
          from (select due.client_id, due.message_id
                  from (select distinct client_id
                          from alerts.messages
                         where not over and due_at <= now() and taken_until <= now()) c
                 cross join lateral (
                        select client_id, message_id, due_at
                          from alerts.messages
                         where client_id = c.client_id and not over and due_at <= now() and taken_until <= now()
                         order by due_at
                         limit greatest(0, $3 - coalesce((select s.count
                                                            from unnest($4::uuid[], $5::bigint[]) s(client_id, count)
                                                           where s.client_id = c.client_id), 0))
                           for update skip locked) due
                 order by due.due_at
                 limit $1) due
         where (m.client_id, m.message_id) = (due.client_id, due.message_id)
        returning m.client_id, m.message_id, m.channel_id, m.said, m.made_at, m.attempts, m.came
        "#,
        most,
        TAKEN_S,
        OF_CLIENT_MAX,
        &clients,
        &counts
    )
    .fetch_all(db)
    .await?;
    let taken = rows.into_iter().filter_map(|row| {
        let said: Value = row.said;
        // One that a newer build has made waits for that; it holds nobody else up.
        let said = serde_json::from_value(said);
        let said = said.inspect_err(|cause| tracing::warn!(error = %cause, "a message is not known to this build"));
        Some(Taken {
            client: ClientId(row.client_id),
            message: MessageId(row.message_id),
            channel: ChannelId(row.channel_id),
            said: said.ok()?,
            made_at: Time::from(row.made_at),
            attempt: row.attempts.unsigned_abs(),
            came: row.came.and_then(|came| serde_json::from_value(came).ok()),
        })
    });
    Ok(taken.collect())
}

/// Keeps what came of a try until it is recorded: it was made, whatever becomes of whoever made it.
pub async fn came(db: impl PgExecutor<'_>, taken: &Taken, came: &Came) -> sqlx::Result<()> {
    sqlx::query!(
        "update alerts.messages set came = $3 where client_id = $1 and message_id = $2 and attempts = $4",
        taken.client.0,
        taken.message.0,
        serde_json::to_value(came).expect("an outcome has a JSON form"),
        taken.attempt.cast_signed()
    )
    .execute(db)
    .await
    .map(drop)
}

/// What waits for a channel is due now: it was mended.
pub async fn hurry(db: impl PgExecutor<'_>, client: ClientId, channel: ChannelId) -> sqlx::Result<()> {
    sqlx::query!(
        "update alerts.messages set due_at = now()
          where client_id = $1 and channel_id = $2 and not over and due_at > now()",
        client.0,
        channel.0
    )
    .execute(db)
    .await
    .map(drop)
}

/// It is tried no more. Nothing, where somebody else has taken it meanwhile.
pub async fn close(db: impl PgExecutor<'_>, taken: &Taken) -> sqlx::Result<()> {
    sqlx::query!(
        "update alerts.messages set over = true where client_id = $1 and message_id = $2 and attempts = $3",
        taken.client.0,
        taken.message.0,
        taken.attempt.cast_signed()
    )
    .execute(db)
    .await
    .map(drop)
}

/// It is tried again after a while. `counted`: this was a try. Nothing, where somebody else has taken it meanwhile.
pub async fn put_off(db: impl PgExecutor<'_>, taken: &Taken, wait: Duration, counted: bool) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        update alerts.messages
           set due_at = now() + $3::bigint * interval '1 millisecond', taken_until = 'epoch', attempts = attempts - $4,
               came = null
         where client_id = $1 and message_id = $2 and attempts = $5 and not over
        "#,
        taken.client.0,
        taken.message.0,
        i64::try_from(wait.as_millis()).unwrap_or(i64::MAX),
        i32::from(!counted),
        taken.attempt.cast_signed()
    )
    .execute(db)
    .await
    .map(drop)
}
