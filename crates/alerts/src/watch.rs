//! Role alerts: follows every stream under a lease for each client, hands the events to the client's engine, and appends
//! what comes of them.
//!
//! A process that takes a client over goes on from the state that was saved last, looks up at which moments time was looked
//! at since, and finds the same transitions again: what is in the stream already is not written twice.

mod client;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use client::ClientAlerts;
use events::{ClientId, Time};
use sqlx::PgPool;
use store::{Fence, Leases, Streams, Wakes, read};
use tokio::{
    sync::{Notify, watch},
    task::{Id, JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::{
    kept, lag,
    notify::{Circuits, Means, Sender, Sending, mails},
};

/// The lease under which a process evaluates a client's alerts.
const LEASE: &str = "alerts";
const LEASE_FOR: Duration = Duration::from_secs(10);
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// Between two looks at what is new: many small moves are one look.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// And there is one at least so often: time passes as far as somebody has looked.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often it is said whose alerts were evaluated: whoever watches waits for half a minute.
const PASS_EVERY: Duration = Duration::from_secs(5);
/// What the role stands on.
#[derive(Debug, Clone)]
pub struct Foundation {
    pub streams: Streams,
    pub leases: Leases,
    /// Connections of login `alerts`.
    pub db: PgPool,
    /// Connections of login `admin_query`.
    pub desk: PgPool,
    /// By what means people are told.
    pub means: Means,
}

/// A client whose alerts this process evaluates.
struct Held {
    fence: Fence,
    /// How far its stream went, and when that was asked.
    head: watch::Sender<(u64, Time)>,
    /// Whether it got through since that was last said.
    passed: Arc<AtomicBool>,
    stop: CancellationToken,
}

struct Watch {
    on: Foundation,
    held: HashMap<ClientId, Held>,
    tasks: JoinSet<()>,
    of: HashMap<Id, ClientId>,
    renewed: Option<Instant>,
    said: Option<Instant>,
    /// Rung when there is a message more to people.
    rung: Arc<Notify>,
}

/// Evaluates until told to stop; Postgres being away is waited for.
pub async fn run(on: Foundation, stop: CancellationToken) {
    let mut wakes = Wakes::new(on.db.clone());
    let rung = Arc::new(Notify::new());
    let Foundation { db, streams, means, .. } = on.clone();
    let (circuits, sending, mails) = (Circuits::default(), Arc::<Sending>::default(), mails());
    let sender = Sender { db, streams, means, rung: Arc::clone(&rung), circuits, sending, mails };
    let sending = tokio::spawn(sender.run(stop.clone()));
    let (held, tasks, of) = (HashMap::new(), JoinSet::new(), HashMap::new());
    let mut watch = Watch { on, held, tasks, of, renewed: None, said: None, rung };
    while !stop.is_cancelled() {
        watch.look().await;
        tokio::select! {
            () = wakes.next() => tokio::time::sleep(LOOK_PAUSE).await,
            () = tokio::time::sleep(LOOK_EVERY) => {}
            Some(ended) = watch.tasks.join_next_with_id() => watch.ended(ended).await,
            () = stop.cancelled() => {}
        }
    }
    watch.held.values().for_each(|held| held.stop.cancel());
    while let Some(ended) = watch.tasks.join_next_with_id().await {
        watch.ended(ended).await;
    }
    // What was on its way has arrived, or is tried again by another.
    let _ = sending.await;
}

impl Watch {
    /// Tells those that are held how far their streams go, keeps their leases, and takes whom nobody has.
    async fn look(&mut self) {
        let asked = Time::now();
        let heads = match read::heads_of_all(&self.on.db).await {
            Ok(heads) => heads,
            Err(cause) => return warn!(error = %cause, "could not read how far streams go, looking again"),
        };
        for (client, head) in &heads {
            if let Some(held) = self.held.get(client) {
                held.head.send_if_modified(|known| std::mem::replace(known, (*head, asked)).0 < *head);
            }
        }
        if self.renewed.is_none_or(|renewed| renewed.elapsed() >= RENEW_EVERY) {
            self.renew().await;
            // Whoever holds nothing asks as seldom as the others renew.
            self.take(&heads).await;
            self.renewed = Some(Instant::now());
        }
        if self.said.is_none_or(|said| said.elapsed() >= PASS_EVERY) {
            self.say_who_passed().await;
            self.said = Some(Instant::now());
        }
    }

    async fn say_who_passed(&self) {
        let passed = self.held.iter().filter(|(_, held)| held.passed.swap(false, Ordering::Relaxed));
        let passed: Vec<ClientId> = passed.map(|(client, _)| *client).collect();
        if !passed.is_empty()
            && let Err(cause) = kept::passed(&self.on.db, &passed).await
        {
            warn!(error = %cause, "could not say whose alerts were evaluated, saying it later");
        }
    }

    async fn renew(&mut self) {
        let all: Vec<(ClientId, Fence)> =
            self.held.iter().map(|(client, held)| (*client, held.fence.clone())).collect();
        if all.is_empty() {
            return;
        }
        match self.on.leases.renew(&all, LEASE_FOR).await {
            Ok(kept) => {
                self.held.iter().filter(|(client, _)| !kept.contains(client)).for_each(|(_, held)| held.stop.cancel())
            }
            Err(cause) => warn!(error = %cause, "leases could not be renewed, trying again"),
        }
    }

    async fn take(&mut self, heads: &[(ClientId, u64)]) {
        for (client, head) in
            heads.iter().filter(|(client, _)| !self.held.contains_key(client)).cloned().collect::<Vec<_>>()
        {
            match self.on.leases.take(client, LEASE, LEASE_FOR).await {
                Ok(Some(fence)) => self.begin(client, fence, head),
                Ok(None) => {}
                Err(cause) => return warn!(error = %cause, "leases could not be taken, trying again"),
            }
        }
    }

    fn begin(&mut self, client: ClientId, fence: Fence, head: u64) {
        debug!(client.id = %client, token = fence.token(), "evaluating the alerts of client {client}");
        let (tell, heard) = watch::channel((head, Time::now()));
        let stop = CancellationToken::new();
        let passed = Arc::<AtomicBool>::default();
        let (on, rung) = (self.on.clone(), Arc::clone(&self.rung));
        let one = ClientAlerts { client, fence: fence.clone(), on, head: heard, passed: Arc::clone(&passed), rung };
        let task = self.tasks.spawn(one.evaluate(stop.clone()));
        if client == ClientId::DESK {
            let Foundation { streams, db, desk, .. } = self.on.clone();
            tokio::spawn(lag::watch(desk, db, streams, stop.clone()));
        }
        self.of.insert(task.id(), client);
        self.held.insert(client, Held { fence, head: tell, passed, stop });
    }

    async fn ended(&mut self, task: Result<(Id, ()), JoinError>) {
        let (task, is_well) = task.map_or_else(|fault| (fault.id(), false), |(task, ())| (task, true));
        let Some(client) = self.of.remove(&task) else { return };
        let Some(held) = self.held.remove(&client) else { return };
        // Whatever else goes on under this lease ends with it.
        held.stop.cancel();
        if !is_well {
            // Whoever takes it over may fail in the same way: not before the lease has ended.
            return error!(client.id = %client, "the alerts of client {client} could not be evaluated: a fault of ours");
        }
        if let Err(cause) = self.on.leases.release(client, &held.fence).await {
            warn!(client.id = %client, error = %cause, "the lease of client {client} ends by itself");
        }
    }
}
