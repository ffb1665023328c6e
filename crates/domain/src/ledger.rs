//! What may enter a client's ledger. It is loaded head-only: whether a fact was told before is known by its key, and
//! the caller brings what was recorded under it.

use events::{
    AccountName, Amount, Asset, Decimal, Exchange, Pair, Price, Time, TradeId,
    decimal::ArithmeticError,
    ledger::{BookKey, Fill, LedgerEvent, escaped},
};

/// The most digits that any number from outside may have, and the most of them behind the point. The largest real ones
/// have 30 and 18; the product of two such still leaves room for sums.
const DIGITS_MAX: u32 = 38;
const PLACES_MAX: u32 = 24;
const PRODUCT_DIGITS_MAX: u32 = 66;
/// No exchange of ours traded before 2009, so a time before it is a wrong unit; so is one far ahead of our clock.
const FIRST_DAY_MS: i64 = 1_230_768_000_000;
const AHEAD_MAX_US: i64 = 86_400_000_000;

/// Why a fact cannot enter the ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerRefusal {
    #[error("{what} must be above zero, got {got}")]
    NotAboveZero { what: &'static str, got: Decimal },
    #[error("{what} must not be zero")]
    Zero { what: &'static str },
    #[error(
        "{what} {got} is too precise: at most {DIGITS_MAX} digits, {PLACES_MAX} of them behind the point, can be kept exactly"
    )]
    TooPrecise { what: &'static str, got: Decimal },
    #[error("price x amount has too many digits to be kept exactly, at most {PRODUCT_DIGITS_MAX} fit")]
    ProductTooPrecise,
    #[error("time {0} lies before 2009 or more than a day ahead: is it in milliseconds?")]
    ImpossibleTime(Time),
    #[error("the correction of fill {recorded} says nothing new")]
    NothingNew { recorded: u64 },
    #[error("{id} was recorded at {recorded} with another content, which stays: {differs}")]
    Conflict { id: String, recorded: u64, differs: String },
}

/// What is to be recorded.
#[derive(Debug, Clone)]
pub enum Fact {
    Fill(Box<Fill>),
    Funding { book: BookKey, amount: Decimal, asset: Asset, funding: TradeId, at: Time },
    Transfer { exchange: Exchange, account: AccountName, asset: Asset, amount: Decimal, transfer: TradeId, at: Time },
    Opening { book: BookKey, position: Decimal, cost: Decimal, at: Time },
    FeeRate { pair: Pair, price: Price, reason: String, at: Time },
}

/// How a fact relates to what was recorded under its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Told again with the same content: nothing to do.
    Duplicate,
    /// Told with another content: the first stays, and this one is kept beside it for a person to judge.
    Conflict { dispute: Option<Box<LedgerEvent>>, refusal: LedgerRefusal },
}

impl Fact {
    /// What makes it unique in its client's stream.
    pub fn key(&self, account: &AccountName) -> String {
        match self {
            Self::Fill(fill) => fill.identity(),
            Self::Funding { book, funding, .. } => {
                format!(
                    "funding:{}:{account}:{}:{}:{}",
                    book.exchange,
                    book.market,
                    book.pair,
                    escaped(funding.as_str())
                )
            }
            Self::Transfer { exchange, account, transfer, .. } => {
                format!("transfer:{exchange}:{account}:{}", escaped(transfer.as_str()))
            }
            Self::Opening { book, .. } => {
                format!("opening:{}:{}:{}:{}", book.bot, book.exchange, book.market, book.pair)
            }
            Self::FeeRate { pair, at, .. } => format!("fee-rate:{pair}:{at}"),
        }
    }

    /// Whether it can be true at all, and the event that says it. `now` is when we heard of it.
    pub fn decide(self, now: Time) -> Result<LedgerEvent, LedgerRefusal> {
        possible(self.at(), now)?;
        match self {
            Self::Fill(fill) => {
                exact_fill(&fill)?;
                Ok(LedgerEvent::FillRecorded(*fill))
            }
            Self::Funding { book, amount, asset, funding, at } => {
                exact("amount", amount)?;
                Ok(LedgerEvent::FundingPaid { book, amount, asset, funding, at })
            }
            Self::Transfer { exchange, account, asset, amount, transfer, at } => {
                exact("amount", amount)?;
                if amount.is_zero() {
                    return Err(LedgerRefusal::Zero { what: "amount" });
                }
                Ok(LedgerEvent::TransferRecorded { exchange, account, asset, amount, transfer, at })
            }
            Self::Opening { book, position, cost, at } => {
                exact("position", position)?;
                exact("cost", cost)?;
                Ok(LedgerEvent::OpeningPosition { book, position, cost, at })
            }
            Self::FeeRate { pair, price, reason, at } => {
                above_zero("price", price.0)?;
                Ok(LedgerEvent::FeeRateSupplied { pair, price, reason, at })
            }
        }
    }

    fn at(&self) -> Time {
        match self {
            Self::Fill(fill) => fill.at,
            Self::Funding { at, .. }
            | Self::Transfer { at, .. }
            | Self::Opening { at, .. }
            | Self::FeeRate { at, .. } => *at,
        }
    }
}

/// Judges an event against the one that is recorded under the same key as number `recorded`.
pub fn judge(told: &LedgerEvent, known: &LedgerEvent, recorded: u64, now: Time) -> Verdict {
    if let (LedgerEvent::FillRecorded(told), Some(known)) = (told, fill_of(known)) {
        if told.tells_the_same(known) {
            return Verdict::Duplicate;
        }
        let refusal = LedgerRefusal::Conflict { id: told.identity(), recorded, differs: differences(told, known) };
        let dispute = LedgerEvent::FillDisputed { recorded, fill: told.clone(), at: now };
        return Verdict::Conflict { dispute: Some(Box::new(dispute)), refusal };
    }
    if told == known {
        return Verdict::Duplicate;
    }
    let differs = format!("recorded {known:?}, told {told:?}");
    let refusal = LedgerRefusal::Conflict { id: told.name().to_owned(), recorded, differs };
    Verdict::Conflict { dispute: None, refusal }
}

fn fill_of(event: &LedgerEvent) -> Option<&Fill> {
    match event {
        LedgerEvent::FillRecorded(fill) => Some(fill),
        LedgerEvent::FillCorrected { fill, .. } => Some(fill),
        LedgerEvent::FillVoided { .. }
        | LedgerEvent::FillDisputed { .. }
        | LedgerEvent::OpeningPosition { .. }
        | LedgerEvent::FundingPaid { .. }
        | LedgerEvent::TransferRecorded { .. }
        | LedgerEvent::FeeRateSupplied { .. } => None,
    }
}

/// The fill recorded as number `recorded`, told last as `was`, was really this one. It keeps its time: where the source of
/// the exact figures knows another one, the place in history is still the first's.
pub fn correct(recorded: u64, was: &Fill, fill: Fill, reason: String) -> Result<LedgerEvent, LedgerRefusal> {
    let fill = Fill { at: was.at, ..fill };
    exact_fill(&fill)?;
    if fill.tells_the_same(was) && fill.identity() == was.identity() {
        return Err(LedgerRefusal::NothingNew { recorded });
    }
    Ok(LedgerEvent::FillCorrected { corrects: recorded, was: Box::new(was.clone()), fill: Box::new(fill), reason })
}

fn differences(told: &Fill, known: &Fill) -> String {
    let mut differs = Vec::new();
    let mut compare = |what: &str, told: String, known: String| {
        if told != known {
            differs.push(format!("{what} is {known}, told {told}"));
        }
    };
    compare("bot", told.bot.to_string(), known.bot.to_string());
    compare("side", told.side.to_string(), known.side.to_string());
    compare("price", told.price.to_string(), known.price.to_string());
    compare("amount", told.amount.to_string(), known.amount.to_string());
    compare("liquidity", told.liquidity.to_string(), known.liquidity.to_string());
    compare("time", told.at.to_string(), known.at.to_string());
    compare("fees", format!("{:?}", told.fees), format!("{:?}", known.fees));
    compare("mid", format!("{:?}", told.mid_at_fill), format!("{:?}", known.mid_at_fill));
    differs.join("; ")
}

fn exact_fill(fill: &Fill) -> Result<(), LedgerRefusal> {
    above_zero("price", fill.price.0)?;
    above_zero("amount", fill.amount.0)?;
    product(fill.price, fill.amount)?;
    for fee in fill.fees.iter().flatten() {
        exact("fee", fee.amount)?;
    }
    if let Some(mid) = fill.mid_at_fill {
        above_zero("mid", mid.0)?;
        product(mid, fill.amount)?;
    }
    Ok(())
}

fn product(price: Price, amount: Amount) -> Result<(), LedgerRefusal> {
    match price.times(amount) {
        Ok(product) if product.significant_digits() <= PRODUCT_DIGITS_MAX => Ok(()),
        Ok(_) | Err(ArithmeticError::Overflow | ArithmeticError::DivisionByZero) => {
            Err(LedgerRefusal::ProductTooPrecise)
        }
    }
}

/// A price or an amount from outside: exact and above zero.
pub fn above_zero(what: &'static str, got: Decimal) -> Result<(), LedgerRefusal> {
    if got.is_zero() || got.is_negative() {
        return Err(LedgerRefusal::NotAboveZero { what, got });
    }
    exact(what, got)
}

fn exact(what: &'static str, got: Decimal) -> Result<(), LedgerRefusal> {
    if got.significant_digits() > DIGITS_MAX || got.scale() > PLACES_MAX {
        return Err(LedgerRefusal::TooPrecise { what, got });
    }
    Ok(())
}

/// A time that an exchange can have stamped, heard of `now`.
pub fn possible(at: Time, now: Time) -> Result<(), LedgerRefusal> {
    if at.millis() < FIRST_DAY_MS || at > now.plus_micros(AHEAD_MAX_US) {
        return Err(LedgerRefusal::ImpossibleTime(at));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use events::{
        BotId, Market,
        ledger::{Fee, FeeKind, Liquidity, Side},
    };

    const NOW_MS: i64 = 1_723_161_600_000;

    fn now() -> Time {
        Time::from_millis(NOW_MS).unwrap()
    }

    fn fill() -> Fill {
        Fill {
            bot: BotId(uuid_nil()),
            account: "a1".parse().unwrap(),
            exchange: Exchange::Binance,
            market: Market::Spot,
            pair: "PEPE-USDT".parse().unwrap(),
            side: Side::Buy,
            price: Price("7.2e-06".parse().unwrap()),
            amount: Amount("1000".parse().unwrap()),
            fees: Some(vec![Fee { asset: "BNB".parse().unwrap(), amount: "0.1".parse().unwrap(), kind: FeeKind::Fee }]),
            liquidity: Liquidity::Maker,
            order: Some("o:1".parse().unwrap()),
            trade: "t1".parse().unwrap(),
            at: now(),
            mid_at_fill: None,
            source: "import".into(),
            precision: None,
            raw_hash: None,
        }
    }

    fn uuid_nil() -> events::Uuid {
        events::Uuid::nil()
    }

    fn refused(fill: Fill) -> LedgerRefusal {
        Fact::Fill(Box::new(fill)).decide(now()).unwrap_err()
    }

    #[test]
    fn a_fill_that_can_be_true_is_recorded_as_it_was_told() {
        assert_eq!(Fact::Fill(Box::new(fill())).decide(now()), Ok(LedgerEvent::FillRecorded(fill())));
    }

    #[test]
    fn a_fill_without_amount_or_price_is_refused() {
        let nothing = Fill { amount: Amount(Decimal::ZERO), ..fill() };
        assert_eq!(refused(nothing).to_string(), "amount must be above zero, got 0");
        let negative = Fill { price: Price("-1".parse().unwrap()), ..fill() };
        assert_eq!(refused(negative).to_string(), "price must be above zero, got -1");
    }

    #[test]
    fn what_cannot_be_kept_exactly_is_refused_and_never_rounded() {
        let fine = Fill { amount: Amount("0.1234567890123456789012345678901234567890".parse().unwrap()), ..fill() };
        assert!(matches!(refused(fine), LedgerRefusal::TooPrecise { what: "amount", .. }));
        let long: Decimal = "12345678901234567890123456789.123456789".parse().unwrap();
        let both = Fill { price: Price(long), amount: Amount(long), ..fill() };
        assert_eq!(refused(both), LedgerRefusal::ProductTooPrecise);
    }

    #[test]
    fn seconds_or_microseconds_in_place_of_milliseconds_are_refused() {
        assert!(Time::from_millis(NOW_MS * 1_000).is_err());
        for wrong in [NOW_MS / 1_000, NOW_MS * 2] {
            let fill = Fill { at: Time::from_millis(wrong).unwrap(), ..fill() };
            assert!(matches!(refused(fill), LedgerRefusal::ImpossibleTime(_)), "{wrong}");
        }
    }

    #[test]
    fn a_fill_told_again_is_a_duplicate_and_with_another_price_a_conflict() {
        let known = LedgerEvent::FillRecorded(fill());
        let spelt_otherwise = Fill { source: "history".into(), amount: Amount("1000.00".parse().unwrap()), ..fill() };
        assert_eq!(judge(&LedgerEvent::FillRecorded(spelt_otherwise), &known, 7, now()), Verdict::Duplicate);
        let other = Fill { price: Price("8e-06".parse().unwrap()), ..fill() };
        let Verdict::Conflict { refusal, dispute } = judge(&LedgerEvent::FillRecorded(other.clone()), &known, 7, now())
        else {
            panic!("another price is a conflict");
        };
        assert!(refusal.to_string().contains("price is 0.0000072, told 0.000008"), "{refusal}");
        assert_eq!(
            dispute.map(|event| *event),
            Some(LedgerEvent::FillDisputed { recorded: 7, fill: other, at: now() })
        );
    }

    #[test]
    fn a_corrected_fill_keeps_its_time_and_must_say_something_new() {
        let provisional = Fill { order: None, ..fill() };
        let exact = Fill { at: now().plus_micros(400), ..fill() };
        let corrected = correct(7, &provisional, exact.clone(), "exact figures".into()).unwrap();
        let LedgerEvent::FillCorrected { was, fill: kept, .. } = &corrected else { panic!("{corrected:?}") };
        assert_eq!((&**was, &**kept), (&provisional, &fill()));
        assert_eq!(judge(&LedgerEvent::FillRecorded(fill()), &corrected, 9, now()), Verdict::Duplicate);
        assert_eq!(correct(7, &fill(), exact, "again".into()), Err(LedgerRefusal::NothingNew { recorded: 7 }));
    }

    #[test]
    fn two_fills_whose_ids_only_look_alike_have_two_identities() {
        let other = Fill { order: Some("o".parse().unwrap()), trade: "1:t1".parse().unwrap(), ..fill() };
        assert_ne!(fill().identity(), other.identity());
    }

    fn any_number() -> impl Strategy<Value = Decimal> {
        (any::<i128>(), 0_u32..40, 0_u32..127).prop_map(|(digits, places, shift)| Decimal::new(digits >> shift, places))
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_can_be_counted_exactly(price in any_number(), amount in any_number(), fee in any_number()) {
            let fees = Some(vec![Fee { asset: "BNB".parse().unwrap(), amount: fee, kind: FeeKind::Fee }]);
            let told = Fill { price: Price(price), amount: Amount(amount), fees, ..fill() };
            match Fact::Fill(Box::new(told.clone())).decide(now()) {
                Ok(event) => {
                    prop_assert_eq!(event, LedgerEvent::FillRecorded(told));
                    prop_assert!(price.is_positive() && amount.is_positive());
                    // A million of them still have an exact sum.
                    let product = price.times(amount).unwrap();
                    prop_assert!(product.times(Decimal::from_int(1_000_000)).is_ok());
                }
                Err(refusal) => prop_assert!(!refusal.to_string().is_empty()),
            }
        }

        #[test]
        fn two_fills_have_one_identity_only_if_order_and_trade_are_the_same(
            ids in proptest::collection::vec("[a-c:%23A]{1,4}", 4)
        ) {
            let one = Fill { order: Some(ids[0].parse().unwrap()), trade: ids[1].parse().unwrap(), ..fill() };
            let other = Fill { order: Some(ids[2].parse().unwrap()), trade: ids[3].parse().unwrap(), ..fill() };
            prop_assert_eq!(one.identity() == other.identity(), ids[0] == ids[2] && ids[1] == ids[3]);
        }
    }
}
