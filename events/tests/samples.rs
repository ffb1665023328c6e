//! Every version of every event that was ever written stands in `samples/` and is read for ever.
//!
//! A new event gets its sample by `WRITE_SAMPLES=1 cargo test -p events --test samples`; one that is there is never
//! rewritten.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use events::{
    Actor, Amount, BotId, ChannelId, ClientId, CommandId, Decimal, Event, EventId, Exchange, Market, Metadata, Price,
    RuleName, SealedId, SessionId, Time, TokenId, UserId, Uuid,
    account::AccountEvent,
    agent::{AgentEvent, PlanRefusal},
    agreement::{self, AgreementEvent, Clause},
    alert::{
        self, AlertEvent, Delivery, Evidence, Feature, Labels, Notice, RuleEvent, Severity, SilenceEvent, WhyEscalated,
        WhyResolved,
    },
    bot::{BotConfig, BotEvent, BotKind, ConfigChange, Figures, Limit, Limits, LogLevel, ReportedState, Venue},
    chain::{BEFORE_FIRST, Content, Hash, canonical, link},
    channel::{self, ChannelEvent, QuietHours, WhyDisabled},
    client::ClientEvent,
    credential::{CredentialEvent, Fingerprint, Misfit, Purpose, Values},
    desk::{DeskEvent, Factor, Role, Scope, WhyEnded},
    ledger::{BookKey, Fee, FeeKind, Fill, LedgerEvent, Liquidity, Precision, Side},
    manual::{HowEnded, ManualOrderEvent, RestingType, Verdict},
    market::{Depth, DepthSum, MarketEvent, SlippageSum},
    order::OrderEvent,
    schedule::{Action, Missed, Outcome, Period, ScheduleEvent, When},
    subscription::{Filter, SubscriptionEvent, UserNkey, WhyBarred},
};
use serde::{Deserialize, Serialize};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("samples")
}

fn at() -> Time {
    Time::from_micros(1_723_161_599_999_123).unwrap()
}

fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn bot() -> BotId {
    BotId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001))
}

fn client() -> ClientId {
    ClientId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0002))
}

fn fill() -> Fill {
    Fill {
        bot: bot(),
        account: client().into(),
        exchange: Exchange::Kucoin,
        market: Market::Spot,
        pair: "PEPE-USDT".parse().unwrap(),
        side: Side::Buy,
        price: Price(d("7.2e-06")),
        amount: Amount(d("1234567890123.000000000000000001")),
        fees: Some(vec![
            Fee { asset: "USDT".parse().unwrap(), amount: d("0.0072"), kind: FeeKind::Fee },
            Fee { asset: "KCS".parse().unwrap(), amount: d("-0.00001"), kind: FeeKind::Rebate },
        ]),
        liquidity: Liquidity::Maker,
        order: Some("6690f2a1".parse().unwrap()),
        trade: "t-88412".parse().unwrap(),
        at: at(),
        mid_at_fill: Some(Price(d("0.0000072005"))),
        source: "import".into(),
        precision: None,
        raw_hash: Some("00".repeat(32)),
    }
}

fn book() -> BookKey {
    BookKey { bot: bot(), exchange: Exchange::Okx, market: Market::Perp, pair: "BTC-USDT".parse().unwrap() }
}

fn venue() -> Venue {
    Venue { exchange: Exchange::GateIo, market: Market::Spot, pair: "BTC-USDT".parse().unwrap() }
}

fn client_events() -> Vec<ClientEvent> {
    let (slug, usdt) = ("acme".parse().unwrap(), "USDT".parse().unwrap());
    vec![
        ClientEvent::ClientOnboarded { slug, name: "Acme Labs ✓".into(), reporting_currency: usdt, at: at() },
        ClientEvent::AccountOpened { exchange: Exchange::Bitmart, account: client().into(), at: at() },
        ClientEvent::ClientRenamed { name: "Acme".into(), at: at() },
        ClientEvent::ReportingCurrencyChanged { reporting_currency: "USDC".parse().unwrap(), at: at() },
        ClientEvent::ClientOffboarded { reason: "contract ended".into(), at: at() },
        ClientEvent::DataKeyDestructionRequested { at: at() },
        ClientEvent::DataKeyDestroyed { at: at() },
    ]
}

fn credential_events() -> Vec<CredentialEvent> {
    let sealed = SealedId(Uuid::from_u128(0x0190_0000_0000_8000_8000_0000_0000_0003));
    let values = |last_four: Option<&str>| Values {
        sealed,
        fingerprint: Fingerprint::of(*b"not-real"),
        last_four: last_four.map(str::to_owned),
    };
    vec![
        CredentialEvent::CredentialStored {
            exchange: Exchange::Kucoin,
            market: Market::Perp,
            values: values(None),
            at: at(),
        },
        CredentialEvent::CredentialRotated {
            supersedes: SealedId(Uuid::from_u128(4)),
            values: values(Some("cdef")),
            at: at(),
        },
        CredentialEvent::CredentialVerified { sealed, at: at() },
        CredentialEvent::CredentialActive { sealed, at: at() },
        CredentialEvent::CredentialFailing { sealed, reason: "the exchange says: invalid key".into(), at: at() },
        CredentialEvent::CredentialRevokeRequested { reason: "asked by the client".into(), at: at() },
        CredentialEvent::CredentialRevoked { at: at() },
        CredentialEvent::CredentialOpened { sealed, purpose: Purpose::Connect, at: at() },
        CredentialEvent::CredentialRefused { sealed, misfit: Misfit::Unreadable, at: at() },
    ]
}

fn bot_events() -> Vec<BotEvent> {
    let parameters = [("buy_spreads".to_owned(), "0.004".to_owned())].into();
    let config =
        BotConfig { controller: Some("pmm_simple".into()), venue: Some(venue()), parameters, ..BotConfig::default() };
    let reason = || "no answer in 30 s".to_owned();
    vec![
        BotEvent::BotCreated { name: "maker-1".parse().unwrap(), config: config.clone(), at: at() },
        BotEvent::BotConfigChanged { config, at: at() },
        BotEvent::BotDeployRequested { at: at() },
        BotEvent::BotDeployed { instance: "maker-1-20240808-235959".into(), at: at() },
        BotEvent::BotDeployFailed { reason: reason(), at: at() },
        BotEvent::BotStopRequested { reason: "asked by the client".into(), at: at() },
        BotEvent::BotStopped { at: at() },
        BotEvent::BotStopFailed { reason: reason(), at: at() },
        BotEvent::BotStateReported { state: ReportedState::NotFound, at: at() },
        BotEvent::BotSeenAlive { at: at() },
        BotEvent::BotSilent { last_seen: Time::EPOCH, at: at() },
        BotEvent::BotConfigApplied { config: 7, at: at() },
        BotEvent::BotConfigNotApplied { config: 7, reason: reason(), at: at() },
        BotEvent::BotDeployStarted { name: "b0190-1".into(), at: at() },
        BotEvent::BotArchived { instance: "b0190-1-20240808-235959".into(), at: at() },
        BotEvent::BotStrayFound { instance: "b0190-1-20240809-000131".into(), at: at() },
        BotEvent::BotStrayStopped { instance: "b0190-1-20240809-000131".into(), at: at() },
        BotEvent::BotGapOpened { since: Time::EPOCH, reason: "the broker was away".into(), at: at() },
        BotEvent::BotGapHealed { since: Time::EPOCH, until: at(), fills: 3, at: at() },
        BotEvent::BotLimitNeared { limit: Limit::SideImbalanceMax, measured: d("0.65"), allowed: d("0.8"), at: at() },
        BotEvent::BotLimitBroken { limit: Limit::DrawdownLimit, measured: d("501"), allowed: d("500"), at: at() },
        BotEvent::BotLogged { level: LogLevel::Warning, message: "order book is empty".into(), at: at() },
        BotEvent::BotFiguresReported { instance: instance(), figures: figures(), source: "mqtt".into(), at: at() },
    ]
}

fn instance() -> String {
    "b0190-1-20240808-235959".into()
}

fn figures() -> Figures {
    Figures {
        volume_quote: Some(d("22239.977108148672")),
        realized_pnl_quote: Some(d("-22.17721876717555")),
        unrealized_pnl_quote: Some(d("8.141094626446314")),
        fees_quote: None,
        held_fees_quote: Some(d("0.9997427964025537")),
        fills: Some(155),
        fills_until: Some(at()),
    }
}

fn manual_events() -> Vec<ManualOrderEvent> {
    let reason = || "the connection broke".to_owned();
    vec![
        ManualOrderEvent::ManualOrderRequested {
            bot: bot(),
            venue: venue(),
            side: Side::Sell,
            order_type: RestingType::LimitMaker,
            price: Price(d("64250.1")),
            amount: Amount(d("0.25")),
            at: at(),
        },
        ManualOrderEvent::ManualOrderStarted { at: at() },
        ManualOrderEvent::ManualOrderSubmitted { order: "HBOTSBT623".parse().unwrap(), at: at() },
        ManualOrderEvent::ManualOrderRefused { reason: reason(), at: at() },
        ManualOrderEvent::ManualOrderUnknown { reason: reason(), at: at() },
        ManualOrderEvent::ManualOrderFound { order: "HBOTSBT624".parse().unwrap(), at: at() },
        ManualOrderEvent::ManualOrderResolved {
            verdict: Verdict::Filled,
            order: Some("HBOTSBT624".parse().unwrap()),
            reason: "the exchange shows it as filled".into(),
            at: at(),
        },
        ManualOrderEvent::ManualCancelRequested { at: at() },
        ManualOrderEvent::ManualCancelDone { at: at() },
        ManualOrderEvent::ManualCancelFailed { reason: "it was filled before".into(), at: at() },
        ManualOrderEvent::ManualFillsMissing { filled: d("0.1"), reason: reason(), at: at() },
        ManualOrderEvent::ManualFillsExplained { filled: d("0.25"), at: at() },
        ManualOrderEvent::ManualOrderEnded { ended: HowEnded::Vanished, filled: d("0.1"), at: at() },
    ]
}

fn ledger_events() -> Vec<LedgerEvent> {
    let reason = || "the exact figures came later".to_owned();
    let usdt = || "USDT".parse().unwrap();
    vec![
        LedgerEvent::FillRecorded(fill()),
        LedgerEvent::FillCorrected {
            corrects: 7,
            was: Fill { order: None, fees: None, ..fill() }.into(),
            fill: fill().into(),
            reason: reason(),
        },
        LedgerEvent::FillVoided { voids: 7, was: fill().into(), reason: reason() },
        LedgerEvent::FillDisputed { recorded: 7, fill: fill(), at: at() },
        LedgerEvent::OpeningPosition { book: book(), position: d("-1.5"), cost: d("-90000"), at: at() },
        LedgerEvent::FundingPaid {
            book: book(),
            amount: d("-0.0425"),
            asset: usdt(),
            funding: "u1".parse().unwrap(),
            at: at(),
        },
        LedgerEvent::TransferRecorded {
            exchange: Exchange::Bybit,
            account: client().into(),
            asset: usdt(),
            amount: d("5000"),
            transfer: "x1".parse().unwrap(),
            at: at(),
        },
        LedgerEvent::FeeRateSupplied {
            pair: "XYZ-USDT".parse().unwrap(),
            price: Price(d("2")),
            reason: reason(),
            at: at(),
        },
    ]
}

fn order_events() -> Vec<OrderEvent> {
    let order = || "6690f2a1".parse().unwrap();
    vec![
        OrderEvent::OrderPlaced {
            order: order(),
            venue: venue(),
            side: Side::Sell,
            price: Some(Price(d("61607.99"))),
            amount: Amount(d("0.02")),
            precision: None,
            at: at(),
        },
        OrderEvent::OrderCancelled { order: order(), venue: venue(), at: at() },
        OrderEvent::OrderFilled { order: order(), venue: venue(), at: at() },
        OrderEvent::OrderRejected { order: order(), venue: venue(), reason: "insufficient balance".into(), at: at() },
        OrderEvent::OrderExpired { order: order(), venue: venue(), at: at() },
    ]
}

fn nkey(filled: &str) -> UserNkey {
    format!("U{}", filled.repeat(55)).parse().unwrap()
}

fn subscription_events() -> Vec<SubscriptionEvent> {
    let (name, expires_at) = ("pager".parse().unwrap(), at().plus_micros(86_400_000_000));
    vec![
        SubscriptionEvent::SubscriptionRequested {
            name,
            filter: Filter::Events(Some("bot")),
            after: None,
            user: nkey("A"),
            session: None,
            role: None,
            expires_at,
            at: at(),
        },
        SubscriptionEvent::SubscriptionActive { user: nkey("A"), at: at() },
        SubscriptionEvent::SubscriptionRenewed { expires_at, at: at() },
        SubscriptionEvent::SubscriptionRotated {
            supersedes: nkey("A"),
            user: nkey("B"),
            session: None,
            role: None,
            expires_at,
            at: at(),
        },
        SubscriptionEvent::SubscriptionBarred { user: nkey("B"), reason: WhyBarred::SessionEnded, at: at() },
        SubscriptionEvent::SubscriptionRevokeRequested { reason: "asked by the client".into(), at: at() },
        SubscriptionEvent::SubscriptionRevoked { at: at() },
    ]
}

fn rule_name() -> RuleName {
    "spread_wide".parse().unwrap()
}

fn evidence() -> Evidence {
    let spread = Feature { name: "spread".into(), value: d("120"), threshold: Some(d("80")), unit: "bps".into() };
    Evidence { features: vec![spread], seqs: vec![17, 21] }
}

fn alert_events() -> Vec<AlertEvent> {
    let (rule, severity, labels) = (rule_name(), Severity::Warning, Labels::of(bot(), &venue()));
    let (version, episode, as_of_seq, evaluated_at, evidence) = (1, 2, 21, at(), evidence());
    let critical = Severity::Critical;
    let channel = ChannelId(Uuid::from_u128(12));
    vec![
        AlertEvent::AlertFired {
            rule: rule.clone(),
            version,
            severity,
            labels,
            episode,
            summary: "the quotes of maker are 120 bps apart".into(),
            evidence: evidence.clone(),
            inhibited_by: None,
            as_of_seq,
            evaluated_at,
        },
        AlertEvent::AlertEscalated {
            rule: rule.clone(),
            version,
            severity: critical,
            episode,
            why: WhyEscalated::Worse,
            evidence: evidence.clone(),
            as_of_seq,
            evaluated_at,
        },
        AlertEvent::AlertResolved {
            rule: rule.clone(),
            version,
            severity: critical,
            episode,
            why: WhyResolved::Cleared,
            evidence,
            as_of_seq,
            evaluated_at,
        },
        AlertEvent::AlertAcknowledged {
            rule: rule.clone(),
            severity,
            episode,
            until: None,
            note: "looking into it".into(),
            at: at(),
        },
        AlertEvent::AlertSilenced {
            rule: rule.clone(),
            severity,
            episode,
            until: at().plus_micros(3_600_000_000),
            note: "known".into(),
            at: at(),
        },
        AlertEvent::AlertNotified {
            rule,
            severity,
            episode,
            channel,
            notice: Notice::Fired,
            attempt: 2,
            result: Delivery::Failed { reason: "answered 503".into() },
            message: None,
            at: at(),
        },
    ]
}

fn rule_events() -> Vec<RuleEvent> {
    let (rule, scope) = (rule_name(), alert::Scope { bot: Some(bot()), ..alert::Scope::default() });
    let parameters = [("ratio".to_owned(), d("3"))].into();
    vec![
        RuleEvent::RuleConfigured { rule: rule.clone(), scope: scope.clone(), on: true, parameters, at: at() },
        RuleEvent::RuleReset { rule: rule.clone(), scope, at: at() },
        RuleEvent::RulesSpeak { versions: [(rule, 1)].into(), at: at() },
    ]
}

fn silence_events() -> Vec<SilenceEvent> {
    let (rule, until) = (Some(rule_name()), at().plus_micros(3_600_000_000));
    vec![
        SilenceEvent::SilenceSet {
            rule,
            scope: alert::Scope::default(),
            until,
            reason: "maintenance".into(),
            at: at(),
        },
        SilenceEvent::SilenceEnded { reason: "done earlier".into(), at: at() },
    ]
}

fn channel_events() -> Vec<ChannelEvent> {
    let (sealed, newer) = (SealedId(Uuid::from_u128(7)), SealedId(Uuid::from_u128(8)));
    let quiet = QuietHours { from: 22 * 60, to: 7 * 60, zone: "Europe/Berlin".parse().unwrap() };
    let settings = channel::Settings { severity: Severity::Warning, wait_s: 30, quiet: Some(quiet), on: true };
    let (name, kind, shown) =
        ("ops".parse().unwrap(), channel::Kind::Webhook, "https://hooks.example.com/…".to_owned());
    let both_until = at().plus_micros(86_400_000_000);
    vec![
        ChannelEvent::ChannelAdded { name, kind, shown: shown.clone(), sealed, settings: settings.clone(), at: at() },
        ChannelEvent::ChannelChanged { settings: channel::Settings { quiet: None, on: false, ..settings }, at: at() },
        ChannelEvent::ChannelRenewed { shown, sealed: newer, supersedes: sealed, both_until, at: at() },
        ChannelEvent::ChannelDisabled { why: WhyDisabled::Gone, at: at() },
        ChannelEvent::ChannelTestRequested { at: at() },
        ChannelEvent::ChannelTested { of: 4, attempt: 1, result: Delivery::Delivered, at: at() },
        ChannelEvent::ChannelReportRequested { from: at(), to: both_until, at: both_until },
        ChannelEvent::ChannelReported {
            of: 6,
            attempt: 2,
            result: Delivery::GivenUp { reason: "answered 404".into() },
            at: at(),
        },
        ChannelEvent::ChannelRemoved { reason: "another one is used".into(), at: at() },
    ]
}

fn schedule_events() -> Vec<ScheduleEvent> {
    let zone = "Europe/Berlin".parse().unwrap();
    let when = When::Cron { expression: "30 8 * * 1-5".into(), zone };
    let (name, due) = ("weekdays".parse().unwrap(), at());
    vec![
        ScheduleEvent::ScheduleSet {
            name,
            action: Action::Start { bot: bot() },
            when,
            missed: Missed::RunOnce,
            at: at(),
        },
        ScheduleEvent::ScheduleSwitched { on: false, at: at() },
        ScheduleEvent::ScheduleTriggered { due, at: at() },
        ScheduleEvent::ScheduleRan { due, outcome: Outcome::Wanted { seq: Some(7) }, at: at() },
        ScheduleEvent::ScheduleMissed { due, last: due, runs: 1, at: at() },
        ScheduleEvent::ScheduleEnded { reason: "no longer wanted".into(), at: at() },
    ]
}

/// The actions that a schedule may have beside a start, and its other clock.
fn more_schedules() -> Vec<(&'static str, ScheduleEvent)> {
    let set = |action, when| {
        let name = "more".parse().unwrap();
        ScheduleEvent::ScheduleSet { name, action, when, missed: Missed::Skip, at: at() }
    };
    let once = When::Once { at: at() };
    let channel = ChannelId(Uuid::from_u128(9));
    let parameters = [("spread".to_owned(), Some("0.01".to_owned())), ("note".to_owned(), None)].into();
    let change = Box::new(ConfigChange { parameters, ..ConfigChange::default() });
    vec![
        ("stop", set(Action::Stop { bot: bot() }, once.clone())),
        ("configure", set(Action::Configure { bot: bot(), change }, once.clone())),
        ("report", set(Action::Report { channel, period: Period::Day }, once)),
    ]
}

fn agreement_events() -> Vec<AgreementEvent> {
    let clauses = vec![
        Clause::TwoSided { least: d("0.9"), within_bps: Some(100), size_quote: None },
        Clause::Sides { least: d("0.95") },
        Clause::Spread { most_bps: d("45") },
        Clause::Depth { within_bps: 200, least_quote: d("5000") },
        Clause::Volume { least_quote: Some(d("100000")), most_quote: None },
        Clause::VolumeShare { least: None, most: Some(d("0.3")) },
    ];
    let verdict = |outcome, measured| agreement::Verdict {
        clause: clauses[0].clone(),
        outcome,
        measured,
        numerator: d("64800000000"),
        denominator: d("86400000000"),
    };
    let verdicts = vec![
        verdict(agreement::Outcome::Missed, Some(d("0.75"))),
        verdict(agreement::Outcome::Met, Some(d("0.75"))),
        verdict(agreement::Outcome::Excused, None),
        verdict(agreement::Outcome::Unknown, None),
    ];
    let (day, to) = (at().midnight(), at().plus_micros(3_600_000_000));
    vec![
        AgreementEvent::AgreementSet { name: "maker".parse().unwrap(), bot: bot(), clauses: clauses.clone(), at: at() },
        AgreementEvent::ExclusionDeclared { from: at(), to, reason: "the exchange was down".into(), at: at() },
        AgreementEvent::AgreementJudged { day, verdicts, excluded_us: 3_600_000_000, as_of_seq: 41, at: at() },
        AgreementEvent::AgreementEnded { reason: "the contract ended".into(), at: at() },
    ]
}

/// A promise of a size on each side.
fn sized_agreement() -> AgreementEvent {
    let clauses = vec![Clause::TwoSided { least: d("0.9"), within_bps: Some(100), size_quote: Some(d("2000")) }];
    AgreementEvent::AgreementSet { name: "maker".parse().unwrap(), bot: bot(), clauses, at: at() }
}

fn agent_events() -> Vec<AgentEvent> {
    let refusal = PlanRefusal { rule: "max_order_notional".into(), limit: "500 USDT".into(), value: "900 USDT".into() };
    vec![
        AgentEvent::PlanRejected {
            plan: Uuid::from_u128(13),
            action: "propose_order".into(),
            refusals: vec![refusal],
            foreign: false,
            at: at(),
        },
        AgentEvent::BudgetCharged {
            model: "claude".into(),
            input_tokens: 1_200,
            output_tokens: 300,
            cost: d("0.0081"),
            spent_today: d("0.42"),
            allowed_a_day: Some(d("5")),
            request: "req_1".into(),
            at: at(),
        },
    ]
}

fn watch_events() -> Vec<DeskEvent> {
    let (since, reason) = (at(), "connection refused".to_owned());
    vec![
        DeskEvent::LoginsFailed { user: user(), failures: 10, since, at: at() },
        DeskEvent::LagObserved { part: "projection:pnl".into(), events: 812, age_us: 6_100_000, at: at() },
        DeskEvent::HummingbotLost { since, reason, at: at() },
        DeskEvent::HummingbotBack { at: at() },
        DeskEvent::AlertsSilent { since, at: at() },
        DeskEvent::AlertsBack { at: at() },
    ]
}

fn desk_events() -> Vec<DeskEvent> {
    let projection = || "pnl".to_owned();
    vec![
        DeskEvent::ClientRegistered { client: client(), slug: "acme".parse().unwrap(), at: at() },
        DeskEvent::UserAdded { user: user(), role: Role::ClientOwner, client: Some(client()), at: at() },
        DeskEvent::ParkedRetried { projection: projection(), client: client(), seq: 12, at: at() },
        DeskEvent::ParkedSkipped {
            projection: projection(),
            client: client(),
            seq: 12,
            reason: "recorded by a broken build".into(),
            at: at(),
        },
        DeskEvent::RelayDiverged { client: client(), seq: 12, at: at() },
        DeskEvent::Quarantined {
            quarantine: Uuid::from_u128(4),
            instance: "b0190-1-20240808-235959".into(),
            reason: "the bot does not trade DOGE-USDT".into(),
            raw_hash: "00".repeat(32),
            at: at(),
        },
        DeskEvent::KeyRotationBegun { from: vec!["0badcafe".into()], to: "5eedf00d".into(), clients: 200, at: at() },
        DeskEvent::KeyRotationDone { to: "5eedf00d".into(), clients: 200, at: at() },
        DeskEvent::VaultChecked { credentials: 1_200, at: at() },
    ]
}

fn user() -> UserId {
    UserId(Uuid::from_u128(3))
}

fn access_events() -> Vec<DeskEvent> {
    let (user, by, session) = (user(), UserId(Uuid::from_u128(5)), SessionId(Uuid::from_u128(6)));
    let reason = || "left the company".to_owned();
    vec![
        DeskEvent::SessionOpened { session, user, how: vec![Factor::Password, Factor::Otp], at: at() },
        DeskEvent::SessionRevoked { session, user, by: Some(by), reason: WhyEnded::Ended, at: at() },
        DeskEvent::RefreshReused { session, user, at: at() },
        DeskEvent::RoleChanged { user, from: Role::Operator, to: Role::Admin, by, reason: "promoted".into(), at: at() },
        DeskEvent::PasswordChanged { user, at: at() },
        DeskEvent::UserBarred { user, by: Some(by), reason: reason(), at: at() },
        DeskEvent::UserUnbarred { user, by, reason: "came back".into(), at: at() },
        DeskEvent::UserInvited {
            user,
            role: Role::ClientViewer,
            client: Some(client()),
            by,
            expires_at: at().plus_micros(72 * 3_600_000_000),
            at: at(),
        },
        DeskEvent::PasswordLinkIssued { user, by, expires_at: at().plus_micros(3_600_000_000), at: at() },
        DeskEvent::SecondFactorAdded { user, at: at() },
        DeskEvent::SecondFactorRemoved { user, by: Some(by), at: at() },
        DeskEvent::RecoveryCodesRenewed { user, at: at() },
        DeskEvent::SteppedUp { session, user, how: Factor::Otp, at: at() },
    ]
}

/// What others may see, and did see, of clients.
fn reach_events() -> Vec<DeskEvent> {
    let (user, by, token) = (user(), UserId(Uuid::from_u128(5)), TokenId(Uuid::from_u128(7)));
    let (scopes, expires_at) = (vec![Scope::Read, Scope::Trade], at().plus_micros(90 * 86_400_000_000));
    let until = at().plus_micros(14 * 86_400_000_000);
    vec![
        DeskEvent::TokenIssued { token, user, scopes, expires_at, by, at: at() },
        DeskEvent::TokenRevoked { token, user, by, at: at() },
        DeskEvent::GrantGiven { user, client: client(), until, by, reason: "audit of 2024".into(), at: at() },
        DeskEvent::GrantWithdrawn { user, client: client(), by, reason: "the audit is done".into(), at: at() },
        DeskEvent::ClientAccessed { user, client: Some(client()), route: "GET /api/pnl".into(), at: at() },
    ]
}

fn market_events() -> Vec<MarketEvent> {
    vec![
        MarketEvent::MarkObserved {
            pair: "BTC-USDT".parse().unwrap(),
            price: Price(d("61607.995")),
            source: "binance".into(),
            at: at(),
        },
        MarketEvent::QuoteObserved {
            bot: bot(),
            venue: venue(),
            bid: Some(Price(d("61600"))),
            ask: None,
            band_bps: None,
            at: at(),
        },
        MarketEvent::QuoteMinute {
            bot: bot(),
            venue: venue(),
            bid_us: 60_000_000,
            ask_us: 45_000_000,
            two_sided_us: 45_000_000,
            spread_bps_us: d("1125000000"),
            unknown_us: 0,
            band_us: [].into(),
            changes_left_out: None,
            bid: None,
            ask: None,
            at: at(),
        },
        MarketEvent::QuotesUnknown { bot: bot(), venue: venue(), at: at() },
        MarketEvent::DepthObserved {
            best_bid: None,
            best_ask: None,
            bot: bot(),
            venue: venue(),
            middle: Some(Price(d("61607.995"))),
            within: [
                (50, Depth { bid_quote: d("184203.5"), ask_quote: d("201733.25") }),
                (100, Depth { bid_quote: d("402110"), ask_quote: d("377001.75") }),
            ]
            .into(),
            at: at(),
        },
        MarketEvent::DepthMinute {
            bot: bot(),
            venue: venue(),
            known_us: 60_000_000,
            own_known_us: 45_000_000,
            within: [
                (50, DepthSum { bid_quote_us: d("11052210000000"), ..DepthSum::default() }),
                (
                    100,
                    DepthSum {
                        bid_quote_us: d("24126600000000"),
                        ask_quote_us: d("22620105000000"),
                        own_bid_quote_us: d("90000000000"),
                        own_ask_quote_us: d("45000000000"),
                        beyond_us: 5_000_000,
                    },
                ),
            ]
            .into(),
            changes_left_out: Some(1),
            slippage: BTreeMap::new(),
            sized_us: BTreeMap::new(),
            middles: BTreeMap::new(),
            best_bid: None,
            best_ask: None,
            at: at(),
        },
        MarketEvent::VolumeObserved { venue: venue(), day: at().midnight(), amount: Amount(d("18250.75")), at: at() },
    ]
}

fn balance() -> AccountEvent {
    AccountEvent::BalanceObserved {
        exchange: Exchange::Okx,
        market: Market::Spot,
        account: client().into(),
        asset: "USDT".parse().unwrap(),
        total: d("100250.5"),
        available: d("99250.5"),
        at: at(),
    }
}

/// Optional fields that came later, each in an event that has them.
fn with_more() -> Vec<(&'static str, Event)> {
    let schedules = more_schedules().into_iter().map(|(more, event)| (more, event.into()));
    let fill = Fill { order: None, precision: Some(Precision::SixPlaces), source: "history".into(), ..fill() };
    let limits = Limits {
        participation_cap: Some(d("0.1")),
        loss_budget: Some(d("250")),
        position_limit: Some(d("5")),
        drawdown_limit: Some(d("500")),
        daily_volume_max: Some(d("100000")),
        side_imbalance_max: Some(d("0.8")),
        same_side_max: Some(40),
    };
    let config = BotConfig { kind: BotKind::Volume, venue: Some(venue()), limits, ..BotConfig::default() };
    let script = BotConfig { script: Some("v2_twap".into()), venue: Some(venue()), ..BotConfig::default() };
    let measured = MarketEvent::QuoteMinute {
        bot: bot(),
        venue: venue(),
        bid_us: 60_000_000,
        ask_us: 45_000_000,
        two_sided_us: 45_000_000,
        spread_bps_us: d("1125000000"),
        unknown_us: 0,
        band_us: [(20, 15_000_000), (50, 30_000_000)].into(),
        changes_left_out: Some(3),
        bid: None,
        ask: None,
        at: at(),
    };
    let restored = OrderEvent::OrderPlaced {
        order: "6690f2a1".parse().unwrap(),
        venue: Venue { pair: "PEPE-USDT".parse().unwrap(), ..venue() },
        side: Side::Buy,
        price: Some(Price(d("0.000007"))),
        amount: Amount(d("1000000")),
        precision: Some(Precision::SixPlaces),
        at: at(),
    };
    let alerts = SubscriptionEvent::SubscriptionRequested {
        name: "pager".parse().unwrap(),
        filter: Filter::Alerts(None),
        after: Some(41),
        user: nkey("C"),
        session: None,
        role: None,
        expires_at: at().plus_micros(86_400_000_000),
        at: at(),
    };
    let wide = MarketEvent::DepthObserved {
        bot: bot(),
        venue: venue(),
        middle: Some(Price(d("60000"))),
        best_bid: Some(Price(d("59990"))),
        best_ask: Some(Price(d("60010"))),
        within: BTreeMap::new(),
        at: at(),
    };
    let slipped = MarketEvent::DepthMinute {
        bot: bot(),
        venue: venue(),
        known_us: 60_000_000,
        own_known_us: 0,
        within: BTreeMap::new(),
        changes_left_out: None,
        slippage: [(
            1_000,
            SlippageSum { buy_bps_us: d("300000000"), buy_us: 60_000_000, sell_bps_us: d("0"), sell_us: 0 },
        )]
        .into(),
        sized_us: BTreeMap::new(),
        middles: BTreeMap::new(),
        best_bid: None,
        best_ask: None,
        at: at(),
    };
    let session = Some(SessionId(Uuid::from_u128(6)));
    let asked_in = SubscriptionEvent::SubscriptionRequested {
        name: "pager".parse().unwrap(),
        filter: Filter::All,
        after: None,
        user: nkey("D"),
        session,
        role: Some(Role::ClientOwner),
        expires_at: at().plus_micros(86_400_000_000),
        at: at(),
    };
    let rotated_in = SubscriptionEvent::SubscriptionRotated {
        supersedes: nkey("D"),
        user: nkey("E"),
        session,
        role: Some(Role::Admin),
        expires_at: at().plus_micros(86_400_000_000),
        at: at(),
    };
    let others = [
        ("after", alerts.into()),
        ("best", wide.into()),
        ("ended", ended().into()),
        ("ended", sized().into()),
        ("sized", sized_agreement().into()),
        ("slippage", slipped.into()),
        ("session", asked_in.into()),
        ("session", rotated_in.into()),
        ("restored", restored.into()),
        ("measured", measured.into()),
        ("provisional", LedgerEvent::FillRecorded(fill).into()),
        ("volume", BotEvent::BotConfigChanged { config, at: at() }.into()),
        ("script", BotEvent::BotConfigChanged { config: script, at: at() }.into()),
        (
            "owner",
            DeskEvent::UserAdded { user: user(), role: Role::ClientOwner, client: Some(client()), at: at() }.into(),
        ),
    ];
    schedules.chain(others).collect()
}

/// A minute of quotes that tells how it ended.
fn ended() -> MarketEvent {
    MarketEvent::QuoteMinute {
        bot: bot(),
        venue: venue(),
        bid_us: 60_000_000,
        ask_us: 60_000_000,
        two_sided_us: 60_000_000,
        spread_bps_us: d("1200000000"),
        unknown_us: 0,
        band_us: [(20, 60_000_000)].into(),
        changes_left_out: None,
        bid: Some(Price(d("59940"))),
        ask: Some(Price(d("60060"))),
        at: at(),
    }
}

/// A minute of a book that tells how it ended, where its middle lay, and how large the bot's own orders were.
fn sized() -> MarketEvent {
    MarketEvent::DepthMinute {
        bot: bot(),
        venue: venue(),
        known_us: 60_000_000,
        own_known_us: 60_000_000,
        within: BTreeMap::new(),
        changes_left_out: None,
        slippage: BTreeMap::new(),
        sized_us: [(100, [(d("500"), 20_000_000), (d("2000"), 40_000_000)].into())].into(),
        middles: [(1_250, Price(d("60000"))), (6_300, Price(d("60000.5")))].into(),
        best_bid: Some(Price(d("59999.5"))),
        best_ask: Some(Price(d("60001.5"))),
        at: at(),
    }
}

fn one_of_each() -> Vec<Event> {
    let lost = AccountEvent::HummingbotLost { since: at(), reason: "connection refused".into(), at: at() };
    let back = AccountEvent::HummingbotBack { at: at() };
    let mut events = vec![Event::from(balance()), lost.into(), back.into()];
    events.extend(market_events().into_iter().map(Event::from));
    events.extend(client_events().into_iter().map(Event::from));
    events.extend(bot_events().into_iter().map(Event::from));
    events.extend(credential_events().into_iter().map(Event::from));
    events.extend(ledger_events().into_iter().map(Event::from));
    events.extend(order_events().into_iter().map(Event::from));
    events.extend(manual_events().into_iter().map(Event::from));
    events.extend(subscription_events().into_iter().map(Event::from));
    events.extend(alert_events().into_iter().map(Event::from));
    events.extend(rule_events().into_iter().map(Event::from));
    events.extend(silence_events().into_iter().map(Event::from));
    events.extend(channel_events().into_iter().map(Event::from));
    events.extend(schedule_events().into_iter().map(Event::from));
    events.extend(agreement_events().into_iter().map(Event::from));
    events.extend(agent_events().into_iter().map(Event::from));
    events.extend(desk_events().into_iter().map(Event::from));
    events.extend(watch_events().into_iter().map(Event::from));
    events.extend(access_events().into_iter().chain(reach_events()).map(Event::from));
    events
}

/// An event as it is stored.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sample {
    aggregate_type: String,
    event_type: String,
    event_version: String,
    payload: serde_json::Value,
}

/// Read for ever and written no more: an owner was called `client` at first.
const IN_OLD_WORDS: [&str; 1] = ["desk.UserAdded.v1.json"];

fn file(event: &Event, more: &str) -> PathBuf {
    folder().join(format!("{}.{}.v{}{more}.json", event.aggregate_type(), event.event_type(), event.version()))
}

#[test]
fn every_event_has_a_sample_that_reads_as_it_and_is_written_again_in_the_same_bytes() {
    let plain = one_of_each().into_iter().map(|event| (String::new(), event));
    for (more, event) in plain.chain(with_more().into_iter().map(|(more, event)| (format!(".{more}"), event))) {
        let file = file(&event, &more);
        if std::env::var_os("WRITE_SAMPLES").is_some() && !file.exists() {
            let sample = Sample {
                aggregate_type: event.aggregate_type().into(),
                event_type: event.event_type().into(),
                event_version: event.version().into(),
                payload: serde_json::to_value(&event).unwrap(),
            };
            fs::write(&file, serde_json::to_string_pretty(&sample).unwrap() + "\n").unwrap();
        }
        let text = fs::read_to_string(&file).unwrap_or_else(|_| panic!("{} has no sample", event.event_type()));
        let sample: Sample = serde_json::from_str(&text).unwrap();
        let payload = sample.payload.to_string();
        let read = Event::read(&sample.aggregate_type, &sample.event_type, &sample.event_version, &payload).unwrap();
        assert_eq!(read, event, "{}", event.event_type());
        if !IN_OLD_WORDS.contains(&file.file_name().unwrap().to_str().unwrap()) {
            assert_eq!(canonical(&read), canonical(&sample.payload), "{}", event.event_type());
        }
    }
}

#[test]
fn no_event_is_forgotten() {
    let told: BTreeSet<String> =
        one_of_each().iter().map(|event| format!("{}.{}", event.aggregate_type(), event.event_type())).collect();
    let mut known = BTreeSet::new();
    for (kind, names) in [
        ("client", ClientEvent::NAMES),
        ("bot", BotEvent::NAMES),
        ("credential", CredentialEvent::NAMES),
        ("ledger", LedgerEvent::NAMES),
        ("market", MarketEvent::NAMES),
        ("orders", OrderEvent::NAMES),
        ("manual", ManualOrderEvent::NAMES),
        ("desk", DeskEvent::NAMES),
        ("account", AccountEvent::NAMES),
        ("subscription", SubscriptionEvent::NAMES),
        ("alert", AlertEvent::NAMES),
        ("rule", RuleEvent::NAMES),
        ("silence", SilenceEvent::NAMES),
        ("channel", ChannelEvent::NAMES),
        ("schedule", ScheduleEvent::NAMES),
        ("agreement", AgreementEvent::NAMES),
        ("agent", AgentEvent::NAMES),
    ] {
        known.extend(names.iter().map(|name| format!("{kind}.{name}")));
    }
    assert_eq!(told, known);
}

#[test]
fn a_subscriber_can_ask_for_each_kind_of_aggregate_but_the_desks_and_alerts_which_have_subjects_of_their_own() {
    let kinds: BTreeSet<&str> =
        one_of_each().iter().map(Event::aggregate_type).filter(|kind| !matches!(*kind, "desk" | "alert")).collect();
    assert_eq!(Filter::AGGREGATES.iter().copied().collect::<BTreeSet<_>>(), kinds, "list it in Filter::AGGREGATES");
}

#[test]
fn every_sample_that_was_ever_kept_can_still_be_read() {
    let mut read = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name == "chain.json") {
            continue;
        }
        let sample: Sample = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let payload = sample.payload.to_string();
        Event::read(&sample.aggregate_type, &sample.event_type, &sample.event_version, &payload)
            .unwrap_or_else(|cause| panic!("{}: {cause}", path.display()));
        read += 1;
    }
    assert!(read >= one_of_each().len());
}

/// A test vector: everything that is hashed, and what comes of it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Vector {
    client_id: ClientId,
    client_seq: u64,
    aggregate_type: String,
    aggregate_id: String,
    aggregate_seq: u64,
    event_id: EventId,
    event_type: String,
    event_version: String,
    payload: serde_json::Value,
    metadata: serde_json::Value,
    occurred_at: Time,
    recorded_at: Time,
    content_hash: String,
    chain_hash: String,
}

fn vector(seq: u64, previous: &Hash, event: &Event) -> (Vector, Hash) {
    let metadata = Metadata {
        actor: Actor::System("import".into()),
        correlation: CommandId(Uuid::from_u128(9)),
        causation: None,
        build: "0.1.0".into(),
        key: Some("a \"key\" of \u{1f980}".into()),
    };
    let (id, recorded_at) = (EventId(Uuid::from_u128(u128::from(seq))), at().plus_micros(seq as i64));
    let (payload, metadata) = (canonical(event), canonical(&metadata));
    let content = Content {
        client: client(),
        aggregate_type: event.aggregate_type(),
        aggregate_id: "x",
        event: id,
        event_type: event.event_type(),
        event_version: event.version(),
        occurred_at: event.at(),
        metadata: &metadata,
        payload: &payload,
    }
    .hash();
    let chain = link(previous, seq, seq, recorded_at, &content);
    let vector = Vector {
        client_id: client(),
        client_seq: seq,
        aggregate_type: event.aggregate_type().into(),
        aggregate_id: "x".into(),
        aggregate_seq: seq,
        event_id: id,
        event_type: event.event_type().into(),
        event_version: event.version().into(),
        payload: serde_json::from_str(&payload).unwrap(),
        metadata: serde_json::from_str(&metadata).unwrap(),
        occurred_at: event.at(),
        recorded_at,
        content_hash: hex::encode(content),
        chain_hash: hex::encode(chain),
    };
    (vector, chain)
}

#[test]
fn the_hashes_of_the_test_vectors_never_change() {
    let mut previous = BEFORE_FIRST;
    let mut vectors = Vec::new();
    for (event, seq) in ledger_events().into_iter().map(Event::from).zip(1..) {
        let (vector, chain) = vector(seq, &previous, &event);
        vectors.push(vector);
        previous = chain;
    }
    let path = folder().join("chain.json");
    if std::env::var_os("WRITE_SAMPLES").is_some() && !path.exists() {
        fs::write(&path, serde_json::to_string_pretty(&vectors).unwrap() + "\n").unwrap();
    }
    let kept: Vec<Vector> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(vectors, kept);
}
