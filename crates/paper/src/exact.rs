//! Exact sums on the paper exchange, whose amounts are small enough to have one always.

use events::Decimal;

const FITS: &str = "amounts on the paper exchange have far fewer than 76 digits";

pub(crate) fn sum(left: Decimal, right: Decimal) -> Decimal {
    left.plus(right).expect(FITS)
}

pub(crate) fn difference(left: Decimal, right: Decimal) -> Decimal {
    left.minus(right).expect(FITS)
}

pub(crate) fn product(left: Decimal, right: Decimal) -> Decimal {
    left.times(right).expect(FITS).normalised()
}

/// Rounded to 36 places; zero where there is nothing to divide by.
pub(crate) fn quotient(above: Decimal, below: Decimal) -> Decimal {
    if below.is_zero() { Decimal::ZERO } else { above.divided_by(below).expect(FITS) }
}

/// The largest multiple of `step` that is not above `value`, which is not below zero.
pub(crate) fn floor_to(value: Decimal, step: Decimal) -> Decimal {
    let steps = quotient(value, step).rounded(12).to_string();
    let whole: Decimal =
        steps.split('.').next().and_then(|whole| whole.parse().ok()).expect("a decimal has a whole part");
    product(whole, step)
}

/// The smallest multiple of `step` that is not below `value`.
pub(crate) fn ceil_to(value: Decimal, step: Decimal) -> Decimal {
    let below = floor_to(value, step);
    if below < value { sum(below, step) } else { below }
}

/// Cut, not rounded, behind six decimals: as Hummingbot's database keeps a price.
pub(crate) fn six_decimals(value: Decimal) -> Decimal {
    let cut = floor_to(value.abs(), Decimal::new(1, 6));
    if value.is_negative() { -cut } else { cut }
}
