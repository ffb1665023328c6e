//! Exact decimals: a sign, 256 bits of digits and a place for the point. Nothing is ever rounded unless it says so.
//!
//! Money is why this is our own: no crate on offer holds 76 digits, stays `Copy`, refuses instead of rounding and divides
//! once with a 512-bit product in between. The digits themselves are `ruint`'s.

mod narrow;
mod text;

use std::{
    cmp::Ordering,
    hash::{Hash, Hasher},
    ops::Neg,
    sync::LazyLock,
};

use ruint::{Uint, UintTryFrom, aliases::U256};

type U512 = Uint<512, 8>;
type U1024 = Uint<1024, 16>;

/// Decimal places of a quotient; it is rounded there once, half to even.
pub const DIVISION_PLACES: u32 = 36;
/// The most digits and the most decimal places that a value may have.
const DIGITS_MAX: u32 = 76;

static TENS: LazyLock<[U256; 77]> = LazyLock::new(|| {
    let mut ten = U256::from(1);
    std::array::from_fn(|power| {
        if power > 0 {
            ten *= U256::from(10);
        }
        ten
    })
});

/// An exact decimal number.
#[derive(Clone, Copy, Default)]
pub struct Decimal {
    negative: bool,
    digits: U256,
    scale: u32,
}

/// A text that is no number we can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    #[error("{0:?} is not a decimal number")]
    NotANumber(String),
    #[error("{0:?} has more digits than can be kept exactly")]
    TooPrecise(String),
}

/// A result that has no exact form here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArithmeticError {
    #[error("the result does not fit in 256 bits")]
    Overflow,
    #[error("division by zero")]
    DivisionByZero,
}

use ArithmeticError::{DivisionByZero, Overflow};

impl Decimal {
    pub const ZERO: Self = Self { negative: false, digits: U256::ZERO, scale: 0 };
    pub const ONE: Self = Self { negative: false, digits: U256::ONE, scale: 0 };

    /// `mantissa` with the point moved `scale` places to the left.
    pub fn new(mantissa: i128, scale: u32) -> Self {
        Self { negative: mantissa < 0, digits: U256::from(mantissa.unsigned_abs()), scale }
    }

    /// A whole number.
    pub fn from_int(whole: i64) -> Self {
        Self::new(i128::from(whole), 0)
    }

    pub fn is_zero(&self) -> bool {
        self.digits.is_zero()
    }

    /// Below zero.
    pub fn is_negative(&self) -> bool {
        self.negative && !self.is_zero()
    }

    /// Above zero.
    pub fn is_positive(&self) -> bool {
        !self.negative && !self.is_zero()
    }

    /// The distance from zero.
    #[must_use]
    pub fn abs(self) -> Self {
        Self { negative: false, ..self }
    }

    /// How many digits it has, leading and trailing zeros left out.
    pub fn significant_digits(&self) -> u32 {
        digit_count(self.normalised().digits)
    }

    /// How many digits stand behind the point, trailing zeros left out.
    pub fn scale(&self) -> u32 {
        self.normalised().scale
    }

    /// Exact sum.
    pub fn plus(self, other: Self) -> Result<Self, ArithmeticError> {
        narrow::plus(self, other).map_or_else(|| sum_in_256(self, other), Ok)
    }

    /// Exact difference.
    pub fn minus(self, other: Self) -> Result<Self, ArithmeticError> {
        self.plus(-other)
    }

    /// Exact product.
    pub fn times(self, other: Self) -> Result<Self, ArithmeticError> {
        let negative = self.negative != other.negative;
        if let (Some(left), Some(right)) = (narrow::narrow(self.digits), narrow::narrow(other.digits))
            && self.scale + other.scale <= DIGITS_MAX
        {
            let digits = left.checked_mul(right).map_or_else(|| self.digits * other.digits, narrow::wide);
            return Ok(Self { negative: negative && !digits.is_zero(), digits, scale: self.scale + other.scale });
        }
        let (left, right) = (self.normalised(), other.normalised());
        let digits = left.digits.checked_mul(right.digits).ok_or(Overflow)?;
        let product =
            Self { negative: negative && !digits.is_zero(), digits, scale: left.scale + right.scale }.normalised();
        if product.scale <= DIGITS_MAX { Ok(product) } else { Err(Overflow) }
    }

    /// `self * times / by`, rounded once to 36 places, half to even; the product in between is exact.
    pub fn mul_div(self, times: Self, by: Self) -> Result<Self, ArithmeticError> {
        if by.is_zero() {
            return Err(DivisionByZero);
        }
        let negative = (self.negative != times.negative) != by.negative;
        // self*times/by = digits * 10^(36 + by.scale - self.scale - times.scale) / 10^36
        let shift = i64::from(DIVISION_PLACES + by.scale) - i64::from(self.scale + times.scale);
        let power = u32::try_from(shift.unsigned_abs()).expect("scales are small");
        let (above, below) = if shift >= 0 { (power, 0) } else { (0, power) };
        let digits = match quotient_in_512(self.digits, times.digits, above, by.digits, below) {
            Some(quotient) => U256::uint_try_from(quotient),
            None => U256::uint_try_from(quotient_in_1024(self.digits, times.digits, above, by.digits, below)),
        };
        let digits = digits.map_err(|_| Overflow)?;
        Ok(Self { negative: negative && !digits.is_zero(), digits, scale: DIVISION_PLACES }.normalised())
    }

    /// `self / by`, rounded once to 36 places, half to even.
    pub fn divided_by(self, by: Self) -> Result<Self, ArithmeticError> {
        self.mul_div(Self::ONE, by)
    }

    /// Rounded to this many decimal places, half to even. For showing a figure to a person, never for keeping it.
    #[must_use]
    pub fn rounded(self, places: u32) -> Self {
        if self.scale <= places {
            return self;
        }
        let kept = half_even(wide(self.digits), wide_ten(self.scale - places));
        let digits = U256::uint_try_from(kept).expect("rounding never adds a digit to 256 bits");
        Self { negative: self.negative && !digits.is_zero(), digits, scale: places }
    }

    /// The same value without trailing zeros behind the point.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        if self.is_zero() {
            return Self::ZERO;
        }
        for step in [16_u32, 4, 1] {
            // A multiple of 10^n is one of 2^n, which is seen at a glance.
            while self.scale >= step && self.digits.trailing_zeros() >= step as usize {
                let (quotient, remainder) = divided(self.digits, TENS[step as usize]);
                if !remainder.is_zero() {
                    break;
                }
                self.digits = quotient;
                self.scale -= step;
            }
        }
        self
    }
}

fn sum_in_256(left: Decimal, right: Decimal) -> Result<Decimal, ArithmeticError> {
    let (above, below, scale) = aligned(left, right)?;
    let (negative, digits) = match (left.negative == right.negative, above >= below) {
        (true, _) => (left.negative, above.checked_add(below).ok_or(Overflow)?),
        (false, true) => (left.negative, above - below),
        (false, false) => (right.negative, below - above),
    };
    Ok(Decimal { negative: negative && !digits.is_zero(), digits, scale })
}

fn divided(digits: U256, by: U256) -> (U256, U256) {
    match (narrow::narrow(digits), narrow::narrow(by)) {
        (Some(digits), Some(by)) => (narrow::wide(digits / by), narrow::wide(digits % by)),
        (None, _) | (_, None) => digits.div_rem(by),
    }
}

fn wide(digits: U256) -> U1024 {
    U1024::from(digits)
}

fn wide_ten(power: u32) -> U1024 {
    U1024::from(10).pow(U1024::from(power))
}

/// `left * right * 10^above / (by * 10^below)`, rounded half to even, if nothing in between needs more than 512 bits: a
/// tenth of the cost of 1024.
fn quotient_in_512(left: U256, right: U256, above: u32, by: U256, below: u32) -> Option<U512> {
    let (above, below) = (*TENS.get(above as usize)?, *TENS.get(below as usize)?);
    let fits = left.bit_len() + right.bit_len() + above.bit_len() <= 512;
    let product = || left.widening_mul::<256, 4, 512, 8>(right) * U512::from(above);
    fits.then(|| half_even(product(), by.widening_mul::<256, 4, 512, 8>(below)))
}

fn quotient_in_1024(left: U256, right: U256, above: u32, by: U256, below: u32) -> U1024 {
    half_even(wide(left) * wide(right) * wide_ten(above), wide(by) * wide_ten(below))
}

fn half_even<const BITS: usize, const LIMBS: usize>(
    above: Uint<BITS, LIMBS>,
    below: Uint<BITS, LIMBS>,
) -> Uint<BITS, LIMBS> {
    let (quotient, remainder) = above.div_rem(below);
    let up = match remainder.cmp(&(below - remainder)) {
        Ordering::Less => false,
        Ordering::Equal => quotient.bit(0),
        Ordering::Greater => true,
    };
    if up { quotient + Uint::ONE } else { quotient }
}

fn digit_count(digits: U256) -> u32 {
    TENS.iter().position(|ten| digits < *ten).unwrap_or(TENS.len()) as u32
}

/// Both values' digits at the larger of their scales.
fn aligned(left: Decimal, right: Decimal) -> Result<(U256, U256, u32), ArithmeticError> {
    if left.scale == right.scale {
        return Ok((left.digits, right.digits, left.scale));
    }
    try_aligned(left, right).or_else(|| try_aligned(left.normalised(), right.normalised())).ok_or(Overflow)
}

fn try_aligned(left: Decimal, right: Decimal) -> Option<(U256, U256, u32)> {
    let raised = |small: Decimal, to: u32| small.digits.checked_mul(*TENS.get((to - small.scale) as usize)?);
    match left.scale.cmp(&right.scale) {
        Ordering::Less => Some((raised(left, right.scale)?, right.digits, right.scale)),
        Ordering::Equal => Some((left.digits, right.digits, left.scale)),
        Ordering::Greater => Some((left.digits, raised(right, left.scale)?, left.scale)),
    }
}

impl Neg for Decimal {
    type Output = Self;

    fn neg(self) -> Self {
        Self { negative: !self.negative && !self.is_zero(), ..self }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.is_negative(), other.is_negative()) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => distance(*self, *other),
            (true, true) => distance(*other, *self),
        }
    }
}

fn distance(left: Decimal, right: Decimal) -> Ordering {
    let scale = left.scale.max(right.scale);
    let raised = |value: Decimal| wide(value.digits) * wide_ten(scale - value.scale);
    let in_256 = || try_aligned(left, right).map(|(left, right, _)| left.cmp(&right));
    narrow::distance(left, right).or_else(in_256).unwrap_or_else(|| raised(left).cmp(&raised(right)))
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl Hash for Decimal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let one = self.normalised();
        (one.is_negative(), one.digits, one.scale).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_written_again_in_its_plain_form() {
        for (text, plain) in [
            ("7.2e-06", "0.0000072"),
            ("1E5", "100000"),
            ("-0.0", "0"),
            ("+3", "3"),
            ("-12.500", "-12.5"),
            ("0", "0"),
            ("1000", "1000"),
            ("0.1", "0.1"),
            ("00012.0", "12"),
            ("1e-36", "0.000000000000000000000000000000000001"),
        ] {
            assert_eq!(d(text).to_string(), plain);
        }
    }

    #[test]
    fn what_is_no_number_is_refused_quickly() {
        let long = "9".repeat(100_000);
        for bad in [
            "",
            " ",
            ".",
            "1.",
            ".5",
            "-",
            "--1",
            "NaN",
            "inf",
            "1_000",
            "1,5",
            "0x10",
            "1e",
            "1e+",
            "e5",
            "1 ",
            "１",
            "1e999999999999999999999999",
            "1e-77",
            &long,
        ] {
            assert!(bad.parse::<Decimal>().is_err(), "{:.20} passed as a number", bad);
        }
        assert_eq!(d("0e999999999999"), Decimal::ZERO);
    }

    #[test]
    fn a_quotient_is_rounded_once_half_to_even() {
        assert_eq!(d("10").mul_div(d("1"), d("4")), Ok(d("2.5")));
        assert_eq!(d("1").divided_by(d("3")), Ok(d("0.333333333333333333333333333333333333")));
        assert_eq!(d("-2").divided_by(d("3")), Ok(d("-0.666666666666666666666666666666666667")));
        assert_eq!(d("1e-36").divided_by(d("2")), Ok(Decimal::ZERO));
        assert_eq!(d("3e-36").divided_by(d("2")), Ok(d("2e-36")));
        assert_eq!(d("1").divided_by(Decimal::ZERO), Err(DivisionByZero));
    }

    #[test]
    fn a_result_that_does_not_fit_is_an_error_and_never_rounded() {
        let large = d(&"9".repeat(60));
        assert_eq!(large.times(large), Err(Overflow));
        assert_eq!(d(&"9".repeat(76)).plus(d("0.01")), Err(Overflow));
        assert_eq!(d("5").rounded(0), d("5"));
        assert_eq!(d("2.5").rounded(0), d("2"));
    }

    #[test]
    fn a_bare_json_number_is_read_by_its_text() {
        let read: Vec<Decimal> =
            serde_json::from_str(r#"["0.1", 0.1, 7.2e-06, 3, -4, 123456789012345678901234567890]"#).unwrap();
        let texts: Vec<String> = read.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["0.1", "0.1", "0.0000072", "3", "-4", "123456789012345678901234567890"]);
        assert_eq!(serde_json::to_string(&read[2]).unwrap(), r#""0.0000072""#);
    }

    fn any_decimal() -> impl Strategy<Value = Decimal> {
        (any::<i128>(), 0_u32..30, 0_u32..100)
            .prop_map(|(mantissa, scale, shift)| Decimal::new(mantissa >> shift, scale))
    }

    proptest! {
        #[test]
        fn adding_and_taking_away_again_changes_nothing(a in any_decimal(), b in any_decimal()) {
            prop_assert_eq!(a.plus(b).unwrap().minus(b).unwrap(), a);
            prop_assert_eq!(a.plus(b).unwrap(), b.plus(a).unwrap());
            prop_assert_eq!(a.cmp(&b), a.minus(b).unwrap().cmp(&Decimal::ZERO));
        }

        #[test]
        fn what_fits_in_few_bits_comes_out_as_it_does_in_many(a in any_decimal(), b in any_decimal(), power in 0_u32..76) {
            if let Some(sum) = narrow::plus(a, b) {
                let wide = sum_in_256(a, b).unwrap();
                prop_assert_eq!((sum.negative, sum.digits, sum.scale), (wide.negative, wide.digits, wide.scale));
            }
            for (above, below) in [(power, 0), (0, power)] {
                if let Some(quotient) = quotient_in_512(a.digits, b.digits, above, U256::from(7919), below) {
                    let wide = quotient_in_1024(a.digits, b.digits, above, U256::from(7919), below);
                    prop_assert_eq!(U1024::from(quotient), wide);
                }
            }
        }

        #[test]
        fn a_value_survives_its_text(a in any_decimal()) {
            prop_assert_eq!(a.to_string().parse::<Decimal>().unwrap(), a);
            prop_assert_eq!(a.normalised(), a);
        }

        #[test]
        fn multiplying_distributes(a in -1_000_000_i64..1_000_000, b in any::<i64>(), c in any::<i64>()) {
            let (a, b, c) = (Decimal::new(i128::from(a), 3), Decimal::new(i128::from(b), 9), Decimal::new(i128::from(c), 18));
            let whole = a.times(b.plus(c).unwrap()).unwrap();
            prop_assert_eq!(whole, a.times(b).unwrap().plus(a.times(c).unwrap()).unwrap());
        }

        #[test]
        fn a_quotient_times_its_divisor_is_off_by_less_than_half_a_place(a in any::<i64>(), b in 1_i64..1_000_000_000) {
            let (a, b) = (Decimal::new(i128::from(a), 8), Decimal::from_int(b));
            let back = a.divided_by(b).unwrap().times(b).unwrap();
            let off = back.minus(a).unwrap().abs().times(Decimal::from_int(2)).unwrap();
            prop_assert!(off <= b.times(Decimal::new(1, 36)).unwrap());
        }
    }
}
