//! Exact arithmetic of figures that are looked at and not booked: what has more digits than can be held is rounded to fewer
//! places first, which no threshold notices.

use events::Decimal;

/// Places that are kept where all of them do not fit.
const PLACES: u32 = 18;

/// The sum.
pub fn plus(left: Decimal, right: Decimal) -> Decimal {
    fitting(left, right, Decimal::plus)
}

/// The difference.
pub fn minus(left: Decimal, right: Decimal) -> Decimal {
    fitting(left, right, Decimal::minus)
}

/// The product.
pub fn times(left: Decimal, right: Decimal) -> Decimal {
    fitting(left, right, Decimal::times)
}

/// The quotient; absent: by nothing.
pub fn divided(left: Decimal, by: Decimal) -> Option<Decimal> {
    (!by.is_zero()).then(|| fitting(left, by, Decimal::divided_by))
}

/// How much of the whole a part is, in hundredths of it; absent: of nothing.
pub fn percent(part: Decimal, whole: Decimal) -> Option<Decimal> {
    divided(times(part, Decimal::from_int(100)), whole)
}

fn fitting<E>(left: Decimal, right: Decimal, of: impl Fn(Decimal, Decimal) -> Result<Decimal, E>) -> Decimal {
    let exact = of(left, right).or_else(|_| of(left.rounded(PLACES), right.rounded(PLACES)));
    // What does not fit even so is beyond every threshold.
    exact.unwrap_or_else(|_| left.rounded(0)).normalised()
}
