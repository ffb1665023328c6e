use events::{Exchange, Market, Uuid};
use proptest::prelude::*;

use super::*;

const AT: Time = Time::EPOCH;

fn check(
    given: impl IntoIterator<Item = ManualOrderEvent>,
    when: ManualCommand,
    then: Result<Vec<ManualOrderEvent>, ManualRefusal>,
) {
    let mut order = ManualOrder::default();
    given.into_iter().for_each(|event| order.remember(event));
    assert_eq!(order.decide(when), then);
}

fn venue() -> Venue {
    Venue { exchange: Exchange::Okx, market: Market::Spot, pair: "SOL-USDT".parse().unwrap() }
}

fn ask(order_type: AskedType, price: Option<&str>, amount: &str) -> ManualCommand {
    ManualCommand::Request {
        bot: BotId(Uuid::from_u128(7)),
        venue: Some(venue()),
        side: Side::Buy,
        order_type,
        price: price.map(|price| Price(price.parse().unwrap())),
        amount: Amount(amount.parse().unwrap()),
        at: AT,
    }
}

fn asked() -> ManualOrderEvent {
    ManualOrderEvent::ManualOrderRequested {
        bot: BotId(Uuid::from_u128(7)),
        venue: venue(),
        side: Side::Buy,
        order_type: RestingType::LimitMaker,
        price: Price("150".parse().unwrap()),
        amount: Amount("2".parse().unwrap()),
        at: AT,
    }
}

fn started() -> ManualOrderEvent {
    ManualOrderEvent::ManualOrderStarted { at: AT }
}

fn submitted() -> ManualOrderEvent {
    ManualOrderEvent::ManualOrderSubmitted { order: "o1".parse().unwrap(), at: AT }
}

fn did(deed: ManualDeed) -> ManualCommand {
    ManualCommand::Did { deed, at: AT }
}

fn took(order: &str) -> ManualCommand {
    did(ManualDeed::Submitted { order: order.parse().unwrap() })
}

#[test]
fn only_orders_that_rest_are_taken() {
    check([], ask(AskedType::LimitMaker, Some("150"), "2"), Ok(vec![asked()]));
    check([], ask(AskedType::Market, None, "2"), Err(ManualRefusal::Market));
    check([], ask(AskedType::Limit, None, "2"), Err(ManualRefusal::NoPrice));
    let zero = ManualRefusal::Number { what: "amount", got: Decimal::ZERO };
    check([], ask(AskedType::Limit, Some("1"), "0"), Err(zero));
    check([asked()], ask(AskedType::Limit, Some("1"), "1"), Err(ManualRefusal::AlreadyRequested));
}

#[test]
fn an_order_that_may_have_been_sent_is_never_sent_again() {
    check([asked()], did(ManualDeed::Start), Ok(vec![started()]));
    check([asked(), started()], did(ManualDeed::Start), Err(ManualRefusal::NotWaiting));
    check([asked(), started()], took("o1"), Ok(vec![submitted()]));
    check([asked(), started(), submitted()], took("o2"), Err(ManualRefusal::NotStarted));
    let unknown = ManualOrderEvent::ManualOrderUnknown { reason: "?".into(), at: AT };
    check([asked(), started(), unknown.clone()], did(ManualDeed::Start), Err(ManualRefusal::NotWaiting));
    check([asked(), started(), unknown], took("o1"), Err(ManualRefusal::NotStarted));
}

#[test]
fn what_was_not_sent_yet_is_cancelled_at_once_and_stays_unsent() {
    let cancel = || ManualCommand::RequestCancel { at: AT };
    let mut order = ManualOrder::default();
    order.remember(asked());
    order.decide(cancel()).unwrap().into_iter().for_each(|event| order.remember(event));
    assert_eq!(order.task(), None);
    assert_eq!(order.decide(did(ManualDeed::Start)), Err(ManualRefusal::NotWaiting));
    assert_eq!(order.decide(cancel()), Err(ManualRefusal::Over));
    check([], cancel(), Err(ManualRefusal::NotRequested));
}

#[test]
fn a_cancel_is_done_only_when_the_order_is_gone() {
    let asked_to = ManualOrderEvent::ManualCancelRequested { at: AT };
    let ended = |ended| ManualDeed::Ended { ended, filled: Decimal::ZERO };
    let given = [asked(), started(), submitted(), asked_to];
    let events = |how| {
        let mut order = ManualOrder::default();
        given.iter().cloned().for_each(|event| order.remember(event));
        order.decide(did(ended(how))).unwrap().iter().map(ManualOrderEvent::name).collect::<Vec<_>>()
    };
    assert_eq!(events(HowEnded::Cancelled), ["ManualCancelDone", "ManualOrderEnded"]);
    assert_eq!(events(HowEnded::Filled), ["ManualCancelFailed", "ManualOrderEnded"]);
}

#[test]
fn an_unknown_order_comes_to_light_or_somebody_decides_what_became_of_it() {
    let unknown = || ManualOrderEvent::ManualOrderUnknown { reason: "no answer".into(), at: AT };
    let given = || vec![asked(), started(), unknown()];
    let order = || "o9".parse::<OrderId>().unwrap();
    let found = ManualOrderEvent::ManualOrderFound { order: order(), at: AT };
    check(given(), did(ManualDeed::Found { order: order() }), Ok(vec![found.clone()]));
    check([asked(), started()], did(ManualDeed::Found { order: order() }), Err(ManualRefusal::NotStarted));
    let mut open = ManualOrder::default();
    given().into_iter().chain([found.clone()]).for_each(|event| open.remember(event));
    assert!(open.is_open() && open.order() == Some(&order()));

    let decide =
        |verdict, order, reason: &str| ManualCommand::Resolve { verdict, order, reason: reason.into(), at: AT };
    let resolved =
        |verdict, order| ManualOrderEvent::ManualOrderResolved { verdict, order, reason: "seen".into(), at: AT };
    check(given(), decide(Verdict::NotPlaced, None, " "), Err(ManualRefusal::Reason));
    check(given(), decide(Verdict::Filled, None, "seen"), Err(ManualRefusal::NoOrder));
    check([asked(), started()], decide(Verdict::Cancelled, None, "seen"), Err(ManualRefusal::NothingToDecide));
    check(
        given().into_iter().chain([found]),
        decide(Verdict::Cancelled, None, "seen"),
        Err(ManualRefusal::NothingToDecide),
    );
    let after = |verdict, order: Option<OrderId>| {
        let told = resolved(verdict, order.clone());
        check(given(), decide(verdict, order, "seen"), Ok(vec![told.clone()]));
        let mut decided = ManualOrder::default();
        given().into_iter().chain([told]).for_each(|event| decided.remember(event));
        assert!(decided.decide(decide(Verdict::NotPlaced, None, "again")).is_err());
        (decided.ended(), decided.missing(), decided.order().cloned())
    };
    assert_eq!(after(Verdict::NotPlaced, None), (None, None, None));
    assert_eq!(after(Verdict::Cancelled, None), (Some(HowEnded::Cancelled), None, None));
    let filled = after(Verdict::Filled, Some(order()));
    assert_eq!(filled, (Some(HowEnded::Filled), Some(Decimal::ZERO), Some(order())));
}

#[test]
fn an_order_that_vanished_with_fills_missing_is_settled_by_a_decision() {
    let missing = ManualOrderEvent::ManualFillsMissing { filled: Decimal::ONE, reason: "vanished".into(), at: AT };
    let end = ManualOrderEvent::ManualOrderEnded { ended: HowEnded::Vanished, filled: Decimal::ONE, at: AT };
    let given = || vec![asked(), started(), submitted(), missing.clone(), end.clone()];
    let decide = |verdict| ManualCommand::Resolve { verdict, order: None, reason: "seen".into(), at: AT };
    check(given(), decide(Verdict::NotPlaced), Err(ManualRefusal::WasPlaced));
    let order = Some("o1".parse().unwrap());
    let told =
        ManualOrderEvent::ManualOrderResolved { verdict: Verdict::Cancelled, order, reason: "seen".into(), at: AT };
    check(given(), decide(Verdict::Cancelled), Ok(vec![told.clone()]));
    let mut settled = ManualOrder::default();
    given().into_iter().chain([told.clone()]).for_each(|event| settled.remember(event));
    assert!(settled.is_settled() && settled.missing().is_some(), "whoever watches it tells that nothing is missing");
    let explained = ManualOrderEvent::ManualFillsExplained { filled: Decimal::ONE, at: AT };
    check(
        [given(), vec![told]].concat(),
        did(ManualDeed::FillsExplained { filled: Decimal::ONE }),
        Ok(vec![explained]),
    );
}

fn any_command() -> impl Strategy<Value = ManualCommand> {
    let reason = || "r".to_owned();
    (0..11, 0..3_u8).prop_map(move |(which, n)| match which {
        0 => ask(AskedType::LimitMaker, Some("150"), "2"),
        1 => ManualCommand::RequestCancel { at: AT },
        2 | 3 => did(ManualDeed::Start),
        4 | 5 => took(&format!("o{n}")),
        6 => did(ManualDeed::Refused { reason: reason() }),
        7 => did(ManualDeed::Unknown { reason: reason() }),
        8 => did(ManualDeed::CancelFailed { reason: reason() }),
        9 => did(ManualDeed::FillsMissing { filled: Decimal::ONE, reason: reason() }),
        _ => did(ManualDeed::Ended { ended: HowEnded::Cancelled, filled: Decimal::ZERO }),
    })
}

proptest! {
    #[test]
    fn whatever_is_commanded_it_is_started_once_and_ends_in_one_way(
        commands in proptest::collection::vec(any_command(), 0..60)
    ) {
        let (mut order, mut told) = (ManualOrder::default(), Vec::new());
        for command in commands {
            for event in order.decide(command).unwrap_or_default() {
                order.remember(event.clone());
                told.push(event);
            }
        }
        let count = |name: &str| told.iter().filter(|event| event.name() == name).count();
        let outcomes = count("ManualOrderSubmitted") + count("ManualOrderRefused") + count("ManualOrderUnknown");
        prop_assert!(count("ManualOrderStarted") <= 1 && outcomes <= 1);
        // After the start the next word on whether it was sent is one of three, and without a start it is never sent.
        prop_assert!(count("ManualOrderSubmitted") + count("ManualOrderUnknown") <= count("ManualOrderStarted"));
        prop_assert!(order.is_under_way() == (count("ManualOrderStarted") == 1 && outcomes == 0));
        prop_assert_eq!(order.task() == Some(ManualTask::Place), !told.is_empty() && outcomes + count("ManualOrderStarted") == 0);
    }
}
