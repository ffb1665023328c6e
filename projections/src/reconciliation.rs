//! Each deployment of a bot, counted by us and by Hummingbot: both figures side by side, and every difference by its causes.
//!
//! Ours are sums over the fills since the deployment began, so that corrections and late fills only add and take away; what a
//! total P&L needs beside them is a mark. They are compared as they stood when Hummingbot told its figures. What accounts hold is
//! compared with what the ledger says has moved.

mod balances;
mod deployment;
mod differences;
mod ours;

use std::collections::{BTreeMap, BTreeSet};

use events::{
    BotId, ClientId, Event, Recorded, Time,
    account::AccountEvent,
    bot::{BotEvent, Figures},
    credential::CredentialEvent,
    decimal::ArithmeticError,
    ledger::{Fill, LedgerEvent},
    market::MarketEvent,
};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use self::{balances::Balances, deployment::Deployment};
pub use self::{
    balances::{Balance, held, of_all as balances_of_all},
    differences::{Because, Cause, Difference, What},
    ours::Ours,
};
use crate::{
    bots,
    pnl::{self, By, Line, Method},
    projection::{ProjectError, Projection},
    rates::Rates,
    rows,
};

/// A bot tells whole seconds: a fill of the second in which its deployment began belongs to it.
const SECOND_US: i64 = 1_000_000;
/// Deployments of one bot that late facts can still belong to: the operator keeps aside what comes of older ones.
const OPEN_MAX: usize = 8;

/// A client's deployments.
#[derive(Debug)]
pub struct Reconciliations {
    marks: Rates,
    /// By bot, oldest first.
    open: BTreeMap<BotId, Vec<Deployment>>,
    changed: BTreeSet<(BotId, u64)>,
    marks_changed: bool,
    balances: Balances,
}

/// A deployment as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reconciled {
    pub client_id: Uuid,
    pub bot_id: BotId,
    /// Its name with Hummingbot; null while it was only asked for.
    pub instance: Option<String>,
    pub started_at: Time,
    /// Null: it runs.
    pub ended_at: Option<Time>,
    /// What Hummingbot told last; null: nothing yet.
    pub reported: Option<Figures>,
    /// When.
    pub reported_at: Option<Time>,
    /// Our sums over everything that is known now.
    pub ours: Ours,
    /// Each figure as both have it, of the time until Hummingbot told its own.
    pub differences: Vec<Difference>,
    /// Whether a difference is left that nothing explains.
    pub has_unexplained: bool,
    /// Whether the bot's fills may be missing.
    pub gap_open: bool,
    /// How many instances were found to trade beside it: their fills are in our sums and not in Hummingbot's figures.
    pub strays: i64,
}

/// A bot's deployments, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct OfBot {
    pub deployments: Vec<Reconciled>,
    /// Our P&L of the newest one up to Hummingbot's figures, by moving average and by pair; how it splits into realised and
    /// unrealised is the method's choice, its sum is not. Null: nothing was told of it yet.
    pub by_average: Option<Vec<Line>>,
}

impl Projection for Reconciliations {
    const NAME: &'static str = "reconciliation";
    const FOLD: u32 = 2;
    const TABLES: &'static str = r#"
        create table reconciliations (
          client_id  uuid        not null,
          bot_id     uuid        not null,
          seq        bigint      not null,                -- the event that began it
          started_at timestamptz not null,
          instance   text,
          ended_at   timestamptz,
          gap_open   boolean     not null,
          strays     bigint      not null,                -- instances that traded beside it
          ours       jsonb       not null,
          near       jsonb       not null,
          uncounted  jsonb       not null,
          report     jsonb,
          primary key (client_id, bot_id, seq)
        );
        create table balances_compared (
          client_id    uuid        not null,
          exchange     text        not null,
          market       text        not null,
          asset        text        not null,
          first        numeric     not null,              -- what was seen first, and when
          first_at     timestamptz not null,
          observed     numeric     not null,              -- what was seen last, and when
          observed_at  timestamptz not null,
          renewed_at   timestamptz,                       -- another key came into use
          moved        numeric     not null,              -- by the ledger, between the two
          later        numeric     not null,
          recent       jsonb       not null,
          near_first   numeric     not null,
          cut_most     numeric     not null,
          unknown_fees bigint      not null,
          primary key (client_id, exchange, market, asset)
        );
        create table reconciliation_marks (
          client_id uuid  primary key,
          marks     jsonb not null
        );
    "#;

    async fn open(db: &mut PgConnection, client: ClientId, _: u64) -> Result<Self, ProjectError> {
        let mut open: BTreeMap<BotId, Vec<Deployment>> = BTreeMap::new();
        for deployment in of_client(&mut *db, client).await? {
            open.entry(deployment.bot_id).or_default().insert(0, deployment);
        }
        open.values_mut().for_each(forget_old);
        let marks = sqlx::query_scalar!(
            r#"select marks::text as "marks!" from reconciliation_marks where client_id = $1"#,
            client.0
        )
        .fetch_optional(&mut *db)
        .await?;
        let marks = marks.map(|marks| rows::read(&marks)).unwrap_or_default();
        let balances = Balances::open(db, client).await?;
        Ok(Self { marks, open, changed: BTreeSet::new(), marks_changed: false, balances })
    }

    fn fold(&mut self, event: &Recorded) -> Result<(), ProjectError> {
        let unfoldable = |reason: String| ProjectError::Unfoldable { seq: event.seq, reason };
        match &event.event {
            Event::Bot(told) => {
                let bot = event.aggregate.id.parse().map_err(|_| unfoldable("its bot's id is no id".to_owned()))?;
                self.hear(event, bot, told);
                Ok(())
            }
            Event::Ledger(fact) => {
                let counted = self.count(fact).and_then(|()| self.balances.count(fact));
                counted.map_err(|cause| unfoldable(cause.to_string()))
            }
            Event::Account(AccountEvent::BalanceObserved { exchange, market, asset, total, at, .. }) => {
                let of = (*exchange, *market, asset.clone());
                let seen = self.balances.observe(event.client, of, *total, *at);
                seen.map_err(|cause| unfoldable(cause.to_string()))
            }
            Event::Credential(CredentialEvent::CredentialActive { at, .. }) => {
                self.balances.renew(event.client, &event.aggregate.id, *at);
                Ok(())
            }
            Event::Market(MarketEvent::MarkObserved { pair, price, .. }) => {
                self.marks.observe(pair.clone(), *price);
                self.marks_changed = true;
                Ok(())
            }
            Event::Market(
                MarketEvent::QuoteObserved { .. }
                | MarketEvent::QuoteMinute { .. }
                | MarketEvent::QuotesUnknown { .. }
                | MarketEvent::DepthObserved { .. }
                | MarketEvent::DepthMinute { .. }
                | MarketEvent::VolumeObserved { .. },
            )
            | Event::Account(AccountEvent::HummingbotLost { .. } | AccountEvent::HummingbotBack { .. })
            | Event::Client(_)
            | Event::Order(_)
            | Event::Credential(_)
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

    async fn save(&mut self, db: &mut PgConnection, client: ClientId, _: u64) -> Result<(), ProjectError> {
        self.balances.save(&mut *db).await?;
        if std::mem::take(&mut self.marks_changed) {
            sqlx::query!(
                "insert into reconciliation_marks (client_id, marks) values ($1, $2::text::jsonb)
                 on conflict (client_id) do update set marks = excluded.marks",
                client.0,
                rows::text(&self.marks)
            )
            .execute(&mut *db)
            .await?;
        }
        let changed = std::mem::take(&mut self.changed);
        let all = self.open.values().flatten();
        let written = rows::written(all.filter(|of| changed.contains(&(of.bot_id, of.seq))));
        self.open.values_mut().for_each(forget_old);
        let Some(rows) = written else { return Ok(()) };
        sqlx::query!(
            "delete from reconciliations r using jsonb_populate_recordset(null::reconciliations, $1) n
              where (r.client_id, r.bot_id, r.seq) = (n.client_id, n.bot_id, n.seq)",
            rows
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!(
            "insert into reconciliations select * from jsonb_populate_recordset(null::reconciliations, $1)",
            rows
        )
        .execute(db)
        .await?;
        Ok(())
    }
}

fn forget_old(deployments: &mut Vec<Deployment>) {
    let old = deployments.len().saturating_sub(OPEN_MAX);
    deployments.drain(..old);
}

impl Reconciliations {
    fn hear(&mut self, event: &Recorded, bot: BotId, told: &BotEvent) {
        if let BotEvent::BotDeployStarted { at, .. } = told {
            self.begin(event, bot, *at);
        }
        let marks = &self.marks;
        let deployments = self.open.get_mut(&bot).map(Vec::as_mut_slice).unwrap_or_default();
        let reports = matches!(told, BotEvent::BotFiguresReported { .. });
        let Some(deployment) = deployments.iter_mut().rev().find(|of| !reports || of.tells(told)) else { return };
        if deployment.hear(event.seq, told, marks) {
            self.changed.insert((bot, deployment.seq));
        }
    }

    /// A deployment that is asked for again before it came to anything is the same one.
    fn begin(&mut self, event: &Recorded, bot: BotId, started_at: Time) {
        let deployments = self.open.entry(bot).or_default();
        if deployments.last().is_some_and(|last| last.instance.is_none() && last.ended_at.is_none()) {
            return;
        }
        let gap_open = deployments.last().is_some_and(|last| last.gap_open);
        deployments.push(Deployment::begun(event.client, bot, event.seq, started_at, gap_open));
        // So many are remembered at any time, however events are cut into batches.
        forget_old(deployments);
    }

    fn count(&mut self, fact: &LedgerEvent) -> Result<(), ArithmeticError> {
        match fact {
            LedgerEvent::FillRecorded(fill) => self.add(fill, 1, false),
            LedgerEvent::FillCorrected { was, fill, .. } => {
                let exact = was.precision.is_none();
                self.add(was, -1, exact).and_then(|()| self.add(fill, 1, exact))
            }
            LedgerEvent::FillVoided { was, .. } => self.add(was, -1, true),
            LedgerEvent::FillDisputed { .. }
            | LedgerEvent::OpeningPosition { .. }
            | LedgerEvent::FundingPaid { .. }
            | LedgerEvent::TransferRecorded { .. }
            | LedgerEvent::FeeRateSupplied { .. } => Ok(()),
        }
    }

    /// Adds a fill to its deployment, or takes it away. `corrects`: what the bot told exactly is told otherwise now.
    fn add(&mut self, fill: &Fill, times: i64, corrects: bool) -> Result<(), ArithmeticError> {
        let deployments = self.open.get_mut(&fill.bot).map(Vec::as_mut_slice).unwrap_or_default();
        let begun = |of: &&mut Deployment| of.started_at.plus_micros(-SECOND_US) <= fill.at;
        let Some(deployment) = deployments.iter_mut().rev().find(begun) else { return Ok(()) };
        self.changed.insert((fill.bot, deployment.seq));
        deployment.add(&Ours::of(fill, times, corrects)?, fill.at)
    }
}

/// A client's deployments, newest first.
async fn of_client(db: &mut PgConnection, client: ClientId) -> sqlx::Result<Vec<Deployment>> {
    let rows = sqlx::query_scalar!(
        r#"select to_jsonb(r)::text as "row!" from reconciliations r where r.client_id = $1 order by r.seq desc"#,
        client.0
    )
    .fetch_all(db)
    .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}

/// The newest deployment of every bot of every client. For the desk alone.
pub async fn newest_of_all(db: &mut PgConnection) -> Result<Vec<Reconciled>, ProjectError> {
    let rows = sqlx::query_scalar!(
        r#"
        select to_jsonb(r)::text as "row!"
          from (select distinct on (client_id, bot_id) * from reconciliations order by client_id, bot_id, seq desc) r
         order by r.client_id, r.bot_id
        "#
    )
    .fetch_all(db)
    .await?;
    rows.iter().map(|row| told(rows::read(row))).collect()
}

/// Every deployment of one bot, and our own P&L of the newest. For the desk alone.
pub async fn of_bot(db: &mut PgConnection, client: ClientId, bot: BotId) -> Result<OfBot, ProjectError> {
    let all = of_client(db, client).await?;
    let own: Vec<Deployment> = all.into_iter().filter(|deployment| deployment.bot_id == bot).collect();
    let by_average = match own.first().map(|newest| (newest.started_at, &newest.report)) {
        Some((from, Some(report))) => by_average(db, client, bot, from, report.at).await?,
        Some((_, None)) | None => None,
    };
    Ok(OfBot { deployments: own.into_iter().map(told).collect::<Result<_, _>>()?, by_average })
}

async fn by_average(
    db: &mut PgConnection,
    client: ClientId,
    bot: BotId,
    from: Time,
    to: Time,
) -> Result<Option<Vec<Line>>, ProjectError> {
    let Some(bot) = bots::one(db, client, bot).await? else { return Ok(None) };
    let whole = pnl::grouped(db, client, By::Bot, Method::Average, Some(from), Some(to.max(from))).await?;
    let is_its = |line: &Line| matches!(&line.of, pnl::Of::Bot(slug) if slug.as_str() == bot.name);
    Ok(Some(whole.lines.into_iter().filter(is_its).collect()))
}

fn told(deployment: Deployment) -> Result<Reconciled, ProjectError> {
    let seq = deployment.seq;
    deployment.reconciled().map_err(|cause| ProjectError::Unfoldable { seq, reason: cause.to_string() })
}

#[cfg(test)]
mod tests;
