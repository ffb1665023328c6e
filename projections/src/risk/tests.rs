use events::{
    AggregateRef, Amount, Decimal, EventId, Price,
    bot::BotConfig,
    ledger::{Fee, FeeKind, Fill, Liquidity},
};
use proptest::prelude::*;

use super::*;

/// 2025-02-18 23:59:00 UTC: one minute before midnight.
const START_MS: i64 = 1_739_923_140_000;
const DAY_S: i64 = 86_400;

fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn at(seconds: i64) -> Time {
    Time::from_millis(START_MS + seconds * 1_000).unwrap()
}

fn bot(n: u128) -> BotId {
    BotId(Uuid::from_u128(n))
}

fn venue() -> Venue {
    Venue { exchange: Exchange::Kucoin, market: Market::Spot, pair: "SOL-USDT".parse().unwrap() }
}

fn fees(text: &str) -> Option<Vec<Fee>> {
    let fee = |text: &str| {
        let (amount, asset) = text.split_once(' ').unwrap();
        Fee { asset: asset.parse().unwrap(), amount: d(amount), kind: FeeKind::Fee }
    };
    (text != "?").then(|| text.split_terminator(", ").map(fee).collect())
}

/// `buy 2 @ 170 fee 0.1 USDT, 0.02 KCS`; a fee of `?` is one that nobody knows.
fn fill(of: u128, seconds: i64, text: &str) -> Fill {
    let (text, fee) = text.split_once(" fee ").unwrap_or((text, ""));
    let words: Vec<&str> = text.split(' ').collect();
    Fill {
        bot: bot(of),
        account: ClientId::DESK.into(),
        exchange: Exchange::Kucoin,
        market: Market::Spot,
        pair: "SOL-USDT".parse().unwrap(),
        side: if words[0] == "buy" { Side::Buy } else { Side::Sell },
        price: Price(d(words[3])),
        amount: Amount(d(words[1])),
        fees: fees(fee),
        liquidity: Liquidity::Maker,
        order: Some("o".parse().unwrap()),
        trade: "t".parse().unwrap(),
        at: at(seconds),
        mid_at_fill: None,
        source: "test".into(),
        precision: None,
        raw_hash: None,
    }
}

fn filled(of: u128, seconds: i64, text: &str) -> Event {
    LedgerEvent::FillRecorded(fill(of, seconds, text)).into()
}

fn mark(seconds: i64, pair: &str, price: &str) -> Event {
    let (pair, price) = (pair.parse().unwrap(), Price(d(price)));
    MarketEvent::MarkObserved { pair, price, source: "test".into(), at: at(seconds) }.into()
}

fn deploy(seconds: i64) -> Event {
    BotEvent::BotDeployRequested { at: at(seconds) }.into()
}

fn created() -> Event {
    let config = BotConfig { venue: Some(venue()), ..BotConfig::default() };
    BotEvent::BotCreated { name: "one".parse().unwrap(), config, at: at(0) }.into()
}

fn recorded(seq: u64, event: Event) -> Recorded {
    let aggregate = match &event {
        Event::Bot(_) => AggregateRef::new("bot", bot(1)),
        Event::Ledger(_)
        | Event::Client(_)
        | Event::Market(_)
        | Event::Order(_)
        | Event::Desk(_)
        | Event::Account(_)
        | Event::Credential(_)
        | Event::Subscription(_)
        | Event::Alert(_)
        | Event::Rule(_)
        | Event::Agreement(_)
        | Event::Channel(_)
        | Event::Schedule(_)
        | Event::Silence(_)
        | Event::Agent(_)
        | Event::Manual(_) => AggregateRef::ledger(ClientId::DESK),
    };
    Recorded {
        client: ClientId::DESK,
        seq,
        aggregate,
        aggregate_seq: seq,
        id: EventId(Uuid::from_u128(u128::from(seq))),
        occurred_at: event.at(),
        recorded_at: Time::END,
        actor: None,
        event,
    }
}

fn nothing() -> Risk {
    Risk {
        client: ClientId::DESK,
        past: Past::default(),
        bots: BTreeMap::new(),
        told: BTreeMap::new(),
        saved: BTreeMap::new(),
    }
}

/// Folds events; the worker saves after each of these batches, and a fresh one takes over after each `fresh`-th.
fn folded(events: &[Recorded], batch: usize, fresh: usize) -> Risk {
    let mut risk = nothing();
    for (n, events_of) in events.chunks(batch).enumerate() {
        events_of.iter().for_each(|event| risk.fold(event).unwrap());
        risk.saved = risk.rows().unwrap();
        if n % fresh == fresh - 1 {
            let reached = events_of.last().unwrap().seq;
            let kept: Kept = serde_json::from_str(&serde_json::to_string(risk.past.kept()).unwrap()).unwrap();
            let since = kept.from_seq.unwrap_or(u64::MAX);
            let again: Vec<Recorded> =
                events.iter().filter(|event| (since..=reached).contains(&event.seq)).cloned().collect();
            risk.past = Past::restored(kept, &again).unwrap();
        }
    }
    risk
}

fn numbered(events: impl IntoIterator<Item = Event>) -> Vec<Recorded> {
    (1..).zip(events).map(|(seq, event)| recorded(seq, event)).collect()
}

/// The first bot's book after these events.
fn book(events: impl IntoIterator<Item = Event>) -> Book {
    let events = numbered(events);
    let rows = folded(&events, events.len().max(1), usize::MAX).rows().unwrap();
    rows.into_values().find(|row| row.bot_id == bot(1)).unwrap()
}

#[test]
fn a_days_counters_are_of_the_day_of_the_newest_fact() {
    let story = [filled(1, 0, "buy 2 @ 100"), filled(1, 61, "buy 1 @ 101"), filled(1, 62, "sell 4 @ 102")];
    let row = book(story);
    assert_eq!(row.day, Some(at(60)));
    assert_eq!((row.fills, row.amount, row.bought, row.sold), (2, d("5"), d("101"), d("408")));
    assert_eq!((row.run_side, row.run_fills, row.position), (Some(Side::Sell), 1, d("-1")));
}

#[test]
fn a_late_fill_of_the_day_before_counts_to_that_day_and_moves_how_today_began() {
    let row = book([filled(1, 70, "buy 1 @ 110"), mark(71, "SOL-USDT", "120"), filled(1, 10, "buy 1 @ 100")]);
    assert_eq!((row.fills, row.bought, row.position), (1, d("110"), d("2")));
    // Nobody knew a mark at midnight: what was held then is worth the day's first.
    assert_eq!((row.equity_at_day_begin, row.equity), (Some(d("20")), Some(d("30"))));
}

#[test]
fn equity_is_cash_and_position_at_the_mark_and_its_highest_counts_from_the_deployment() {
    let story = [
        created(),
        filled(1, 1, "buy 1 @ 100"),
        mark(2, "SOL-USDT", "150"),
        mark(3, "SOL-USDT", "120"),
        deploy(4),
        mark(5, "SOL-USDT", "125"),
        mark(6, "SOL-USDT", "90"),
        filled(1, 7, "buy 1 @ 90"),
    ];
    let row = book(story);
    assert_eq!((row.equity, row.equity_highest), (Some(d("-10")), Some(d("25"))));
    assert_eq!((row.position, row.position_since_deploy), (d("2"), d("1")));
    assert_eq!((row.run_fills, row.spell_fills, row.fills), (1, 1, 2));
    assert!(row.wanted && row.current && row.deployed_seq == Some(5) && row.seq == 8);
}

#[test]
fn a_position_without_a_mark_has_no_equity() {
    assert_eq!(book([filled(1, 1, "buy 1 @ 100")]).equity, None);
    assert_eq!(book([filled(1, 1, "buy 1 @ 100"), filled(1, 2, "sell 1 @ 101")]).equity, Some(d("1")));
}

#[test]
fn fees_are_worth_what_they_were_when_they_were_charged_and_an_unknown_one_is_told() {
    let row = book([
        mark(1, "KCS-USDT", "10"),
        filled(1, 2, "buy 2 @ 100 fee 0.5 USDT, 0.1 KCS"),
        mark(3, "KCS-USDT", "99"),
        filled(1, 4, "sell 1 @ 100 fee 0.01 SOL"),
        filled(1, 5, "buy 1 @ 100 fee 1 XYZ"),
        filled(1, 6, "buy 1 @ 100 fee ?"),
    ]);
    assert_eq!((row.fees_quote, row.fees_unknown), (d("2.5"), 2));
    // A base fee leaves with the base, and what it cost is the base that is gone.
    assert_eq!((row.position, row.cash), (d("2.99"), d("-301.5")));
    // Told late, a rate of before still values it.
    let row = book([filled(1, 5, "buy 1 @ 100 fee 1 XYZ"), mark(4, "XYZ-USDT", "3")]);
    assert_eq!((row.fees_quote, row.fees_unknown, row.cash), (d("3"), 0, d("-103")));
}

#[test]
fn a_corrected_or_voided_fill_leaves_nothing_behind() {
    let wrong = fill(1, 2, "buy 1 @ 1000 fee ?");
    let right = fill(1, 2, "sell 1 @ 100 fee 0.1 USDT");
    let before = || [created(), filled(1, 1, "buy 1 @ 100"), LedgerEvent::FillRecorded(wrong.clone()).into()];
    let after = || [mark(3, "SOL-USDT", "100"), filled(1, 4, "buy 1 @ 100")];
    let mended = |event: LedgerEvent| {
        let row = book(before().into_iter().chain(after()).chain([event.into()]));
        Book { seq: 0, ..row }
    };
    let as_if = |events: Vec<Event>| Book { seq: 0, ..book(events) };
    let reason = String::new();
    let corrected =
        LedgerEvent::FillCorrected { corrects: 3, was: wrong.clone().into(), fill: right.clone().into(), reason };
    let alike = [created(), filled(1, 1, "buy 1 @ 100"), LedgerEvent::FillRecorded(right.clone()).into()];
    assert_eq!(mended(corrected), as_if(alike.into_iter().chain(after()).collect()));
    let voided = LedgerEvent::FillVoided { voids: 3, was: wrong.clone().into(), reason: String::new() };
    let alike = [created(), filled(1, 1, "buy 1 @ 100")];
    assert_eq!(mended(voided), as_if(alike.into_iter().chain(after()).collect()));
}

#[test]
fn what_is_told_of_long_ago_still_moves_position_and_every_equity_after_it() {
    let (long_ago, wrong) = (-4 * DAY_S, fill(1, -3 * DAY_S, "buy 1 @ 90 fee 0.1 USDT, 1 KCS"));
    let events = || {
        vec![
            created(),
            LedgerEvent::FillRecorded(wrong.clone()).into(),
            mark(0, "SOL-USDT", "100"),
            deploy(1),
            filled(1, 2, "buy 1 @ 100"),
        ]
    };
    let row = book(events());
    assert_eq!((row.position, row.equity_highest, row.fees_unknown), (d("2"), Some(d("9.9")), 1));
    let late = filled(1, long_ago, "buy 1 @ 80 fee 1 USDT");
    let row = book(events().into_iter().chain([late]));
    assert_eq!((row.position, row.position_since_deploy, row.run_fills), (d("3"), d("1"), 1));
    assert_eq!((row.equity, row.equity_highest, row.fills), (Some(d("28.9")), Some(d("28.9")), 1));
    let voided = LedgerEvent::FillVoided { voids: 2, was: wrong.clone().into(), reason: String::new() };
    let row = book(events().into_iter().chain([voided.into()]));
    assert_eq!((row.position, row.position_since_deploy, row.equity), (d("1"), d("1"), Some(d("0"))));
}

#[test]
fn what_was_before_a_deployment_of_long_ago_is_not_since_it_and_was_there_at_its_highest() {
    let day = -3 * DAY_S;
    let story = |late: Option<i64>| {
        book(
            [
                created(),
                deploy(day),
                mark(day + 1, "SOL-USDT", "100"),
                filled(1, day + 2, "buy 1 @ 100"),
                mark(day + 3, "SOL-USDT", "130"),
                mark(day + 4, "SOL-USDT", "90"),
                filled(1, 0, "buy 1 @ 100"),
            ]
            .into_iter()
            .chain(late.map(|at| filled(1, at, "buy 1 @ 80"))),
        )
    };
    let told = |row: Book| (row.position_since_deploy, row.equity.unwrap(), row.equity_highest.unwrap());
    assert_eq!(told(story(None)), (d("2"), d("-20"), d("30")));
    assert_eq!(told(story(Some(day - DAY_S))), (d("2"), d("-10"), d("80")));
    assert_eq!(told(story(Some(day + 5))), (d("3"), d("-10"), d("30")));
}

#[test]
fn everybodys_volume_counts_on_its_day_alone() {
    let volume = |seconds, amount: &str| -> Event {
        let (day, amount) = (at(seconds).midnight(), Amount(d(amount)));
        MarketEvent::VolumeObserved { venue: venue(), day, amount, at: at(seconds) }.into()
    };
    let row = book([filled(1, 1, "buy 1 @ 100"), volume(2, "40"), volume(3, "50")]);
    assert_eq!((row.market_amount, row.market_amount_at), (Some(d("50")), Some(at(3))));
    assert_eq!(book([volume(2, "40"), filled(1, 70, "buy 1 @ 100")]).market_amount, None);
}

#[test]
fn a_bot_that_was_asked_for_and_has_not_traded_has_its_row() {
    let row = book([created(), deploy(1)]);
    assert_eq!((row.wanted, row.fills, row.equity, row.pair), (true, 0, Some(d("0")), venue().pair));
}

/// A fill or a mark of two bots within five days around a midnight, in any order.
fn any_event() -> impl Strategy<Value = Event> {
    let seconds = prop_oneof![4 => -40_000..40_000_i64, 1 => -3 * DAY_S..3 * DAY_S];
    (0..12_u8, seconds, 1..3_u128, 90..110_i64, 1..9_i64).prop_map(|(kind, seconds, of, price, amount)| match kind {
        0 => mark(seconds, "SOL-USDT", &price.to_string()),
        1 => mark(seconds, "KCS-USDT", &amount.to_string()),
        2 => deploy(seconds),
        3..=6 => filled(of, seconds, &format!("sell {amount} @ {price} fee 0.01 SOL")),
        7 => filled(of, seconds, &format!("buy {amount} @ {price} fee ?")),
        _ => filled(of, seconds, &format!("buy {amount} @ {price} fee 0.1 KCS, 0.2 USDT")),
    })
}

/// Some of the fills are corrected or voided at the end.
fn with_second_thoughts(events: Vec<Event>, thoughts: &[(usize, bool)]) -> Vec<Event> {
    let mut all = events.clone();
    let mut mended = std::collections::BTreeSet::new();
    for (n, is_void) in thoughts {
        let Some(Event::Ledger(LedgerEvent::FillRecorded(was))) = events.get(n % events.len().max(1)) else { continue };
        let seq = (n % events.len()) as u64 + 1;
        if mended.insert(seq) {
            let (was, reason) = (Box::new(was.clone()), String::new());
            let fill = Box::new(Fill { price: Price(d("101")), side: Side::Sell, ..(*was).clone() });
            let event = match is_void {
                true => LedgerEvent::FillVoided { voids: seq, was, reason },
                false => LedgerEvent::FillCorrected { corrects: seq, was, fill, reason },
            };
            all.push(event.into());
        }
    }
    all
}

proptest! {
    #[test]
    fn however_events_are_batched_and_whoever_takes_over_the_counters_are_the_same(
        events in proptest::collection::vec(any_event(), 1..60),
        thoughts in proptest::collection::vec((any::<usize>(), any::<bool>()), 0..6),
        batch in 1..20_usize,
        fresh in 1..5_usize,
    ) {
        let events = numbered(with_second_thoughts(events, &thoughts));
        let mut at_once = folded(&events, events.len(), usize::MAX);
        let mut in_pieces = folded(&events, batch, fresh);
        prop_assert_eq!(at_once.rows().unwrap(), in_pieces.rows().unwrap());
        prop_assert_eq!(at_once.past.kept(), in_pieces.past.kept());
    }

    /// What is told within two days counts where it happened, in whatever order it is told.
    #[test]
    fn in_whatever_order_two_days_are_told_the_counters_are_the_same(
        events in Just(()).prop_flat_map(|()| proptest::collection::vec(any_event(), 1..40)),
        order in any::<u64>(),
    ) {
        let of_two_days = |event: &Event| (at(-40_000)..at(40_000)).contains(&event.at());
        let told: Vec<Recorded> =
            numbered([created()].into_iter().chain(events.into_iter().filter(of_two_days)));
        // A fact's number is part of its place, so they keep it; what is wanted of a bot is told in order.
        let mut shuffled: Vec<Recorded> =
            told.iter().filter(|event| !matches!(event.event, Event::Bot(_))).cloned().collect();
        shuffled.sort_by_key(|event| event.seq.wrapping_mul(order | 1).rotate_left(17));
        let bots = told.iter().filter(|event| matches!(event.event, Event::Bot(_))).cloned();
        let shuffled: Vec<Recorded> = bots.chain(shuffled).collect();
        let rows = |events: &[Recorded]| -> Vec<Book> {
            let rows = folded(events, 7, usize::MAX).rows().unwrap();
            rows.into_values().map(|row| Book { seq: 0, ..row }).collect()
        };
        prop_assert_eq!(rows(&told), rows(&shuffled));
    }

    /// Position and money are plain sums, so nothing of them is lost however late it comes.
    #[test]
    fn position_is_the_sum_of_all_fills(events in proptest::collection::vec(any_event(), 1..60)) {
        let mut sums: BTreeMap<BotId, Decimal> = BTreeMap::new();
        for event in &events {
            if let Event::Ledger(LedgerEvent::FillRecorded(fill)) = event {
                let delta = crate::pnl::delta(&crate::pnl::entry::Trade::of(fill)).unwrap();
                let sum = sums.entry(fill.bot).or_default();
                *sum = sum.plus(delta).unwrap();
            }
        }
        let events = numbered(events);
        let rows = folded(&events, 5, 2).rows().unwrap();
        let found: BTreeMap<BotId, Decimal> = rows.into_values().map(|row| (row.bot_id, row.position)).collect();
        prop_assert_eq!(found, sums);
    }
}
