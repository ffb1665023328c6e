//! Which moments an expression of cron names, by the clocks of a zone, and which days, weeks and months there have been.
//!
//! Where clocks are put forward, a time of the day that is not there comes when they are; where they are put back, one that is
//! there twice comes at the first. What runs in each hour goes by the hours that pass: it leaves none out and has each of them.

use std::num::NonZeroU32;

use chrono::{
    DateTime, Datelike, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Timelike, Utc,
};
use croner::{Cron, errors::CronError, parser::CronParser};
use events::{
    Time, Zone,
    schedule::{Period, When},
};

/// Nothing is looked for further ahead than this.
const AHEAD_MAX_US: i64 = 10 * 366 * 86_400 * 1_000_000;
/// Moments that are gone through at one look: after a year of nobody there, there may be half a million.
const AT_ONCE_MAX: u64 = 10_000;
const EXPRESSION_MAX: usize = 100;
/// Clocks are put forward or back by less than this.
const NEAR: TimeDelta = TimeDelta::hours(4);

/// An expression names no moments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expression: {0}; say five fields: minute, hour, day of the month, month, day of the week")]
pub struct BadExpression(String);

/// What names moments.
#[derive(Debug, Clone)]
pub enum Timetable {
    Once(Time),
    Cron { cron: Box<Cron>, zone: Zone, each_hour: bool },
}

/// The moments that passed between two looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    pub first: Time,
    pub before_last: Option<Time>,
    pub last: Time,
    pub runs: u64,
    /// There are more: they are left to the next look.
    pub more: bool,
}

impl Timetable {
    pub fn of(when: &When) -> Result<Self, BadExpression> {
        match when {
            When::Once { at } => Ok(Self::Once(*at)),
            When::Cron { expression, zone } => {
                let hour = expression.split_whitespace().nth(1);
                let each_hour = hour.is_some_and(|hour| ["*", "*/1", "0-23"].contains(&hour));
                Ok(Self::Cron { cron: Box::new(read(expression)?), zone: *zone, each_hour })
            }
        }
    }

    /// The next moment after another one; absent: there is none.
    pub fn next(&self, after: Time) -> Option<Time> {
        match self {
            Self::Once(at) => Some(*at).filter(|at| *at > after),
            Self::Cron { cron, zone, each_hour } => {
                let due = next_of(cron, *zone, *each_hour, utc(after)?)?;
                let due = Time::from_micros(due.timestamp_micros()).ok()?;
                (1..=AHEAD_MAX_US).contains(&(due.micros() - after.micros())).then_some(due)
            }
        }
    }

    /// The moments to come, so many of them.
    pub fn upcoming(&self, after: Time, count: NonZeroU32) -> Vec<Time> {
        let ahead = |from: &Time| self.next(*from);
        std::iter::successors(ahead(&after), ahead).take(count.get() as usize).collect()
    }

    /// Those behind `looked` and not behind `now`; absent: there are none.
    pub fn passed(&self, looked: Time, now: Time) -> Option<Passed> {
        let mut all: Option<Passed> = None;
        let mut from = looked;
        while let Some(due) = self.next(from).filter(|due| *due <= now) {
            if let Some(passed) = all.as_mut().filter(|passed| passed.runs >= AT_ONCE_MAX) {
                passed.more = true;
                break;
            }
            all = Some(match all {
                None => Passed { first: due, before_last: None, last: due, runs: 1, more: false },
                Some(passed) => Passed { before_last: Some(passed.last), last: due, runs: passed.runs + 1, ..passed },
            });
            from = due;
        }
        all
    }
}

/// The last whole period before a moment, by the midnights of a zone: from its first moment to the first after it.
pub fn period_before(period: Period, zone: Zone, moment: Time) -> Option<(Time, Time)> {
    let today = utc(moment)?.with_timezone(&zone.0).date_naive();
    let (first, end) = match period {
        Period::Day => (today.pred_opt()?, today),
        Period::Week => {
            let monday = today - TimeDelta::days(i64::from(today.weekday().num_days_from_monday()));
            (monday - TimeDelta::days(7), monday)
        }
        Period::Month => {
            let month = today.with_day(1)?;
            (month.pred_opt()?.with_day(1)?, month)
        }
    };
    Some((midnight(zone, first)?, midnight(zone, end)?))
}

/// A day's first moment: not midnight where clocks are put forward then.
fn midnight(zone: Zone, day: NaiveDate) -> Option<Time> {
    let shown = day.and_time(NaiveTime::MIN);
    let first = zone.0.from_local_datetime(&shown).earliest().or_else(|| put_forward(zone, shown))?;
    Time::from_micros(first.timestamp_micros()).ok()
}

/// Five fields, none of which is empty in part: of nothing there is never one, and that takes long to find out.
fn read(expression: &str) -> Result<Cron, BadExpression> {
    let bad = |why: &str| BadExpression(why.to_owned());
    if expression.len() > EXPRESSION_MAX {
        return Err(bad("it is too long"));
    }
    if expression.contains('@') || expression.split_whitespace().any(|field| field.split(',').any(str::is_empty)) {
        return Err(bad("a part of it is empty, or a word"));
    }
    let parser = CronParser::builder().seconds(croner::parser::Seconds::Disallowed).build();
    let cron = parser.parse(expression).map_err(|bad: CronError| BadExpression(bad.to_string()))?;
    if has_a_day(&cron) { Ok(cron) } else { Err(bad("there is no such day in any month that it names")) }
}

/// Whether there is a day that it names. Of one that there is not, the next would be looked for through thousands of years.
fn has_a_day(cron: &Cron) -> bool {
    // Every date falls on every weekday within 28 years.
    let days = NaiveDate::from_ymd_opt(2024, 1, 1).into_iter().flat_map(|first| first.iter_days().take(28 * 366));
    let in_month = |day: &NaiveDate| cron.pattern.month_match(day.month()).unwrap_or(false);
    let is_it = |day: NaiveDate| cron.pattern.day_match(day.year(), day.month(), day.day()).unwrap_or(false);
    days.filter(in_month).any(is_it)
}

fn next_of(cron: &Cron, zone: Zone, each_hour: bool, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let changes = |at: DateTime<Utc>| offset(zone, at - NEAR) != offset(zone, at + NEAR);
    let plain = cron.find_next_occurrence(&after.with_timezone(&zone.0), false).ok();
    match plain.map(|due| due.with_timezone(&Utc)) {
        Some(due) if due - after <= NEAR && !changes(due) && !changes(after) => Some(due),
        Some(_) | None => by_what_is_shown(cron, zone, each_hour, after),
    }
}

/// What clocks show is gone through as if they were never put forward or back, and of each time it is asked when they show it.
fn by_what_is_shown(cron: &Cron, zone: Zone, each_hour: bool, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let shown = after.with_timezone(&zone.0).naive_local();
    let ahead = |from: &DateTime<Utc>| cron.find_next_occurrence(from, false).ok();
    let mut found: Option<(DateTime<Utc>, NaiveDateTime)> = None;
    for at in std::iter::successors(ahead(&(shown.and_utc() - NEAR)), ahead).map(|at| at.naive_utc()) {
        // Others that are shown later may come earlier, but not when they are shown so much later.
        if found.is_some_and(|(_, first)| at > first + NEAR) {
            break;
        }
        let moments = shown_at(zone, each_hour, at).into_iter().map(|moment| moment.with_timezone(&Utc));
        if let Some(moment) = moments.filter(|moment| *moment > after).min()
            && found.is_none_or(|(before, _)| moment < before)
        {
            found = Some((moment, found.map_or(at, |(_, first)| first)));
        }
    }
    found.map(|(moment, _)| moment)
}

/// When clocks of a zone show a time, as far as that counts.
fn shown_at(zone: Zone, each_hour: bool, at: NaiveDateTime) -> Vec<DateTime<chrono_tz::Tz>> {
    match zone.0.from_local_datetime(&at) {
        LocalResult::Single(one) => vec![one],
        LocalResult::Ambiguous(first, second) if each_hour => vec![first, second],
        LocalResult::Ambiguous(first, _) => vec![first],
        LocalResult::None if each_hour => Vec::new(),
        LocalResult::None => put_forward(zone, at).into_iter().collect(),
    }
}

/// When clocks are put forward over a time that they so never show.
fn put_forward(zone: Zone, never: NaiveDateTime) -> Option<DateTime<chrono_tz::Tz>> {
    let minutes = (1..=240).map(|minutes| never.with_second(0).unwrap_or(never) + TimeDelta::minutes(minutes));
    minutes.filter_map(|shown| zone.0.from_local_datetime(&shown).earliest()).next()
}

fn offset(zone: Zone, at: DateTime<Utc>) -> i32 {
    at.with_timezone(&zone.0).offset().fix().local_minus_utc()
}

fn utc(at: Time) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(at.micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        format!("{text}Z").parse().unwrap()
    }

    fn cron(expression: &str, zone: &str) -> When {
        When::Cron { expression: expression.into(), zone: zone.parse().unwrap() }
    }

    fn days(when: &When, since: &str, count: u32) -> Vec<String> {
        let all = Timetable::of(when).unwrap().upcoming(at(since), NonZeroU32::new(count).unwrap());
        all.iter().map(|due| due.to_string().replace(":00.000000Z", "")).collect()
    }

    #[test]
    fn the_day_that_clocks_are_put_forward_has_each_run_once() {
        // Berlin, 29 March 2026: 02:00 to 03:00 is not there.
        let daily = days(&cron("30 2 * * *", "Europe/Berlin"), "2026-03-27T12:00:00", 3);
        assert_eq!(daily, ["2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30"]);
        let morning = days(&cron("0 8 * * *", "Europe/Berlin"), "2026-03-28T12:00:00", 2);
        assert_eq!(morning, ["2026-03-29T06:00", "2026-03-30T06:00"]);
        let hourly = days(&cron("0 * * * *", "Europe/Berlin"), "2026-03-28T23:30:00", 4);
        assert_eq!(hourly, ["2026-03-29T00:00", "2026-03-29T01:00", "2026-03-29T02:00", "2026-03-29T03:00"]);
    }

    #[test]
    fn the_day_that_clocks_are_put_back_has_each_daily_run_once_and_each_hour_twice() {
        // Berlin, 25 October 2026: 02:00 to 03:00 is there twice.
        let daily = days(&cron("30 2 * * *", "Europe/Berlin"), "2026-10-24T12:00:00", 2);
        assert_eq!(daily, ["2026-10-25T00:30", "2026-10-26T01:30"]);
        let hourly = days(&cron("0 * * * *", "Europe/Berlin"), "2026-10-24T22:30:00", 4);
        assert_eq!(hourly, ["2026-10-24T23:00", "2026-10-25T00:00", "2026-10-25T01:00", "2026-10-25T02:00"]);
        // New York, 1 November 2026.
        let daily = days(&cron("30 1 * * *", "America/New_York"), "2026-10-31T12:00:00", 2);
        assert_eq!(daily, ["2026-11-01T05:30", "2026-11-02T06:30"]);
    }

    #[test]
    fn times_that_a_day_has_not_come_once_whatever_else_the_expression_names() {
        let two = days(&cron("30 2,14 * * *", "Europe/Berlin"), "2026-03-28T13:30:00", 3);
        assert_eq!(two, ["2026-03-29T01:00", "2026-03-29T12:30", "2026-03-30T00:30"]);
        let often = days(&cron("0,30 2 * * *", "Europe/Berlin"), "2026-03-28T12:00:00", 2);
        assert_eq!(often, ["2026-03-29T01:00", "2026-03-30T00:00"]);
        let each_other = days(&cron("30 */2 * * *", "Europe/Berlin"), "2026-03-28T23:45:00", 2);
        assert_eq!(
            each_other,
            ["2026-03-29T01:00", "2026-03-29T02:30"],
            "02:30 is not there, and comes when clocks are put forward"
        );
        // Asked for after the first of two, the next one is not before.
        let weekly = days(&cron("30 2 * * 0", "Europe/Berlin"), "2026-10-25T01:15:00", 1);
        assert_eq!(weekly, ["2026-11-01T01:30"]);
        let daily = days(&cron("30 2 * * *", "Europe/Berlin"), "2026-10-25T01:15:00", 1);
        assert_eq!(daily, ["2026-10-26T01:30"]);
    }

    #[test]
    fn a_report_is_about_the_last_whole_day_week_or_month_of_its_zone() {
        let of = |period, zone: &str, moment| {
            let (from, to) = period_before(period, zone.parse().unwrap(), at(moment)).unwrap();
            [from, to].map(|time| time.to_string().replace(":00.000000Z", ""))
        };
        assert_eq!(of(Period::Day, "UTC", "2026-11-26T00:00:05"), ["2026-11-25T00:00", "2026-11-26T00:00"]);
        // The day on which Berlin's clocks are put back has 25 hours.
        assert_eq!(of(Period::Day, "Europe/Berlin", "2026-10-26T06:00:00"), ["2026-10-24T22:00", "2026-10-25T23:00"]);
        assert_eq!(of(Period::Week, "UTC", "2026-11-26T08:00:00"), ["2026-11-16T00:00", "2026-11-23T00:00"]);
        assert_eq!(of(Period::Month, "Asia/Kolkata", "2026-02-28T20:00:00"), ["2026-01-31T18:30", "2026-02-28T18:30"]);
    }
}
