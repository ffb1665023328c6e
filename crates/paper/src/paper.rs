//! One paper server: started, reached over HTTP and MQTT, stopped.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use events::Time;
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::JoinSet,
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    bot::words::{self, Message, Outgoing},
    broker::{Broker, BrokerFault, Command},
    exchange::tape::TapeFault,
    faults::BadChance,
    server::{self, Worlds, authorization},
    settings::{Pace, Settings},
    world::World,
};

/// Between two looks at the clock on the wall.
const LOOK: Duration = Duration::from_millis(10);

/// A running one. Dropped without `stop` it ends as well, but nobody waits for it.
#[derive(Debug)]
pub struct Paper {
    pub http: SocketAddr,
    pub mqtt: SocketAddr,
    worlds: Worlds,
    end: CancellationToken,
    tasks: JoinSet<()>,
}

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
pub enum PaperFault {
    #[error("could not listen for HTTP on {addr}")]
    Listen {
        addr: SocketAddr,
        #[source]
        cause: io::Error,
    },
    #[error("could not start the broker")]
    Broker(#[from] BrokerFault),
    #[error("could not list a market")]
    Tape(#[from] TapeFault),
    #[error("could not set the faults")]
    Chance(#[from] BadChance),
}

impl Paper {
    pub async fn start(settings: Settings) -> Result<Self, PaperFault> {
        settings.faults.check()?;
        let listen = |cause| PaperFault::Listen { addr: settings.http, cause };
        let listener = TcpListener::bind(settings.http).await.map_err(listen)?;
        let http = listener.local_addr().map_err(listen)?;
        let (commands, commanded) = unbounded_channel();
        let broker = Arc::new(Broker::start(settings.mqtt, commands).await?);
        let (outbox, outgoing) = unbounded_channel();
        let (pace, authorization) =
            (settings.pace, authorization(&settings.username, settings.password.expose_secret()));
        let world = World::new(Arc::new(settings), Time::now(), outbox)?;
        let mqtt = broker.addr;
        let worlds = Worlds { world: Arc::new(Mutex::new(world)), broker, authorization };
        let end = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(server::serve(listener, worlds.clone(), end.clone()));
        tasks.spawn(until(end.clone(), publish(worlds.clone(), outgoing)));
        tasks.spawn(until(end.clone(), obey(worlds.clone(), commanded)));
        if let Pace::Times(times) = pace {
            tasks.spawn(until(end.clone(), drive(worlds.clone(), times)));
        }
        Ok(Self { http, mqtt, worlds, end, tasks })
    }

    /// Ends all of it and waits until both ports are free.
    pub async fn stop(mut self) {
        self.end.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.worlds.broker.go_down().await;
    }
}

impl Drop for Paper {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// Starts one, and runs it until it is told to end.
pub async fn run(settings: Settings, end: CancellationToken) -> Result<(), PaperFault> {
    let paper = Paper::start(settings).await?;
    info!("the paper server answers on http://{} and speaks MQTT on {}", paper.http, paper.mqtt);
    end.cancelled().await;
    paper.stop().await;
    Ok(())
}

async fn until(end: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = end.cancelled() => {}
        () = work => {}
    }
}

async fn publish(worlds: Worlds, mut outgoing: UnboundedReceiver<Outgoing>) {
    while let Some(outgoing) = outgoing.recv().await {
        match outgoing {
            Outgoing::Say(message) => worlds.broker.publish(&message),
            // Nobody may wait for it any more.
            Outgoing::Reached(reached) => reached.send(()).unwrap_or_default(),
        }
    }
}

/// Bots answer the commands that reach them, on the topic that the caller names.
async fn obey(worlds: Worlds, mut commands: UnboundedReceiver<Command>) {
    while let Some(Command { topic, payload }) = commands.recv().await {
        let topic = String::from_utf8_lossy(&topic).into_owned();
        let (Some((bot, command)), Ok(call)) = (addressed(&topic), serde_json::from_slice::<Value>(&payload)) else {
            warn!("a message on {topic} is no command");
            continue;
        };
        let mut world = worlds.lock();
        let answer = world.command(bot, command, &call["data"]);
        if let (Some(data), Some(reply_to)) = (answer, call["header"]["reply_to"].as_str()) {
            let reply = words::reply(&data, world.now).to_string();
            world.publish(Message::new(reply_to, reply));
        }
    }
}

/// `hbot/<bot>/<command>`
fn addressed(topic: &str) -> Option<(&str, &str)> {
    topic.strip_prefix("hbot/")?.rsplit_once('/')
}

/// Time passes so many times as fast as on the wall.
async fn drive(worlds: Worlds, times: u32) {
    let (began, from) = (Instant::now(), worlds.lock().now);
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let passed_us = i64::try_from(began.elapsed().as_micros()).unwrap_or(i64::MAX);
        let until = from.plus_micros(passed_us.saturating_mul(times.into()));
        worlds.lock().advance(until);
    }
}
