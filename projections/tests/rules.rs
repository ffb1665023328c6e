//! The P&L rules R1 to R14, each told as a small story whose figures were worked out by hand.

use std::collections::BTreeMap;

use events::{
    AggregateRef, BotId, ClientId, Decimal, Event, EventId, Exchange, Market, Price, Recorded, Time, Uuid,
    bot::{BotConfig, BotEvent},
    client::ClientEvent,
    ledger::{BookKey, Fee, FeeKind, Fill, LedgerEvent, Liquidity, Side},
    market::MarketEvent,
};
use projections::pnl::{Group, Recomputed, Report};

/// 2025-02-18 23:59:00 UTC: one minute before midnight.
const START_MS: i64 = 1_739_923_140_000;

/// Facts in the order in which they arrive.
#[derive(Default)]
struct Story {
    events: Vec<Recorded>,
}

fn at(seconds: &str) -> Time {
    let ms = d(seconds).times(Decimal::from_int(1_000)).unwrap().to_string().parse::<i64>().unwrap();
    Time::from_millis(START_MS + ms).unwrap()
}

fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn book(bot: u128, market: Market) -> BookKey {
    let pair = "SOL-USDT".parse().unwrap();
    BookKey { bot: BotId(Uuid::from_u128(bot)), exchange: Exchange::Kucoin, market, pair }
}

impl Story {
    fn event(mut self, aggregate: AggregateRef, event: impl Into<Event>) -> Self {
        let event = event.into();
        let seq = self.events.len() as u64 + 1;
        let occurred_at = event.at();
        self.events.push(Recorded {
            client: ClientId::DESK,
            seq,
            aggregate,
            aggregate_seq: seq,
            id: EventId(Uuid::from_u128(u128::from(seq))),
            event,
            occurred_at,
            recorded_at: Time::END,
            actor: None,
        });
        self
    }

    fn begin() -> Self {
        let onboarded = ClientEvent::ClientOnboarded {
            slug: "acme".parse().unwrap(),
            name: "Acme".into(),
            reporting_currency: "USDT".parse().unwrap(),
            at: Time::EPOCH,
        };
        let created = |name: &str| BotEvent::BotCreated {
            name: name.parse().unwrap(),
            config: BotConfig::default(),
            at: Time::EPOCH,
        };
        Self::default()
            .event(AggregateRef::new("client", ClientId::DESK), onboarded)
            .event(AggregateRef::new("bot", Uuid::from_u128(1)), created("one"))
            .event(AggregateRef::new("bot", Uuid::from_u128(2)), created("two"))
    }

    fn ledger(self, event: LedgerEvent) -> Self {
        self.event(AggregateRef::ledger(ClientId::DESK), event)
    }

    /// `23.5 buy 2 @ 170 fee 0.1 USDT, 0.02 KCS taker mid 171 bot 2 perp`: the first number is seconds after the start.
    fn fill(self, text: &str) -> Self {
        let fill = fill(text);
        self.ledger(LedgerEvent::FillRecorded(fill))
    }

    fn rate(self, seconds: &str, pair: &str, price: &str) -> Self {
        let (pair, price): (events::Pair, _) = (pair.parse().unwrap(), Price(d(price)));
        let event = MarketEvent::MarkObserved { pair: pair.clone(), price, source: "test".into(), at: at(seconds) };
        self.event(AggregateRef::new("market", pair), event)
    }

    fn report(&self, seconds: &str) -> Report {
        let mut recomputed = Recomputed::default();
        self.events.iter().for_each(|event| recomputed.read(event));
        recomputed.report(at(seconds)).unwrap()
    }

    /// The figures of bot one's only book.
    fn figures(&self, seconds: &str) -> Group {
        let report = self.report(seconds);
        report.groups.into_iter().find(|group| group.bot.as_str() == "one").expect("bot one has a book")
    }
}

fn fill(text: &str) -> Fill {
    let words: Vec<&str> = text.split_whitespace().collect();
    let after = |word: &str| words.iter().position(|w| *w == word).map(|at| words[at + 1]);
    let market = if words.contains(&"perp") { Market::Perp } else { Market::Spot };
    let BookKey { bot, exchange, market, pair } = book(after("bot").map_or(1, |bot| bot.parse().unwrap()), market);
    Fill {
        bot,
        account: "acme".parse().unwrap(),
        exchange,
        market,
        pair: after("pair").map_or(pair, |pair| pair.parse().unwrap()),
        side: if words[1] == "buy" { Side::Buy } else { Side::Sell },
        amount: events::Amount(d(words[2])),
        price: Price(d(words[4])),
        fees: if words.contains(&"unknown-fee") { None } else { Some(fees(text)) },
        liquidity: if words.contains(&"taker") { Liquidity::Taker } else { Liquidity::Maker },
        order: Some("o1".parse().unwrap()),
        trade: format!("t{}", text.replace(' ', "_")).parse().unwrap(),
        at: at(words[0]),
        mid_at_fill: after("mid").map(|mid| Price(d(mid))),
        source: "test".into(),
        precision: None,
        raw_hash: None,
    }
}

fn fees(text: &str) -> Vec<Fee> {
    let Some((_, told)) = text.split_once(" fee ") else { return Vec::new() };
    told.split(", ")
        .map(|fee| {
            let words: Vec<&str> = fee.split_whitespace().collect();
            Fee { amount: d(words[0]), asset: words[1].parse().unwrap(), kind: FeeKind::Fee }
        })
        .collect()
}

fn some(text: &str) -> Option<Decimal> {
    Some(d(text))
}

#[test]
fn r2_a_late_fill_counts_where_it_happened_and_not_where_it_arrived() {
    let late = Story::begin().fill("1 buy 1 @ 160").fill("5 sell 1 @ 175").fill("3 buy 1 @ 180").figures("60");
    assert_eq!((late.realized_gross, late.avg_cost), (d("5"), some("170")));
    let fifo = late.alternatives.fifo.realized_gross;
    assert_eq!((fifo, late.alternatives.lifo.realized_gross), (d("15"), d("-5")));
}

#[test]
fn r2_of_one_moment_the_stream_keeps_its_order() {
    let story = Story::begin().fill("1 buy 1 @ 100").fill("1 buy 1 @ 200").fill("1 sell 1 @ 300").figures("60");
    assert_eq!(story.alternatives.fifo.realized_gross, d("200"));
    let other = Story::begin().fill("1 buy 1 @ 200").fill("1 buy 1 @ 100").fill("1 sell 1 @ 300").figures("60");
    assert_eq!(other.alternatives.fifo.realized_gross, d("100"));
}

#[test]
fn r3_bots_markets_and_pairs_never_net_with_each_other() {
    let story = Story::begin()
        .fill("1 buy 1 @ 100")
        .fill("2 sell 1 @ 150 bot 2")
        .fill("3 sell 1 @ 150 perp")
        .fill("4 sell 1 @ 150 pair SOL-USDC");
    let positions: Vec<Decimal> = story.report("60").groups.iter().map(|group| group.position).collect();
    // By bot, market and pair: one's SOL-USDC, SOL-USDT and perpetual, and two's SOL-USDT.
    assert_eq!(positions, [d("-1"), d("1"), d("-1"), d("-1")]);
}

#[test]
fn r4_a_base_fee_leaves_with_the_base_on_spot_and_is_only_an_expense_on_perp() {
    let spot = Story::begin().fill("1 buy 10 @ 170 fee 0.01 SOL").figures("60");
    assert_eq!((spot.position, spot.fees_quote, spot.volume_base), (d("9.99"), d("1.7"), d("10")));
    let perp = Story::begin().fill("1 buy 10 @ 170 perp fee 0.01 SOL").figures("60");
    assert_eq!((perp.position, perp.fees_quote), (d("10"), d("1.7")));
}

#[test]
fn r5_reducing_keeps_the_average_crossing_opens_at_the_fill_price_and_flat_has_none() {
    let story = Story::begin().fill("1 sell 4 @ 171.5").fill("2 buy 6.5 @ 168.25").fill("3 sell 1 @ 170");
    let crossed = story.figures("60");
    assert_eq!((crossed.position, crossed.avg_cost, crossed.realized_gross), (d("1.5"), some("168.25"), d("14.75")));
    let flat = story.fill("4 sell 1.5 @ 170").figures("60");
    assert_eq!((flat.position, flat.avg_cost, flat.realized_gross), (d("0"), None, d("17.375")));
}

#[test]
fn r5_thirds_leave_nothing_behind_when_the_position_is_closed() {
    let story =
        Story::begin().fill("1 buy 3 @ 0.1").fill("2 buy 4 @ 0.2").fill("3 sell 1 @ 0.3").fill("4 sell 6 @ 0.3");
    let closed = story.figures("60");
    // Bought for 1.1, sold for 2.1.
    assert_eq!((closed.position, closed.realized_gross), (d("0"), d("1")));
    assert_eq!(closed.alternatives.fifo.cost, d("0"));
    // A cost finer than a quotient is released whole, too.
    let fine = Story::begin()
        .fill("1 buy 0.00000000000000000003 @ 0.000000000000000000000007")
        .fill("2 sell 0.00000000000000000003 @ 0.000000000000000000000008");
    assert_eq!(fine.figures("60").realized_gross, d("3e-44"));
}

#[test]
fn r6_a_fee_is_worth_what_it_was_when_it_was_charged() {
    let direct = Story::begin().rate("0", "KCS-USDT", "11.2").fill("1 buy 3 @ 169 fee 0.02 KCS");
    assert_eq!(direct.rate("2", "KCS-USDT", "99").figures("60").fees_quote, d("0.224"));
    let inverse = Story::begin().rate("0", "USDT-BTC", "0.00002").fill("1 buy 3 @ 169 fee 0.001 BTC").figures("60");
    assert_eq!(inverse.fees_quote, d("50"));
    let legs = Story::begin().rate("0", "BNB-USDT", "600").rate("0", "ETH-USDT", "3000");
    let legs = legs.fill("1 buy 1 @ 0.06 pair SOL-ETH fee 0.01 BNB").figures("60");
    assert_eq!(legs.fees_quote, d("0.002"));
    let at_once = Story::begin().fill("1 buy 3 @ 169 fee 0.02 KCS").rate("1", "KCS-USDT", "11.2").figures("60");
    assert_eq!(at_once.fees_quote, d("0.224"), "a rate of the same moment counts, whichever arrived first");
}

#[test]
fn r6_a_fee_without_a_rate_is_set_aside_until_an_earlier_rate_arrives_late() {
    let story = Story::begin().fill("10 buy 1 @ 170 fee 7 XYZ").rate("11", "XYZ-USDT", "2");
    let unknown = story.figures("60");
    assert_eq!((unknown.fees_quote, unknown.complete), (d("0"), false));
    assert_eq!(unknown.unconverted_fees, BTreeMap::from([("XYZ".parse().unwrap(), d("7"))]));
    let known = story.rate("9", "XYZ-USDT", "3").rate("9", "SOL-USDT", "170").figures("60");
    assert_eq!((known.fees_quote, known.complete), (d("21"), true));
}

#[test]
fn r6_a_supplied_rate_values_fees_that_no_observed_one_can_and_is_never_a_mark() {
    let supplied = |pair: &str, price: &str| LedgerEvent::FeeRateSupplied {
        pair: pair.parse().unwrap(),
        price: Price(d(price)),
        reason: "told by the exchange".into(),
        at: at("0"),
    };
    let story = Story::begin().fill("1 buy 1 @ 170 fee 7 XYZ, 1 KCS").rate("1", "KCS-USDT", "11");
    let figures = story
        .ledger(supplied("XYZ-USDT", "2"))
        .ledger(supplied("KCS-USDT", "99"))
        .ledger(supplied("SOL-USDT", "1"))
        .figures("60");
    assert_eq!((figures.fees_quote, figures.mark), (d("25"), None));
}

#[test]
fn r6_an_unknown_fee_is_not_a_zero_fee() {
    let story = Story::begin().rate("0", "SOL-USDT", "170").fill("1 buy 1 @ 170 unknown-fee").figures("60");
    assert_eq!((story.complete, story.unknown_fees), (false, 1));
    assert!(Story::begin().rate("0", "SOL-USDT", "170").fill("1 buy 1 @ 170").figures("60").complete);
}

#[test]
fn r7_realised_net_is_gross_less_fees_and_with_funding() {
    let funding = |amount: &str, asset: &str, seconds: &str| LedgerEvent::FundingPaid {
        book: book(1, Market::Perp),
        amount: d(amount),
        asset: asset.parse().unwrap(),
        funding: format!("f{seconds}").parse().unwrap(),
        at: at(seconds),
    };
    let story = Story::begin()
        .rate("0", "KCS-USDT", "10")
        .fill("1 buy 2 @ 170 perp fee 0.5 USDT, -0.01 KCS")
        .ledger(funding("-0.0425", "USDT", "2"))
        .ledger(funding("0.001", "KCS", "3"))
        .fill("4 sell 1 @ 171 perp")
        .figures("60");
    assert_eq!((story.fees_quote, story.funding, story.realized_net), (d("0.4"), d("-0.0325"), d("0.5675")));
}

#[test]
fn r8_without_a_mark_a_position_has_no_unrealised_and_a_flat_book_has_zero() {
    let story = Story::begin().fill("1 buy 1 @ 170");
    let unknown = story.figures("60");
    assert_eq!((unknown.unrealized, unknown.total_net, unknown.inventory_pnl), (None, None, None));
    assert!(!unknown.complete);
    let flat = story.fill("2 sell 1 @ 171").figures("60");
    assert_eq!((flat.unrealized, flat.total_net, flat.complete), (some("0"), some("1"), true));
    let marked =
        Story::begin().fill("1 buy 2 @ 170").rate("59.999", "SOL-USDT", "171.2").rate("60.001", "SOL-USDT", "1");
    assert_eq!(marked.figures("60").unrealized, some("2.4"));
}

#[test]
fn r9_realised_and_unrealised_add_up_to_the_money_that_moved_whatever_the_method() {
    let story = Story::begin()
        .rate("0", "SOL-USDT", "169.9")
        .fill("1 buy 3 @ 171.3 fee 0.003 SOL")
        .fill("2 sell 4 @ 170.7")
        .fill("3 buy 1.7 @ 169.1")
        .fill("4 buy 2 @ 168.3");
    let figures = story.figures("60");
    // Deltas 2.997, -4, 1.7, 2 at their prices, and the position of 2.697 at the mark.
    let moved = d("-513.3861").plus(d("682.8")).unwrap().minus(d("287.47")).unwrap().minus(d("336.6")).unwrap();
    let whole = moved.plus(d("2.697").times(d("169.9")).unwrap()).unwrap();
    let of = |realized: Decimal, unrealized: Option<Decimal>| realized.plus(unrealized.unwrap()).unwrap();
    assert_eq!(of(figures.realized_gross, figures.unrealized), whole);
    let lots = &figures.alternatives;
    assert_eq!(of(lots.fifo.realized_gross, lots.fifo.unrealized), whole);
    assert_eq!(of(lots.lifo.realized_gross, lots.lifo.unrealized), whole);
}

#[test]
fn r10_midnight_belongs_to_the_new_day_and_no_day_is_left_out() {
    let story = Story::begin()
        .rate("0", "SOL-USDT", "170")
        .fill("59.999 buy 1 @ 169 fee 0.5 USDT")
        .fill("60 sell 1 @ 171")
        .rate("60", "SOL-USDT", "999");
    let three_days = "172860";
    let days = story.figures(three_days).daily;
    let told: Vec<_> = days
        .iter()
        .map(|day| {
            let pnl = day.pnl.map(|pnl| pnl.to_string());
            (day.date.to_string(), day.realized.to_string(), day.position.to_string(), pnl.unwrap_or_default())
        })
        .collect();
    let day = |date: &str, realized: &str, position: &str, pnl: &str| {
        (date.to_owned(), realized.to_owned(), position.to_owned(), pnl.to_owned())
    };
    assert_eq!(
        told,
        [
            day("2025-02-18", "0", "1", "0.5"),
            day("2025-02-19", "2", "0", "1"),
            day("2025-02-20", "0", "0", "0"),
            day("2025-02-21", "0", "0", "0"),
        ]
    );
    assert_eq!((days[0].fees_quote, days[0].volume_quote, days[0].unrealized_eod), (d("0.5"), d("169"), some("1")));
}

#[test]
fn r10_a_day_that_ends_without_a_mark_has_no_total_and_neither_has_the_next_days_pnl() {
    let days = Story::begin().fill("1 buy 1 @ 170").rate("61", "SOL-USDT", "171").figures("70").daily;
    assert_eq!((days[0].cum_total_net, days[0].pnl), (None, None));
    assert_eq!((days[1].cum_total_net, days[1].pnl), (some("1"), None));
}

#[test]
fn r11_totals_are_sums_of_the_books_at_the_rates_of_as_of() {
    let story = Story::begin()
        .rate("0", "SOL-USDT", "171")
        .rate("0", "SOL-ETH", "0.06")
        .rate("0", "ETH-USDT", "3000")
        .rate("30", "ETH-USDT", "2000")
        .fill("1 buy 1 @ 170 fee 0.1 USDT")
        .fill("2 buy 1 @ 0.05 pair SOL-ETH bot 2 fee 0.001 ETH");
    let report = story.report("60");
    let totals = &report.clients[&"acme".parse().unwrap()];
    // 1 - 0.1 in USDT, 0.01 - 0.001 in ETH at 2000.
    assert_eq!((totals.total_usdt, totals.volume_usdt), (some("18.9"), some("270")));
    assert_eq!((totals.fills, totals.complete), (2, true));
    let usdc = story.fill("3 buy 1 @ 170 pair SOL-USDC").fill("4 sell 1 @ 171 pair SOL-USDC").report("60");
    assert!(usdc.groups.iter().all(|group| group.complete));
    let totals = &usdc.clients[&"acme".parse().unwrap()];
    let unknown = (totals.total_usdt, totals.volume_usdt, totals.complete);
    assert_eq!(unknown, (None, None, false), "USDC is not USDT");
}

#[test]
fn r12_transfers_are_no_profit_and_are_valued_when_they_happened() {
    let transfer = |asset: &str, amount: &str, seconds: &str| LedgerEvent::TransferRecorded {
        exchange: Exchange::Kucoin,
        account: "acme".parse().unwrap(),
        asset: asset.parse().unwrap(),
        amount: d(amount),
        transfer: format!("x{seconds}").parse().unwrap(),
        at: at(seconds),
    };
    let story = Story::begin()
        .rate("0", "SOL-USDT", "170")
        .ledger(transfer("USDT", "5000", "1"))
        .ledger(transfer("SOL", "-2", "2"))
        .rate("3", "SOL-USDT", "999");
    let report = story.report("60");
    assert_eq!(report.net_flows_usdt[&"acme".parse().unwrap()], some("4660"));
    assert!(report.groups.is_empty());
    let unknown = story.ledger(transfer("XYZ", "1", "4")).report("60");
    assert_eq!(unknown.net_flows_usdt[&"acme".parse().unwrap()], None);
}

#[test]
fn r13_spread_capture_takes_the_fills_own_mid_before_the_rate_and_one_missing_mid_takes_it_all() {
    let story = Story::begin().rate("0", "SOL-USDT", "170").fill("1 buy 2 @ 169 mid 169.5").fill("2 sell 1 @ 171");
    let figures = story.figures("60");
    // 2 x 0.5 + (-1) x (170 - 171); realised 2, unrealised 1.
    assert_eq!((figures.spread_capture, figures.inventory_pnl), (some("2"), some("1")));
    let none = Story::begin().fill("1 buy 2 @ 169").rate("2", "SOL-USDT", "170").figures("60");
    assert_eq!((none.spread_capture, none.inventory_pnl), (None, None));
}

#[test]
fn r14_the_drawdown_is_looked_at_on_whole_minutes_and_once_more_at_as_of() {
    let story = Story::begin()
        .fill("1 buy 1 @ 100")
        .rate("2", "SOL-USDT", "110")
        .rate("59", "SOL-USDT", "50") // gone again at the minute
        .rate("60", "SOL-USDT", "104")
        .rate("119", "SOL-USDT", "120")
        .rate("121", "SOL-USDT", "90");
    assert_eq!(story.figures("60").max_drawdown_1m, some("0"));
    assert_eq!(story.figures("130").max_drawdown_1m, some("30"));
    assert_eq!(story.figures("59").max_drawdown_1m, some("50"), "as of is looked at, too, from a peak of zero");
    assert_eq!(Story::begin().fill("1 buy 1 @ 100").figures("61").max_drawdown_1m, None);
    let on_the_minute =
        Story::begin().fill("60 buy 1 @ 100").rate("60", "SOL-USDT", "90").rate("61", "SOL-USDT", "120");
    assert_eq!(on_the_minute.figures("70").max_drawdown_1m, some("0"), "the first look comes after the first fill");
    assert_eq!(on_the_minute.rate("119", "SOL-USDT", "80").figures("130").max_drawdown_1m, some("20"));
}

#[test]
fn r14_ratios_and_time_weights() {
    let story = Story::begin().fill("10 buy 3 @ 100").fill("20 sell 4 @ 100 taker").fill("40 buy 1 @ 100");
    let figures = story.figures("50");
    assert_eq!(figures.maker_ratio, some("0.5"));
    // 3 for 10 s, -1 for 20 s, 0 for 10 s.
    assert_eq!((figures.tw_inventory, figures.tw_abs_inventory), (some("0.25"), some("1.25")));
    assert_eq!(Story::begin().fill("10 buy 1 @ 1").figures("10").tw_inventory, None);
}

#[test]
fn the_four_methods_differ_and_each_is_named() {
    let story = Story::begin().fill("1 buy 1 @ 160").fill("2 buy 3 @ 180").fill("3 sell 2 @ 175").figures("60");
    assert_eq!(story.realized_gross, d("0"));
    assert_eq!(story.alternatives.fifo.realized_gross, d("10"));
    assert_eq!(story.alternatives.lifo.realized_gross, d("-10"));
    assert_eq!(story.alternatives.matched_average.realized_gross, d("0"));
    let net = Story::begin().fill("1 buy 2 @ 100 fee 1 SOL").fill("2 sell 1 @ 110").figures("60");
    assert_eq!(net.alternatives.matched_average.realized_gross, d("10"), "over net deltas");
}

#[test]
fn a_corrected_fill_takes_the_others_place_and_a_voided_one_leaves_it_empty() {
    let story = Story::begin().fill("1 buy 1 @ 100").fill("2 buy 1 @ 200").fill("3 sell 1 @ 300");
    let was = fill("1 buy 1 @ 100");
    let right = Fill { price: Price(d("150")), ..was.clone() };
    let corrected =
        LedgerEvent::FillCorrected { corrects: 4, was: was.into(), fill: right.clone().into(), reason: "exact".into() };
    let story = story.ledger(corrected);
    assert_eq!(story.figures("60").alternatives.fifo.realized_gross, d("150"));
    let voided = story.ledger(LedgerEvent::FillVoided { voids: 4, was: right.into(), reason: "never happened".into() });
    let figures = voided.figures("60");
    assert_eq!((figures.fills, figures.alternatives.fifo.realized_gross), (2, d("100")));
}

#[test]
fn an_opening_position_is_held_at_its_cost_and_is_no_volume() {
    let opening =
        LedgerEvent::OpeningPosition { book: book(1, Market::Spot), position: d("2"), cost: d("300"), at: at("0") };
    let figures = Story::begin().ledger(opening).fill("10 sell 1 @ 170").rate("0", "SOL-USDT", "160").figures("20");
    assert_eq!((figures.position, figures.avg_cost, figures.realized_gross), (d("1"), some("150"), d("20")));
    assert_eq!((figures.fills, figures.volume_base, figures.tw_inventory), (1, d("1"), some("1.5")));
    let late = Story::begin().fill("0 sell 1 @ 170").ledger(LedgerEvent::OpeningPosition {
        book: book(1, Market::Spot),
        position: d("2"),
        cost: d("300"),
        at: at("0"),
    });
    assert_eq!(late.figures("20").realized_gross, d("20"), "it was held before the fill of the same moment");
}
