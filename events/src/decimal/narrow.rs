//! Digits that fit in 128 bits, as nearly all do: added, compared and multiplied there, at a fraction of the cost.
//!
//! Every function here either gives exactly what the wide arithmetic gives, or nothing, where 128 bits do not hold it.

use std::cmp::Ordering;

use ruint::aliases::U256;

use super::Decimal;

/// The powers of ten that fit.
const TENS: [u128; 39] = {
    let mut tens = [1; 39];
    let mut power = 1;
    while power < tens.len() {
        tens[power] = tens[power - 1] * 10;
        power += 1;
    }
    tens
};

#[inline]
pub(super) fn narrow(digits: U256) -> Option<u128> {
    match *digits.as_limbs() {
        [low, high, 0, 0] => Some(u128::from(high) << 64 | u128::from(low)),
        [..] => None,
    }
}

#[inline]
pub(super) fn wide(digits: u128) -> U256 {
    U256::from_limbs([digits as u64, (digits >> 64) as u64, 0, 0])
}

#[inline]
pub(super) fn plus(left: Decimal, right: Decimal) -> Option<Decimal> {
    let (above, below, scale) = aligned(left, right)?;
    let (negative, digits) = match (left.negative == right.negative, above >= below) {
        (true, _) => (left.negative, above.checked_add(below)?),
        (false, true) => (left.negative, above - below),
        (false, false) => (right.negative, below - above),
    };
    Some(Decimal { negative: negative && digits != 0, digits: wide(digits), scale })
}

/// Which is further from zero.
#[inline]
pub(super) fn distance(left: Decimal, right: Decimal) -> Option<Ordering> {
    aligned(left, right).map(|(left, right, _)| left.cmp(&right))
}

/// Both values' digits at the larger of their scales.
#[inline]
fn aligned(left: Decimal, right: Decimal) -> Option<(u128, u128, u32)> {
    let (above, below) = (narrow(left.digits)?, narrow(right.digits)?);
    let raised = |digits: u128, by: u32| digits.checked_mul(*TENS.get(by as usize)?);
    match left.scale.cmp(&right.scale) {
        Ordering::Less => Some((raised(above, right.scale - left.scale)?, below, right.scale)),
        Ordering::Equal => Some((above, below, left.scale)),
        Ordering::Greater => Some((above, raised(below, left.scale - right.scale)?, left.scale)),
    }
}
