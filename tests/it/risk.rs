//! Limits: a price that collapses under a market maker, told as facts, watched by processes that come and go.

use domain::bot::{Bot, BotCommand, Deed};
use events::{
    AggregateRef, Amount, BotId, ClientId, Decimal, Event, Exchange, Market, Price, Time,
    bot::{BotConfig, BotEvent, Limit, Limits, Venue},
    ledger::{Fee, FeeKind, Fill, LedgerEvent, Liquidity, Side},
    market::MarketEvent,
};
use projections::{pnl, risk, versions, worker::catch_up};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::{Value, json};
use store::{Append, Cause, Login, Streams, read};
use tests::Database;

use crate::{
    edge::{Edge, seq},
    facts::{append, at, client_with_bot, d, fill, ledger, mark, recorded, write},
    worker::equal_to_a_rebuild,
};

/// The first midnight after the facts' start: the whole fall lies in one day.
const MIDNIGHT_MS: i64 = 600_000;
const HOURS_19_MS: i64 = 19 * 3_600_000;
const STEP_MS: i64 = 15_000;
/// Fills before the fall, by turns on both sides.
const CALM: i64 = 100;
const FROM: i64 = 10_000;
const TO: i64 = 400;

fn venue() -> Venue {
    Venue { exchange: Exchange::Kucoin, market: Market::Spot, pair: "SOL-USDT".parse().unwrap() }
}

fn limits() -> Limits {
    Limits { side_imbalance_max: Some(d("0.6")), drawdown_limit: Some(d("1000000")), ..Limits::default() }
}

async fn tell(streams: &Streams, client: ClientId, bot: BotId, command: BotCommand) {
    streams.execute::<Bot>(client, &bot.to_string(), command, None, &Cause::system("test")).await.unwrap();
}

async fn maker(streams: &Streams, client: ClientId) -> BotId {
    let config = BotConfig {
        controller: Some("pmm_simple".into()),
        venue: Some(venue()),
        limits: limits(),
        ..BotConfig::default()
    };
    let bot = BotId::new();
    tell(streams, client, bot, BotCommand::Create { name: "faller".parse().unwrap(), config, at: at(0) }).await;
    bot
}

/// Price x 1000 at so many milliseconds after midnight.
fn price(ms: i64) -> i64 {
    let fallen = (ms - CALM * STEP_MS).clamp(0, HOURS_19_MS);
    FROM - (FROM - TO) * fallen / HOURS_19_MS
}

fn dollars(thousandths: i64) -> Decimal {
    Decimal::new(thousandths.into(), 3)
}

/// Buys nine times in ten while there is cash, then sells what it has.
fn sides() -> Vec<Side> {
    let (mut cash, mut sides) = (60_000_000_i64, Vec::new());
    for n in 0..CALM + HOURS_19_MS / STEP_MS {
        let cost = 6 * price(n * STEP_MS);
        let wants = if n < CALM { n % 2 == 0 } else { n % 10 != 0 };
        let side = if wants && cash >= cost { Side::Buy } else { Side::Sell };
        cash += if side == Side::Buy { -cost } else { cost };
        sides.push(side);
    }
    sides
}

fn fees(n: i64) -> Option<Vec<Fee>> {
    let fee = |asset: &str, amount: &str| Fee { asset: asset.parse().unwrap(), amount: d(amount), kind: FeeKind::Fee };
    match n % 4 {
        0 => Some(vec![fee("USDT", "0.06")]),
        1 => Some(vec![fee("KCS", "0.005")]),
        2 => Some(vec![fee("SOL", "0.006")]),
        _ => Some(vec![]),
    }
}

fn fill_of(client: ClientId, bot: BotId, n: i64, side: Side) -> Fill {
    let ms = n * STEP_MS;
    Fill {
        side,
        price: Price(dollars(price(ms))),
        amount: Amount(d("6")),
        fees: fees(n),
        liquidity: Liquidity::Maker,
        ..fill(client, bot, n as u64, MIDNIGHT_MS + ms)
    }
}

/// The whole fall in order of time: each fill, each minute's marks.
fn collapse(client: ClientId, bot: BotId) -> Vec<Append> {
    let mut facts = vec![mark(client, "KCS-USDT", "9.5", MIDNIGHT_MS), mark(client, "SOL-USDT", "10", MIDNIGHT_MS)];
    for (n, side) in (0..).zip(sides()) {
        facts.push(recorded(client, fill_of(client, bot, n, side)));
        if n % 4 == 0 {
            let ms = MIDNIGHT_MS + n * STEP_MS;
            facts.push(mark(client, "SOL-USDT", &dollars(price(n * STEP_MS)).to_string(), ms));
            facts.push(mark(client, "KCS-USDT", &format!("9.{}", 100 + n % 800), ms));
        }
    }
    facts
}

async fn told(database: &Database, client: ClientId) -> Vec<BotEvent> {
    let events = read::after(&database.pool(Login::Projector), client, 0, 100_000).await.unwrap();
    let bot = |event: events::Recorded| if let Event::Bot(told) = event.event { Some(told) } else { None };
    events.into_iter().filter_map(bot).collect()
}

fn broken(told: &[BotEvent]) -> Vec<(Limit, Decimal, Time)> {
    let of = |told: &BotEvent| {
        let BotEvent::BotLimitBroken { limit, measured, at, .. } = told else { return None };
        Some((*limit, *measured, *at))
    };
    told.iter().filter_map(of).collect()
}

fn reasons(told: &[BotEvent]) -> Vec<&str> {
    told.iter()
        .filter_map(|told| if let BotEvent::BotStopRequested { reason, .. } = told { Some(&**reason) } else { None })
        .collect()
}

async fn folded(database: &Database) {
    for mut model in projections::all(&database.pool(Login::Projector)) {
        catch_up(&mut *model, |_| {}).await.unwrap();
    }
}

/// Fresh watchers, two at once, as if every process had just begun.
async fn watched(database: &Database, client: ClientId, now: Time) {
    let (db, one, other) = (database.pool(Login::Query), database.streams(), database.streams());
    let cause = Cause::system("operator");
    let (left, right) = tokio::join!(
        operator::risk::watch(client, &db, &one, &cause, now),
        operator::risk::watch(client, &db, &other, &cause, now)
    );
    left.unwrap();
    right.unwrap();
}

/// What was seen: a price fell 96 % in 19 hours, the maker bought until its cash ran out and then sold, and the breaker's
/// counters began again with each process.
#[tokio::test(flavor = "multi_thread")]
async fn a_price_that_collapses_trips_the_breaker_early_and_once_however_often_everything_restarts() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, _) = client_with_bot(&streams, "acme").await;
    let bot = maker(&streams, client).await;
    tell(&streams, client, bot, BotCommand::Deploy { at: at(MIDNIGHT_MS) }).await;
    let mut random = StdRng::seed_from_u64(19);
    let facts = collapse(client, bot);
    let (mut models, mut rest) = (projections::all(&database.pool(Login::Projector)), facts.as_slice());
    while !rest.is_empty() {
        let (piece, left) = rest.split_at(random.random_range(20..240).min(rest.len()));
        rest = left;
        let now = piece.iter().map(|fact| fact.events[0].event.at()).max().unwrap();
        let mut piece = piece.to_vec();
        piece.shuffle(&mut random);
        write(&streams, piece).await;
        for model in &mut models {
            if random.random_bool(0.3) {
                *model = projections::named(&database.pool(Login::Projector), model.name()).unwrap();
            }
            catch_up(&mut **model, |_| {}).await.unwrap();
        }
        watched(&database, client, now).await;
    }

    let story = told(&database, client).await;
    let neared = story.iter().filter(|told| matches!(told, BotEvent::BotLimitNeared { .. })).count();
    let [(limit, measured, broken_at)] = broken(&story)[..] else { panic!("{:?}", broken(&story)) };
    assert!(limit == Limit::SideImbalanceMax && measured > d("0.6") && neared == 1, "{limit:?} {measured} {neared}");
    let fallen = FROM - price(broken_at.millis() - at(MIDNIGHT_MS).millis());
    assert!(fallen * 10 < FROM - TO, "it was {fallen} of {} down before anything stopped", FROM - TO);
    let [reason] = reasons(&story)[..] else { panic!("{:?}", reasons(&story)) };
    assert!(reason.starts_with("imbalance of bought and sold: 0.6") && reason.ends_with("limit of 0.6"), "{reason}");
    counters_equal_the_books(&database, client, bot).await;
    equal_to_a_rebuild(&database).await;
    trips_again(&database, client, bot).await;
}

/// The same fills, summed by two models that know nothing of each other.
async fn counters_equal_the_books(database: &Database, client: ClientId, bot: BotId) {
    let mut tx = database.pool(Login::Projector).begin().await.unwrap();
    versions::use_live(&mut tx).await.unwrap();
    let counted = risk::of_bot(&mut tx, client, bot).await.unwrap();
    let [book] = &counted[..] else { panic!("{counted:?}") };
    let tally = &pnl::tallies(&mut tx, client).await.unwrap()[&book.key()];
    assert_eq!((book.position, book.fees_quote, book.fees_unknown), (tally.position, tally.fees_quote, 0));
    assert_eq!((book.fills, book.amount), (tally.fills, tally.volume_base));
    assert_eq!(book.bought.plus(book.sold).unwrap(), tally.volume_quote);
    let worth = tally.position.times(book.mark.unwrap()).unwrap().minus(tally.cost).unwrap();
    let total = tally.realized.minus(tally.fees_quote).unwrap().plus(worth).unwrap();
    // The average is a quotient, rounded at its thirty-sixth place; the counters' cash is not.
    assert_eq!(book.equity.unwrap().rounded(24), total.rounded(24));
    assert!(!book.wanted && book.position == book.position_since_deploy);
}

/// After a new deployment the balance of sides begins anew, and the breaker can trip again.
async fn trips_again(database: &Database, client: ClientId, bot: BotId) {
    let streams = database.streams();
    let noon = MIDNIGHT_MS + (CALM + 1) * STEP_MS + HOURS_19_MS;
    tell(&streams, client, bot, BotCommand::Did { deed: Deed::Stopped, at: at(noon) }).await;
    tell(&streams, client, bot, BotCommand::Deploy { at: at(noon + 1) }).await;
    folded(database).await;
    watched(database, client, at(noon + 2)).await;
    assert_eq!(broken(&told(database, client).await).len(), 1, "what the last deployment did is not this one's");
    let buys = (0..25).map(|n| Fill { at: at(noon + 10 + n), ..fill_of(client, bot, 9_000 + n, Side::Buy) });
    let buys = buys.map(|fill| Fill { price: Price(d("0.4")), ..fill });
    write(&streams, buys.map(|fill| recorded(client, fill)).collect()).await;
    folded(database).await;
    for _ in 0..3 {
        watched(database, client, at(noon + 100)).await;
    }
    let found = broken(&told(database, client).await);
    assert_eq!((found.len(), found[1].0, found[1].1), (2, Limit::SideImbalanceMax, d("1")));
    // One that could not be stopped is told again.
    for n in 1..3 {
        let failed = BotCommand::Did { deed: Deed::StopFailed { reason: "no answer".into() }, at: at(noon + 200) };
        tell(&streams, client, bot, failed).await;
        for _ in 0..2 {
            folded(database).await;
            watched(database, client, at(noon + 300)).await;
        }
        let story = told(database, client).await;
        assert_eq!((broken(&story).len(), reasons(&story).len()), (2, 2 + n));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_that_never_happened_is_in_no_counter_and_late_ones_count_to_their_day() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let wrong = Fill { amount: Amount(d("1000")), ..fill_of(client, bot, 1, Side::Buy) };
    let seq = write(&streams, vec![recorded(client, wrong.clone())]).await[0].first;
    write(&streams, vec![recorded(client, fill_of(client, bot, 2, Side::Sell))]).await;
    folded(&database).await;
    let voided = LedgerEvent::FillVoided { voids: seq, was: wrong.into(), reason: "never happened".into() };
    let late = Fill { at: at(1), ..fill_of(client, bot, 3, Side::Sell) };
    write(&streams, vec![ledger(client, voided, None), recorded(client, late)]).await;
    folded(&database).await;
    let mut tx = database.pool(Login::Projector).begin().await.unwrap();
    versions::use_live(&mut tx).await.unwrap();
    let book = risk::of_bot(&mut tx, client, bot).await.unwrap().remove(0);
    assert_eq!((book.fills, book.bought, book.sold), (1, d("0"), d("60")));
    assert_eq!((book.position, book.run_fills), (d("-12.006"), 2));
    drop(tx);
    equal_to_a_rebuild(&database).await;
}

fn at_venue(kind: &str, parameters: Value) -> Value {
    let limits = json!({"participation_cap": "0.1", "loss_budget": "100", "position_limit": "5"});
    json!({"controller": "pmm_simple", "kind": kind, "limits": limits, "parameters": parameters,
           "venue": {"exchange": "kucoin", "market": "spot", "pair": "SOL-USDT"}})
}

/// Creates a bot; its path, and where that is recorded.
async fn create(edge: &Edge, name: &str, config: Value) -> (String, u64) {
    let body = json!({"name": name, "config": config});
    let created = edge.served.post(&edge.acme.token, "/api/bots", name, &body).await.json();
    (format!("/api/bots/{}", created["bot_id"].as_str().unwrap()), seq(&created))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_does_not_start_beside_one_of_its_owner_that_it_would_trade_with() {
    let edge = Edge::new("api,projector").await;
    let token = &edge.acme.token;
    let known = async |seq: u64| edge.served.ask(token, &format!("/api/bots?min_seq={seq}")).await.status;
    let rests = json!({"stop_loss": "null", "time_limit": "null", "trailing_stop": "null",
                       "buy_spreads": "0.001", "sell_spreads": "0.001"});
    let (volume, _) = create(&edge, "volume", at_venue("volume", json!({}))).await;
    let (maker, _) = create(&edge, "maker-2", at_venue("market_making", rests.clone())).await;
    let (second, last) = create(&edge, "maker-3", at_venue("market_making", rests)).await;
    assert_eq!(known(last).await, 200);
    let deploy = async |bot: &str, key: &str| edge.served.post(token, &format!("{bot}/deploy"), key, &json!({})).await;
    let asked = deploy(&maker, "1").await;
    assert_eq!((asked.status, known(seq(&asked.json())).await), (202, 200));
    let refused = deploy(&volume, "2").await;
    assert_eq!(refused.problem(), (409, "conflict".into()));
    let detail = refused.text();
    let told = "bot maker-2 of the same owner is wanted on kucoin spot SOL-USDT too, and a volume bot takes";
    assert!(detail.contains(told), "{detail}");
    // Two that only rest may stand side by side, and who comes again is told what he was told.
    let beside = deploy(&second, "3").await;
    assert_eq!((beside.status, known(seq(&beside.json())).await), (202, 200));
    assert_eq!(deploy(&maker, "1").await.json()["repeated"], true);
    // Who has gone is in nobody's way.
    for (bot, key) in [(&maker, "4"), (&second, "5")] {
        let stopped = edge.served.post(token, &format!("{bot}/stop"), key, &json!({})).await.json();
        assert_eq!(known(seq(&stopped)).await, 200);
    }
    assert_eq!(deploy(&volume, "6").await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_counters_of_a_bot_are_told_with_how_near_each_limit_is() {
    let edge = Edge::new("api,projector").await;
    let (path, _) = create(&edge, "volume", at_venue("volume", json!({}))).await;
    let bot: BotId = path.rsplit('/').next().unwrap().parse().unwrap();
    let client = edge.acme.client;
    let volume = MarketEvent::VolumeObserved {
        venue: venue(),
        day: at(MIDNIGHT_MS),
        amount: Amount(d("50")),
        at: at(MIDNIGHT_MS + 2),
    };
    let facts = vec![
        recorded(client, Fill { fees: Some(vec![]), ..fill_of(client, bot, 0, Side::Buy) }),
        append(client, AggregateRef::new("market", "SOL-USDT"), volume.into(), None),
        mark(client, "SOL-USDT", "9", MIDNIGHT_MS + 3),
    ];
    let last = write(&edge.streams, facts).await.iter().map(|receipt| receipt.last).max().unwrap();
    let held = edge.served.ask(&edge.acme.token, &format!("{path}/risk?min_seq={last}")).await.json();
    let book = &held[0];
    assert_eq!(
        (&book["fills"], &book["position"], &book["kind"]),
        (&json!(1), &json!("6"), &json!("volume")),
        "{held}"
    );
    let used = |limit: &str, measured: &str, allowed: &str, share: &str, near: bool, passed: bool| {
        json!({"limit": limit, "measured": measured, "allowed": allowed, "share": share, "near": near,
               "passed": passed})
    };
    let expected = json!([
        used("participation_cap", "0.12", "0.1", "1.2", true, true),
        used("loss_budget", "6", "100", "0.06", false, false),
        used("position_limit", "6", "5", "1.2", true, true),
    ]);
    assert_eq!(book["used"], expected, "{held}");
    let foreign = edge.served.ask(&edge.borealis.token, &format!("{path}/risk")).await;
    assert_eq!(foreign.problem(), (404, "not_found".into()));
}
