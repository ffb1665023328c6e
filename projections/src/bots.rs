//! Every bot: what we want of it, what Hummingbot says of it, what we saw of it. Three facts, side by side.

use std::collections::{BTreeMap, BTreeSet};

use events::{
    BotId, ClientId, Event, Recorded, Time,
    bot::{BotConfig, BotEvent, Limit, ReportedState},
    ledger::LedgerEvent,
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    projection::{ProjectError, Projection},
    rows,
};

/// A client's bots.
#[derive(Debug)]
pub struct Bots {
    bots: BTreeMap<BotId, Bot>,
    changed: BTreeSet<BotId>,
}

/// One bot as it is known now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Bot {
    /// Whose it is.
    pub client_id: Uuid,
    /// Which.
    pub bot_id: BotId,
    /// What people call it.
    pub name: String,
    /// What it is told to do.
    pub config: BotConfig,
    /// Since when it exists.
    pub created_at: Time,
    /// What we want of it, and since when.
    pub desired: Desired,
    pub desired_at: Time,
    /// What came of asking last; absent while it is under way or was never asked for.
    pub answer: Option<Answer>,
    /// Why the last deploy or stop failed.
    pub failure: Option<String>,
    /// The name that Hummingbot gave the last deployment.
    pub instance: Option<String>,
    /// What Hummingbot said last, and when; absent: it never said anything.
    pub reported: Option<ReportedState>,
    pub reported_at: Option<Time>,
    /// The last sign of life that reached us: a beat or a fill.
    pub last_seen: Option<Time>,
    /// Since when it has been silent: what it does is unknown since then. Absent: it is not known to be silent.
    pub silent_since: Option<Time>,
    /// Why it was last told to stop.
    pub stop_reason: Option<String>,
    /// How many configs it has had, the one it was created with included.
    pub configs: i64,
    /// Why the running instance did not take the newest config; absent: it did, or has not answered.
    pub config_failure: Option<String>,
    /// The last config that a running instance has; null: nobody knows.
    pub config_applied: Option<i64>,
    /// Since when its fills may be missing; absent: all of them are here.
    pub gap_since: Option<Time>,
    /// The limit that stopped it, since it was deployed last.
    pub broken_limit: Option<Limit>,
}

/// What we want of a bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Desired {
    Running,
    Stopped,
}

/// What came of a deploy or a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Deployed,
    DeployFailed,
    Stopped,
    StopFailed,
}

impl Projection for Bots {
    const NAME: &'static str = "bots";
    const FOLD: u32 = 3;
    const TABLES: &'static str = r#"
        create table bots (
          client_id    uuid        not null,
          bot_id       uuid        not null,
          name         text        not null,
          config       jsonb       not null,
          created_at   timestamptz not null,
          desired      text        not null,
          desired_at   timestamptz not null,
          answer       text,
          failure      text,
          instance     text,
          reported     text,
          reported_at  timestamptz,
          last_seen    timestamptz,
          silent_since timestamptz,
          stop_reason    text,
          configs        bigint not null,
          config_failure text,
          config_applied bigint,
          gap_since      timestamptz,
          broken_limit   text,
          primary key (client_id, bot_id)
        );
    "#;

    async fn open(db: &mut PgConnection, client: ClientId, _: u64) -> Result<Self, ProjectError> {
        let bots = of_client(db, client).await?.into_iter().map(|bot| (bot.bot_id, bot)).collect();
        Ok(Self { bots, changed: BTreeSet::new() })
    }

    fn fold(&mut self, event: &Recorded) -> Result<(), ProjectError> {
        match &event.event {
            Event::Bot(told) => {
                let bot = event.aggregate.id.parse().map_err(|_| unfoldable(event, "its bot's id is no id"))?;
                self.hear(event, bot, told)
            }
            Event::Ledger(LedgerEvent::FillRecorded(fill)) => {
                if let Some(bot) = self.bots.get_mut(&fill.bot) {
                    bot.saw(fill.at);
                    self.changed.insert(fill.bot);
                }
                Ok(())
            }
            Event::Ledger(_)
            | Event::Client(_)
            | Event::Market(_)
            | Event::Account(_)
            | Event::Credential(_)
            | Event::Order(_)
            | Event::Subscription(_)
            | Event::Alert(_)
            | Event::Rule(_)
            | Event::Agreement(_)
            | Event::Channel(_)
            | Event::Schedule(_)
            | Event::Silence(_)
            | Event::Agent(_)
            | Event::Manual(_)
            | Event::Desk(_) => Ok(()),
        }
    }

    async fn save(&mut self, db: &mut PgConnection, _: ClientId, _: u64) -> Result<(), ProjectError> {
        let changed = std::mem::take(&mut self.changed);
        let Some(rows) = rows::written(changed.iter().map(|bot| &self.bots[bot])) else { return Ok(()) };
        sqlx::query!(
            "delete from bots b using jsonb_populate_recordset(null::bots, $1) n
              where (b.client_id, b.bot_id) = (n.client_id, n.bot_id)",
            rows
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!("insert into bots select * from jsonb_populate_recordset(null::bots, $1)", rows)
            .execute(db)
            .await?;
        Ok(())
    }
}

fn unfoldable(event: &Recorded, reason: &str) -> ProjectError {
    ProjectError::Unfoldable { seq: event.seq, reason: reason.to_owned() }
}

impl Bots {
    fn hear(&mut self, event: &Recorded, id: BotId, told: &BotEvent) -> Result<(), ProjectError> {
        if let BotEvent::BotCreated { name, config, at } = told {
            let bot = Bot::created(event.client, id, name.to_string(), config.clone(), *at);
            self.bots.insert(id, bot);
        }
        let bot = self.bots.get_mut(&id).ok_or_else(|| unfoldable(event, "nobody created its bot"))?;
        bot.hear(told);
        self.changed.insert(id);
        Ok(())
    }
}

impl Bot {
    fn created(client: ClientId, bot_id: BotId, name: String, config: BotConfig, at: Time) -> Self {
        Self {
            client_id: client.0,
            bot_id,
            name,
            config,
            created_at: at,
            desired: Desired::Stopped,
            desired_at: at,
            answer: None,
            failure: None,
            instance: None,
            reported: None,
            reported_at: None,
            last_seen: None,
            silent_since: None,
            stop_reason: None,
            configs: 1,
            config_failure: None,
            config_applied: None,
            gap_since: None,
            broken_limit: None,
        }
    }

    fn hear(&mut self, told: &BotEvent) {
        match told {
            BotEvent::BotCreated { .. } => {}
            BotEvent::BotConfigChanged { config, .. } => {
                self.config = config.clone();
                self.configs += 1;
                self.config_failure = None;
            }
            BotEvent::BotDeployRequested { at } => {
                self.want(Desired::Running, *at);
                (self.stop_reason, self.broken_limit) = (None, None);
                // What was seen of the instance before says nothing of the next one.
                (self.reported, self.reported_at, self.silent_since) = (None, None, None);
            }
            BotEvent::BotStopRequested { reason, at } => {
                self.want(Desired::Stopped, *at);
                self.stop_reason = Some(reason.clone());
            }
            BotEvent::BotDeployStarted { .. }
            | BotEvent::BotDeployed { .. }
            | BotEvent::BotDeployFailed { .. }
            | BotEvent::BotStopped { .. }
            | BotEvent::BotStopFailed { .. }
            | BotEvent::BotConfigApplied { .. }
            | BotEvent::BotConfigNotApplied { .. } => self.hear_deed(told),
            BotEvent::BotStateReported { state, at } => {
                self.reported = Some(*state);
                self.reported_at = Some(*at);
            }
            BotEvent::BotSeenAlive { at } => {
                self.saw(*at);
                self.silent_since = None;
            }
            BotEvent::BotSilent { last_seen, .. } => self.silent_since = Some(*last_seen),
            BotEvent::BotGapOpened { since, .. } => self.gap_since = Some(*since),
            BotEvent::BotGapHealed { .. } => self.gap_since = None,
            BotEvent::BotLimitBroken { limit, .. } => self.broken_limit = Some(*limit),
            BotEvent::BotLimitNeared { .. }
            | BotEvent::BotArchived { .. }
            | BotEvent::BotStrayFound { .. }
            | BotEvent::BotStrayStopped { .. }
            | BotEvent::BotLogged { .. }
            | BotEvent::BotFiguresReported { .. } => {}
        }
    }

    /// What the operator did for it.
    fn hear_deed(&mut self, told: &BotEvent) {
        match told {
            BotEvent::BotDeployStarted { .. } => {
                self.config_applied = Some(self.configs);
            }
            BotEvent::BotDeployed { instance, .. } => {
                self.instance = Some(instance.clone());
                self.answer = Some(Answer::Deployed);
            }
            BotEvent::BotDeployFailed { reason, at } => {
                self.want(Desired::Stopped, *at);
                self.fail(Answer::DeployFailed, reason);
            }
            BotEvent::BotStopped { .. } => (self.answer, self.silent_since) = (Some(Answer::Stopped), None),
            BotEvent::BotStopFailed { reason, .. } => self.fail(Answer::StopFailed, reason),
            BotEvent::BotConfigApplied { config, .. } => self.config_applied = i64::try_from(*config).ok(),
            BotEvent::BotConfigNotApplied { reason, .. } => self.config_failure = Some(reason.clone()),
            BotEvent::BotCreated { .. }
            | BotEvent::BotConfigChanged { .. }
            | BotEvent::BotDeployRequested { .. }
            | BotEvent::BotStopRequested { .. }
            | BotEvent::BotStateReported { .. }
            | BotEvent::BotSeenAlive { .. }
            | BotEvent::BotSilent { .. }
            | BotEvent::BotGapOpened { .. }
            | BotEvent::BotGapHealed { .. }
            | BotEvent::BotLimitBroken { .. }
            | BotEvent::BotLimitNeared { .. }
            | BotEvent::BotArchived { .. }
            | BotEvent::BotStrayFound { .. }
            | BotEvent::BotStrayStopped { .. }
            | BotEvent::BotLogged { .. }
            | BotEvent::BotFiguresReported { .. } => {}
        }
    }

    fn want(&mut self, desired: Desired, at: Time) {
        (self.desired, self.desired_at, self.answer, self.failure) = (desired, at, None, None);
    }

    fn fail(&mut self, answer: Answer, reason: &str) {
        (self.answer, self.failure) = (Some(answer), Some(reason.to_owned()));
    }

    fn saw(&mut self, at: Time) {
        self.last_seen = self.last_seen.max(Some(at));
    }
}

/// A client's bots, by name.
pub async fn of_client(db: &mut PgConnection, client: ClientId) -> sqlx::Result<Vec<Bot>> {
    let rows = sqlx::query_scalar!(
        r#"select to_jsonb(b)::text as "row!" from bots b where b.client_id = $1 order by b.name, b.bot_id"#,
        client.0
    )
    .fetch_all(db)
    .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}

/// One bot of a client; absent where it is not known (yet).
pub async fn one(db: &mut PgConnection, client: ClientId, bot: BotId) -> sqlx::Result<Option<Bot>> {
    let row = sqlx::query_scalar!(
        r#"select to_jsonb(b)::text as "row!" from bots b where b.client_id = $1 and b.bot_id = $2"#,
        client.0,
        bot.0
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| rows::read(&row)))
}

/// Every bot of every client, by client and name. For the desk alone.
pub async fn every(db: &mut PgConnection) -> sqlx::Result<Vec<Bot>> {
    let rows =
        sqlx::query_scalar!(r#"select to_jsonb(b)::text as "row!" from bots b order by b.client_id, b.name, b.bot_id"#)
            .fetch_all(db)
            .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}

/// Whose a bot is; absent where it is not known (yet). For the desk alone.
pub async fn owner(db: &mut PgConnection, bot: BotId) -> sqlx::Result<Option<ClientId>> {
    let row = sqlx::query_scalar!("select client_id from bots where bot_id = $1", bot.0).fetch_optional(db).await?;
    Ok(row.map(ClientId))
}
