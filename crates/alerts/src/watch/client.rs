//! One client's alerts, evaluated under a lease: its events go to its engine, and what comes of them into its stream; people are
//! told of it, and its promises are judged.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use events::{AggregateRef, ClientId, Event, Recorded, Time, alert::RuleEvent};
use store::{Append, AppendError, Cause, Draft, Expected, Fence, ReadError, read};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Foundation;
use crate::{
    engine::{Engine, Transition},
    judge::{Judge, JudgeError},
    kept::{self, Kept},
    notify::{TellError, Teller},
    replay::Ticks,
};

/// From when an event is stamped until everybody sees it.
const COMMIT_US: i64 = 50_000;
/// How often time is looked at where nothing is due earlier.
const TICK_MAX: Duration = Duration::from_millis(200);
/// Events that are read at once.
const BATCH: u32 = 1_000;
/// How often a state is saved, while there is something new in it.
const SAVE_EVERY: Duration = Duration::from_secs(30);
const FAULT_PAUSE: Duration = Duration::from_millis(500);
/// Under which name it is told which versions of rules speak.
const VERSIONS: &str = "versions";

/// Why the alerts of a client are not evaluated at the moment.
#[derive(Debug, thiserror::Error)]
enum WatchError {
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

/// Whoever evaluates one client's alerts.
pub(super) struct ClientAlerts {
    pub client: ClientId,
    pub fence: Fence,
    pub on: Foundation,
    /// How far its stream went, and when that was asked.
    pub head: watch::Receiver<(u64, Time)>,
    /// Whether it got through since that was last said.
    pub passed: Arc<AtomicBool>,
    /// Rung when there is a message more to people.
    pub rung: Arc<Notify>,
}

impl ClientAlerts {
    /// Evaluates them until told to stop, or overtaken, or something goes wrong.
    pub async fn evaluate(mut self, stop: CancellationToken) {
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
