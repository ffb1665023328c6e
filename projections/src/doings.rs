//! What was asked of each bot, what was done for it, what it was reported and seen to be: its history, with times and reasons.

use events::{
    Actor, BotId, ClientId, Decimal, Event, Recorded, Time,
    bot::{BotEvent, Limit, ReportedState},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    projection::{ProjectError, Projection},
    rows,
};

/// What a batch brought.
#[derive(Debug, Default)]
pub struct Doings {
    new: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    client_id: Uuid,
    bot_id: BotId,
    seq: u64,
    at: Time,
    by: Option<Actor>,
    doing: What,
}

/// One line of a bot's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Doing {
    /// The event that told it.
    pub seq: u64,
    /// When.
    pub at: Time,
    /// Who did or saw it: `user:` and an id, or `system:` and a part of the platform; null: nobody was named.
    #[schema(value_type = Option<String>)]
    pub by: Option<Actor>,
    #[serde(flatten)]
    pub what: What,
}

/// What was asked, done or seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "what", rename_all = "snake_case")]
#[schema(as = WhatWasDone)]
pub enum What {
    Created,
    DeployAsked,
    /// Hummingbot was about to be asked for an instance of this name.
    DeployStarted {
        name: String,
    },
    Deployed {
        instance: String,
    },
    DeployFailed {
        reason: String,
    },
    StopAsked {
        reason: String,
    },
    Stopped,
    /// It may still trade.
    StopFailed {
        reason: String,
    },
    Archived {
        instance: String,
    },
    /// An instance that landed late, beside the one that it runs as; it is to be stopped and put away.
    StrayFound {
        instance: String,
    },
    StrayStopped {
        instance: String,
    },
    /// Hummingbot says this of it.
    Reported {
        state: ReportedState,
    },
    /// It gave a sign of life again.
    Alive,
    /// It gave no sign of life since then.
    Silent {
        last_seen: Time,
    },
    /// Its fills may not have reached us since then.
    GapOpened {
        since: Time,
        reason: String,
    },
    /// They were asked for again; so many of them were new.
    GapHealed {
        since: Time,
        until: Time,
        fills: u64,
    },
    LimitNeared {
        limit: Limit,
        measured: Decimal,
        allowed: Decimal,
    },
    LimitBroken {
        limit: Limit,
        measured: Decimal,
        allowed: Decimal,
    },
}

impl What {
    /// What an event tells; absent: it belongs to the configs, the log or the figures.
    fn of(event: &BotEvent) -> Option<Self> {
        Some(match event.clone() {
            BotEvent::BotCreated { .. } => Self::Created,
            BotEvent::BotDeployRequested { .. } => Self::DeployAsked,
            BotEvent::BotDeployStarted { name, .. } => Self::DeployStarted { name },
            BotEvent::BotDeployed { instance, .. } => Self::Deployed { instance },
            BotEvent::BotDeployFailed { reason, .. } => Self::DeployFailed { reason },
            BotEvent::BotStopRequested { reason, .. } => Self::StopAsked { reason },
            BotEvent::BotStopped { .. } => Self::Stopped,
            BotEvent::BotStopFailed { reason, .. } => Self::StopFailed { reason },
            BotEvent::BotArchived { instance, .. } => Self::Archived { instance },
            BotEvent::BotStrayFound { instance, .. } => Self::StrayFound { instance },
            BotEvent::BotStrayStopped { instance, .. } => Self::StrayStopped { instance },
            BotEvent::BotStateReported { state, .. } => Self::Reported { state },
            BotEvent::BotSeenAlive { .. } => Self::Alive,
            BotEvent::BotSilent { last_seen, .. } => Self::Silent { last_seen },
            BotEvent::BotGapOpened { since, reason, .. } => Self::GapOpened { since, reason },
            BotEvent::BotGapHealed { since, until, fills, .. } => Self::GapHealed { since, until, fills },
            BotEvent::BotLimitNeared { limit, measured, allowed, .. } => Self::LimitNeared { limit, measured, allowed },
            BotEvent::BotLimitBroken { limit, measured, allowed, .. } => Self::LimitBroken { limit, measured, allowed },
            BotEvent::BotConfigChanged { .. }
            | BotEvent::BotConfigApplied { .. }
            | BotEvent::BotConfigNotApplied { .. }
            | BotEvent::BotLogged { .. }
            | BotEvent::BotFiguresReported { .. } => return None,
        })
    }
}

impl Projection for Doings {
    const NAME: &'static str = "doings";
    const FOLD: u32 = 1;
    const TABLES: &'static str = r#"
        create table doings (
          client_id uuid        not null,
          bot_id    uuid        not null,
          seq       bigint      not null,
          at        timestamptz not null,
          by        text,
          doing     jsonb       not null,
          primary key (client_id, bot_id, seq)
        );
    "#;

    async fn open(_: &mut PgConnection, _: ClientId, _: u64) -> Result<Self, ProjectError> {
        Ok(Self::default())
    }

    fn fold(&mut self, event: &Recorded) -> Result<(), ProjectError> {
        let Event::Bot(told) = &event.event else { return Ok(()) };
        let Some(doing) = What::of(told) else { return Ok(()) };
        let no_id = |_| ProjectError::Unfoldable { seq: event.seq, reason: "its bot's id is no id".to_owned() };
        let bot_id = event.aggregate.id.parse().map_err(no_id)?;
        let (client_id, by) = (event.client.0, event.actor.clone());
        self.new.push(Row { client_id, bot_id, seq: event.seq, at: told.at(), by, doing });
        Ok(())
    }

    async fn save(&mut self, db: &mut PgConnection, _: ClientId, _: u64) -> Result<(), ProjectError> {
        let new = std::mem::take(&mut self.new);
        let Some(rows) = rows::written(new.iter()) else { return Ok(()) };
        sqlx::query!("insert into doings select * from jsonb_populate_recordset(null::doings, $1)", rows)
            .execute(db)
            .await?;
        Ok(())
    }
}

/// A bot's history, newest first, what stands before event `before`; at most `most` lines.
pub async fn page(
    db: &mut PgConnection,
    client: ClientId,
    bot: BotId,
    before: Option<u64>,
    most: u32,
) -> sqlx::Result<Vec<Doing>> {
    let rows = sqlx::query_scalar!(
        r#"
        select (to_jsonb(d) - 'doing' || d.doing)::text as "row!"
          from doings d
         where d.client_id = $1 and d.bot_id = $2 and d.seq < $3
         order by d.seq desc
         limit $4
        "#,
        client.0,
        bot.0,
        before.map_or(i64::MAX, |seq| seq as i64),
        i64::from(most)
    )
    .fetch_all(db)
    .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::told::{Told, at};

    fn check(given: BotEvent, then: Option<What>) {
        let (mut told, mut doings) = (Told::default(), Doings::default());
        doings.fold(&told.bot(given)).unwrap();
        assert_eq!(doings.new.pop().map(|row| row.doing), then);
    }

    #[test]
    fn a_deed_keeps_its_reason_and_a_config_is_no_deed() {
        let reason = || "the client asked".to_owned();
        check(BotEvent::BotStopRequested { reason: reason(), at: at(0) }, Some(What::StopAsked { reason: reason() }));
        check(
            BotEvent::BotGapHealed { since: at(1), until: at(5), fills: 3, at: at(6) },
            Some(What::GapHealed { since: at(1), until: at(5), fills: 3 }),
        );
        check(BotEvent::BotConfigApplied { config: 2, at: at(0) }, None);
    }

    #[test]
    fn a_line_is_told_flat_and_reads_back() {
        let what = What::Silent { last_seen: at(1) };
        let line = Doing { seq: 4, at: at(9), by: Some(Actor::System("operator".into())), what };
        let text = rows::text(&line);
        assert!(text.contains(r#""what":"silent","last_seen":"#), "{text}");
        assert_eq!(rows::read::<Doing>(&text), line);
    }
}
