//! One line a client for the desk: how much it trades, whether its bots do what is wanted, what needs a look.

use std::collections::{BTreeMap, BTreeSet};

use events::{
    Asset, BotId, ClientId, Decimal, Event, Recorded, Time,
    bot::BotEvent,
    decimal::ArithmeticError,
    ledger::{Fill, LedgerEvent},
};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{
    projection::{ProjectError, Projection},
    rows,
};

/// One client's line.
#[derive(Debug)]
pub struct Overview {
    line: Line,
}

/// What the desk sees of a client at a glance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = OverviewLine)]
pub struct Line {
    pub client_id: Uuid,
    /// Bots, and whether each is wanted to run.
    pub bots: BTreeMap<BotId, bool>,
    /// Fills, without the voided ones.
    pub fills: i64,
    /// Sum of price x amount, by quote asset.
    pub volume: BTreeMap<Asset, Decimal>,
    /// Fills that were told again with another content and wait for a person.
    pub disputes: i64,
    /// Deploys and stops that failed.
    pub failures: i64,
    /// Bots whose fills may be missing.
    pub open_gaps: BTreeSet<BotId>,
    /// Bots that give no sign of life.
    pub silent: BTreeSet<BotId>,
    /// Bots that broke a limit since they were deployed last.
    pub over_limit: BTreeSet<BotId>,
    pub last_fill_at: Option<Time>,
    /// When its last event was recorded.
    pub last_event_at: Option<Time>,
}

impl Projection for Overview {
    const NAME: &'static str = "overview";
    const FOLD: u32 = 3;
    const TABLES: &'static str = r#"
        create table overview (
          client_id     uuid   primary key,
          bots          jsonb  not null,
          fills         bigint not null,
          volume        jsonb  not null,
          disputes      bigint not null,
          failures      bigint not null,
          open_gaps     jsonb  not null,
          silent        jsonb  not null,
          over_limit    jsonb  not null,
          last_fill_at  timestamptz,
          last_event_at timestamptz
        );
    "#;

    async fn open(db: &mut PgConnection, client: ClientId, _: u64) -> Result<Self, ProjectError> {
        let line = line(db, client).await?.unwrap_or(Line { client_id: client.0, ..Line::default() });
        Ok(Self { line })
    }

    fn fold(&mut self, event: &Recorded) -> Result<(), ProjectError> {
        self.line.last_event_at = Some(event.recorded_at);
        let counted = match &event.event {
            Event::Ledger(fact) => self.line.ledger(fact),
            Event::Bot(told) => {
                let bot = event.aggregate.id.parse().map_err(|_| ProjectError::Unfoldable {
                    seq: event.seq,
                    reason: "its bot's id is no id".to_owned(),
                })?;
                self.line.bot(bot, told);
                Ok(())
            }
            Event::Client(_)
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
        };
        counted.map_err(|cause| ProjectError::Unfoldable { seq: event.seq, reason: cause.to_string() })
    }

    async fn save(&mut self, db: &mut PgConnection, client: ClientId, _: u64) -> Result<(), ProjectError> {
        sqlx::query!("delete from overview where client_id = $1", client.0).execute(&mut *db).await?;
        let rows = rows::written(std::iter::once(&self.line));
        sqlx::query!("insert into overview select * from jsonb_populate_recordset(null::overview, $1)", rows)
            .execute(db)
            .await?;
        Ok(())
    }
}

impl Line {
    fn ledger(&mut self, fact: &LedgerEvent) -> Result<(), ArithmeticError> {
        match fact {
            LedgerEvent::FillRecorded(fill) => self.count(fill, 1),
            LedgerEvent::FillCorrected { was, fill, .. } => self.count(was, -1).and_then(|()| self.count(fill, 1)),
            LedgerEvent::FillVoided { was, .. } => self.count(was, -1),
            LedgerEvent::FillDisputed { .. } => {
                self.disputes += 1;
                Ok(())
            }
            LedgerEvent::OpeningPosition { .. }
            | LedgerEvent::FundingPaid { .. }
            | LedgerEvent::TransferRecorded { .. }
            | LedgerEvent::FeeRateSupplied { .. } => Ok(()),
        }
    }

    fn count(&mut self, fill: &Fill, times: i64) -> Result<(), ArithmeticError> {
        let notional = fill.price.times(fill.amount)?.times(Decimal::from_int(times))?;
        let volume = self.volume.entry(fill.pair.quote_asset()).or_default();
        *volume = volume.plus(notional)?;
        self.fills += times;
        self.last_fill_at = self.last_fill_at.max(Some(fill.at));
        Ok(())
    }

    fn bot(&mut self, bot: BotId, told: &BotEvent) {
        match told {
            BotEvent::BotCreated { .. } | BotEvent::BotStopRequested { .. } => drop(self.bots.insert(bot, false)),
            BotEvent::BotDeployRequested { .. } => {
                self.bots.insert(bot, true);
                self.over_limit.remove(&bot);
                self.silent.remove(&bot);
            }
            BotEvent::BotDeployFailed { .. } => {
                self.bots.insert(bot, false);
                self.failures += 1;
            }
            BotEvent::BotStopFailed { .. } => self.failures += 1,
            BotEvent::BotGapOpened { .. } => drop(self.open_gaps.insert(bot)),
            BotEvent::BotGapHealed { .. } => drop(self.open_gaps.remove(&bot)),
            BotEvent::BotSilent { .. } => drop(self.silent.insert(bot)),
            // A stopped one has nothing to say.
            BotEvent::BotSeenAlive { .. } | BotEvent::BotStopped { .. } => drop(self.silent.remove(&bot)),
            BotEvent::BotLimitBroken { .. } => drop(self.over_limit.insert(bot)),
            BotEvent::BotConfigChanged { .. }
            | BotEvent::BotDeployed { .. }
            | BotEvent::BotStateReported { .. }
            | BotEvent::BotConfigApplied { .. }
            | BotEvent::BotConfigNotApplied { .. }
            | BotEvent::BotDeployStarted { .. }
            | BotEvent::BotArchived { .. }
            | BotEvent::BotStrayFound { .. }
            | BotEvent::BotStrayStopped { .. }
            | BotEvent::BotLimitNeared { .. }
            | BotEvent::BotLogged { .. }
            | BotEvent::BotFiguresReported { .. } => {}
        }
    }
}

/// One client's line; absent where nothing is known of it yet.
pub async fn line(db: impl PgExecutor<'_>, client: ClientId) -> sqlx::Result<Option<Line>> {
    let row =
        sqlx::query_scalar!(r#"select to_jsonb(o)::text as "row!" from overview o where o.client_id = $1"#, client.0)
            .fetch_optional(db)
            .await?;
    Ok(row.map(|row| rows::read(&row)))
}

/// Every client's line. For the desk alone.
pub async fn every(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Line>> {
    let rows = sqlx::query_scalar!(r#"select to_jsonb(o)::text as "row!" from overview o order by o.client_id"#)
        .fetch_all(db)
        .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}
