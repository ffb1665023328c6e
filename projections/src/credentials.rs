//! Every credential as far as it may be told: for which exchange, how it is known again, what became of it. No secret of
//! it ever comes this way: events hold none.

use std::collections::{BTreeMap, BTreeSet};

use events::{
    ClientId, CredentialId, Event, Exchange, Market, Recorded, SealedId, Time,
    credential::{CredentialEvent, Fingerprint, Misfit, Values},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    projection::{ProjectError, Projection},
    rows,
};

/// A client's credentials.
#[derive(Debug)]
pub struct Credentials {
    credentials: BTreeMap<CredentialId, Credential>,
    changed: BTreeSet<CredentialId>,
}

/// One credential as it is known now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Credential {
    /// Whose it is.
    pub client_id: Uuid,
    /// Which.
    pub credential_id: CredentialId,
    /// Where it lets in.
    pub exchange: Exchange,
    /// Spot or perpetual.
    pub market: Market,
    /// Which values are the newest.
    pub sealed_id: SealedId,
    /// The same for the same API key; tells nothing of it.
    pub fingerprint: Fingerprint,
    /// The end of the API key; absent for a short one.
    pub last_four: Option<String>,
    /// What became of the newest values, and since when.
    pub state: State,
    pub since: Time,
    /// Why it fails or is revoked; absent otherwise.
    pub reason: Option<String>,
    /// The values that the Hummingbot API trades with; absent: none yet, or no more.
    pub active_id: Option<SealedId>,
    /// When it was opened last; absent: never.
    pub opened_at: Option<Time>,
    /// Why the vault refused to hand it out last; absent since other values were given, or always.
    pub refused: Option<Misfit>,
}

/// What became of the newest values of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CredentialState)]
pub enum State {
    /// They lie sealed and are used for nothing yet.
    Stored,
    /// The exchange let them in.
    Verified,
    /// They are traded with.
    Active,
    /// They do not do what they should: see the reason.
    Failing,
    /// They shall be used no more; it is under way.
    Revoking,
    /// They are gone.
    Revoked,
}

impl Projection for Credentials {
    const NAME: &'static str = "credentials";
    const FOLD: u32 = 1;
    const TABLES: &'static str = r#"
        create table credentials (
          client_id     uuid        not null,
          credential_id uuid        not null,
          exchange      text        not null,
          market        text        not null,
          sealed_id     uuid        not null,
          fingerprint   text        not null,
          last_four     text,
          state         text        not null,
          since         timestamptz not null,
          reason        text,
          active_id     uuid,
          opened_at     timestamptz,
          refused       text,
          primary key (client_id, credential_id)
        );
    "#;

    async fn open(db: &mut PgConnection, client: ClientId, _: u64) -> Result<Self, ProjectError> {
        let credentials = of_client(db, client).await?.into_iter().map(|one| (one.credential_id, one)).collect();
        Ok(Self { credentials, changed: BTreeSet::new() })
    }

    fn fold(&mut self, event: &Recorded) -> Result<(), ProjectError> {
        let Event::Credential(told) = &event.event else { return Ok(()) };
        let unfoldable = |reason: &str| ProjectError::Unfoldable { seq: event.seq, reason: reason.to_owned() };
        let id = event.aggregate.id.parse().map_err(|_| unfoldable("its credential's id is no id"))?;
        if let CredentialEvent::CredentialStored { exchange, market, values, at } = told {
            let stored = Credential::stored(event.client, id, (*exchange, *market), values, *at);
            self.credentials.insert(id, stored);
        }
        let credential = self.credentials.get_mut(&id).ok_or_else(|| unfoldable("nobody stored its credential"))?;
        credential.hear(told);
        self.changed.insert(id);
        Ok(())
    }

    async fn save(&mut self, db: &mut PgConnection, _: ClientId, _: u64) -> Result<(), ProjectError> {
        let changed = std::mem::take(&mut self.changed);
        let Some(rows) = rows::written(changed.iter().map(|id| &self.credentials[id])) else { return Ok(()) };
        sqlx::query!(
            "delete from credentials c using jsonb_populate_recordset(null::credentials, $1) n
              where (c.client_id, c.credential_id) = (n.client_id, n.credential_id)",
            rows
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!("insert into credentials select * from jsonb_populate_recordset(null::credentials, $1)", rows)
            .execute(db)
            .await?;
        Ok(())
    }
}

impl Credential {
    fn stored(
        client: ClientId,
        credential_id: CredentialId,
        (exchange, market): (Exchange, Market),
        values: &Values,
        at: Time,
    ) -> Self {
        Self {
            client_id: client.0,
            credential_id,
            exchange,
            market,
            sealed_id: values.sealed,
            fingerprint: values.fingerprint.clone(),
            last_four: values.last_four.clone(),
            state: State::Stored,
            since: at,
            reason: None,
            active_id: None,
            opened_at: None,
            refused: None,
        }
    }

    fn hear(&mut self, told: &CredentialEvent) {
        match told {
            CredentialEvent::CredentialStored { .. } => {}
            CredentialEvent::CredentialRotated { values, at, .. } => {
                self.sealed_id = values.sealed;
                self.fingerprint = values.fingerprint.clone();
                self.last_four = values.last_four.clone();
                self.refused = None;
                self.becomes(State::Stored, None, *at);
            }
            CredentialEvent::CredentialVerified { at, .. } => self.becomes(State::Verified, None, *at),
            CredentialEvent::CredentialActive { sealed, at } => {
                self.active_id = Some(*sealed);
                self.becomes(State::Active, None, *at);
            }
            CredentialEvent::CredentialFailing { reason, at, .. } => self.becomes(State::Failing, Some(reason), *at),
            CredentialEvent::CredentialRevokeRequested { reason, at } => {
                self.becomes(State::Revoking, Some(reason), *at);
            }
            CredentialEvent::CredentialRevoked { at } => {
                self.active_id = None;
                (self.state, self.since) = (State::Revoked, *at);
            }
            CredentialEvent::CredentialOpened { at, .. } => self.opened_at = Some(*at),
            CredentialEvent::CredentialRefused { misfit, .. } => self.refused = Some(*misfit),
        }
    }

    fn becomes(&mut self, state: State, reason: Option<&String>, since: Time) {
        (self.state, self.reason, self.since) = (state, reason.cloned(), since);
    }
}

/// A client's credentials, by exchange and market.
pub async fn of_client(db: &mut PgConnection, client: ClientId) -> sqlx::Result<Vec<Credential>> {
    let rows = sqlx::query_scalar!(
        r#"
        select to_jsonb(c)::text as "row!"
          from credentials c
         where c.client_id = $1
         order by c.exchange, c.market
        "#,
        client.0
    )
    .fetch_all(db)
    .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}

/// Every credential of every client that is neither active nor revoked: what waits for the operator. For the desk alone.
pub async fn waiting(db: &mut PgConnection) -> sqlx::Result<Vec<Credential>> {
    let rows = sqlx::query_scalar!(
        r#"
        select to_jsonb(c)::text as "row!"
          from credentials c
         where c.state not in ('active', 'revoked')
         order by c.client_id, c.exchange, c.market
        "#
    )
    .fetch_all(db)
    .await?;
    Ok(rows.iter().map(|row| rows::read(row)).collect())
}
