//! `serve` and `migrate`: the platform's parts, wired and run until told to stop.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use api::{Beside, Ending};
use clap::{Args, ValueEnum};
use events::{ClientId, Time};
use operator::Operator;
use projections::{versions, worker};
use relay::{Access, Relay};
use store::{CHECKPOINTS_MOVED, Leases, Login, Streams, Waker, Wakes};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    edge_settings::EdgeSettings,
    report::print,
    settings::{Needs, Platform},
};

/// How often moved heads are signed.
const SIGN_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub struct Serve {
    /// Which parts run in this process; all, if left out
    #[arg(long, value_enum, value_delimiter = ',')]
    roles: Vec<Role>,
    /// Where role api listens; only what runs on this machine reaches the default
    #[arg(long, env = "LISTEN_ADDRESS", default_value = "127.0.0.1")]
    listen: IpAddr,
    /// The port of role api; 0 takes one that is free
    #[arg(long, env = "PORT", default_value_t = 8080)]
    port: u16,
    #[command(flatten)]
    pub edge: EdgeSettings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// Answers questions and takes commands over HTTP
    Api,
    /// Folds the streams into the read models and signs heads
    Projector,
    /// Publishes the streams on NATS
    Relay,
    /// Carries out through Hummingbot what was decided, and collects what happened
    Operator,
    /// Evaluates the rules of alerts over the streams
    Alerts,
}

impl Role {
    pub fn every() -> BTreeSet<Self> {
        Self::value_variants().iter().copied().collect()
    }
}

impl Serve {
    fn roles(&self) -> BTreeSet<Role> {
        match self.roles.as_slice() {
            [] => Role::every(),
            some => some.iter().copied().collect(),
        }
    }

    /// What its parts need beside a database.
    pub fn needs(&self) -> Needs {
        let roles = self.roles();
        Needs {
            nats: roles.contains(&Role::Relay),
            subscribers: roles.contains(&Role::Api),
            vault: [Role::Api, Role::Operator, Role::Alerts].iter().any(|role| roles.contains(role)),
            hummingbot: roles.contains(&Role::Operator),
        }
    }

    pub async fn run(self, platform: &Platform, edge: api::Settings) -> anyhow::Result<ExitCode> {
        let place = Door { at: SocketAddr::new(self.listen, self.port), settings: edge };
        let parts = Parts::start(platform, &platform.streams(), &self.roles(), place).await?;
        print(&parts.url.as_ref().map_or("ready".to_owned(), |url| format!("ready: {url}")))?;
        // A person who presses Ctrl-C waits for no balancer.
        if until_told_to_stop().await? == Told::Term && parts.url.is_some() {
            info!(
                "stopping: balancers have {} s to notice, then what is under way is finished",
                self.edge.drain().as_secs()
            );
            parts.end_soon();
            tokio::select! { () = tokio::time::sleep(self.edge.drain()) => {}, told = until_told_to_stop() => drop(told?) }
        }
        info!("stopping: batches under way are finished");
        parts.stop().await;
        Ok(ExitCode::SUCCESS)
    }
}

/// Where role api listens, and what it lets in.
#[derive(Debug, Clone)]
pub struct Door {
    pub at: SocketAddr,
    pub settings: api::Settings,
}

/// Parts of the platform that run in this process.
#[derive(Debug)]
pub struct Parts {
    /// Where role api is reached; absent where it does not run.
    pub url: Option<String>,
    ending: Ending,
    running: JoinSet<()>,
}

impl Parts {
    /// Starts parts; role api listens at `door`. `streams` is the one way into the streams for all of them: what writes
    /// to a client does not meet itself.
    pub async fn start(
        platform: &Platform,
        streams: &Streams,
        roles: &BTreeSet<Role>,
        door: Door,
    ) -> anyhow::Result<Self> {
        let (mut url, ending, mut running) = (None, Ending::default(), JoinSet::new());
        let stop = &ending.now;
        // The edge tells how the relay does.
        let mut relay = roles.contains(&Role::Relay).then(|| relay(platform, streams.clone())).transpose()?;
        let beside: Vec<Beside> = relay.iter().map(nats_beside).collect();
        for role in roles {
            match role {
                Role::Api => {
                    let on = foundation(platform, streams.clone(), door.settings.clone(), beside.clone()).await?;
                    let listener = listen(door.at).await?;
                    url = Some(format!("http://{}", listener.local_addr()?));
                    running.spawn(api::serve(listener, on, ending.clone()));
                }
                Role::Projector => projector(platform, stop, &mut running).await?,
                Role::Relay => running.extend(relay.take().map(|relay| relay.run(stop.clone()))),
                Role::Operator => operate(platform, streams.clone(), stop, &mut running).await?,
                Role::Alerts => {
                    let on = watch(platform, streams.clone()).await?;
                    running.spawn(alerts::watch::run(on, stop.clone()));
                }
            }
        }
        Ok(Self { url, ending, running })
    }

    /// Everything goes on, and role api says that it will not for long.
    pub fn end_soon(&self) {
        self.ending.soon.cancel();
    }

    /// Finishes what is under way, and ends.
    pub async fn stop(mut self) {
        self.ending.now.cancel();
        while self.running.join_next().await.is_some() {}
    }
}

async fn listen(place: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(place).await.with_context(|| {
        format!("port {} of {} cannot be taken: is another process on it? PORT chooses one", place.port(), place.ip())
    })
}

/// What the edge stands on.
async fn foundation(
    platform: &Platform,
    streams: Streams,
    settings: api::Settings,
    beside: Vec<Beside>,
) -> anyhow::Result<api::Foundation> {
    Ok(api::Foundation {
        vault: platform.vault(streams.clone()).await?,
        streams,
        query: platform.pool(Login::Query),
        desk: platform.pool(Login::AdminQuery),
        auth: platform.pool(Login::Auth),
        accounts: platform.nats_accounts.clone(),
        guard: platform.notify.guard.clone(),
        secret: platform.secret.clone(),
        settings,
        beside,
    })
}

/// Starts a worker of every read model, and the signing of heads where there is a key.
async fn projector(platform: &Platform, stop: &CancellationToken, parts: &mut JoinSet<()>) -> anyhow::Result<()> {
    let db = platform.pool(Login::Projector);
    let models = projections::all(&db);
    let stale = versions::prepare(&db, &models).await.context("run `pipelabs migrate` first")?;
    if !stale.is_empty() {
        bail!(
            "this build folds {0} otherwise than the live tables were filled: run `pipelabs rebuild` for each of {0}",
            stale.join(", ")
        );
    }
    let wakes = Wakes::new(db.clone());
    let moved = Waker::start(db.clone(), CHECKPOINTS_MOVED);
    for model in models {
        parts.spawn(worker::run(model, wakes.clone(), moved.clone(), stop.clone()));
    }
    match platform.signing_key.clone() {
        Some(key) => {
            let stop = stop.clone();
            parts.spawn(async move {
                while !stop.is_cancelled() {
                    match store::sign_heads(&db, &key, Time::now()).await {
                        Ok(signed) => signed.diverged.iter().for_each(tell_diverged),
                        Err(cause) => warn!(error = %cause, "could not sign heads, trying again in a minute"),
                    }
                    tokio::select! { () = tokio::time::sleep(SIGN_EVERY) => {}, () = stop.cancelled() => {} }
                }
            });
        }
        None => warn!("AUDIT_SIGNING_KEY is not set: heads are not signed"),
    }
    Ok(())
}

/// The relay, whether NATS answers or not: its subscribers wait then, and nobody else.
fn relay(platform: &Platform, streams: Streams) -> anyhow::Result<Relay> {
    let nats = platform.nats.clone().context("NATS_URL is missing")?;
    let (db, settings) = (platform.pool(Login::Relay), relay::Settings { kept_max: platform.nats_kept_max });
    if matches!(platform.nats_access, Access::Open) {
        warn!("NATS_KEYS is not set: NATS has to let everybody in, and there are no subscriptions");
    }
    Ok(Relay::new(db, streams, nats, platform.nats_access.clone(), settings))
}

fn nats_beside(relay: &Relay) -> Beside {
    let connected = relay.connected();
    Beside::new(move || match connected.now() {
        true => "NATS: connected".to_owned(),
        false => "NATS: away, its subscribers wait and nobody else does".to_owned(),
    })
}

/// What alerts stand on.
async fn watch(platform: &Platform, streams: Streams) -> anyhow::Result<alerts::watch::Foundation> {
    let means = platform.notify.means(platform.vault(streams.clone()).await?);
    let leases = Leases::new(platform.pool(Login::Writer));
    let (db, desk) = (platform.pool(Login::Alerts), platform.pool(Login::AdminQuery));
    Ok(alerts::watch::Foundation { streams, leases, db, desk, means })
}

/// Starts the desk's hands, whether Hummingbot answers or not.
async fn operate(
    platform: &Platform,
    streams: Streams,
    stop: &CancellationToken,
    parts: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let outside = platform.outside.clone().context("HUMMINGBOT_API_URL is missing")?;
    let vault = platform.vault(streams.clone()).await?;
    let operator = Operator::new(operator::Foundation {
        leases: Leases::new(platform.pool(Login::Writer)),
        db: platform.pool(Login::Operator),
        query: platform.pool(Login::Query),
        streams,
        vault,
        hummingbot: outside.hummingbot,
        broker: outside.broker,
        settings: outside.operator,
    });
    let stop = stop.clone();
    parts.spawn(async move {
        if let Err(bad) = operator.run(stop).await {
            error!(error = %bad, "nobody acts for any client");
        }
    });
    Ok(())
}

fn tell_diverged(client: &ClientId) {
    error!(client.id = %client, "the stream of client {client} does not hold what was signed before: it is not signed");
}

/// How a process is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// By whatever runs it.
    Term,
    /// By a person before it.
    Interrupt,
}

/// Resolves when the process is asked to end.
pub async fn until_told_to_stop() -> anyhow::Result<Told> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! { _ = term.recv() => Ok(Told::Term), _ = int.recv() => Ok(Told::Interrupt) }
}

/// Brings the database up to date.
pub async fn migrate(platform: &Platform) -> anyhow::Result<()> {
    store::migrate(&platform.owner, &platform.secret).await?;
    let db = platform.pool(Login::Projector);
    let models = projections::all(&db);
    for name in versions::prepare(&db, &models).await? {
        eprintln!("{name} is folded otherwise by this build: run `pipelabs rebuild {name}`");
    }
    Ok(())
}
