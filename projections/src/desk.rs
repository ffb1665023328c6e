//! The whole desk at a glance: one line a client, what all came to, what waits for a person.

use std::collections::BTreeMap;

use events::{Asset, Decimal, decimal::ArithmeticError};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::{
    bots::Bots,
    checkpoints::{self, Parked},
    clients::{self, Client, Clients},
    credentials::Credentials,
    fills::Fills,
    orders::Orders,
    overview::{self, Line, Overview},
    pnl::{self, Pnl},
    portfolio::Portfolio,
    projection::{ProjectError, Projection},
    rates::sum_known,
};

/// The read models that it is made from, or tells of when they are parked.
pub const MODELS: &[&str] = &[
    Clients::NAME,
    Overview::NAME,
    Pnl::NAME,
    Bots::NAME,
    Fills::NAME,
    Orders::NAME,
    Portfolio::NAME,
    Credentials::NAME,
];

/// The desk.
#[derive(Debug, Serialize, ToSchema)]
pub struct Desk {
    /// By slug.
    pub clients: Vec<ClientLine>,
    pub total: Total,
    /// Read models that wait for a person.
    pub parked: Vec<Parked>,
}

/// One client.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClientLine {
    #[serde(flatten)]
    pub client: Client,
    /// What it does; null until it was read.
    pub activity: Option<Line>,
    /// Realised net and unrealised at the newest marks, by quote asset; null without a mark.
    #[schema(value_type = BTreeMap<Asset, Decimal>)]
    pub pnl: BTreeMap<Asset, Option<Decimal>>,
}

/// Everything together.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Total {
    pub clients: usize,
    pub bots: usize,
    /// Bots that are wanted to run.
    pub wanted: usize,
    /// Fills, without the voided ones.
    pub fills: i64,
    /// Sum of price x amount, by quote asset.
    pub volume: BTreeMap<Asset, Decimal>,
    /// Sum over the clients, by quote asset; null where one is unknown.
    #[schema(value_type = BTreeMap<Asset, Decimal>)]
    pub pnl: BTreeMap<Asset, Option<Decimal>>,
    /// Fills that were told again with another content and wait for a person.
    pub disputes: i64,
    /// Deploys and stops that failed.
    pub failures: i64,
    /// Bots whose fills may be missing.
    pub open_gaps: usize,
    /// Bots that give no sign of life.
    pub silent: usize,
    /// Bots that broke a limit since they were deployed last.
    pub over_limit: usize,
}

/// The desk as it stands in this transaction's snapshot. For the desk alone.
pub async fn desk(db: &mut PgConnection) -> Result<Desk, ProjectError> {
    let clients = clients::every(&mut *db).await?;
    let mut lines: BTreeMap<_, _> =
        overview::every(&mut *db).await?.into_iter().map(|line| (line.client_id, line)).collect();
    let mut pnl = pnl::now_of_all(&mut *db).await?;
    let line = |client: Client| ClientLine {
        activity: lines.remove(&client.client_id),
        pnl: pnl.remove(&client.client_id).unwrap_or_default(),
        client,
    };
    let clients: Vec<ClientLine> = clients.into_iter().map(line).collect();
    let unkept = |cause: ArithmeticError| ProjectError::Unfoldable { seq: 0, reason: cause.to_string() };
    Ok(Desk { total: Total::of(&clients).map_err(unkept)?, clients, parked: checkpoints::parked(db).await? })
}

impl Total {
    fn of(clients: &[ClientLine]) -> Result<Self, ArithmeticError> {
        let mut total = Self { clients: clients.len(), ..Self::default() };
        for client in clients {
            for (asset, pnl) in &client.pnl {
                let sum = total.pnl.entry(asset.clone()).or_insert(Some(Decimal::ZERO));
                *sum = sum_known(*sum, *pnl)?;
            }
            let Some(line) = &client.activity else { continue };
            total.bots += line.bots.len();
            total.wanted += line.bots.values().filter(|wanted| **wanted).count();
            total.fills += line.fills;
            total.disputes += line.disputes;
            total.failures += line.failures;
            total.open_gaps += line.open_gaps.len();
            total.silent += line.silent.len();
            total.over_limit += line.over_limit.len();
            for (asset, volume) in &line.volume {
                let sum = total.volume.entry(asset.clone()).or_default();
                *sum = sum.plus(*volume)?;
            }
        }
        Ok(total)
    }
}
