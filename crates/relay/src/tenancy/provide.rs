//! Makes NATS be as clients' subscriptions want it: accounts, durable consumers, users let in and let go.
//!
//! Any number of relays may do this at once: each looks first, and does what is missing. One that was stopped and wakes up
//! may tell servers of an account as it was; it reads the events again right after, and so does every other in a moment.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_nats::ServerAddr;
use events::{
    AggregateRef, ClientId, SubscriptionId, Time,
    subscription::{SubscriptionEvent, WhyBarred},
};
use futures::future::join_all;
use sqlx::PgPool;
use store::{Append, AppendError, Cause, Draft, Expected, Streams, read};
use tokio::{sync::watch, time::Instant};
use tracing::{error, info, warn};

use super::{
    claims,
    consumers::{self, ConsumersError},
    jwt,
    keys::RelayKeys,
    let_go::LetGo,
    registry::{Registry, RegistryError},
    wanted::{Stage, Subscription, Wanted},
};
use crate::{session::Session, told};

/// Clients that are looked after at once.
const AT_ONCE: usize = 8;
/// How often it is looked whether NATS still is as it shall be, and how far subscribers have come.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Between two looks at what is new.
const LOOK_PAUSE: Duration = Duration::from_millis(25);
const FAULT_PAUSE: Duration = Duration::from_millis(100);
const FAULT_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Keeps clients' accounts.
#[derive(Debug)]
pub(crate) struct Landlord {
    pub keys: Arc<RelayKeys>,
    pub server: ServerAddr,
    pub db: PgPool,
    pub streams: Streams,
}

/// Why a client is not served as it shall be, yet.
#[derive(Debug, thiserror::Error)]
enum ProvideError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Consumers(#[from] ConsumersError),
    #[error("could not tell of a subscription")]
    Tell(#[from] AppendError),
    /// Another relay knows more of this client than this one.
    #[error("NATS was told of the account as it is later than all that is read here: reading on")]
    Behind,
}

/// A client that has or had subscriptions.
#[derive(Debug, Clone, Default)]
struct Tenant {
    wanted: Wanted,
    /// What is claimed of its account, made once for each change.
    claim: Option<Arc<Claimed>>,
    due: Option<Instant>,
    faults: u32,
}

#[derive(Debug)]
struct Claimed {
    account: String,
    issued_at_s: i64,
    text: String,
}

/// All of them, and how far each stream was read.
#[derive(Debug, Default)]
struct Tenants {
    tenants: BTreeMap<ClientId, Tenant>,
    let_go: LetGo,
    read: BTreeMap<ClientId, u64>,
    connects: u64,
}

impl Landlord {
    /// Looks after all clients for as long as the session lasts. `heads`: where the streams stand.
    pub async fn keep(&self, session: &Session, mut heads: watch::Receiver<Vec<(ClientId, u64)>>) {
        let (mut tenants, mut registry) = (Tenants::default(), None);
        loop {
            let seen = heads.borrow_and_update().clone();
            if let Err(cause) = tenants.hear(&self.db, &seen).await {
                warn!(error = %cause, "could not read what is wanted of subscriptions, trying again");
            }
            let connects = session.connects();
            if tenants.connected(connects) {
                // What was connected before may not know yet that it is so no more.
                registry = None;
            }
            let is_connected = session.is_connected();
            if tenants.some_are_due() && is_connected {
                self.round(session, &mut registry, &mut tenants).await;
                continue;
            }
            let due = if is_connected { tenants.next_due() } else { Instant::now() + FAULT_PAUSE };
            tokio::select! {
                // Streams move all the time: many small moves are one look.
                Ok(()) = heads.changed() => tokio::time::sleep(LOOK_PAUSE).await,
                () = tokio::time::sleep_until(due) => {}
                () = session.is_another_than(connects), if !session.is_closed() => {}
            }
        }
    }

    /// One turn of those that wait longest.
    async fn round(&self, session: &Session, registry: &mut Option<Registry>, tenants: &mut Tenants) {
        let turn = tenants.take(&self.keys);
        let open = match registry.take() {
            Some(open) => Ok(open),
            None => Registry::open(&self.server, &self.keys).await,
        };
        match open {
            Ok(open) => {
                let let_go = &tenants.let_go;
                let all = turn.iter().map(|(client, tenant)| self.provide(session, &open, *client, tenant, let_go));
                let outcomes = join_all(all).await;
                // A connection over which nothing comes back is made anew.
                let broken = outcomes.iter().any(|outcome| matches!(outcome, Err(ProvideError::Registry(_))));
                *registry = Some(open).filter(|_| !broken);
                for ((client, _), outcome) in turn.iter().zip(outcomes) {
                    tenants.done(*client, outcome);
                }
            }
            Err(cause) => {
                warn!(error = &cause as &dyn std::error::Error, "nobody can be told of accounts: subscribers wait");
                turn.iter().for_each(|(client, _)| tenants.failed(*client));
            }
        }
    }

    async fn provide(
        &self,
        session: &Session,
        registry: &Registry,
        client: ClientId,
        tenant: &Tenant,
        let_go: &LetGo,
    ) -> Result<(), ProvideError> {
        if let Some(claimed) = &tenant.claim {
            claimed.put(registry, client).await?;
        }
        if self.bar_all(client, tenant, let_go).await? {
            // The others wait for their next turn: whoever is let go is to be off first, however slow JetStream is.
            return Ok(());
        }
        let mut outcome = Ok(());
        for (id, subscription) in &tenant.wanted.subscriptions {
            // One that cannot be served keeps none of the others waiting.
            let served = self.serve(session, client, *id, subscription).await;
            outcome = outcome.and(served);
        }
        outcome
    }

    async fn serve(
        &self,
        session: &Session,
        client: ClientId,
        id: SubscriptionId,
        subscription: &Subscription,
    ) -> Result<(), ProvideError> {
        match &subscription.stage {
            Stage::Open { by } => {
                consumers::ensure(session, &self.db, client, id, subscription).await?;
                let event = SubscriptionEvent::SubscriptionActive { user: subscription.user.clone(), at: Time::now() };
                self.tell(client, id, event, format!("subscription_active:{id}:{by}")).await?;
                info!(client.id = %client, subscription.id = %id, "NATS lets subscription {id} of client {client} in");
            }
            // What waits for another user waits there.
            Stage::Active | Stage::Barred => consumers::ensure(session, &self.db, client, id, subscription).await?,
            Stage::Close { by } => {
                consumers::remove(session, &self.db, client, id).await?;
                let event = SubscriptionEvent::SubscriptionRevoked { at: Time::now() };
                self.tell(client, id, event, format!("subscription_revoked:{id}:{by}")).await?;
                info!(client.id = %client, subscription.id = %id, "NATS let subscription {id} of client {client} go");
            }
            Stage::Gone => {}
        }
        Ok(())
    }

    /// Bars the users of those who are let in no more; whether there were any.
    async fn bar_all(&self, client: ClientId, tenant: &Tenant, let_go: &LetGo) -> Result<bool, AppendError> {
        let mut any = false;
        for (id, subscription) in &tenant.wanted.subscriptions {
            if let Some(why) = subscription.barred_by(let_go) {
                self.bar(client, *id, subscription, why).await?;
                any = true;
            }
        }
        Ok(any)
    }

    /// Whoever brought its user is let in no more: neither is that user, once this is read again.
    async fn bar(
        &self,
        client: ClientId,
        id: SubscriptionId,
        subscription: &Subscription,
        reason: WhyBarred,
    ) -> Result<(), AppendError> {
        let event = SubscriptionEvent::SubscriptionBarred { user: subscription.user.clone(), reason, at: Time::now() };
        self.tell(client, id, event, format!("subscription_barred:{id}:{}", subscription.bringer.by)).await?;
        info!(client.id = %client, subscription.id = %id, "the user of subscription {id} of client {client} is barred");
        Ok(())
    }

    /// Records what was done, once, whichever relay did it.
    async fn tell(
        &self,
        client: ClientId,
        id: SubscriptionId,
        event: SubscriptionEvent,
        key: String,
    ) -> Result<(), AppendError> {
        let (aggregate, events) =
            (AggregateRef::new("subscription", id), vec![Draft { event: event.into(), key: Some(key) }]);
        let append = Append { client, aggregate, expected: Expected::Any, events, cause: Cause::system("relay") };
        self.streams.committer().append(append).await.map(drop)
    }
}

impl Claimed {
    fn of(keys: &RelayKeys, client: ClientId, wanted: &Wanted) -> Self {
        let account = keys.accounts.of(client).public_key();
        let tenancy = wanted.account();
        let text = claims::client_account(&keys.clients, keys.exporter(), client, &account, &tenancy);
        Self { account, issued_at_s: tenancy.issued_at_s, text }
    }

    /// Tells servers, if they claim something else that is no younger: they take whatever they are told, and a relay that
    /// cannot read on would let in again whom another has let go.
    async fn put(&self, registry: &Registry, client: ClientId) -> Result<(), ProvideError> {
        let held = registry.look_up(&self.account).await?;
        if held == self.text.as_bytes() {
            return Ok(());
        }
        if jwt::issued_at_s(&held).is_some_and(|held| held > self.issued_at_s) {
            return Err(ProvideError::Behind);
        }
        registry.tell(self.text.clone()).await?;
        told::account();
        info!(client.id = %client, "NATS was told of the account of client {client}");
        Ok(())
    }
}

impl Subscription {
    /// Why its user shall be let in no more, though NATS shall let it in so far.
    fn barred_by(&self, let_go: &LetGo) -> Option<WhyBarred> {
        if self.is_let_in() { let_go.why(&self.bringer) } else { None }
    }
}

impl Tenants {
    /// Reads what is new of the desk, and of clients whose streams moved.
    async fn hear(&mut self, db: &PgPool, heads: &[(ClientId, u64)]) -> sqlx::Result<()> {
        self.hear_desk(db, heads).await?;
        let moved: Vec<(ClientId, u64, u64)> = heads
            .iter()
            .map(|(client, head)| (*client, self.read.get(client).copied().unwrap_or_default(), *head))
            .filter(|(client, read, head)| read < head && *client != ClientId::DESK)
            .collect();
        if moved.is_empty() {
            return Ok(());
        }
        let spans: Vec<(ClientId, u64)> = moved.iter().map(|(client, read, _)| (*client, *read)).collect();
        for event in read::of_subscriptions(db, &spans).await? {
            match event {
                Ok(event) => {
                    let tenant = self.tenants.entry(event.client).or_default();
                    tenant.wanted.hear(&event);
                    (tenant.claim, tenant.due) = (None, None);
                    self.read.insert(event.client, event.seq);
                }
                Err(corrupt) => {
                    error!(error = &corrupt as &dyn std::error::Error, "this client's subscriptions stay as they are");
                    // A newer build reads it when that is started; until then this one tells NATS nothing of the client.
                    self.read.insert(corrupt.client, u64::MAX);
                    self.tenants.remove(&corrupt.client);
                }
            }
        }
        for (client, read, head) in moved {
            // Events that came since the heads were seen may have been read already, and are not read twice.
            let known = self.read.entry(client).or_insert(read);
            *known = head.max(*known);
        }
        Ok(())
    }

    /// Reads who is let in no more; those who brought users get their turn.
    async fn hear_desk(&mut self, db: &PgPool, heads: &[(ClientId, u64)]) -> sqlx::Result<()> {
        let read = self.read.entry(ClientId::DESK).or_default();
        let Some((_, head)) = heads.iter().find(|(client, head)| *client == ClientId::DESK && head > read) else {
            return Ok(());
        };
        let told = read::of_departures(db, *read).await?;
        if told.is_empty() {
            *read = *head;
            return Ok(());
        }
        for event in told {
            match event {
                Ok(event) => {
                    *read = event.seq;
                    self.let_go.hear(&event);
                }
                Err(corrupt) => error!(error = &corrupt as &dyn std::error::Error, "somebody's keys may stay let in"),
            }
        }
        *read = (*read).max(*head);
        for tenant in self.tenants.values_mut() {
            if tenant.wanted.subscriptions.values().any(|one| one.barred_by(&self.let_go).is_some()) {
                tenant.due = None;
            }
        }
        Ok(())
    }

    /// In another connection nothing is known of what NATS holds. Whether it is another.
    fn connected(&mut self, connects: u64) -> bool {
        let is_another = self.connects != connects;
        if is_another {
            self.connects = connects;
            self.tenants.values_mut().for_each(|tenant| tenant.due = None);
        }
        is_another
    }

    /// Those whose turn it is, what is new first; what is claimed of them is made.
    fn take(&mut self, keys: &RelayKeys) -> Vec<(ClientId, Tenant)> {
        let now = Instant::now();
        let mut due: Vec<(Option<Instant>, ClientId)> = self
            .tenants
            .iter()
            .map(|(client, tenant)| (tenant.due, *client))
            .filter(|(due, _)| *due <= Some(now))
            .collect();
        due.sort_unstable();
        let taken = due.into_iter().take(AT_ONCE).map(|(_, client)| {
            let tenant = self.tenants.get_mut(&client).expect("it was just found");
            tenant.claim.get_or_insert_with(|| Arc::new(Claimed::of(keys, client, &tenant.wanted)));
            (client, tenant.clone())
        });
        taken.collect()
    }

    fn some_are_due(&self) -> bool {
        let now = Some(Instant::now());
        self.tenants.values().any(|tenant| tenant.due <= now)
    }

    fn next_due(&self) -> Instant {
        let due = self.tenants.values().filter_map(|tenant| tenant.due).min();
        due.unwrap_or_else(|| Instant::now() + LOOK_AGAIN)
    }

    fn done(&mut self, client: ClientId, outcome: Result<(), ProvideError>) {
        match outcome {
            Ok(()) => {
                let tenant = self.tenants.entry(client).or_default();
                (tenant.due, tenant.faults) = (Some(Instant::now() + LOOK_AGAIN), 0);
            }
            Err(fault) => {
                let fault = &fault as &dyn std::error::Error;
                warn!(client.id = %client, error = fault, "subscriptions of client {client} are not served yet");
                self.failed(client);
            }
        }
    }

    fn failed(&mut self, client: ClientId) {
        told::account_failed();
        let tenant = self.tenants.entry(client).or_default();
        let pause = FAULT_PAUSE.saturating_mul(1 << tenant.faults.min(8)).min(FAULT_PAUSE_MAX);
        (tenant.due, tenant.faults) = (Some(Instant::now() + pause), tenant.faults + 1);
    }
}
