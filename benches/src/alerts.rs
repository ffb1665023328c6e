//! From a condition to the message on NATS: a hundred clients whose markets are observed ten times a second each, and are too
//! wide every other while.

use std::{collections::BTreeSet, time::Instant};

use events::{
    AggregateRef, BotId, ClientId, Decimal, Event, Exchange, Market, Price, Time,
    alert::{AlertEvent, RuleEvent, Scope},
    bot::{BotConfig, BotEvent, Venue},
    market::MarketEvent,
};
use futures::StreamExt;
use store::{Append, Cause, Draft, Expected, Streams};
use tests::{Database, Served};
use tokio::{
    sync::mpsc::{self, UnboundedReceiver},
    time,
};

use crate::{
    ground::Ground,
    process::{cpu_ticks, resident_mib, share},
    table::{Row, Target},
};

const CLIENTS: usize = 100;
const LOOK_EVERY: time::Duration = time::Duration::from_millis(100);
/// For so many looks a market is too wide, and then for so many it is not: longer than the rule waits.
const WIDE_FOR: usize = 25;
/// Basis points between the best bid and ask.
const NARROW: i64 = 20;
const WIDE: i64 = 200;

/// A client's bot, in the one market that it quotes.
#[derive(Debug, Clone, Copy)]
struct Quoting {
    client: ClientId,
    bot: BotId,
}

/// A message of an alert: which it is, and how long after the moment at which it became so.
#[derive(Debug)]
struct Arrival {
    subject: String,
    evaluated_at: Time,
    micros: u64,
}

pub async fn run(ground: &Ground) -> Vec<Row> {
    let database = ground.database().await;
    let streams = database.streams();
    let quoting = begin(&streams).await;
    let _relay = Served::start(&database, "relay");
    let alerts = Served::start(&database, "alerts");
    let mut arriving = listen(&database).await;
    // Until each stream is in somebody's hands, and on NATS.
    observe(&streams, &quoting, 0..4 * WIDE_FOR).await;
    let (from, spent, since) = (Time::now(), cpu_ticks(&alerts), Instant::now());
    let looks = usize::try_from((ground.turn() * 5).as_millis() / LOOK_EVERY.as_millis()).expect("benches end");
    observe(&streams, &quoting, 0..looks).await;
    let (told_for, busy) = (since.elapsed(), cpu_ticks(&alerts) - spent);
    time::sleep(LOOK_EVERY * 30).await;
    let arrived = arrived(&mut arriving, from);
    let told = recorded(&database, from).await;
    let observed = (looks * CLIENTS) as u64 * 1_000 / u64::try_from(told_for.as_millis()).expect("benches end");
    let different: BTreeSet<_> = arrived.iter().map(|one| (&one.subject, one.evaluated_at)).collect();
    let wrong = told.abs_diff(different.len() as u64) + (arrived.len() - different.len()) as u64;
    vec![
        Row::value("alerts, observations of 100 clients", observed, "events/s", Target::AtLeast(900)),
        Row::value("alerts, transitions", told, "messages", Target::None),
        Row::latency("alerts, so by the events' time to NATS, p50", percentile(&arrived, 50), None),
        Row::latency("alerts, so by the events' time to NATS, p99", percentile(&arrived, 99), Some(1_000)),
        Row::value("alerts, lost or doubled on NATS", wrong, "messages", Target::AtMost(0)),
        Row::value("alerts, the role's share of one core", share(busy, told_for), "%", Target::None),
        Row::value("alerts, the role's memory", resident_mib(&alerts), "MiB", Target::None),
    ]
}

fn percentile(sorted: &[Arrival], part: usize) -> u64 {
    sorted.get((sorted.len() * part / 100).min(sorted.len().saturating_sub(1))).map_or(0, |arrival| arrival.micros)
}

/// A hundred bots that shall run, and run, and whose spread may be too wide for a second.
async fn begin(streams: &Streams) -> Vec<Quoting> {
    let mut quoting = Vec::new();
    for n in 0..CLIENTS {
        let slug = format!("client-{n}").parse().expect("it is a slug");
        let client = streams.register(&slug, Time::now(), &Cause::system("bench")).await.expect("it is written");
        quoting.push(Quoting { client, bot: BotId::new() });
    }
    let at = Time::now();
    let seconds = |name: &str| (name.to_owned(), Decimal::ONE);
    for of in &quoting {
        let config = BotConfig { controller: Some("pmm_simple".into()), venue: Some(venue()), ..BotConfig::default() };
        let rule = RuleEvent::RuleConfigured {
            rule: "spread_wide".parse().expect("it is a rule"),
            scope: Scope::default(),
            on: true,
            parameters: ["for_s", "keep_s"].map(seconds).into(),
            at,
        };
        let bot = |event: BotEvent| append(of.client, AggregateRef::new("bot", of.bot), event.into());
        let told = vec![
            bot(BotEvent::BotCreated { name: "maker".parse().expect("it is a name"), config, at }),
            bot(BotEvent::BotDeployRequested { at }),
            bot(BotEvent::BotDeployed { instance: "maker-1".into(), at }),
            append(of.client, AggregateRef::new("rule", "spread_wide"), rule.into()),
        ];
        write(streams, told).await;
    }
    quoting
}

fn venue() -> Venue {
    Venue { exchange: Exchange::Kucoin, market: Market::Spot, pair: "SOL-USDT".parse().expect("it is a pair") }
}

fn append(client: ClientId, aggregate: AggregateRef, event: Event) -> Append {
    let events = vec![Draft { event, key: None }];
    Append { client, aggregate, expected: Expected::Any, events, cause: Cause::system("bench") }
}

async fn write(streams: &Streams, appends: Vec<Append>) {
    for outcome in streams.committer().append_all(appends).await {
        outcome.expect("it is written");
    }
}

/// Every client's market, look after look; each client's is wide at another time.
async fn observe(streams: &Streams, quoting: &[Quoting], looks: std::ops::Range<usize>) {
    let mut steps = time::interval(LOOK_EVERY);
    for look in looks {
        steps.tick().await;
        let quotes = quoting.iter().enumerate().map(|(n, of)| {
            let wide = ((look + n) / WIDE_FOR).is_multiple_of(2);
            quote(*of, if wide { WIDE } else { NARROW })
        });
        write(streams, quotes.collect()).await;
    }
}

fn quote(of: Quoting, bps: i64) -> Append {
    // Basis points of a hundred are hundredths.
    let price = |half: i64| Some(Price(Decimal::new(i128::from(10_000 + half), 2)));
    let quoted = MarketEvent::QuoteObserved {
        bot: of.bot,
        venue: venue(),
        bid: price(-bps / 2),
        ask: price(bps / 2),
        band_bps: None,
        at: Time::now(),
    };
    append(of.client, AggregateRef::new("market", "SOL-USDT"), quoted.into())
}

/// Every message about an alert, as it arrives.
async fn listen(database: &Database) -> UnboundedReceiver<Arrival> {
    let mut messages =
        database.nats().admin().await.subscribe("pipelabs.*.alerts.>").await.expect("NATS lets an admin listen");
    let (tell, arriving) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(message) = messages.next().await {
            let event: AlertEvent = serde_json::from_slice(&message.payload).expect("it is an alert's event");
            let Some(evaluated_at) = evaluated(&event) else { continue };
            let micros = Time::now().micros().saturating_sub(evaluated_at.micros()).max(0).unsigned_abs();
            if tell.send(Arrival { subject: message.subject.to_string(), evaluated_at, micros }).is_err() {
                return;
            }
        }
    });
    arriving
}

/// At which moment a transition became so.
fn evaluated(event: &AlertEvent) -> Option<Time> {
    match event {
        AlertEvent::AlertFired { evaluated_at, .. }
        | AlertEvent::AlertEscalated { evaluated_at, .. }
        | AlertEvent::AlertResolved { evaluated_at, .. } => Some(*evaluated_at),
        AlertEvent::AlertAcknowledged { .. } | AlertEvent::AlertSilenced { .. } | AlertEvent::AlertNotified { .. } => {
            None
        }
    }
}

/// What arrived of what became so since then, the slowest last.
fn arrived(arriving: &mut UnboundedReceiver<Arrival>, from: Time) -> Vec<Arrival> {
    let mut arrived: Vec<Arrival> = std::iter::from_fn(|| arriving.try_recv().ok()).collect();
    arrived.retain(|arrival| arrival.evaluated_at >= from);
    arrived.sort_unstable_by_key(|arrival| arrival.micros);
    arrived
}

/// How many transitions the clients' streams have since then. The desk's own are on no NATS.
async fn recorded(database: &Database, from: Time) -> u64 {
    let payloads: Vec<String> =
        sqlx::query_scalar("select payload::text from es.events where aggregate_type = 'alert' and client_id <> $1")
            .bind(ClientId::DESK.0)
            .fetch_all(&database.superuser())
            .await
            .expect("events can be read");
    let at = payloads.iter().filter_map(|text| evaluated(&serde_json::from_str(text).expect("it is an alert's event")));
    at.filter(|at| *at >= from).count() as u64
}
