//! Every config that a bot ever had: since when, by whom, what is otherwise than before, and what became of it.

use std::collections::BTreeMap;

use events::{
    Actor, BotId, ClientId, Event, Recorded, Time,
    bot::{BotConfig, BotEvent, Limits, Venue},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    projection::{ProjectError, Projection},
    rows,
};

/// What a batch tells of a client's configs.
#[derive(Debug, Default)]
pub struct Configs {
    heads: BTreeMap<BotId, Head>,
    new: Vec<Row>,
    answers: BTreeMap<(BotId, i64), Answer>,
}

/// Where a bot's configs stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    client_id: Uuid,
    bot_id: BotId,
    /// Its newest config, and which one that is.
    number: i64,
    config: BotConfig,
    /// The one that its newest instance was asked for with, while nobody knows what came of that.
    handed: Option<i64>,
}

/// A config as it was told.
#[derive(Debug, Serialize)]
struct Row {
    client_id: Uuid,
    bot_id: BotId,
    number: i64,
    seq: u64,
    since: Time,
    by: Option<Actor>,
    config: BotConfig,
    changes: Vec<Change>,
}

/// What is known of how a config came to a running instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Answer {
    client_id: Uuid,
    bot_id: BotId,
    number: i64,
    outcome: Outcome,
    outcome_at: Time,
    reason: Option<String>,
}

/// A config of a bot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Config {
    /// 1 is the one that the bot was created with.
    pub number: i64,
    /// The event that told it.
    pub seq: u64,
    /// When it was wanted.
    pub since: Time,
    /// Who wanted it: `user:` and an id, or `system:` and a part of the platform; null: nobody was named.
    #[schema(value_type = Option<String>)]
    pub by: Option<Actor>,
    /// All of it.
    pub config: BotConfig,
    /// What is otherwise than in the one before; of the first one, everything.
    pub changes: Vec<Change>,
    /// What became of it.
    pub outcome: Outcome,
    /// When a running instance first had it, or was last found not to take it.
    pub outcome_at: Option<Time>,
    /// Why it was not taken.
    pub reason: Option<String>,
}

/// What became of a config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A running instance has or had it.
    Applied,
    /// An instance was handed it and did not take it, or did not start with it.
    NotApplied,
    /// An instance is being started with it.
    HandedOver,
    /// It is the newest, and no instance was handed it yet.
    Waiting,
    /// Another took its place before any instance was handed it.
    NeverHandedOver,
}

/// One thing that is otherwise than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    pub of: Part,
    /// Which parameter or limit; absent of what there is one of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Null: it was not there.
    pub was: Option<String>,
    /// Null: it is not there any more.
    pub is: Option<String>,
}

/// A part of a config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Controller,
    Venue,
    Kind,
    Parameter,
    Limit,
}

impl Projection for Configs {
    const NAME: &'static str = "configs";
    const FOLD: u32 = 1;
    const TABLES: &'static str = r#"
        create table config_heads (
          client_id uuid   not null,
          bot_id    uuid   not null,
          number    bigint not null,
          config    jsonb  not null,
          handed    bigint,                               -- an instance is being started with it
          primary key (client_id, bot_id)
        );
        create table configs (
          client_id  uuid        not null,
          bot_id     uuid        not null,
          number     bigint      not null,
          seq        bigint      not null,
          since      timestamptz not null,
          by         text,
          config     jsonb       not null,
          changes    jsonb       not null,
          outcome    text,                                -- null: no instance said anything of it
          outcome_at timestamptz,
          reason     text,
          primary key (client_id, bot_id, number)
        );
    "#;

    async fn open(db: &mut PgConnection, client: ClientId, _: u64) -> Result<Self, ProjectError> {
        let rows = sqlx::query_scalar!(
            r#"select to_jsonb(h)::text as "row!" from config_heads h where h.client_id = $1"#,
            client.0
        )
        .fetch_all(db)
        .await?;
        let heads = rows.iter().map(|row| rows::read::<Head>(row)).map(|head| (head.bot_id, head)).collect();
        Ok(Self { heads, ..Self::default() })
    }

    fn fold(&mut self, event: &Recorded) -> Result<(), ProjectError> {
        let Event::Bot(told) = &event.event else { return Ok(()) };
        let unfoldable = |reason: &str| ProjectError::Unfoldable { seq: event.seq, reason: reason.to_owned() };
        let bot = event.aggregate.id.parse().map_err(|_| unfoldable("its bot's id is no id"))?;
        let known = self.hear(event, bot, told);
        if known { Ok(()) } else { Err(unfoldable("nobody created its bot")) }
    }

    async fn save(&mut self, db: &mut PgConnection, client: ClientId, _: u64) -> Result<(), ProjectError> {
        let (new, answers) = (std::mem::take(&mut self.new), std::mem::take(&mut self.answers));
        if let Some(rows) = rows::written(new.iter()) {
            sqlx::query!("insert into configs select * from jsonb_populate_recordset(null::configs, $1)", rows)
                .execute(&mut *db)
                .await?;
        }
        if let Some(rows) = rows::written(answers.values()) {
            sqlx::query!(
                "update configs c
                    set outcome = n.outcome, outcome_at = n.outcome_at, reason = n.reason
                   from jsonb_populate_recordset(null::configs, $1) n
                  where (c.client_id, c.bot_id, c.number) = (n.client_id, n.bot_id, n.number)
                    and c.outcome is distinct from 'applied'",
                rows
            )
            .execute(&mut *db)
            .await?;
        }
        sqlx::query!("delete from config_heads where client_id = $1", client.0).execute(&mut *db).await?;
        let Some(rows) = rows::written(self.heads.values()) else { return Ok(()) };
        sqlx::query!("insert into config_heads select * from jsonb_populate_recordset(null::config_heads, $1)", rows)
            .execute(db)
            .await?;
        Ok(())
    }
}

impl Configs {
    /// The bot is told something else; whether there is such a bot.
    fn wanted(&mut self, event: &Recorded, bot: BotId, config: &BotConfig, since: Time) -> bool {
        let Some(head) = self.heads.get_mut(&bot) else { return false };
        let changes = changes(&head.config, config);
        (head.number, head.config) = (head.number + 1, config.clone());
        self.new.push(Row {
            client_id: event.client.0,
            bot_id: bot,
            number: head.number,
            seq: event.seq,
            since,
            by: event.actor.clone(),
            config: config.clone(),
            changes,
        });
        true
    }

    /// Takes in what happened to a bot; whether there is such a bot.
    fn hear(&mut self, event: &Recorded, bot: BotId, told: &BotEvent) -> bool {
        let client = event.client;
        match told {
            BotEvent::BotCreated { config, at, .. } => {
                let (client_id, before) = (client.0, BotConfig::default());
                let head = Head { client_id, bot_id: bot, number: 0, config: before, handed: None };
                self.heads.insert(bot, head);
                return self.wanted(event, bot, config, *at);
            }
            BotEvent::BotConfigChanged { config, at } => return self.wanted(event, bot, config, *at),
            BotEvent::BotDeployStarted { .. } => {
                if let Some(head) = self.heads.get_mut(&bot) {
                    head.handed = Some(head.number);
                }
            }
            BotEvent::BotDeployed { at, .. } => {
                let handed = self.handed(bot);
                self.answer(client, bot, handed, Outcome::Applied, *at, None);
            }
            BotEvent::BotDeployFailed { reason, at } => {
                let handed = self.handed(bot);
                self.answer(client, bot, handed, Outcome::NotApplied, *at, Some(reason.clone()));
            }
            // It was stopped while it was being started.
            BotEvent::BotStopped { .. } => drop(self.handed(bot)),
            BotEvent::BotConfigApplied { config, at } => {
                self.answer(client, bot, i64::try_from(*config).ok(), Outcome::Applied, *at, None);
            }
            BotEvent::BotConfigNotApplied { config, reason, at } => {
                let number = i64::try_from(*config).ok();
                self.answer(client, bot, number, Outcome::NotApplied, *at, Some(reason.clone()));
            }
            BotEvent::BotDeployRequested { .. }
            | BotEvent::BotStopRequested { .. }
            | BotEvent::BotStopFailed { .. }
            | BotEvent::BotStateReported { .. }
            | BotEvent::BotSeenAlive { .. }
            | BotEvent::BotSilent { .. }
            | BotEvent::BotArchived { .. }
            | BotEvent::BotStrayFound { .. }
            | BotEvent::BotStrayStopped { .. }
            | BotEvent::BotGapOpened { .. }
            | BotEvent::BotGapHealed { .. }
            | BotEvent::BotLimitNeared { .. }
            | BotEvent::BotLimitBroken { .. }
            | BotEvent::BotLogged { .. }
            | BotEvent::BotFiguresReported { .. } => {}
        }
        true
    }

    /// Which config the instance was asked for with; it waits for an answer no longer.
    fn handed(&mut self, bot: BotId) -> Option<i64> {
        self.heads.get_mut(&bot)?.handed.take()
    }

    /// One that was applied once stays so, whatever a later instance made of it.
    fn answer(
        &mut self,
        client: ClientId,
        bot_id: BotId,
        number: Option<i64>,
        outcome: Outcome,
        outcome_at: Time,
        reason: Option<String>,
    ) {
        let Some(number) = number else { return };
        let told = self.answers.get(&(bot_id, number));
        if told.is_none_or(|told| told.outcome != Outcome::Applied) {
            let answer = Answer { client_id: client.0, bot_id, number, outcome, outcome_at, reason };
            self.answers.insert((bot_id, number), answer);
        }
    }
}

/// What is otherwise in `is` than in `was`.
pub fn changes(was: &BotConfig, is: &BotConfig) -> Vec<Change> {
    let one = |of, was: Option<String>, is: Option<String>| Change { of, name: None, was, is };
    let venue = |venue: &Option<Venue>| venue.as_ref().map(in_words);
    let mut changes = vec![
        one(Part::Controller, was.controller.clone(), is.controller.clone()),
        one(Part::Venue, venue(&was.venue), venue(&is.venue)),
        one(Part::Kind, Some(word(&was.kind)), Some(word(&is.kind))),
    ];
    changes.extend(of_maps(Part::Parameter, was.parameters.clone(), is.parameters.clone()));
    changes.extend(of_maps(Part::Limit, limits(&was.limits), limits(&is.limits)));
    changes.retain(|change| change.was != change.is);
    changes
}

fn of_maps(of: Part, was: BTreeMap<String, String>, mut is: BTreeMap<String, String>) -> Vec<Change> {
    let mut both: BTreeMap<String, (Option<String>, Option<String>)> =
        was.into_iter().map(|(name, was)| (name.clone(), (Some(was), is.remove(&name)))).collect();
    both.extend(is.into_iter().map(|(name, is)| (name, (None, Some(is)))));
    both.into_iter().map(|(name, (was, is))| Change { of, name: Some(name), was, is }).collect()
}

fn in_words(venue: &Venue) -> String {
    format!("{} {} {}", venue.exchange, venue.market, venue.pair)
}

/// A name of ours as it stands in JSON.
fn word<T: Serialize>(value: &T) -> String {
    rows::text(value).trim_matches('"').to_owned()
}

/// The limits that there are, by name.
fn limits(limits: &Limits) -> BTreeMap<String, String> {
    let told: BTreeMap<String, serde_json::Value> = rows::read(&rows::text(limits));
    told.into_iter().map(|(name, value)| (name, word(&value))).collect()
}

/// A bot's configs, newest first, those before number `before`; at most `most`.
pub async fn page(
    db: &mut PgConnection,
    client: ClientId,
    bot: BotId,
    before: Option<i64>,
    most: u32,
) -> sqlx::Result<Vec<Config>> {
    let rows = sqlx::query_scalar!(
        r#"
        select (to_jsonb(c) || jsonb_build_object('outcome', coalesce(c.outcome, case
                  when c.number = h.handed then 'handed_over'
                  when c.number = h.number then 'waiting'
                  else 'never_handed_over' end)))::text as "row!"
          from configs c
          join config_heads h using (client_id, bot_id)
         where c.client_id = $1 and c.bot_id = $2 and c.number < $3
         order by c.number desc
         limit $4
        "#,
        client.0,
        bot.0,
        before.unwrap_or(i64::MAX),
        i64::from(most)
    )
    .fetch_all(db)
    .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}

#[cfg(test)]
mod tests;
