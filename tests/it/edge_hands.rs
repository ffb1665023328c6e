//! What the desk's hands record, at the edge: configs and what became of them, histories, logs, quotes, both sides' figures.

use events::{
    AggregateRef, Decimal, Exchange, Market,
    bot::{BotEvent, Figures, Limit, LogLevel, ReportedState, Venue},
    market::{DepthSum, MarketEvent},
};
use reqwest::Method;
use serde_json::{Value, json};
use store::{Append, Login};
use tests::Answer;

use crate::{
    edge::{Edge, Party, seq},
    facts::{append, at, d, fill, mark, recorded, write},
};

fn told(of: &Party, event: BotEvent) -> Append {
    append(of.client, AggregateRef::new("bot", of.bot), event.into(), None)
}

/// Events of a client's bot; where the last one stands.
async fn tell(edge: &Edge, of: &Party, events: impl IntoIterator<Item = BotEvent>) -> u64 {
    write(&edge.streams, events.into_iter().map(|event| told(of, event)).collect()).await.last().unwrap().last
}

fn started(ms: i64) -> BotEvent {
    BotEvent::BotDeployStarted { name: "b-1".into(), at: at(ms) }
}

fn deployed(ms: i64) -> BotEvent {
    BotEvent::BotDeployed { instance: "b-1-20240808-235000".into(), at: at(ms) }
}

/// Each item's field, as a list.
fn each<'a>(items: &'a Value, name: &str) -> Vec<&'a Value> {
    items.as_array().unwrap().iter().map(|item| &item[name]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_config_is_told_with_who_wanted_it_what_it_changed_and_what_became_of_it() {
    let edge = Edge::new("api,projector").await;
    let of = &edge.acme;
    edge.set(of, "k-1", "one").await;
    tell(&edge, of, [started(1), deployed(2)]).await;
    edge.set(of, "k-2", "two").await;
    let limits = json!({"limits": {"loss_budget": "250"}});
    let named = format!("{}?client=acme", of.path("/config"));
    let by_admin = edge.served.command(Method::PATCH, &edge.admin, &named, "k-3", &limits);
    assert_eq!(Answer::to(by_admin).await.status, 202);
    let refused = BotEvent::BotConfigNotApplied { config: 3, reason: "unknown field n".into(), at: at(3) };
    let head = tell(&edge, of, [refused]).await;

    let path = of.path("/config/history");
    let all = edge.served.ask(&of.token, &format!("{path}?min_seq={head}")).await.json();
    let items = &all["items"];
    assert_eq!(each(items, "number"), [4, 3, 2, 1]);
    assert_eq!(each(items, "outcome"), ["waiting", "not_applied", "applied", "never_handed_over"]);
    assert_eq!(items[1]["reason"], "unknown field n");
    assert_eq!(items[2]["outcome_at"], at(2).to_string());
    let limit = json!([{"of": "limit", "name": "loss_budget", "was": null, "is": "250"}]);
    assert_eq!(items[0]["changes"], limit);
    let parameter = json!([{"of": "parameter", "name": "n", "was": "one", "is": "two"}]);
    assert_eq!(items[1]["changes"], parameter);
    let events = edge.served.ask(&of.token, "/api/events").await.json();
    for config in items.as_array().unwrap() {
        let event = events["items"].as_array().unwrap().iter().find(|event| event["client_seq"] == config["seq"]);
        assert_eq!(config["by"], event.unwrap()["metadata"]["actor"], "{config}");
    }
    assert!(items[1]["by"].as_str().unwrap().starts_with("user:"), "{}", items[1]);
    assert_eq!(items[3]["by"], "system:test");
    assert_ne!(items[0]["by"], items[1]["by"], "an admin is somebody else");

    let first = edge.served.ask(&of.token, &format!("{path}?limit=3")).await.json();
    let next = format!("{path}?limit=3&cursor={}", first["next"].as_str().unwrap());
    let second = edge.served.ask(&of.token, &next).await.json();
    let paged = [first["items"].as_array().unwrap().clone(), second["items"].as_array().unwrap().clone()].concat();
    assert_eq!((&json!(paged), &second["next"]), (items, &Value::Null));
    rebuilds_alike(&edge, "configs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bots_history_tells_deeds_and_states_with_times_and_reasons_and_its_log_the_last_lines() {
    let edge = Edge::new("api,projector").await;
    let of = &edge.acme;
    let path = of.path("/deploy");
    let asked = seq(&edge.served.post(&of.token, &path, "k", &json!({})).await.json());
    let deeds = [
        started(1),
        deployed(2),
        BotEvent::BotStateReported { state: ReportedState::Running, at: at(3) },
        BotEvent::BotGapOpened { since: at(4), reason: "the broker was away".into(), at: at(5) },
        BotEvent::BotSilent { last_seen: at(4), at: at(6) },
        BotEvent::BotGapHealed { since: at(4), until: at(7), fills: 2, at: at(8) },
        BotEvent::BotLimitBroken { limit: Limit::LossBudget, measured: d("251"), allowed: d("250"), at: at(9) },
        BotEvent::BotStopRequested { reason: "loss of the day".into(), at: at(9) },
    ];
    tell(&edge, of, deeds).await;
    let line = |n: i64| BotEvent::BotLogged { level: LogLevel::Warning, message: format!("line {n}"), at: at(n) };
    let head = tell(&edge, of, (1..=505).map(line)).await;

    let history = edge.served.ask(&of.token, &format!("{}?min_seq={head}", of.path("/history"))).await.json();
    let items = &history["items"];
    let expected = [
        "stop_asked",
        "limit_broken",
        "gap_healed",
        "silent",
        "gap_opened",
        "reported",
        "deployed",
        "deploy_started",
        "deploy_asked",
        "created",
    ];
    assert_eq!(each(items, "what"), expected);
    assert_eq!((&items[2]["fills"], &items[2]["until"]), (&json!(2), &json!(at(7).to_string())));
    assert_eq!((&items[0]["reason"], &items[1]["measured"]), (&json!("loss of the day"), &json!("251")));
    assert_eq!(items[8]["seq"], asked);
    assert!(items[8]["by"].as_str().unwrap().starts_with("user:"), "{}", items[8]);
    let first = edge.served.ask(&of.token, &format!("{}?limit=4", of.path("/history"))).await.json();
    let next = format!("{}?limit=4&cursor={}", of.path("/history"), first["next"].as_str().unwrap());
    let second = edge.served.ask(&of.token, &next).await.json();
    assert_eq!(second["items"], json!(items.as_array().unwrap()[4..8]));

    let log = edge.served.ask(&of.token, &format!("{}?limit=500&min_seq={head}", of.path("/log"))).await.json();
    let lines = each(&log, "message");
    assert_eq!((lines.len(), lines[0], lines[499]), (500, &json!("line 505"), &json!("line 6")));
    let log = edge.served.ask(&of.token, &format!("{}?limit=2", of.path("/log"))).await.json();
    assert_eq!(each(&log, "message"), ["line 505", "line 504"]);
    for model in ["doings", "logs"] {
        rebuilds_alike(&edge, model).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_desk_sees_at_a_glance_which_bots_have_a_gap_are_silent_or_broke_a_limit() {
    let edge = Edge::new("api,projector").await;
    let of = &edge.acme;
    let glance = async |bots: usize, named: Value| {
        let late = std::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            let desk = edge.served.ask(&edge.admin, "/api/admin/overview").await.json();
            let line = desk["clients"].as_array().unwrap().iter().find(|line| line["slug"] == "acme");
            let activity = line.map_or(Value::Null, |line| line["activity"].clone());
            let holds = |what: &&str| desk["total"][what] == bots && activity[what] == named;
            if ["open_gaps", "silent", "over_limit"].iter().all(holds) {
                return;
            }
            assert!(std::time::Instant::now() < late, "the overview stays {desk}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let troubles = [
        BotEvent::BotGapOpened { since: at(4), reason: "the broker was away".into(), at: at(5) },
        BotEvent::BotSilent { last_seen: at(4), at: at(6) },
        BotEvent::BotLimitBroken { limit: Limit::LossBudget, measured: d("251"), allowed: d("250"), at: at(9) },
    ];
    tell(&edge, of, troubles).await;
    glance(1, json!([of.bot])).await;
    let healed = [
        BotEvent::BotGapHealed { since: at(4), until: at(7), fills: 0, at: at(8) },
        BotEvent::BotSeenAlive { at: at(9) },
        BotEvent::BotDeployRequested { at: at(10) },
    ];
    tell(&edge, of, healed).await;
    glance(0, json!([])).await;
    rebuilds_alike(&edge, "overview").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uptime_is_told_with_what_it_is_made_of_and_without_what_nobody_could_tell() {
    let edge = Edge::new("api,projector").await;
    let of = &edge.acme;
    let nothing = edge.served.ask(&of.token, &of.path("/uptime")).await.json();
    assert_eq!((&nothing["two_sided"]["value"], &nothing["from"]), (&Value::Null, &Value::Null));
    let venue = Venue { exchange: Exchange::Okx, market: Market::Spot, pair: "SOL-USDT".parse().unwrap() };
    let minute = |n: i64, two_sided_s: u64, unknown_s: u64| {
        let us = two_sided_s * 1_000_000;
        let event = MarketEvent::QuoteMinute {
            bot: of.bot,
            venue: venue.clone(),
            bid_us: us,
            ask_us: us,
            two_sided_us: us,
            spread_bps_us: Decimal::from_int(20).times(Decimal::from_int(us as i64)).unwrap(),
            unknown_us: unknown_s * 1_000_000,
            band_us: [(20, us)].into(),
            changes_left_out: Some(1),
            bid: None,
            ask: None,
            at: at(n * 60_000),
        };
        append(of.client, AggregateRef::new("market", "SOL-USDT"), event.into(), None)
    };
    // The third minute is told in two parts: the bot was deployed again within it.
    let deep = |n: i64, known_s: u64, own: &str| {
        let us = |quote: &str| d(quote).times(d("1000000")).unwrap();
        let sum = DepthSum {
            bid_quote_us: us("60000"),
            ask_quote_us: us("30000"),
            own_bid_quote_us: us(own),
            ..DepthSum::default()
        };
        let event = MarketEvent::DepthMinute {
            bot: of.bot,
            venue: venue.clone(),
            known_us: known_s * 1_000_000,
            own_known_us: known_s * 1_000_000,
            within: [(50, sum)].into(),
            changes_left_out: None,
            slippage: [].into(),
            sized_us: [(50, [(d("200"), known_s * 500_000)].into())].into(),
            middles: [].into(),
            best_bid: None,
            best_ask: None,
            at: at(n * 60_000),
        };
        append(of.client, AggregateRef::new("market", "SOL-USDT"), event.into(), None)
    };
    let told = vec![
        minute(0, 45, 0),
        minute(1, 30, 30),
        minute(2, 20, 40),
        minute(2, 30, 30),
        deep(0, 60, "6000"),
        deep(2, 20, "0"),
        deep(2, 40, "12000"),
    ];
    let head = write(&edge.streams, told).await.last().unwrap().last;
    let (from, to) = (at(0), at(5 * 60_000));
    let path = format!("{}?from={from}&to={to}&min_seq={head}", of.path("/uptime"));
    let uptime = edge.served.ask(&of.token, &path).await.json();
    let share = |us: i64, of: i64, value: &str| json!({"value": value, "numerator_us": us, "denominator_us": of});
    assert_eq!(uptime["two_sided"], share(125_000_000, 140_000_000, "0.892857142857"));
    assert_eq!((&uptime["window_us"], &uptime["unknown_us"]), (&json!(300_000_000), &json!(160_000_000)));
    assert_eq!(uptime["within"][0]["bps"], 20);
    assert_eq!((&uptime["spread_bps"]["value"], &uptime["changes_left_out"]), (&json!("20"), &json!(4)));
    let within = &uptime["depth"][0];
    assert_eq!(
        (&within["bps"], &within["bid_quote"]["value"], &within["ask_quote"]["value"]),
        (&json!(50), &json!("1500"), &json!("750"))
    );
    assert_eq!((&within["own_bid_quote"]["value"], &within["own_bid_share"]), (&json!("150"), &json!("0.1")));
    assert_eq!(within["bid_quote"]["denominator_us"], 120_000_000);
    let size = json!({"bps": 50, "quote_amount": "200", "value": "0.5", "numerator_us": 60_000_000,
                      "denominator_us": 120_000_000});
    assert_eq!((&uptime["sizes"], &uptime["quote"]), (&json!([size]), &json!("USDT")));
    assert!(uptime["method"].as_str().is_some_and(|method| method.contains("middle")), "{uptime}");
    let last = edge.served.ask(&of.token, &of.path("/uptime")).await.json();
    assert_eq!((&last["to"], &last["window_us"]), (&json!(at(180_000).to_string()), &json!(86_400_000_000_i64)));
    let turned = format!("{}?from={to}&to={from}", of.path("/uptime"));
    assert_eq!(edge.served.ask(&of.token, &turned).await.problem(), (422, "invalid".into()));
    rebuilds_alike(&edge, "uptime").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_desk_sees_both_sides_figures_and_nothing_unexplained_goes_by() {
    let edge = Edge::new("api,projector").await;
    let of = &edge.acme;
    tell(&edge, of, [started(0), deployed(1)]).await;
    let fills: Vec<_> = (0..4).map(|n| fill(of.client, of.bot, n, 1_000 + n as i64)).collect();
    let volume =
        fills.iter().fold(Decimal::ZERO, |sum, fill| sum.plus(fill.price.times(fill.amount).unwrap()).unwrap());
    let mut facts = vec![mark(of.client, "SOL-USDT", "170", 2), mark(of.client, "KCS-USDT", "10", 2)];
    facts.extend(fills.into_iter().map(|fill| recorded(of.client, fill)));
    write(&edge.streams, facts).await;
    let report = |volume, ms| BotEvent::BotFiguresReported {
        instance: "b-1-20240808-235000".into(),
        figures: Figures {
            volume_quote: Some(volume),
            realized_pnl_quote: Some(d("0")),
            unrealized_pnl_quote: Some(d("0")),
            held_fees_quote: Some(d("0")),
            fills: Some(4),
            fills_until: Some(at(ms)),
            ..Figures::default()
        },
        source: "mqtt".into(),
        at: at(ms),
    };
    let told = async |volume: Decimal| {
        let path = format!("/api/admin/reconciliation/{}", of.bot);
        let late = std::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            let one = edge.served.ask(&edge.admin, &path).await.json();
            let newest = one["deployments"][0].clone();
            if newest["reported"]["volume_quote"] == json!(volume) && one["by_average"][0]["fills"] == 4 {
                return newest;
            }
            assert!(std::time::Instant::now() < late, "no report comes: {one}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    // The first bot comes into sight with its events.
    let head = tell(&edge, of, [report(volume, 60_000)]).await;
    edge.served.ask(&of.token, &format!("/api/bots?min_seq={head}")).await.json();
    let newest = told(volume).await;
    let of_figure = |newest: &Value, name: &str| {
        newest["differences"].as_array().unwrap().iter().find(|of| of["figure"] == name).unwrap().clone()
    };
    assert_eq!(of_figure(&newest, "fills")["difference"], "0");
    assert_eq!(of_figure(&newest, "volume_quote")["unexplained"], "0");
    let causes = of_figure(&newest, "pnl_quote")["because"].clone();
    assert!(each(&causes, "cause").contains(&&json!("fees_in_another_asset")), "{causes}");

    let more = volume.plus(d("3")).unwrap();
    tell(&edge, of, [report(more, 400_000)]).await;
    let newest = told(more).await;
    let left: Decimal = of_figure(&newest, "volume_quote")["unexplained"].as_str().unwrap().parse().unwrap();
    assert!(left > d("2.9") && left <= d("3"), "{newest}");
    let every = edge.served.ask(&edge.admin, "/api/admin/reconciliation").await.json();
    assert_eq!((each(&every, "bot_id"), each(&every, "has_unexplained")), (vec![&json!(of.bot)], vec![&json!(true)]));
    let nobody = format!("/api/admin/reconciliation/{}", events::BotId::new());
    assert_eq!(edge.served.ask(&edge.admin, &nobody).await.problem(), (404, "not_found".into()));
    rebuilds_alike(&edge, "reconciliation").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_nobody_is_shown_to_the_desk_with_its_bytes() {
    let edge = Edge::new("api").await;
    let db = edge.database.pool(Login::Operator);
    for (n, raw) in [(1_u128, &b"{\"no\": \"bot\"}"[..]), (2, b"\xff\xfe")] {
        sqlx::query(
            "insert into operator.quarantine (client_id, quarantine_id, instance, source, reason, raw, at)
             values ($1, $2, 'nobodys-20240808-235000', 'mqtt', 'no client of ours has such a bot', $3, now())",
        )
        .bind(edge.acme.client.0)
        .bind(events::Uuid::from_u128(n))
        .bind(raw)
        .execute(&db)
        .await
        .unwrap();
    }
    let kept = edge.served.ask(&edge.admin, "/api/admin/quarantine").await;
    assert_eq!(kept.header("stale"), "false");
    let kept = kept.json();
    assert_eq!(each(&kept, "raw"), ["\u{fffd}\u{fffd}", "{\"no\": \"bot\"}"]);
    assert_eq!(kept[1]["reason"], "no client of ours has such a bot");
    let one = edge.served.ask(&edge.admin, "/api/admin/quarantine?limit=1").await.json();
    assert_eq!(one.as_array().unwrap().len(), 1);
    for path in ["quarantine", "reconciliation", &format!("reconciliation/{}", edge.acme.bot)] {
        let answer = edge.served.ask(&edge.acme.token, &format!("/api/admin/{path}")).await;
        assert_eq!(answer.problem(), (403, "forbidden".into()), "{path}");
    }
}

/// Folded again from the first event, every row is the same.
async fn rebuilds_alike(edge: &Edge, model: &str) {
    let said = edge.database.succeed(&["rebuild", model, "--verify"]);
    assert!(said.contains("equal byte for byte"), "{said}");
}
