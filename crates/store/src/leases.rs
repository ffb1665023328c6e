//! Who may act for a client: a lease that one process holds at a time, and the fence that keeps an old holder out.
//!
//! Time alone cannot keep him out: he may be stopped between his look at the clock and his deed. So each new holder gets
//! a higher token, and an append that carries an older one is refused in the transaction that would write it.

use std::time::Duration;

use events::ClientId;
use sqlx::PgPool;
use uuid::Uuid;

/// Proof of having held a lease; whether it is still held is judged when something is written under it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fence {
    name: &'static str,
    token: u64,
}

impl Fence {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Higher than that of every holder before.
    pub fn token(&self) -> u64 {
        self.token
    }
}

/// The leases, from the side of one process.
#[derive(Debug, Clone)]
pub struct Leases {
    writer: PgPool,
    holder: Uuid,
}

impl Leases {
    /// Over connections of login `writer`, as a holder like no other.
    pub fn new(writer: PgPool) -> Self {
        Self { writer, holder: Uuid::new_v4() }
    }

    /// Takes the lease of this name on a client for a time; `None`: somebody holds it.
    pub async fn take(&self, client: ClientId, name: &'static str, time: Duration) -> sqlx::Result<Option<Fence>> {
        let token = sqlx::query_scalar!("select es.take_lease($1, $2, $3, $4)", client.0, name, self.holder, ms(time))
            .fetch_optional(&self.writer)
            .await?
            .flatten();
        Ok(token.map(|token| Fence { name, token: token as u64 }))
    }

    /// Begins the time of these leases anew and tells which of them are still held.
    pub async fn renew(&self, held: &[(ClientId, Fence)], time: Duration) -> sqlx::Result<Vec<ClientId>> {
        let clients: Vec<Uuid> = held.iter().map(|(client, _)| client.0).collect();
        let names: Vec<String> = held.iter().map(|(_, fence)| fence.name.to_owned()).collect();
        let tokens: Vec<i64> = held.iter().map(|(_, fence)| fence.token as i64).collect();
        let kept = sqlx::query_scalar!(
            r#"select client_id as "client!" from es.renew_leases($1, $2, $3, $4, $5)"#,
            &clients,
            &names,
            &tokens,
            self.holder,
            ms(time)
        )
        .fetch_all(&self.writer)
        .await?;
        Ok(kept.into_iter().map(ClientId).collect())
    }

    /// Gives a lease back, so that another need not wait for its end.
    pub async fn release(&self, client: ClientId, fence: &Fence) -> sqlx::Result<()> {
        sqlx::query!("select es.release_lease($1, $2, $3)", client.0, fence.name, fence.token as i64)
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
