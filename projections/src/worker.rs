//! Takes a read model forward: lease a client, read a batch, fold, save, move the checkpoint, all in one transaction.
//!
//! The checkpoint's row lock is the lease, so any number of workers in any number of processes share the work. One that
//! is killed frees it with its connection; one that is stopped loses it to the idle timeout and wakes to find its
//! transaction gone.

use std::{
    any::Any,
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use events::{ClientId, Recorded};
use futures::FutureExt;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool, Postgres, Transaction, postgres::PgConnectOptions};
use store::{Waker, Wakes, read};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{
    checkpoints::{self, Lease, Work},
    projection::{ProjectError, Projection, ReadModel, Step},
    recent::Recent,
};

/// Events in one batch at most: where each batch costs a long refold, fewer and larger ones finish sooner.
const BATCH_MAX: u64 = 65_536;
const SLOW: Duration = Duration::from_secs(4);
/// Events in one batch after a larger one failed, before they are tried one by one.
const CAREFUL: u64 = 128;
/// Tries at one event before it is parked.
const ATTEMPTS_MAX: i32 = 5;
/// Clients whose model is kept open between batches.
const OPEN_MAX: usize = 128;
/// Batches up to this are read once for all workers of a process.
const SHARED_MAX: u64 = 1_024;
/// How long a worker rests between two rounds of work: so many times as long as it worked, within these bounds.
const RESTS: u32 = 4;
const REST_MIN: Duration = Duration::from_millis(20);
const REST_MAX: Duration = Duration::from_millis(250);

/// A worker of one read model.
#[derive(Debug)]
pub struct Worker<P> {
    /// One connection of its own: plans are kept by connection and by search path, and each model has its own.
    db: PgPool,
    /// For counting tries while a transaction of `db` is open: were both taken from one pool, workers that all hold one
    /// connection and want another could wait for each other.
    counting: PgPool,
    work: Work,
    /// Models as they stand after their checkpoint, so that the next batch need not read them again.
    open: HashMap<ClientId, Open<P>>,
    /// What to be careful with: a batch failed, and only one of its events is to blame.
    careful: HashMap<ClientId, Careful>,
    /// Clients that had something to read at the last look, and the last one that was taken.
    waiting: VecDeque<ClientId>,
    last: ClientId,
    batch: u64,
    round: Round,
    recent: Recent,
}

/// What was done since the last look at who waits.
#[derive(Debug, Default)]
struct Round {
    worked: Duration,
    /// Some batch was as large as it may be: there is more behind it.
    backlog: bool,
}

impl Round {
    /// A worker rests several times as long as it worked: a small batch costs nearly as much as a large one, and what gathers
    /// meanwhile makes fewer and larger ones of them. What comes after a pause is not kept waiting, nor is a backlog.
    fn rest(&mut self) -> Duration {
        let Self { worked, backlog } = std::mem::take(self);
        if backlog || worked.is_zero() { Duration::ZERO } else { (worked * RESTS).clamp(REST_MIN, REST_MAX) }
    }
}

/// Up to this event only so many at a time.
#[derive(Debug)]
struct Careful {
    until: u64,
    most: u64,
}

#[derive(Debug)]
struct Open<P> {
    version: i32,
    reached: u64,
    used_at: Instant,
    model: P,
}

impl<P: Projection> Worker<P> {
    /// Over connections of login `projector`.
    pub(crate) fn new(db: &PgPool, counting: PgPool, recent: Recent) -> Self {
        let same = PgConnectOptions::clone(&db.connect_options());
        Self {
            db: db.options().clone().max_connections(1).connect_lazy_with(same),
            counting,
            work: Work { projection: P::NAME, version: None, shape: shape::<P>() },
            open: HashMap::new(),
            careful: HashMap::new(),
            waiting: VecDeque::new(),
            last: ClientId::DESK,
            batch: P::BATCH,
            round: Round::default(),
            recent,
        }
    }

    /// The same, its kind forgotten.
    pub(crate) fn boxed(db: &PgPool, counting: &PgPool, recent: &Recent) -> Box<dyn ReadModel> {
        Box::new(Self::new(db, counting.clone(), recent.clone()))
    }

    async fn attempt(&mut self) -> Result<Step, ProjectError> {
        let Some((mut tx, lease)) = self.lease().await? else { return Ok(Step::Idle) };
        let (attempts, trouble) = self.count(&lease).await?;
        if attempts > ATTEMPTS_MAX {
            let trouble = trouble.unwrap_or_else(|| "the process died each time it was folded".to_owned());
            checkpoints::park(&mut tx, P::NAME, &lease, &trouble).await?;
            tx.commit().await?;
            return Ok(Step::Parked { client: lease.client, seq: lease.reached + 1, trouble });
        }
        let (last, started) = (self.last_of_batch(&lease, attempts), Instant::now());
        let outcome = self.carry_out(tx, &lease, last).await;
        self.round.worked += started.elapsed();
        self.round.backlog |= last < lease.head || self.work.version.is_some();
        match outcome {
            Ok(step) => Ok(step),
            Err(fault) => self.failed(&lease, last, fault, attempts > 0).await,
        }
    }

    /// Goes through the clients that were waiting at the last look, and looks again once: what is then in nobody's reach
    /// is done, or in another worker's hands.
    async fn lease(&mut self) -> sqlx::Result<Option<(Transaction<'static, Postgres>, Lease)>> {
        let mut looked = false;
        loop {
            let Some(client) = self.waiting.pop_front() else {
                if looked {
                    return Ok(None);
                }
                tokio::time::sleep(self.round.rest()).await;
                self.waiting = checkpoints::waiting(&self.db, &self.work, self.last).await?.into();
                looked = true;
                continue;
            };
            let mut tx = self.db.begin().await?;
            if let Some(lease) = checkpoints::lease(&mut tx, &self.work, client).await? {
                self.last = client;
                return Ok(Some((tx, lease)));
            }
            tx.rollback().await?;
        }
    }

    /// Counts the try, for good, before it is made. Not the first one after a batch that this worker did itself: should
    /// the process die of it, no model is open any more and all later tries are counted.
    async fn count(&mut self, lease: &Lease) -> sqlx::Result<(i32, Option<String>)> {
        match self.is_open(lease) {
            true => Ok((0, None)),
            false => checkpoints::count_attempt(&self.counting, P::NAME, lease).await,
        }
    }

    fn is_open(&self, lease: &Lease) -> bool {
        let open = self.open.get(&lease.client);
        open.is_some_and(|open| open.version == lease.version && open.reached == lease.reached)
    }

    /// One batch, whole or not at all.
    async fn carry_out(
        &mut self,
        mut tx: Transaction<'static, Postgres>,
        lease: &Lease,
        last: u64,
    ) -> Result<Step, ProjectError> {
        // A fold that panics is an event that cannot be folded, not the end of this process.
        let outcome = AssertUnwindSafe(self.batch(&mut tx, lease, last)).catch_unwind().await;
        match outcome.unwrap_or_else(|panic| Err(ProjectError::Panicked(said(&*panic)))) {
            Ok(step) => {
                tx.commit().await?;
                Ok(step)
            }
            Err(fault) => {
                // At once: a transaction that is only dropped holds its lease until its connection is used again, and
                // the next step would find the client in somebody's hands. One whose connection is gone holds none.
                let _ = tx.rollback().await;
                Err(fault)
            }
        }
    }

    fn last_of_batch(&mut self, lease: &Lease, attempts: i32) -> u64 {
        if self.careful.get(&lease.client).is_some_and(|careful| careful.until <= lease.reached) {
            self.careful.remove(&lease.client);
        }
        // Another worker may have failed here, or died, which this one knows by the tries alone: were each to begin with
        // a whole batch, its first event would be parked for another's fault.
        let most = match attempts {
            ..=1 => self.batch,
            2 => CAREFUL,
            3.. => 1,
        };
        let careful = self.careful.get(&lease.client).map_or(most, |careful| careful.most);
        lease.head.min(lease.reached + most.min(careful))
    }

    /// One batch, folded and saved; the caller commits.
    async fn batch(&mut self, tx: &mut PgConnection, lease: &Lease, last: u64) -> Result<Step, ProjectError> {
        let started = Instant::now();
        let mut open = self.open(tx, lease).await?;
        let (client, first, mut newest) = (lease.client, lease.reached + 1, None);
        let mut take = |event: &Recorded| {
            newest = Some((event.seq, event.recorded_at));
            fold(&mut open.model, event, &lease.skips)
        };
        if last - lease.reached <= SHARED_MAX {
            self.recent.read(tx, client, first, last).await?.iter().try_for_each(|event| take(event))?;
        } else {
            // Each is folded as it arrives, so that a large batch is never in memory as a whole.
            read::each(&mut *tx, client, first, last, |event| take(&event)).await?;
        }
        // Fewer than asked for, where one that cannot be read stands in between: that one comes first next time.
        let (last, recorded_at) = newest.expect("the head is ahead of the checkpoint");
        open.model.save(tx, lease.client, last).await?;
        checkpoints::advance(tx, P::NAME, lease, last, recorded_at).await?;
        open.reached = last;
        self.keep_open(lease.client, open);
        self.batch = if started.elapsed() > SLOW { (self.batch * 2).min(BATCH_MAX) } else { P::BATCH };
        Ok(Step::Folded { client: lease.client, events: last - lease.reached, reached: last })
    }

    async fn open(&mut self, tx: &mut PgConnection, lease: &Lease) -> Result<Open<P>, ProjectError> {
        match self.open.remove(&lease.client) {
            Some(open) if open.version == lease.version && open.reached == lease.reached => Ok(open),
            Some(_) | None => {
                let model = P::open(tx, lease.client, lease.reached).await?;
                Ok(Open { version: lease.version, reached: lease.reached, used_at: Instant::now(), model })
            }
        }
    }

    fn keep_open(&mut self, client: ClientId, open: Open<P>) {
        if self.open.len() >= OPEN_MAX {
            // The one that was quiet for the longest.
            let quiet = self.open.iter().min_by_key(|(_, open)| open.used_at).map(|(client, _)| *client);
            quiet.and_then(|quiet| self.open.remove(&quiet));
        }
        self.open.insert(client, Open { used_at: Instant::now(), ..open });
    }

    async fn failed(
        &mut self,
        lease: &Lease,
        last: u64,
        fault: ProjectError,
        counted: bool,
    ) -> Result<Step, ProjectError> {
        self.open.remove(&lease.client);
        let most = if last - lease.reached > CAREFUL { CAREFUL } else { 1 };
        self.careful.insert(lease.client, Careful { until: last, most });
        let trouble = chain(&fault);
        if !counted {
            checkpoints::count_attempt(&self.counting, P::NAME, lease).await?;
        }
        checkpoints::keep_trouble(&self.counting, P::NAME, lease, &trouble, !fault.is_transient()).await?;
        if fault.is_transient() { Err(fault) } else { Ok(Step::Failed { client: lease.client, trouble }) }
    }
}

fn fold<P: Projection>(model: &mut P, event: &Recorded, skips: &[i64]) -> Result<(), ProjectError> {
    if skips.contains(&(event.seq as i64)) {
        return Ok(());
    }
    let broke = |panic: Box<dyn Any + Send>| ProjectError::Unfoldable { seq: event.seq, reason: said(&*panic) };
    catch_unwind(AssertUnwindSafe(|| model.fold(event))).map_err(broke)?
}

/// A text that changes with the tables and with the fold.
fn shape<P: Projection>() -> String {
    let hash = Sha256::digest(format!("{}\n{}", P::FOLD, P::TABLES));
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked").to_owned()
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[async_trait]
impl<P: Projection> ReadModel for Worker<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn tables(&self) -> &'static str {
        P::TABLES
    }

    fn shape(&self) -> String {
        self.work.shape.clone()
    }

    fn on_version(&mut self, version: i32) {
        self.work.version = Some(version);
    }

    fn another(&self) -> Box<dyn ReadModel> {
        Box::new(Self { work: self.work.clone(), ..Self::new(&self.db, self.counting.clone(), self.recent.clone()) })
    }

    async fn step(&mut self) -> Result<Step, ProjectError> {
        self.attempt().await
    }
}

/// Keeps a read model up to date until it is told to stop; a batch under way is finished first. Tells `moved` of each.
pub async fn run(mut model: Box<dyn ReadModel>, mut wakes: Wakes, moved: Waker, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let pause = match model.step().await {
            Ok(Step::Folded { .. }) => {
                moved.wake();
                continue;
            }
            Ok(Step::Idle) => Duration::ZERO,
            Ok(Step::Failed { client, trouble }) => {
                warn!(client.id = %client, projection = model.name(), "could not fold, trying again: {trouble}");
                Duration::from_millis(100)
            }
            Ok(Step::Parked { client, seq, trouble }) => {
                error!(client.id = %client, projection = model.name(), seq, "parked at event {seq}: {trouble}");
                moved.wake();
                Duration::ZERO
            }
            Err(fault) => {
                warn!(projection = model.name(), "cannot work at the moment: {}", chain(&fault));
                Duration::from_millis(500)
            }
        };
        let wait = async {
            match pause {
                Duration::ZERO => wakes.next().await,
                pause => tokio::time::sleep(pause).await,
            }
        };
        tokio::select! {
            () = wait => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Takes every client as far as its stream goes now, or as far as it can. Returns the parked ones.
pub async fn catch_up(model: &mut dyn ReadModel, mut folded: impl FnMut(u64)) -> Result<Vec<Step>, ProjectError> {
    let mut parked = Vec::new();
    loop {
        match model.step().await? {
            Step::Idle => return Ok(parked),
            Step::Folded { events, .. } => folded(events),
            Step::Failed { .. } => {}
            step @ Step::Parked { .. } => parked.push(step),
        }
    }
}
