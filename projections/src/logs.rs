//! The end of each bot's log: what it warned of or complained about last.

use std::collections::BTreeSet;

use events::{
    BotId, ClientId, Event, Recorded, Time,
    bot::{BotEvent, LogLevel},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    projection::{ProjectError, Projection},
    rows,
};

/// Lines that are kept of each bot.
pub const LINES_MAX: i64 = 500;

/// Lines that a batch brought.
#[derive(Debug, Default)]
pub struct Logs {
    new: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    client_id: Uuid,
    bot_id: BotId,
    #[serde(flatten)]
    line: Line,
}

/// A line of a bot's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = LogLine)]
pub struct Line {
    /// The event that told it.
    pub seq: u64,
    /// When it reached us.
    pub at: Time,
    /// How much it matters.
    pub level: LogLevel,
    /// What the bot said.
    pub message: String,
}

impl Projection for Logs {
    const NAME: &'static str = "logs";
    const FOLD: u32 = 1;
    const TABLES: &'static str = r#"
        create table logs (
          client_id uuid        not null,
          bot_id    uuid        not null,
          seq       bigint      not null,
          at        timestamptz not null,
          level     text        not null,
          message   text        not null,
          primary key (client_id, bot_id, seq)
        );
    "#;

    async fn open(_: &mut PgConnection, _: ClientId, _: u64) -> Result<Self, ProjectError> {
        Ok(Self::default())
    }

    fn fold(&mut self, event: &Recorded) -> Result<(), ProjectError> {
        let Event::Bot(BotEvent::BotLogged { level, message, at }) = &event.event else { return Ok(()) };
        let no_id = |_| ProjectError::Unfoldable { seq: event.seq, reason: "its bot's id is no id".to_owned() };
        let bot_id = event.aggregate.id.parse().map_err(no_id)?;
        let line = Line { seq: event.seq, at: *at, level: *level, message: message.clone() };
        self.new.push(Row { client_id: event.client.0, bot_id, line });
        Ok(())
    }

    async fn save(&mut self, db: &mut PgConnection, client: ClientId, _: u64) -> Result<(), ProjectError> {
        let new = std::mem::take(&mut self.new);
        let Some(rows) = rows::written(new.iter()) else { return Ok(()) };
        sqlx::query!("insert into logs select * from jsonb_populate_recordset(null::logs, $1)", rows)
            .execute(&mut *db)
            .await?;
        let bots: BTreeSet<BotId> = new.iter().map(|row| row.bot_id).collect();
        sqlx::query!(
            "delete from logs l
              using unnest($2::uuid[]) b(bot_id)
              where l.client_id = $1
                and l.bot_id = b.bot_id
                and l.seq <= (select o.seq from logs o
                               where o.client_id = $1 and o.bot_id = b.bot_id
                               order by o.seq desc offset $3 limit 1)",
            client.0,
            &bots.iter().map(|bot| bot.0).collect::<Vec<_>>(),
            LINES_MAX
        )
        .execute(db)
        .await?;
        Ok(())
    }
}

/// The last lines of a bot's log, newest first.
pub async fn last(db: &mut PgConnection, client: ClientId, bot: BotId, most: u32) -> sqlx::Result<Vec<Line>> {
    let rows = sqlx::query_scalar!(
        r#"
        select to_jsonb(l)::text as "row!"
          from logs l
         where l.client_id = $1 and l.bot_id = $2
         order by l.seq desc
         limit $3
        "#,
        client.0,
        bot.0,
        i64::from(most)
    )
    .fetch_all(db)
    .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}
