use events::{
    AggregateRef, Amount, Decimal, Exchange, Market, Pair, Price,
    ledger::{Fee, FeeKind, Liquidity, Precision, Side},
};

use super::*;
use crate::told::{Told, at};

fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn started(second: i64) -> BotEvent {
    BotEvent::BotDeployStarted { name: "b-1".into(), at: at(second) }
}

fn deployed(second: i64) -> BotEvent {
    BotEvent::BotDeployed { instance: "b-1-20250218-235900".into(), at: at(second) }
}

fn mark(price: &str) -> Event {
    let (pair, price) = ("SOL-USDT".parse().unwrap(), Price(d(price)));
    MarketEvent::MarkObserved { pair, price, source: "test".into(), at: at(0) }.into()
}

fn fill(second: i64, side: Side, amount: &str, price: &str, fees: &[(&str, &str)]) -> Fill {
    Fill {
        bot: Told::default().bot,
        account: "acme".parse().unwrap(),
        exchange: Exchange::Kucoin,
        market: Market::Spot,
        pair: "SOL-USDT".parse().unwrap(),
        side,
        price: Price(d(price)),
        amount: Amount(d(amount)),
        fees: Some(
            fees.iter()
                .map(|(amount, asset)| Fee { asset: asset.parse().unwrap(), amount: d(amount), kind: FeeKind::Fee })
                .collect(),
        ),
        liquidity: Liquidity::Maker,
        order: Some("o1".parse().unwrap()),
        trade: format!("t{second}").parse().unwrap(),
        at: at(second),
        mid_at_fill: None,
        source: "test".into(),
        precision: None,
        raw_hash: None,
    }
}

fn recorded(fill: Fill) -> Event {
    LedgerEvent::FillRecorded(fill).into()
}

fn figures(volume: &str, realized: &str, unrealized: &str, held_fees: &str, fills: u64) -> Figures {
    Figures {
        volume_quote: Some(d(volume)),
        realized_pnl_quote: Some(d(realized)),
        unrealized_pnl_quote: Some(d(unrealized)),
        fees_quote: None,
        held_fees_quote: Some(d(held_fees)),
        fills: Some(fills),
        fills_until: Some(at(90)),
    }
}

fn reported(figures: Figures) -> Event {
    let (instance, source) = ("b-1-20250218-235900".into(), "mqtt".into());
    BotEvent::BotFiguresReported { instance, figures, source, at: at(100) }.into()
}

/// What stands of the bot's newest deployment after these events, told after a deploy at second 0.
fn check(given: Vec<Event>) -> Reconciled {
    let (mut told, mut model) = (Told::default(), empty());
    let before = [started(0).into(), deployed(1).into()];
    for event in before.into_iter().chain(given) {
        let event = match event {
            event @ Event::Bot(_) => told.bot(event),
            event @ (Event::Ledger(_)
            | Event::Market(_)
            | Event::Client(_)
            | Event::Order(_)
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
            | Event::Manual(_)
            | Event::Desk(_)) => told.of(AggregateRef::new("any", 1), event),
        };
        model.fold(&event).unwrap();
    }
    model.open.remove(&told.bot).unwrap().pop().unwrap().reconciled().unwrap()
}

fn empty() -> Reconciliations {
    let (open, changed) = (BTreeMap::new(), BTreeSet::new());
    Reconciliations { marks: Rates::default(), open, changed, marks_changed: false, balances: Balances::default() }
}

/// Difference and what is left of it, of one figure.
fn of(reconciled: &Reconciled, figure: What) -> (Option<Decimal>, Option<Decimal>) {
    let of = reconciled.differences.iter().find(|difference| difference.figure == figure).unwrap();
    (of.difference, of.unexplained)
}

fn causes(reconciled: &Reconciled, figure: What) -> Vec<Cause> {
    let of = reconciled.differences.iter().find(|difference| difference.figure == figure).unwrap();
    of.because.iter().map(|because| because.cause).collect()
}

#[test]
fn equal_figures_leave_nothing_and_what_the_method_makes_is_told_exactly() {
    // Bought 2 at 100 and sold 1 at 110, 0.1 % in the quote asset; the mark is 105.
    let bought = fill(10, Side::Buy, "2", "100", &[("0.2", "USDT")]);
    let sold = fill(20, Side::Sell, "1", "110", &[("0.11", "USDT")]);
    // Ours: 10 realised, 5 unrealised, 0.31 fees. Hummingbot's held position of 1 leaves its 0.1 of fees out.
    let told = reported(figures("310", "9.79", "5", "0.1", 2));
    let reconciled = check(vec![mark("105"), recorded(bought), recorded(sold), told]);
    assert_eq!(of(&reconciled, What::Fills), (Some(d("0")), Some(d("0"))));
    assert_eq!(of(&reconciled, What::VolumeQuote), (Some(d("0")), Some(d("0"))));
    assert_eq!(of(&reconciled, What::PnlQuote), (Some(d("0.1")), Some(d("0"))));
    assert!(causes(&reconciled, What::PnlQuote).contains(&Cause::Method));
    assert!(!reconciled.has_unexplained);
}

#[test]
fn a_fee_in_the_base_asset_differs_by_what_the_asset_moved_since() {
    // 0.1 of the base was charged at 100, and is worth 10.5 at the mark: 0.5 more than Hummingbot takes off.
    let bought = fill(10, Side::Buy, "100", "100", &[("0.1", "SOL")]);
    // Amount x (mark - price) - fee at its price: 500 - 10.
    let told = reported(figures("10000", "0", "490", "0", 1));
    let reconciled = check(vec![mark("105"), recorded(bought), told]);
    assert_eq!(of(&reconciled, What::PnlQuote), (Some(d("0.5")), Some(d("0"))));
}

#[test]
fn what_no_cause_explains_is_told_with_its_amount_and_its_sign() {
    let bought = || recorded(fill(10, Side::Buy, "2", "100", &[]));
    let reconciled = check(vec![mark("100"), bought(), reported(figures("250", "0", "-7", "0", 1))]);
    let (difference, left) = of(&reconciled, What::VolumeQuote);
    assert_eq!((difference, left), (Some(d("50")), Some(d("49.9999998"))));
    // The position is worth 200: two marks of it can lie a thousandth apart.
    assert_eq!(of(&reconciled, What::PnlQuote), (Some(d("-7")), Some(d("-6.7999998"))));
    assert!(reconciled.has_unexplained);
}

#[test]
fn provisional_prices_explain_so_much_and_no_more() {
    let rounded =
        |amount| Fill { precision: Some(Precision::SixPlaces), ..fill(10, Side::Buy, amount, "0.000007", &[]) };
    let of_volume = |volume: &str| {
        let told = reported(figures(volume, "0", "0", "0", 1));
        check(vec![mark("0.000007"), recorded(rounded("1000000")), told])
    };
    assert_eq!(of(&of_volume("7.18"), What::VolumeQuote), (Some(d("0.18")), Some(d("0"))));
    assert!(!of(&of_volume("9"), What::VolumeQuote).1.unwrap().is_zero());
    assert!(causes(&of_volume("7.18"), What::VolumeQuote).contains(&Cause::ProvisionalPrices));
    // Once the exact price is known nothing is left to explain.
    let was = Box::new(rounded("1000000"));
    let exact = Box::new(fill(10, Side::Buy, "1000000", "0.00000718", &[]));
    let corrected = LedgerEvent::FillCorrected { corrects: 4, was, fill: exact, reason: "exact".into() };
    let told = reported(figures("7.18", "0", "0", "0", 1));
    let known = check(vec![mark("0.000007"), recorded(rounded("1000000")), told, corrected.into()]);
    assert_eq!(of(&known, What::VolumeQuote), (Some(d("0")), Some(d("0"))));
    assert!(!causes(&known, What::VolumeQuote).contains(&Cause::ProvisionalPrices));
}

#[test]
fn an_open_gap_leaves_a_difference_undecided_until_it_is_healed() {
    let gap = || Event::from(BotEvent::BotGapOpened { since: at(30), reason: "away".into(), at: at(40) });
    let healed = || Event::from(BotEvent::BotGapHealed { since: at(30), until: at(110), fills: 1, at: at(111) });
    let first = || recorded(fill(10, Side::Buy, "1", "100", &[]));
    let told = || reported(figures("200", "0", "0", "0", 2));
    let open = check(vec![mark("100"), first(), gap(), told()]);
    assert_eq!(of(&open, What::Fills), (Some(d("1")), None));
    assert_eq!(causes(&open, What::Fills), [Cause::FillsMissing]);
    // The lost fill comes after the figures and belongs before them.
    let late = recorded(fill(50, Side::Buy, "1", "100", &[]));
    let healed = check(vec![mark("100"), first(), gap(), told(), late, healed()]);
    assert_eq!(of(&healed, What::Fills), (Some(d("0")), Some(d("0"))));
    assert_eq!(of(&healed, What::VolumeQuote), (Some(d("0")), Some(d("0"))));
    assert!(!healed.gap_open);
}

#[test]
fn a_voided_fill_is_one_that_hummingbot_does_not_know_of() {
    let first = fill(10, Side::Buy, "1", "100", &[]);
    let voided = LedgerEvent::FillVoided { voids: 4, was: Box::new(first.clone()), reason: "busted".into() };
    let told = reported(figures("100", "0", "0", "0", 1));
    let reconciled = check(vec![mark("100"), recorded(first), told, voided.into()]);
    assert_eq!(of(&reconciled, What::VolumeQuote), (Some(d("100")), Some(d("0"))));
    assert_eq!(of(&reconciled, What::Fills), (Some(d("1")), Some(d("0"))));
    assert!(causes(&reconciled, What::VolumeQuote).contains(&Cause::CorrectedSince));
    assert_eq!(reconciled.ours.fills, 0);
}

#[test]
fn fees_in_another_asset_are_bounded_by_their_rate_and_by_nothing_without_one() {
    let of_fee = |marks: Vec<Event>| {
        let bought = recorded(fill(10, Side::Buy, "1", "100", &[("0.01", "KCS")]));
        let told = reported(figures("100", "0", "-0.1", "0", 1));
        check(marks.into_iter().chain([bought, told]).collect())
    };
    let kcs: Pair = "KCS-USDT".parse().unwrap();
    let rate = MarketEvent::MarkObserved { pair: kcs, price: Price(d("10")), source: "test".into(), at: at(0) };
    assert_eq!(of(&of_fee(vec![mark("100"), rate.into()]), What::PnlQuote), (Some(d("-0.1")), Some(d("0"))));
    assert!(causes(&of_fee(vec![mark("100")]), What::PnlQuote).contains(&Cause::FeesInAnotherAsset));
    // The marks of the position alone do not reach so far here.
    let far = recorded(fill(10, Side::Buy, "0.1", "100", &[("0.01", "KCS")]));
    let told = reported(figures("10", "0", "-0.1", "0", 1));
    assert_eq!(of(&check(vec![mark("100"), far, told]), What::PnlQuote), (Some(d("-0.1")), None));
}

#[test]
fn before_anything_is_told_nothing_is_compared() {
    let reconciled = check(vec![recorded(fill(10, Side::Buy, "1", "100", &[]))]);
    assert_eq!(of(&reconciled, What::Fills), (None, None));
    assert_eq!(causes(&reconciled, What::VolumeQuote), [Cause::NotReportedYet]);
}

#[test]
fn fills_after_the_count_are_not_held_against_it() {
    let (early, late) = (fill(80, Side::Buy, "1", "100", &[]), fill(95, Side::Sell, "1", "100", &[]));
    let told = reported(figures("200", "0", "0", "0", 1));
    let reconciled = check(vec![recorded(early), recorded(late), told]);
    assert_eq!(of(&reconciled, What::Fills), (Some(d("0")), Some(d("0"))));
    assert_eq!(reconciled.ours.fills, 2);
}

#[test]
fn a_fill_belongs_to_the_deployment_in_which_it_happened_however_late_it_comes() {
    let (mut told, mut model) = (Told::default(), empty());
    let stopped = BotEvent::BotStopped { at: at(50) };
    // The second was asked for twice, because whoever asked first had died.
    for event in [started(0), deployed(1), stopped, started(60), started(65)] {
        model.fold(&told.bot(event)).unwrap();
    }
    for second in [40, 62] {
        let event = recorded(fill(second, Side::Buy, "1", "100", &[]));
        model.fold(&told.of(AggregateRef::new("ledger", 1), event)).unwrap();
    }
    let fills: Vec<i64> = model.open[&told.bot].iter().map(|deployment| deployment.ours.fills).collect();
    assert_eq!(fills, [1, 1]);
}
