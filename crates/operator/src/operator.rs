//! The process: which clients it acts for, and who hears what the bots say.

use std::{collections::HashMap, sync::Arc, time::Duration};

use events::ClientId;
use hummingbot::{
    Hummingbot,
    mqtt::{self, Bots, Heard, Said},
};
use sqlx::PgPool;
use store::{Fence, Leases, Streams, Wakes, read};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::{Id, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use vault::Vault;

use crate::{
    hand,
    keep::Gate,
    mandate::{Mandate, Means},
    probe,
    quarantine::{self, Stray},
    switchboard::{Listener, Switchboard},
};

/// The lease under which a process acts for a client.
const LEASE: &str = "hands";
/// Messages that may wait for one hand.
const HEARD_MAX: usize = 10_000;
/// Bots of all clients whose histories are on their way at once.
const HISTORIES_AT_ONCE: usize = 4;

/// What the operator stands on.
#[derive(Debug)]
pub struct Foundation {
    pub streams: Streams,
    pub leases: Leases,
    /// Connections of login `operator`.
    pub db: PgPool,
    /// Connections of login `query`.
    pub query: PgPool,
    pub vault: Vault,
    pub hummingbot: Hummingbot,
    pub broker: mqtt::Settings,
    pub settings: Settings,
}

/// How patient it is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a client stays a process' own without a word from it.
    pub lease: Duration,
    /// How long after its note a call to deploy can still have an effect.
    pub deploy_max: Duration,
    /// How old a wish for a manual order may be when it is sent: what somebody wants now is not done much later.
    pub send_within: Duration,
    /// How long after a manual order's end its fills may still come in; what is missing then is lost.
    pub fills_within: Duration,
    /// How often each bot's own memory is compared with what is recorded.
    pub reconcile_every: Duration,
    /// How old a fill must be before another source than the bot's own message is believed.
    pub grace: Duration,
    /// How late what a bot says of its orders may come and still be counted from when it happened.
    pub overdue: Duration,
    /// How often order books are looked at; balances are every twelfth time.
    pub observe_every: Duration,
    /// How often the server is asked what it thinks of each bot.
    pub report_every: Duration,
    /// How long a bot may say nothing before it counts as silent.
    pub silence: Duration,
    /// How often it is asked whether the API answers at all.
    pub probe_every: Duration,
}

impl Settings {
    /// All of it, from how long Hummingbot may take to carry out a call: 90 s for a real one, which talks to Docker and to
    /// exchanges.
    pub fn for_patience(patience: Duration) -> Self {
        let at_least = |part: Duration, least: u64| part.max(Duration::from_millis(least));
        Self {
            lease: at_least(patience / 6, 1_500),
            deploy_max: patience,
            send_within: at_least(patience, 20_000),
            fills_within: at_least(patience / 3, 1_500),
            reconcile_every: at_least(patience * 2 / 3, 1_000),
            grace: at_least(patience / 18, 200),
            overdue: at_least(patience / 90, 200),
            observe_every: at_least(patience / 18, 500),
            report_every: at_least(patience / 3, 1_000),
            silence: at_least(patience * 7 / 18, 2_500),
            probe_every: at_least(patience / 9, 500),
        }
    }
}

/// The desk's hands in this process.
#[derive(Debug)]
pub struct Operator {
    on: Foundation,
}

/// A client that this process acts for.
struct Held {
    fence: Fence,
    until: watch::Sender<Instant>,
    stop: CancellationToken,
}

impl Operator {
    /// Stands on these; nothing is done yet.
    pub fn new(on: Foundation) -> Self {
        Self { on }
    }

    /// Acts until told to stop; what is under way then is finished or left to whoever acts next. Hummingbot, its broker or
    /// Postgres being away is waited for.
    ///
    /// # Errors
    /// If the broker's address cannot be used.
    pub async fn run(self, stop: CancellationToken) -> Result<(), mqtt::BadBroker> {
        let (bots, heard) = Bots::connect(self.on.broker.clone())?;
        let means = Means {
            streams: self.on.streams,
            db: self.on.db,
            query: self.on.query,
            hummingbot: self.on.hummingbot,
            bots,
            histories: Arc::new(Semaphore::new(HISTORIES_AT_ONCE)),
            vault: self.on.vault,
            switchboard: Switchboard::default(),
            settings: self.on.settings,
        };
        let listening = tokio::spawn(pass_on(means.clone(), heard));
        let asking = tokio::spawn(probe::keep_asking(means.clone(), self.on.leases.clone(), stop.clone()));
        let wakes = Wakes::new(means.db.clone());
        Hands { means, leases: self.on.leases, wakes, held: HashMap::new(), tasks: JoinSet::new(), of: HashMap::new() }
            .run(stop)
            .await;
        listening.abort();
        // It ends by the same sign.
        let _ = asking.await;
        Ok(())
    }
}

struct Hands {
    means: Means,
    leases: Leases,
    wakes: Wakes,
    held: HashMap<ClientId, Held>,
    tasks: JoinSet<()>,
    of: HashMap<Id, ClientId>,
}

impl Hands {
    async fn run(mut self, stop: CancellationToken) {
        let every = self.means.settings.lease / 5;
        while !stop.is_cancelled() {
            self.renew().await;
            self.take().await;
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended.map_or_else(|e| e.id(), |(id, ())| id)).await,
                () = stop.cancelled() => {}
            }
        }
        self.held.values().for_each(|held| held.stop.cancel());
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.ended(ended.map_or_else(|e| e.id(), |(id, ())| id)).await;
        }
    }

    /// Keeps what is held. What another has taken is let go at once; without an answer it ends by its own clock.
    async fn renew(&mut self) {
        let all: Vec<(ClientId, Fence)> =
            self.held.iter().map(|(client, held)| (*client, held.fence.clone())).collect();
        if all.is_empty() {
            return;
        }
        let asked = Instant::now();
        match self.leases.renew(&all, self.means.settings.lease).await {
            Ok(kept) => {
                for (client, held) in &self.held {
                    if kept.contains(client) {
                        held.until.send_replace(asked + self.means.settings.lease);
                    } else {
                        warn!(client.id = %client, "another process acts for client {client} by now");
                        held.stop.cancel();
                    }
                }
            }
            Err(cause) => warn!(error = %cause, "leases could not be renewed, trying again"),
        }
    }

    /// Takes clients whom nobody acts for.
    async fn take(&mut self) {
        let clients: Vec<ClientId> = match read::heads_of_all(&self.means.db).await {
            Ok(heads) => heads.into_iter().map(|(client, _)| client).filter(|c| *c != ClientId::DESK).collect(),
            Err(cause) => return warn!(error = %cause, "could not read which clients there are, looking again"),
        };
        self.means.switchboard.know(clients.iter().copied());
        for client in clients {
            if self.held.contains_key(&client) {
                continue;
            }
            let asked = Instant::now();
            match self.leases.take(client, LEASE, self.means.settings.lease).await {
                Ok(Some(fence)) => self.begin(client, fence, asked + self.means.settings.lease),
                Ok(None) => {}
                Err(cause) => return warn!(error = %cause, "leases could not be taken, trying again"),
            }
        }
    }

    fn begin(&mut self, client: ClientId, fence: Fence, until: Instant) {
        info!(client.id = %client, token = fence.token(), "acting for client {client}");
        let (until, watched) = watch::channel(until);
        let (hand, heard) = mpsc::channel(HEARD_MAX);
        let stop = CancellationToken::new();
        let mandate =
            Mandate { client, fence: fence.clone(), until: watched, gate: Gate::default(), means: self.means.clone() };
        self.means.switchboard.plug_in(client, hand);
        let task = self.tasks.spawn(hand::act(mandate, heard, self.wakes.clone(), stop.clone()));
        self.of.insert(task.id(), client);
        self.held.insert(client, Held { fence, until, stop });
    }

    /// A hand ended: told to, overtaken, or broken. Whoever is quicker takes the client again.
    async fn ended(&mut self, task: Id) {
        let Some(client) = self.of.remove(&task) else { return };
        let Some(held) = self.held.remove(&client) else { return };
        self.means.switchboard.unplug(client);
        if let Err(cause) = self.leases.release(client, &held.fence).await {
            warn!(client.id = %client, error = %cause, "the lease of client {client} ends by itself");
        }
    }
}

/// Hands on what bots say, each to the hand of its client. A hand that is slow is waited for: the broker would only throw
/// away what is not read.
async fn pass_on(means: Means, mut heard: mpsc::Receiver<Heard>) {
    while let Some(what) = heard.recv().await {
        match &what {
            Heard::Message(message) => match means.switchboard.listener(&message.bot) {
                // A hand that ended meanwhile misses nothing: the next one asks the bot itself.
                Listener::Hand(hand) => drop(hand.send(what).await),
                Listener::Elsewhere => {}
                Listener::Nobody if matches!(message.said, Said::Event(_)) => {
                    let (instance, raw) = (message.bot.as_str(), &message.raw[..]);
                    let reason = "no client of ours has such a bot".to_owned();
                    let stray = Stray { client: ClientId::DESK, instance, source: "mqtt", reason, raw };
                    if let Err(cause) = quarantine::keep(&means.db, &means.streams, stray).await {
                        warn!(error = %cause, instance, "a stray message could not be kept");
                    }
                }
                Listener::Nobody => {}
            },
            Heard::Connected { .. } | Heard::Lost { .. } => {
                for hand in means.switchboard.hands() {
                    let _ = hand.send(what.clone()).await;
                }
            }
        }
    }
}
