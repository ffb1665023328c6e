//! A moment, in whole microseconds UTC: what Postgres keeps and what is hashed.

use std::{fmt, str::FromStr};

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment, in microseconds since 1970-01-01T00:00:00Z. Written as RFC 3339 UTC with six decimals and `Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

/// A text or number that is no moment this system can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("time {0:?} is not RFC 3339 UTC between the years 1 and 9999")]
pub struct BadTime(String);

impl Time {
    /// The earliest moment that can be written.
    pub const BEGINNING: Self = Self(Self::FIRST_US);
    /// The latest one.
    pub const END: Self = Self(Self::LAST_US);
    /// The start of 1970, UTC.
    pub const EPOCH: Self = Self(0);
    const DAY_US: i64 = 86_400_000_000;
    const FIRST_US: i64 = -62_135_596_800_000_000;
    const LAST_US: i64 = 253_402_300_799_999_999;

    /// Reads the clock. Decisions and folds never call this; they are told the time.
    #[expect(clippy::disallowed_methods, reason = "the one place where the clock is read")]
    pub fn now() -> Self {
        Self::from(Utc::now())
    }

    /// From microseconds since 1970.
    pub fn from_micros(us: i64) -> Result<Self, BadTime> {
        if (Self::FIRST_US..=Self::LAST_US).contains(&us) { Ok(Self(us)) } else { Err(BadTime(format!("{us} us"))) }
    }

    /// From milliseconds since 1970, as exchanges write them.
    pub fn from_millis(ms: i64) -> Result<Self, BadTime> {
        ms.checked_mul(1_000)
            .ok_or(())
            .and_then(|us| Self::from_micros(us).map_err(drop))
            .map_err(|()| BadTime(format!("{ms} ms")))
    }

    /// Microseconds since 1970.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since 1970, rounded down.
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// The moment `us` microseconds later.
    #[must_use]
    pub fn plus_micros(self, us: i64) -> Self {
        Self(self.0.saturating_add(us).clamp(Self::FIRST_US, Self::LAST_US))
    }

    /// The UTC day it belongs to; midnight belongs to the new day.
    pub fn day(self) -> NaiveDate {
        DateTime::<Utc>::from(self).date_naive()
    }

    /// The start of its UTC day.
    #[must_use]
    pub fn midnight(self) -> Self {
        Self(self.0.div_euclid(Self::DAY_US) * Self::DAY_US)
    }

    /// The start of the UTC day after its own.
    #[must_use]
    pub fn next_midnight(self) -> Self {
        Self(self.midnight().0 + Self::DAY_US)
    }
}

impl From<DateTime<Utc>> for Time {
    fn from(at: DateTime<Utc>) -> Self {
        Self(at.timestamp_micros())
    }
}

impl From<Time> for DateTime<Utc> {
    fn from(at: Time) -> Self {
        DateTime::from_timestamp_micros(at.0).expect("a Time lies between the years 1 and 9999")
    }
}

impl FromStr for Time {
    type Err = BadTime;

    fn from_str(text: &str) -> Result<Self, BadTime> {
        if let Some(at) = as_written(text) {
            return Ok(at);
        }
        let bad = || BadTime(text.chars().take(40).collect());
        let at = DateTime::parse_from_rfc3339(text).map_err(|_| bad())?;
        Self::from_micros(at.timestamp_micros()).map_err(|_| bad())
    }
}

/// Exactly the form that we write, `2024-08-08T23:59:59.999123Z`: read by place, as every event has some.
fn as_written(text: &str) -> Option<Time> {
    let text: &[u8; 27] = text.as_bytes().try_into().ok()?;
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (26, b'Z')];
    if marks.iter().any(|(at, mark)| text[*at] != *mark) {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to]
            .iter()
            .try_fold(0_u32, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0')))
    };
    let date = NaiveDate::from_ymd_opt(i32::try_from(number(0, 4)?).ok()?, number(5, 7)?, number(8, 10)?)?;
    let at = date.and_hms_micro_opt(number(11, 13)?, number(14, 16)?, number(17, 19)?, number(20, 26)?)?;
    Time::from_micros(at.and_utc().timestamp_micros()).ok()
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&DateTime::<Utc>::from(*self).to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_with_six_decimals_and_read_back() {
        let at = Time::from_millis(1_723_161_599_999).unwrap();
        assert_eq!(at.to_string(), "2024-08-08T23:59:59.999000Z");
        assert_eq!(at.to_string().parse(), Ok(at));
        assert_eq!(Time::EPOCH.to_string(), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn only_the_form_that_we_write_is_read_by_place_and_it_is_read_as_any_other() {
        for text in ["2024-02-29T00:00:00.000001Z", "0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"] {
            let at = as_written(text).unwrap();
            assert_eq!(at.to_string(), text);
            assert_eq!(text.replace('Z', "+00:00").parse(), Ok(at));
        }
        for bad in ["2023-02-29T00:00:00.000001Z", "2024-02-29T24:00:00.000001Z", "2024-02-29T00:00:00.00000+Z"] {
            assert!(bad.parse::<Time>().is_err(), "{bad} passed as a time");
        }
    }

    #[test]
    fn midnight_belongs_to_the_new_day() {
        let last = Time::from_millis(1_723_161_599_999).unwrap();
        let first = Time::from_millis(1_723_161_600_000).unwrap();
        assert_eq!(last.next_midnight(), first);
        assert_eq!(first.midnight(), first);
        assert_ne!(last.day(), first.day());
    }

    #[test]
    fn a_number_beyond_the_calendar_is_refused() {
        assert!(Time::from_millis(i64::MAX).is_err());
        assert!(Time::from_millis(1_723_161_600_000_000_000).is_err());
    }
}
