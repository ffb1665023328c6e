//! Role alerts: follows every stream under a lease for each client, hands the events to the client's engine, and appends
//! what comes of them.
//!
//! A process that takes a client over goes on from the state that was saved last, looks up at which moments time was looked
//! at since, and finds the same transitions again: what is in the stream already is not written twice.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use events::{AggregateRef, ClientId, Event, Recorded, Time, alert::RuleEvent};
use sqlx::PgPool;
use store::{Append, AppendError, Cause, Draft, Expected, Fence, Leases, ReadError, Streams, Wakes, read};
use tokio::{
    sync::{Notify, watch},
    task::{Id, JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::{
    engine::{Engine, Transition},
    judge::{Judge, JudgeError},
    kept::{self, Kept},
    lag,
    notify::{Circuits, Means, Sender, Sending, TellError, Teller, mails},
    replay::Ticks,
};

/// The lease under which a process evaluates a client's alerts.
const LEASE: &str = "alerts";
const LEASE_FOR: Duration = Duration::from_secs(10);
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// Between two looks at what is new: many small moves are one look.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// And there is one at least so often: time passes as far as somebody has looked.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// From when an event is stamped until everybody sees it.
const COMMIT_US: i64 = 50_000;
/// How often time is looked at where nothing is due earlier.
const TICK_MAX: Duration = Duration::from_millis(200);
/// Events that are read at once.
const BATCH: u32 = 1_000;
/// How often it is said whose alerts were evaluated: whoever watches waits for half a minute.
const PASS_EVERY: Duration = Duration::from_secs(5);
/// How often a state is saved, while there is something new in it.
const SAVE_EVERY: Duration = Duration::from_secs(30);
const FAULT_PAUSE: Duration = Duration::from_millis(500);
/// Under which name it is told which versions of rules speak.
const VERSIONS: &str = "versions";

/// What the role stands on.
#[derive(Debug, Clone)]
pub struct Foundation {
    pub streams: Streams,
    pub leases: Leases,
    /// Connections of logins `alerts` and `admin_query`.
    pub db: PgPool,
    pub desk: PgPool,
    /// By what means people are told.
    pub means: Means,
}

/// Why the alerts of a client are not evaluated at the moment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    #[error("another process evaluates them by now")]
    Overtaken,
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("could not record what came of them")]
    Append(#[from] AppendError),
    #[error("could not keep where they stand")]
    Keep(#[from] sqlx::Error),
    #[error("could not say what is to be told")]
    Tell(#[from] TellError),
    #[error("could not judge what was promised")]
    Judge(#[from] JudgeError),
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
        let one = One { client, fence: fence.clone(), on, head: heard, passed: Arc::clone(&passed), rung };
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

/// One client's alerts, under a lease.
struct One {
    client: ClientId,
    fence: Fence,
    on: Foundation,
    head: watch::Receiver<(u64, Time)>,
    passed: Arc<AtomicBool>,
    rung: Arc<Notify>,
}

impl One {
    async fn evaluate(mut self, stop: CancellationToken) {
        let client = self.client;
        match self.serve(&stop).await {
            Ok(()) | Err(WatchError::Overtaken) => {}
            Err(fault) => {
                warn!(client.id = %client, error = &fault as &dyn std::error::Error, "the alerts of client {client} are evaluated later");
                tokio::time::sleep(FAULT_PAUSE).await;
            }
        }
    }

    async fn serve(&mut self, stop: &CancellationToken) -> Result<(), WatchError> {
        let (mut engine, ticks, news_from) = self.open().await?;
        let Foundation { streams, db, desk, .. } = self.on.clone();
        let known = news_from..=engine.reached();
        let mut teller = Teller::open(self.client, &streams, (&db, &desk), Arc::clone(&self.rung), known).await?;
        let mut judge = Judge::open(self.client, self.fence.clone(), streams, desk, engine.reached()).await?;
        let (mut saved, mut saved_at) = (engine.reached(), Instant::now());
        loop {
            let (head, asked) = *self.head.borrow_and_update();
            self.read_to(head, &mut engine, &ticks, |event| {
                teller.hear(event);
                judge.hear(event);
            })
            .await?;
            // Not before what is late can have come.
            let transitions = engine.tick(asked.plus_micros(-engine.late_us(asked) - COMMIT_US));
            self.record(transitions).await?;
            teller.tell().await?;
            judge.look().await?;
            self.passed.store(true, Ordering::Relaxed);
            if engine.reached() > saved && (saved_at.elapsed() >= SAVE_EVERY || stop.is_cancelled()) {
                kept::save(&self.on.db, self.client, &self.fence, (&engine, teller.news_from())).await?;
                (saved, saved_at) = (engine.reached(), Instant::now());
            }
            if stop.is_cancelled() {
                return Ok(());
            }
            tokio::select! {
                Ok(()) = self.head.changed() => {}
                () = tokio::time::sleep(until_due(&engine)) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// The engine as it was saved last, carried on to the head: whoever held the lease before may have looked at the time
    /// behind any event up to there. From here on it looks at the time by itself. And from which event on there may be news.
    async fn open(&mut self) -> Result<(Engine, Ticks, u64), WatchError> {
        let (client, db) = (self.client, self.on.db.clone());
        let Kept { engine, news_from } = kept::take(&db, client, &self.fence).await?;
        let mut engine = engine.unwrap_or_else(|| Engine::new(client));
        info!(client.id = %client, reached = engine.reached(), "evaluating the alerts of client {client}");
        let head = read::head(&db, client).await?;
        let told = read::of_alerts(&db, client, engine.reached()).await?;
        let ticks = Ticks::told_by(&told);
        self.record(ticks.again(&mut engine)).await?;
        self.read_to(head, &mut engine, &ticks, |_| {}).await?;
        if !engine.speaks() {
            let (versions, at) = (Engine::versions(), Time::now());
            self.append(AggregateRef::new("rule", VERSIONS), RuleEvent::RulesSpeak { versions, at }.into(), None)
                .await?;
        }
        Ok((engine, ticks, news_from))
    }

    /// Takes in everything up to there.
    async fn read_to(
        &mut self,
        head: u64,
        engine: &mut Engine,
        ticks: &Ticks,
        mut heard: impl FnMut(&Recorded),
    ) -> Result<(), WatchError> {
        while head > engine.reached() {
            let events = read::after(&self.on.db, self.client, engine.reached(), BATCH).await?;
            let transitions: Vec<Transition> = events.iter().flat_map(|event| ticks.carry(engine, event)).collect();
            self.record(transitions).await?;
            events.iter().for_each(&mut heard);
            // Whoever reads a long stream gets on, too.
            self.passed.store(true, Ordering::Relaxed);
            if events.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Writes transitions in their order; those that are in the stream already are not written again.
    async fn record(&self, transitions: Vec<Transition>) -> Result<(), WatchError> {
        for transition in transitions {
            let key = transition.key();
            self.append(AggregateRef::new("alert", transition.alert), transition.event.into(), Some(key)).await?;
        }
        Ok(())
    }

    async fn append(&self, aggregate: AggregateRef, event: Event, key: Option<String>) -> Result<(), WatchError> {
        let cause = Cause::system("alerts").under(self.fence.clone());
        let events = vec![Draft { event, key }];
        let append = Append { client: self.client, aggregate, expected: Expected::Any, events, cause };
        match self.on.streams.committer().append(append).await {
            Ok(_) => Ok(()),
            Err(AppendError::Stale { .. }) => Err(WatchError::Overtaken),
            Err(cause) => Err(cause.into()),
        }
    }
}

/// How long until something becomes so by itself.
fn until_due(engine: &Engine) -> Duration {
    let now = Time::now();
    let due = engine.next_change().map(|due| due.micros().saturating_add(engine.late_us(now) + COMMIT_US));
    let us = due.map(|due| due.saturating_sub(now.micros()).max(20_000));
    us.map_or(TICK_MAX, |us| Duration::from_micros(us.unsigned_abs()).min(TICK_MAX))
}
