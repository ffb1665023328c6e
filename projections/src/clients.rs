//! Every client of the desk: who it is, where its accounts are, whether it is still with us.

use std::collections::BTreeMap;

use events::{AccountName, Asset, ClientId, Event, Exchange, Recorded, Slug, Time, client::ClientEvent};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{
    projection::{ProjectError, Projection},
    rows,
};

/// One client, if it was onboarded yet.
#[derive(Debug)]
pub struct Clients {
    client: Option<Client>,
    changed: bool,
}

/// A client as it is known now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Client {
    /// Which.
    pub client_id: Uuid,
    /// The short name that never changes.
    pub slug: Slug,
    /// The name that people read.
    pub name: String,
    /// What its totals are told in.
    pub reporting_currency: Asset,
    /// The account's name on each exchange where one is open.
    pub accounts: BTreeMap<Exchange, AccountName>,
    /// When it came.
    pub onboarded_at: Time,
    /// When it left; absent while it is with us.
    pub offboarded_at: Option<Time>,
}

impl Projection for Clients {
    const NAME: &'static str = "clients";
    const FOLD: u32 = 1;
    const TABLES: &'static str = r#"
        create table clients (
          client_id          uuid        primary key,
          slug               text        not null,
          name               text        not null,
          reporting_currency text        not null,
          accounts           jsonb       not null,
          onboarded_at       timestamptz not null,
          offboarded_at      timestamptz
        );
    "#;

    async fn open(db: &mut PgConnection, client: ClientId, _: u64) -> Result<Self, ProjectError> {
        Ok(Self { client: one(db, client).await?, changed: false })
    }

    fn fold(&mut self, event: &Recorded) -> Result<(), ProjectError> {
        let Event::Client(told) = &event.event else { return Ok(()) };
        self.changed = true;
        if let ClientEvent::ClientOnboarded { slug, name, reporting_currency, at } = told {
            self.client = Some(Client {
                client_id: event.client.0,
                slug: slug.clone(),
                name: name.clone(),
                reporting_currency: reporting_currency.clone(),
                accounts: BTreeMap::new(),
                onboarded_at: *at,
                offboarded_at: None,
            });
        }
        let missing = || ProjectError::Unfoldable { seq: event.seq, reason: "nobody onboarded its client".to_owned() };
        self.client.as_mut().ok_or_else(missing)?.hear(told);
        Ok(())
    }

    async fn save(&mut self, db: &mut PgConnection, client: ClientId, _: u64) -> Result<(), ProjectError> {
        if !std::mem::take(&mut self.changed) {
            return Ok(());
        }
        sqlx::query!("delete from clients where client_id = $1", client.0).execute(&mut *db).await?;
        let Some(rows) = rows::written(self.client.iter()) else { return Ok(()) };
        sqlx::query!("insert into clients select * from jsonb_populate_recordset(null::clients, $1)", rows)
            .execute(db)
            .await?;
        Ok(())
    }
}

impl Client {
    fn hear(&mut self, told: &ClientEvent) {
        match told {
            ClientEvent::ClientOnboarded { .. } => {}
            ClientEvent::AccountOpened { exchange, account, .. } => {
                self.accounts.insert(*exchange, account.clone());
            }
            ClientEvent::ClientRenamed { name, .. } => self.name.clone_from(name),
            ClientEvent::ReportingCurrencyChanged { reporting_currency, .. } => {
                self.reporting_currency = reporting_currency.clone();
            }
            ClientEvent::ClientOffboarded { at, .. } => self.offboarded_at = Some(*at),
            ClientEvent::DataKeyDestructionRequested { .. } | ClientEvent::DataKeyDestroyed { .. } => {}
        }
    }
}

/// One client; absent where it is not known (yet).
pub async fn one(db: impl PgExecutor<'_>, client: ClientId) -> sqlx::Result<Option<Client>> {
    let row =
        sqlx::query_scalar!(r#"select to_jsonb(c)::text as "row!" from clients c where c.client_id = $1"#, client.0)
            .fetch_optional(db)
            .await?;
    Ok(row.map(|row| rows::read(&row)))
}

/// Every client, by slug. For the desk alone.
pub async fn every(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Client>> {
    let rows = sqlx::query_scalar!(r#"select to_jsonb(c)::text as "row!" from clients c order by c.slug"#)
        .fetch_all(db)
        .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}
