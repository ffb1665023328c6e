//! Two clients of whom everything is on record that a stream can hold, so that every read model has rows of both. Whatever
//! is the second one's can be recognised wherever it turns up: its words, its ids, its numbers and its pair are nobody
//! else's.

use std::collections::BTreeMap;

use domain::alert_rule::AlertRule;
use events::{
    AggregateRef, AgreementId, AlertId, ChannelId, ClientId, CredentialId, Decimal, Event, Exchange, ManualId, Market,
    Price, RuleName, ScheduleId, SealedId, SilenceId, SubscriptionId, Time, TokenId, UserId, Uuid,
    account::AccountEvent,
    agreement::{self, AgreementEvent, Clause, Verdict},
    alert::{AlertEvent, Delivery, Evidence, Feature, Labels, RuleEvent, Scope, Severity, SilenceEvent},
    bot::{BotConfig, BotEvent, Figures, Limit, Limits, LogLevel, ReportedState, Venue},
    channel::{self, ChannelEvent},
    credential::CredentialEvent,
    ledger::{BookKey, Fill, LedgerEvent, Side},
    manual::ManualOrderEvent,
    market::{DepthSum, MarketEvent},
    order::OrderEvent,
    schedule::{Action, Missed, Outcome, ScheduleEvent, When},
};
use projections::worker::catch_up;
use sqlx::{PgPool, Row};
use store::{Append, Login, read};
use tests::{Database, Served};

use crate::{
    edge::{Edge, Party},
    facts::{append, at, credential, d, order_by_hand, recorded, subscription, write},
};

/// A tenth of them would do; the list of fills has more than one page of the size that is asked for.
const FILLS: u64 = 12;

/// Two clients, served by a process of role api alone: nothing moves by itself.
pub struct Neighbours {
    pub edge: Edge,
}

impl Neighbours {
    pub async fn new() -> Self {
        let edge = Edge::on(Database::new().await, "api").await;
        for party in [&edge.acme, &edge.borealis] {
            tell_everything(&edge, party).await;
        }
        let neighbours = Self { edge };
        neighbours.fold().await;
        neighbours.have_rows_in_every_table().await;
        neighbours
    }

    /// Takes every read model to the head.
    pub async fn fold(&self) {
        let db = self.edge.database.pool(Login::Projector);
        for mut model in projections::all(&db) {
            let parked = catch_up(&mut *model, |_| {}).await.unwrap();
            assert!(parked.is_empty(), "{}: {parked:?}", model.name());
        }
    }

    /// What is the other's alone, as it would stand in an answer.
    pub fn canaries(&self) -> Vec<String> {
        let other = &self.edge.borealis;
        let hex = other.client.0.simple().to_string();
        vec![
            other.slug.to_owned(),
            asset(other),
            price(other).to_owned(),
            other.client.to_string(),
            // The end of its id, which stands in the names of its instances, and in its id however that is written.
            hex[20..].to_owned(),
            other.bot.to_string(),
            credential_of(other).to_string(),
            order_of(other).to_string(),
            colleague_of(other).to_string(),
            service_of(other).to_string(),
            token_of(other).to_string(),
            alert_of(other).to_string(),
            silence_of(other).to_string(),
            channel_of(other).to_string(),
            schedule_of(other).to_string(),
            agreement_of(other).to_string(),
        ]
    }

    /// Another process of role api on the same database, by way of a port of this machine.
    pub fn serve_at(&self, port: u16) -> Served {
        Served::of(self.edge.database.command_at(port, &["serve", "--roles", "api", "--port", "0"]))
    }

    /// A hash of all rows that are not the asking client's, by table, and where every other stream stands.
    pub async fn rows_of_others(&self) -> BTreeMap<String, String> {
        let (me, superuser) = (self.edge.acme.client, self.edge.database.superuser());
        let mut found = BTreeMap::new();
        for table in tables_of_clients(&superuser).await {
            let rows = format!(
                "select count(*) || ' rows: ' || md5(coalesce(string_agg(t::text, E'\\n' order by t::text), ''))
                   from {table} t where t.client_id is distinct from $1{}",
                apart(&table)
            );
            found.insert(table, sqlx::query_scalar(&rows).bind(me.0).fetch_one(&superuser).await.unwrap());
        }
        found
    }

    /// So that an answer which lacks the other's rows lacks them for a reason.
    async fn have_rows_in_every_table(&self) {
        let superuser = self.edge.database.superuser();
        for table in tables_of_clients(&superuser).await.into_iter().filter(|table| table.starts_with("rm_")) {
            for party in [&self.edge.acme, &self.edge.borealis] {
                let count = format!("select count(*) from {table} where client_id = $1");
                let rows: i64 = sqlx::query_scalar(&count).bind(party.client.0).fetch_one(&superuser).await.unwrap();
                assert!(rows > 0, "{table} has no row of {}: tell a fact here that makes one", party.slug);
            }
        }
    }
}

/// What the desk's stream tells of one's own people is no matter of others.
fn apart(table: &str) -> &'static str {
    match table {
        "es.events" => " and t.event_type not in ('UserInvited', 'TokenRevoked', 'ClientAccessed')",
        "es.streams" => " and t.client_id <> '00000000-0000-0000-0000-000000000000'",
        _ => "",
    }
}

/// Every table that holds something of clients.
pub async fn tables_of_clients(superuser: &PgPool) -> Vec<String> {
    let tables = "select c.oid::regclass::text as name
                    from pg_class c
                    join pg_attribute a on a.attrelid = c.oid and a.attname = 'client_id' and not a.attisdropped
                   where c.relkind in ('r', 'p') and not c.relispartition
                   order by name";
    sqlx::query(tables).fetch_all(superuser).await.unwrap().into_iter().map(|row| row.get("name")).collect()
}

pub fn credential_of(of: &Party) -> CredentialId {
    CredentialId::of(of.client, Exchange::Okx, Market::Spot)
}

pub fn order_of(of: &Party) -> ManualId {
    ManualId::of(of.client, of.bot, "by-hand")
}

/// One of a party's people, who has not come yet.
pub fn colleague_of(of: &Party) -> UserId {
    UserId(Uuid::new_v5(&of.client.0, b"colleague"))
}

/// An alert about a party's bot.
pub fn alert_of(of: &Party) -> AlertId {
    AlertId::of(of.client, &spread_wide(), &Labels::of(of.bot, &venue(of)))
}

fn spread_wide() -> RuleName {
    "spread_wide".parse().unwrap()
}

pub fn silence_of(of: &Party) -> SilenceId {
    SilenceId(Uuid::new_v5(&of.client.0, b"silence"))
}

/// That something fired, that a rule was configured, and that nobody is to be called.
pub fn of_alerts(of: &Party) -> Vec<Append> {
    let (rule, labels) = (spread_wide(), Labels::of(of.bot, &venue(of)));
    let price = d(price(of));
    let feature = Feature { name: word(of, "feature"), value: price, threshold: None, unit: "bps".into() };
    let fired = AlertEvent::AlertFired {
        rule: rule.clone(),
        version: alerts::rule(rule.as_str()).expect("there is such a rule").version,
        severity: Severity::Warning,
        labels,
        episode: 1,
        summary: word(of, "summary"),
        evidence: Evidence { features: vec![feature], seqs: vec![1] },
        inhibited_by: None,
        as_of_seq: 1,
        evaluated_at: at(60_000),
    };
    let scope = Scope { bot: Some(of.bot), ..Scope::default() };
    let parameters = [("floor_bps".to_owned(), d("313"))].into();
    let configured =
        RuleEvent::RuleConfigured { rule: rule.clone(), scope: scope.clone(), on: true, parameters, at: at(1) };
    let id = AlertRule::id(&rule, &scope);
    // Far away: what stands in a test is set for long.
    let until = Time::now().plus_micros(3_600_000_000);
    let silence = SilenceEvent::SilenceSet { rule: Some(rule), scope, until, reason: word(of, "silence"), at: at(2) };
    let added = ChannelEvent::ChannelAdded {
        name: word(of, "channel").parse().unwrap(),
        kind: channel::Kind::Slack,
        shown: word(of, "shown"),
        sealed: SealedId(Uuid::from_u128(7)),
        settings: channel::Settings { severity: Severity::Info, wait_s: 30, quiet: None, on: true },
        at: at(2),
    };
    let result = Delivery::Failed { reason: word(of, "trouble") };
    let tested = ChannelEvent::ChannelTested { of: 1, attempt: 1, result, at: at(3) };
    let of_channel =
        |event: ChannelEvent| append(of.client, AggregateRef::new("channel", channel_of(of)), event.into(), None);
    let action = Action::Stop { bot: of.bot };
    let when = When::Once { at: at(2) };
    let (name, missed) = (word(of, "schedule").parse().unwrap(), Missed::Skip);
    let refused = Outcome::Refused { reason: word(of, "outcome") };
    let of_schedule =
        |event: ScheduleEvent| append(of.client, AggregateRef::new("schedule", schedule_of(of)), event.into(), None);
    let promised = Clause::Spread { most_bps: price };
    let (numerator, denominator) = (price, d("1"));
    let verdict = Verdict {
        clause: promised.clone(),
        outcome: agreement::Outcome::Missed,
        measured: None,
        numerator,
        denominator,
    };
    let (of_name, clauses) = (word(of, "agreement").parse().unwrap(), vec![promised]);
    let of_agreement =
        |event: AgreementEvent| append(of.client, AggregateRef::new("agreement", agreement_of(of)), event.into(), None);
    vec![
        of_agreement(AgreementEvent::AgreementSet { name: of_name, bot: of.bot, clauses, at: at(1) }),
        of_agreement(AgreementEvent::AgreementJudged {
            day: at(2),
            verdicts: vec![verdict],
            excluded_us: 0,
            as_of_seq: 1,
            at: at(2),
        }),
        of_schedule(ScheduleEvent::ScheduleSet { name, action, when, missed, at: at(1) }),
        of_schedule(ScheduleEvent::ScheduleTriggered { due: at(2), at: at(2) }),
        of_schedule(ScheduleEvent::ScheduleRan { due: at(2), outcome: refused, at: at(2) }),
        of_channel(added),
        of_channel(tested),
        append(of.client, AggregateRef::new("alert", alert_of(of)), fired.into(), None),
        append(of.client, AggregateRef::new("rule", id), configured.into(), None),
        append(of.client, AggregateRef::new("silence", silence_of(of)), silence.into(), None),
    ]
}

/// An alert and a channel of the desk's own, under the ids that a party's have.
pub fn of_the_desk(of: &Party) -> Vec<Append> {
    let own = of_alerts(of).into_iter().filter(|append| ["alert", "channel"].contains(&append.aggregate.kind.as_str()));
    own.map(|append| Append { client: ClientId::DESK, ..append }).collect()
}

/// What was promised of a party's bot.
pub fn agreement_of(of: &Party) -> AgreementId {
    AgreementId(Uuid::new_v5(&of.client.0, b"agreement"))
}

/// A party's schedule.
pub fn schedule_of(of: &Party) -> ScheduleId {
    ScheduleId(Uuid::new_v5(&of.client.0, b"schedule"))
}

/// A party's channel.
pub fn channel_of(of: &Party) -> ChannelId {
    ChannelId(Uuid::new_v5(&of.client.0, b"channel"))
}

/// A program's account of a party's.
pub fn service_of(of: &Party) -> UserId {
    UserId(Uuid::new_v5(&of.client.0, b"service"))
}

/// The token of that service.
pub fn token_of(of: &Party) -> TokenId {
    TokenId(Uuid::new_v5(&of.client.0, b"token"))
}

/// Somebody who was asked to come, a program, and that an admin looked at what a party has: what stands in no stream of its.
pub async fn people(database: &Database, of: &Party) {
    let (auth, admin) = (database.superuser(), UserId(Uuid::new_v5(&of.client.0, b"admin")));
    let add =
        "insert into auth.users (user_id, email, name, role, client_id, created_at) values ($1, $2, $3, $4, $5, now())";
    let address = format!("colleague@{}.example", of.slug);
    for (id, email, name, role) in [
        (colleague_of(of), Some(address.as_str()), None, "client_viewer"),
        (service_of(of), None, Some(word(of, "feed")), "service"),
    ] {
        let add = sqlx::query(add).bind(id.0).bind(email).bind(name).bind(role).bind(of.client.0);
        add.execute(&auth).await.unwrap();
    }
    let token = "insert into auth.access_tokens (token_id, user_id, hash, name, scopes, made_at, expires_at)
                 values ($1, $2, '', $3, '{read}', now(), now() + interval '90 days')";
    let token = sqlx::query(token).bind(token_of(of).0).bind(service_of(of).0).bind(word(of, "token"));
    token.execute(&auth).await.unwrap();
    let look = "insert into auth.looks (client_id, hour, user_id, route, at) values ($1, now(), $2, $3, now())";
    sqlx::query(look).bind(of.client.0).bind(admin.0).bind(word(of, "route")).execute(&auth).await.unwrap();
}

/// The rule that a route's path may name.
pub fn rule_in(path: &str) -> &'static str {
    if path.starts_with("/api/admin/") { "projection_lag" } else { "spread_wide" }
}

/// The id of what a party has, where a route's path asks for one.
pub fn id_in(path: &str, of: &Party) -> String {
    if path.contains("/users/") {
        colleague_of(of).to_string()
    } else if path.contains("/services/") {
        service_of(of).to_string()
    } else if path.contains("/tokens/") {
        token_of(of).to_string()
    } else if path.contains("/credentials/") {
        credential_of(of).to_string()
    } else if path.contains("/channels/") {
        channel_of(of).to_string()
    } else if path.contains("/agreements/") {
        agreement_of(of).to_string()
    } else if path.contains("/schedules/") {
        schedule_of(of).to_string()
    } else if path.contains("/silences/") {
        silence_of(of).to_string()
    } else if path.contains("/alerts/{id}") || path.contains("/platform/") {
        alert_of(of).to_string()
    } else if path.contains("/subscriptions/") {
        SubscriptionId::named(of.client, &"pager".parse().unwrap()).to_string()
    } else {
        of.bot.to_string()
    }
}

/// An asset that one client trades alone.
fn asset(of: &Party) -> String {
    of.slug[..4].to_uppercase()
}

/// A price of one client's alone, that no sum of the other's comes to.
fn price(of: &Party) -> &'static str {
    if of.slug == "acme" { "170.5" } else { "7313.313131" }
}

fn venue(of: &Party) -> Venue {
    let pair = format!("{}-USDT", asset(of)).parse().unwrap();
    Venue { exchange: Exchange::Kucoin, market: Market::Spot, pair }
}

/// A word of one client's alone.
fn word(of: &Party, what: &str) -> String {
    format!("{}-{what}", of.slug)
}

async fn tell_everything(edge: &Edge, of: &Party) {
    credential(&edge.streams, of.client).await;
    order_by_hand(&edge.streams, of.client, of.bot).await;
    subscription(&edge.streams, of.client).await;
    people(&edge.database, of).await;
    let facts = [of_bot(of), of_book(of), of_market(of), of_order(of), of_account(of), of_alerts(of)].concat();
    write(&edge.streams, facts).await;
    assert!(read::head(&edge.database.pool(Login::Projector), of.client).await.unwrap() > FILLS);
}

fn of_bot(of: &Party) -> Vec<Append> {
    let instance = word(of, "1-20240808-235000");
    let limits = Limits { loss_budget: Some(d("250")), position_limit: Some(d("90")), ..Limits::default() };
    let config = BotConfig {
        controller: Some("pmm_simple".into()),
        venue: Some(venue(of)),
        parameters: [("note".to_owned(), word(of, "parameter"))].into(),
        limits,
        ..BotConfig::default()
    };
    let figures = Figures { volume_quote: Some(d(price(of))), fills: Some(FILLS), ..Figures::default() };
    let events = [
        BotEvent::BotConfigChanged { config, at: at(1) },
        BotEvent::BotDeployRequested { at: at(2) },
        BotEvent::BotDeployStarted { name: word(of, "1"), at: at(3) },
        BotEvent::BotDeployed { instance: instance.clone(), at: at(4) },
        BotEvent::BotStateReported { state: ReportedState::Running, at: at(5) },
        BotEvent::BotSeenAlive { at: at(6) },
        BotEvent::BotLogged { level: LogLevel::Error, message: word(of, "complaint"), at: at(7) },
        BotEvent::BotGapOpened { since: at(6), reason: word(of, "gap"), at: at(8) },
        BotEvent::BotLimitNeared { limit: Limit::LossBudget, measured: d("201"), allowed: d("250"), at: at(9) },
        BotEvent::BotFiguresReported { instance, figures, source: "mqtt".into(), at: at(60_000) },
        BotEvent::BotStopRequested { reason: word(of, "reason"), at: at(90_000_000) },
    ];
    events.into_iter().map(|event| append(of.client, AggregateRef::new("bot", of.bot), event.into(), None)).collect()
}

/// Fills on two days, so that there are closings of hours and of days, with what else moves a book.
fn of_book(of: &Party) -> Vec<Append> {
    let Venue { exchange, market, pair } = venue(of);
    let fills = (0..FILLS).map(|n| {
        let price = Price(d(price(of)).plus(Decimal::from_int(n as i64)).unwrap());
        let fill = Fill {
            pair: pair.clone(),
            price,
            order: Some(word(of, &format!("o{n}")).parse().unwrap()),
            trade: word(of, &format!("t{n}")).parse().unwrap(),
            source: word(of, "source"),
            ..crate::facts::fill(of.client, of.bot, n, n as i64 * 9_000_000)
        };
        recorded(of.client, fill)
    });
    let book = BookKey { bot: of.bot, exchange, market, pair: pair.clone() };
    let funding = LedgerEvent::FundingPaid {
        book,
        amount: d("-0.5"),
        asset: "USDT".parse().unwrap(),
        funding: word(of, "f1").parse().unwrap(),
        at: at(70_000),
    };
    let transfer = LedgerEvent::TransferRecorded {
        exchange,
        account: of.client.into(),
        asset: asset(of).parse().unwrap(),
        amount: d("313"),
        transfer: word(of, "w1").parse().unwrap(),
        at: at(80_000),
    };
    let others =
        [funding, transfer].map(|event| append(of.client, AggregateRef::ledger(of.client), event.into(), None));
    fills.chain(others).collect()
}

fn of_market(of: &Party) -> Vec<Append> {
    let venue = venue(of);
    let price = Price(d(price(of)));
    let minute = MarketEvent::QuoteMinute {
        bot: of.bot,
        venue: venue.clone(),
        bid_us: 45_000_000,
        ask_us: 45_000_000,
        two_sided_us: 45_000_000,
        spread_bps_us: d("900000000"),
        unknown_us: 0,
        band_us: [(20, 45_000_000)].into(),
        changes_left_out: None,
        bid: Some(price),
        ask: Some(price),
        at: at(60_000),
    };
    let unknown = MarketEvent::QuotesUnknown { bot: of.bot, venue: venue.clone(), at: at(130_000) };
    let quote = MarketEvent::QuoteObserved {
        bot: of.bot,
        venue: venue.clone(),
        bid: Some(price),
        ask: Some(price),
        band_bps: Some(20),
        at: at(60_000),
    };
    let sum = DepthSum { bid_quote_us: d("11052210000000"), ask_quote_us: d("12104210000000"), ..DepthSum::default() };
    let depth = MarketEvent::DepthMinute {
        bot: of.bot,
        venue: venue.clone(),
        known_us: 60_000_000,
        own_known_us: 0,
        within: [(50, sum)].into(),
        changes_left_out: None,
        slippage: BTreeMap::new(),
        sized_us: BTreeMap::new(),
        middles: [(250, price)].into(),
        best_bid: Some(price),
        best_ask: Some(price),
        at: at(60_000),
    };
    let deep = MarketEvent::DepthObserved {
        bot: of.bot,
        venue: venue.clone(),
        middle: Some(price),
        best_bid: Some(price),
        best_ask: Some(price),
        within: BTreeMap::new(),
        at: at(60_000),
    };
    let volume = MarketEvent::VolumeObserved {
        venue: venue.clone(),
        day: at(600_000),
        amount: events::Amount(d("31331")),
        at: at(700_000),
    };
    let mark =
        MarketEvent::MarkObserved { pair: venue.pair.clone(), price, source: word(of, "source"), at: at(65_000) };
    let fees = MarketEvent::MarkObserved {
        pair: "KCS-USDT".parse().unwrap(),
        price: Price(d("10")),
        source: word(of, "source"),
        at: at(1),
    };
    let of_pair = |event: MarketEvent, pair: &events::Pair| {
        append(of.client, AggregateRef::new("market", pair), event.into(), None)
    };
    let kcs = "KCS-USDT".parse().unwrap();
    [mark, minute, quote, unknown, depth, deep, volume]
        .map(|event| of_pair(event, &venue.pair))
        .into_iter()
        .chain([of_pair(fees, &kcs)])
        .collect()
}

/// Orders of the bot's and one by hand.
fn of_order(of: &Party) -> Vec<Append> {
    let placed = |n: u64| {
        let order = word(of, &format!("o{n}")).parse().unwrap();
        let (price, amount) = (Some(Price(d(price(of)))), events::Amount(d("2")));
        let event = OrderEvent::OrderPlaced {
            order,
            venue: venue(of),
            side: Side::Buy,
            price,
            amount,
            precision: None,
            at: at(30),
        };
        append(of.client, AggregateRef::new("orders", of.bot), event.into(), None)
    };
    let (order, by_hand) = (word(of, "by-hand").parse().unwrap(), AggregateRef::new("manual", order_of(of)));
    let submitted = ManualOrderEvent::ManualOrderSubmitted { order, at: at(40) };
    let failing =
        CredentialEvent::CredentialFailing { sealed: SealedId::new(), reason: word(of, "refusal"), at: at(50) };
    let key = AggregateRef::new("credential", credential_of(of));
    let others: [(AggregateRef, Event); 2] = [(by_hand, submitted.into()), (key, failing.into())];
    let others = others.map(|(of_what, event)| append(of.client, of_what, event, None));
    (0..FILLS).map(placed).chain(others).collect()
}

fn of_account(of: &Party) -> Vec<Append> {
    let Venue { exchange, market, .. } = venue(of);
    let (asset, held) = (asset(of).parse().unwrap(), d("313.31"));
    let event = AccountEvent::BalanceObserved {
        exchange,
        market,
        account: of.client.into(),
        asset,
        total: held,
        available: held,
        at: at(75_000),
    };
    vec![append(of.client, AggregateRef::new("account", format!("{exchange}:{market}")), event.into(), None)]
}
