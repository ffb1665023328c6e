//! How far every read model has come with every client, watched: what makes an answer fresh, old or stale.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use events::{ClientId, Time};
use projections::checkpoints::{self, Reach};
use sqlx::PgPool;
use store::{CHECKPOINTS_MOVED, HEADS_MOVED, Wakes};
use tokio::sync::watch;

use crate::views::STREAM;

/// Looks at most so often.
const PAUSE: Duration = Duration::from_millis(2);

/// Everything as it stood at one moment.
#[derive(Debug, Default)]
pub struct Standing {
    /// When it was looked at; absent until the first look.
    pub looked_at: Option<Time>,
    of: HashMap<ClientId, Vec<(String, Reach)>>,
}

/// Where everything stands now. Clones share one watcher.
#[derive(Debug, Clone)]
pub struct Standings {
    now: watch::Receiver<Arc<Standing>>,
}

impl Standing {
    /// What is seen now.
    pub fn seen(reaches: Vec<(String, ClientId, Reach)>) -> Self {
        let mut of: HashMap<ClientId, Vec<(String, Reach)>> = HashMap::new();
        for (model, client, reach) in reaches {
            of.entry(client).or_default().push((model, reach));
        }
        Self { looked_at: Some(Time::now()), of }
    }

    /// How far a read model has come with a client; all zero where neither has anything.
    pub fn of(&self, client: ClientId, model: &str) -> Reach {
        if model == STREAM {
            return Reach::of_stream(self.head(client));
        }
        let models = self.of.get(&client).into_iter().flatten();
        models.filter(|(name, _)| name == model).map(|(_, reach)| *reach).next().unwrap_or_default()
    }

    /// How far a client's stream has come.
    pub fn head(&self, client: ClientId) -> u64 {
        self.of.get(&client).and_then(|models| models.first()).map_or(0, |(_, reach)| reach.head)
    }

    /// How far a read model has come with each client.
    pub fn of_all<'a>(&'a self, model: &'a str) -> impl Iterator<Item = (ClientId, Reach)> + 'a {
        let of = move |models: &'a Vec<(String, Reach)>| models.iter().find(|(name, _)| name == model);
        self.of.iter().filter_map(move |(client, models)| of(models).map(|(_, reach)| (*client, *reach)))
    }

    /// Events that each read model has yet to read, of all clients together.
    pub fn lags(&self) -> BTreeMap<String, u64> {
        let mut lags = BTreeMap::new();
        for (model, reach) in self.of.values().flatten() {
            *lags.entry(model.clone()).or_default() += reach.head.saturating_sub(reach.reached);
        }
        lags
    }

    /// Every client that has a stream.
    pub fn clients(&self) -> impl Iterator<Item = ClientId> {
        self.of.keys().copied()
    }
}

impl Standings {
    /// Watches over connections of login `admin_query`, until the last clone is gone: what is asked while the process ends
    /// is answered, too.
    pub fn watch(db: PgPool) -> Self {
        let (tell, now) = watch::channel(Arc::default());
        tokio::spawn(look(db, tell));
        Self { now }
    }

    pub fn now(&self) -> Arc<Standing> {
        Arc::clone(&self.now.borrow())
    }

    /// Where everything stands now; [`Self::looked_at_again`] waits for a newer look than this one.
    pub fn newest(&mut self) -> Arc<Standing> {
        Arc::clone(&self.now.borrow_and_update())
    }

    /// Resolves when it was looked at again. Never does once the watcher has stopped.
    pub async fn looked_at_again(&mut self) {
        if self.now.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Resolves with the first standing of which this holds; look from the present one on.
    pub async fn when(&mut self, holds: impl Fn(&Standing) -> bool) -> Arc<Standing> {
        if let Ok(standing) = self.now.wait_for(|standing| holds(standing)).await {
            return Arc::clone(&standing);
        }
        // The watcher has stopped: nothing is seen any more.
        std::future::pending().await
    }
}

async fn look(db: PgPool, tell: watch::Sender<Arc<Standing>>) {
    let mut wakes = Wakes::to(db.clone(), &[HEADS_MOVED, CHECKPOINTS_MOVED]);
    while !tell.is_closed() {
        match checkpoints::reaches(&db).await {
            Ok(reaches) => drop(tell.send_replace(Arc::new(Standing::seen(reaches)))),
            Err(cause) => tracing::warn!(error = %cause, "cannot see how far the read models are; answers grow old"),
        }
        tokio::time::sleep(PAUSE).await;
        wakes.next().await;
    }
}
