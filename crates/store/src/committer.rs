//! The group committer: every waiting command of this process goes out with the next commit.
//!
//! One group is under way while few wait; a second is started beside it when enough commands of other clients have
//! gathered meanwhile. No client is ever in two groups at once, so each stream has one writer in this process.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use events::ClientId;
use sqlx::{PgPool, Postgres, pool::PoolConnection};
use tokio::{
    sync::{mpsc, oneshot},
    task::{self, JoinSet},
};
use uuid::Uuid;

use crate::{
    append::{Append, AppendError, Receipt},
    group::{Done, Group},
    pending::Pending,
    tips::Tips,
    waker::{HEADS_MOVED, Waker},
};

/// Events in one group at most.
const EVENTS_MAX: usize = 1_000;
/// Groups under way at most, and how many commands must wait before the second starts: measured, one is better for few.
const LANES_MAX: usize = 2;
const SECOND_LANE_FROM: usize = 24;
/// Groups under way when some are stuck behind a lock or a dead connection, and how long makes one stuck.
const STUCK_LANES_MAX: usize = 8;
const LONG: Duration = Duration::from_millis(200);
/// How often the committer lets everybody else run before it starts a group smaller than the last one.
const COMPANY_TURNS: usize = 3;
/// How long a connection is kept for the next group: after that the pool looks whether it still answers.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// Commands taken from their callers at most; the others wait where they are.
const WAITING_MAX: usize = 8_192;
/// Streams remembered at most, and versions of one stream; what is beyond is read again.
const TIPS_MAX: usize = 20_000;
const VERSIONS_MAX: usize = 512;

/// The way into the streams. Cheap to clone; all clones feed one committer.
#[derive(Debug, Clone)]
pub struct Committer {
    commands: mpsc::Sender<Pending>,
}

impl Committer {
    /// Starts the committer on connections of login `writer`; it ends when the last clone is gone and all is written.
    pub fn start(writer: PgPool) -> Self {
        let (commands, waiting) = mpsc::channel(4_096);
        tokio::spawn(Lanes::new(writer).run(waiting));
        Self { commands }
    }

    /// Writes one decision's events, or answers why not.
    pub async fn append(&self, append: Append) -> Result<Receipt, AppendError> {
        let aggregate = append.aggregate.clone();
        let answer = self.send(append).await?;
        answer.await.unwrap_or(Err(AppendError::Unknown(aggregate)))
    }

    /// Writes many decisions, each with its own outcome, in as few commits as possible.
    pub async fn append_all(&self, appends: Vec<Append>) -> Vec<Result<Receipt, AppendError>> {
        let mut answers = Vec::with_capacity(appends.len());
        for append in appends {
            let aggregate = append.aggregate.clone();
            answers.push((aggregate, self.send(append).await));
        }
        let mut outcomes = Vec::with_capacity(answers.len());
        for (aggregate, answer) in answers {
            outcomes.push(match answer {
                Ok(answer) => answer.await.unwrap_or(Err(AppendError::Unknown(aggregate))),
                Err(refused) => Err(refused),
            });
        }
        outcomes
    }

    async fn send(&self, append: Append) -> Result<oneshot::Receiver<Result<Receipt, AppendError>>, AppendError> {
        assert!(!append.events.is_empty(), "an append of {} has no events", append.aggregate);
        let (reply, answer) = oneshot::channel();
        self.commands.send(Pending::new(append, reply)?).await.map_err(|_| AppendError::Closed)?;
        Ok(answer)
    }
}

struct Lanes {
    db: PgPool,
    waker: Arc<Waker>,
    waiting: VecDeque<Pending>,
    tips: Tips,
    busy: HashSet<ClientId>,
    under_way: JoinSet<Done>,
    /// Connections of groups that are done, and since when: the pool asks each that is given back whether it is alive,
    /// which would cost every group a round trip.
    kept: Vec<(PoolConnection<Postgres>, Instant)>,
    /// Clients who share no group, because somebody else held one of theirs.
    alone: HashSet<ClientId>,
    /// How many commands went with the last group.
    last_group: usize,
    /// Whose streams each group writes, and since when.
    groups: HashMap<task::Id, (Vec<ClientId>, Instant)>,
}

impl Lanes {
    fn new(db: PgPool) -> Self {
        Self {
            waker: Arc::new(Waker::start(db.clone(), HEADS_MOVED)),
            db,
            waiting: VecDeque::new(),
            tips: Tips::new(),
            busy: HashSet::new(),
            under_way: JoinSet::new(),
            kept: Vec::new(),
            alone: HashSet::new(),
            last_group: 0,
            groups: HashMap::new(),
        }
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Pending>) {
        let mut open = true;
        while open || !self.waiting.is_empty() || !self.under_way.is_empty() {
            let room = self.waiting.len() < WAITING_MAX;
            let stuck = !self.waiting.is_empty() && !self.under_way.is_empty();
            tokio::select! {
                command = commands.recv(), if open && room => match command {
                    Some(command) => self.take(command, &mut commands),
                    None => open = false,
                },
                Some(done) = self.under_way.join_next_with_id() => self.finished(done),
                // A group that takes long must not keep the others waiting.
                () = tokio::time::sleep(LONG), if stuck => {}
            }
            self.wait_for_company(&mut commands).await;
            self.start_groups();
        }
    }

    /// Those whom the last group answered are about to send their next commands, and run only when this task lets them:
    /// without a moment for them each group of many would be followed by a group of one.
    async fn wait_for_company(&mut self, commands: &mut mpsc::Receiver<Pending>) {
        for _ in 0..COMPANY_TURNS {
            if self.waiting.len() >= self.last_group || !self.may_start() {
                return;
            }
            task::yield_now().await;
            self.take_all(commands);
        }
    }

    fn take(&mut self, command: Pending, commands: &mut mpsc::Receiver<Pending>) {
        self.waiting.push_back(command);
        self.take_all(commands);
    }

    fn take_all(&mut self, commands: &mut mpsc::Receiver<Pending>) {
        while self.waiting.len() < WAITING_MAX {
            match commands.try_recv() {
                Ok(more) => self.waiting.push_back(more),
                Err(_) => return,
            }
        }
    }

    fn start_groups(&mut self) {
        while !self.waiting.is_empty() && self.may_start() {
            let mut group = self.gather();
            if group.waiting.is_empty() {
                return;
            }
            let clients: Vec<ClientId> = group.waiting.iter().map(|pending| pending.append.client).collect();
            self.busy.extend(&clients);
            self.last_group = clients.len();
            group.connection = self.kept.pop().filter(|(_, since)| since.elapsed() < KEPT_FOR).map(|(db, _)| db);
            let db = self.db.clone();
            let task = self.under_way.spawn(async move { group.commit(&db).await });
            self.groups.insert(task.id(), (clients, Instant::now()));
        }
    }

    /// One lane for few commands, a second when many wait; lanes that are stuck do not count.
    fn may_start(&self) -> bool {
        let quick = self.groups.values().filter(|(_, since)| since.elapsed() < LONG).count();
        match quick {
            _ if self.groups.len() >= STUCK_LANES_MAX => false,
            0 => true,
            lanes if lanes < LANES_MAX => {
                let free = self.waiting.iter().filter(|pending| !self.busy.contains(&pending.append.client));
                free.take(SECOND_LANE_FROM).count() == SECOND_LANE_FROM
            }
            _ => false,
        }
    }

    /// Takes what may go together: no client of another group, no key twice, and of each client nothing out of order.
    fn gather(&mut self) -> Group {
        let mut group = Group::new(Arc::clone(&self.waker));
        let mut held_back: HashSet<ClientId> = self.busy.clone();
        let mut keys: HashSet<(ClientId, Uuid)> = HashSet::new();
        let mut aggregates = HashSet::new();
        let (mut events, mut rest) = (0, VecDeque::new());
        let mut only = None;
        for pending in self.waiting.drain(..) {
            let client = pending.append.client;
            if self.alone.contains(&client) && group.waiting.is_empty() && !held_back.contains(&client) {
                only = Some(client);
            }
            let elsewhere = only.map_or(self.alone.contains(&client), |only| only != client);
            let fits = events == 0 || events + pending.keys.len() <= EVENTS_MAX;
            let repeats = pending.keys.iter().flatten().any(|key| keys.contains(&(client, *key)));
            let decided_blind = matches!(pending.append.expected, crate::Expected::Version(_))
                && aggregates.contains(&(client, pending.append.aggregate.clone()));
            if elsewhere || !fits || repeats || decided_blind || held_back.contains(&client) {
                held_back.insert(client);
                rest.push_back(pending);
                continue;
            }
            events += pending.keys.len();
            keys.extend(pending.keys.iter().flatten().map(|key| (client, *key)));
            aggregates.insert((client, pending.append.aggregate.clone()));
            if let Some(tip) = self.tips.remove(&client) {
                group.tips.insert(client, tip);
            }
            group.waiting.push(pending);
        }
        self.waiting = rest;
        group
    }

    /// A group that broke leaves its callers without an answer and its streams to be read again; the rest goes on.
    fn finished(&mut self, done: Result<(task::Id, Done), task::JoinError>) {
        let (id, done) = match done {
            Ok(done) => done,
            Err(broken) => {
                tracing::error!(error = %broken, "a group commit broke");
                (broken.id(), Done { tips: Tips::new(), apart: Vec::new(), connection: None })
            }
        };
        self.keep(done.connection);
        let (clients, _) = self.groups.remove(&id).expect("every group is noted when it starts");
        for client in clients {
            self.busy.remove(&client);
            self.alone.remove(&client);
        }
        self.alone.extend(done.apart.iter().map(|pending| pending.append.client));
        done.apart.into_iter().rev().for_each(|pending| self.waiting.push_front(pending));
        if self.tips.len() > TIPS_MAX {
            self.tips.clear();
        }
        self.tips.extend(done.tips.into_iter().filter(|(_, tip)| tip.versions.len() <= VERSIONS_MAX));
    }

    /// One a lane, if the pool has enough for everybody else.
    fn keep(&mut self, connection: Option<PoolConnection<Postgres>>) {
        let most = (self.db.options().get_max_connections() as usize / 4).clamp(1, LANES_MAX);
        if self.kept.len() < most {
            self.kept.extend(connection.map(|connection| (connection, Instant::now())));
        }
    }
}
