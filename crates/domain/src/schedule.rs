//! A schedule's life: set, switched, triggered, over. Which moments its clock names, and which of them were missed, is
//! decided here from the expression alone; whoever looks at a clock says only what time it is.

use std::num::NonZeroU32;

use chrono::{
    DateTime, Datelike, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Timelike, Utc,
};
use croner::{Cron, errors::CronError, parser::CronParser};
use events::{
    Slug, Time, Zone,
    schedule::{Action, Missed, Outcome, Period, ScheduleEvent, When},
};
use serde::{Deserialize, Serialize};

use crate::line::{LINE_MAX, is_line};

/// A run that is taken up within this long after its time was not missed.
pub const PUNCTUAL_US: i64 = 60_000_000;
/// Clocks are looked at no further ahead than this.
const AHEAD_MAX_US: i64 = 10 * 366 * 86_400 * 1_000_000;
/// Moments that are gone through at one look: after a year of nobody there, there may be half a million.
const AT_ONCE_MAX: u64 = 10_000;
const EXPRESSION_MAX: usize = 100;
/// Clocks are put forward or back by less than this.
const NEAR: TimeDelta = TimeDelta::hours(4);

/// What can be wanted of a schedule, and what its clock brings.
#[derive(Debug, Clone)]
pub enum ScheduleCommand {
    Set {
        name: Slug,
        action: Action,
        when: When,
        missed: Missed,
        at: Time,
    },
    /// All of it anew, but its name.
    Change {
        action: Action,
        when: When,
        missed: Missed,
        at: Time,
    },
    Switch {
        on: bool,
        at: Time,
    },
    /// It is so late by now.
    Look {
        at: Time,
    },
    Ran {
        due: Time,
        outcome: Outcome,
        at: Time,
    },
    End {
        reason: String,
        at: Time,
    },
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleRefusal {
    #[error("there is no such schedule")]
    NotThere,
    #[error("there is a schedule of this name already: change it, or end it first")]
    AlreadyThere,
    #[error("it is so already")]
    AlreadySo,
    #[error("expression: {0}; say five fields: minute, hour, day of the month, month, day of the week")]
    Expression(String),
    #[error("when: its time never comes, or has passed")]
    Never,
    #[error("nobody has taken this run up")]
    NotTriggered,
    #[error("a reason is one line of 1 to {LINE_MAX} characters")]
    Reason,
}

/// What a decision about a schedule must know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    set: Option<Set>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Set {
    name: Slug,
    action: Action,
    when: When,
    missed: Missed,
    on: bool,
    /// Every moment up to here was taken up, missed, or before its time.
    looked: Time,
    /// What was taken up, and not carried out yet: as it was meant then.
    under_way: Option<(Time, Action)>,
}

impl Schedule {
    /// Decides a command.
    pub fn decide(&self, command: ScheduleCommand) -> Result<Vec<ScheduleEvent>, ScheduleRefusal> {
        match command {
            ScheduleCommand::Set { .. } if self.set.is_some() => Err(ScheduleRefusal::AlreadyThere),
            ScheduleCommand::Set { name, action, when, missed, at } => {
                next(&when, at)?.ok_or(ScheduleRefusal::Never)?;
                Ok(vec![ScheduleEvent::ScheduleSet { name, action, when, missed, at }])
            }
            ScheduleCommand::Change { action, when, missed, at } => {
                let name = self.set()?.name.clone();
                next(&when, at)?.ok_or(ScheduleRefusal::Never)?;
                Ok(vec![ScheduleEvent::ScheduleSet { name, action, when, missed, at }])
            }
            ScheduleCommand::Switch { on, at } => match self.set()?.on == on {
                true => Err(ScheduleRefusal::AlreadySo),
                false => Ok(vec![ScheduleEvent::ScheduleSwitched { on, at }]),
            },
            ScheduleCommand::Look { at } => self.look(at),
            ScheduleCommand::Ran { due, outcome, at } => match self.under_way() {
                Some((_, under_way)) if under_way == due => Ok(vec![ScheduleEvent::ScheduleRan { due, outcome, at }]),
                Some(_) | None => Err(ScheduleRefusal::NotTriggered),
            },
            ScheduleCommand::End { reason, at } => {
                self.set()?;
                let fine = is_line(&reason, 1..=LINE_MAX);
                if fine { Ok(vec![ScheduleEvent::ScheduleEnded { reason, at }]) } else { Err(ScheduleRefusal::Reason) }
            }
        }
    }

    /// What has become due: the last moment of all that passed is taken up, if it is not too late; the others were missed.
    fn look(&self, at: Time) -> Result<Vec<ScheduleEvent>, ScheduleRefusal> {
        let set = self.set()?;
        if !set.on || set.under_way.is_some() {
            return Ok(Vec::new());
        }
        let Some(Passed { first, before_last, last, runs, more }) = passed(&set.when, set.looked, at)? else {
            return Ok(Vec::new());
        };
        if more {
            return Ok(vec![ScheduleEvent::ScheduleMissed { due: first, last, runs, at }]);
        }
        let punctual = at.micros() - last.micros() <= PUNCTUAL_US;
        let taken_up = punctual || set.missed == Missed::RunOnce;
        let missed = match (taken_up, before_last) {
            (true, None) => None,
            (true, Some(before_last)) => Some((before_last, runs - 1)),
            (false, _) => Some((last, runs)),
        };
        let missed = missed.map(|(last, runs)| ScheduleEvent::ScheduleMissed { due: first, last, runs, at });
        let triggered = taken_up.then_some(ScheduleEvent::ScheduleTriggered { due: last, at });
        Ok(missed.into_iter().chain(triggered).collect())
    }

    fn set(&self) -> Result<&Set, ScheduleRefusal> {
        self.set.as_ref().ok_or(ScheduleRefusal::NotThere)
    }

    /// What was taken up and is to be carried out.
    pub fn under_way(&self) -> Option<(&Action, Time)> {
        self.set.as_ref()?.under_way.as_ref().map(|(due, action)| (action, *due))
    }

    /// Why what was taken up is not carried out any more, if somebody comes to it so late; absent: it still is.
    pub fn too_late(&self, now: Time) -> Option<&'static str> {
        let set = self.set.as_ref()?;
        let due = set.under_way.as_ref().map(|(due, _)| *due)?;
        if !set.on {
            Some("the schedule was switched off before it was carried out")
        } else if set.missed == Missed::Skip && now.micros() - due.micros() > PUNCTUAL_US {
            Some("nobody came to it in time, and what is late is skipped")
        } else {
            None
        }
    }

    /// By whose midnight its days begin.
    pub fn zone(&self) -> Zone {
        match self.set.as_ref().map(|set| &set.when) {
            Some(When::Cron { zone, .. }) => *zone,
            Some(When::Once { .. }) | None => Zone(chrono_tz::UTC),
        }
    }

    /// When it has to be looked at next; absent: never again.
    pub fn due(&self) -> Option<Time> {
        let set = self.set.as_ref().filter(|set| set.on)?;
        next(&set.when, set.looked).ok().flatten()
    }

    /// Takes in what happened.
    pub fn remember(&mut self, event: ScheduleEvent) {
        if let ScheduleEvent::ScheduleSet { name, action, when, missed, at } = event {
            let before = self.set.take();
            // Clocks of several machines differ a little: what was taken up is not taken up again.
            let looked = before.as_ref().map_or(at, |set| set.looked.max(at));
            let (on, under_way) = before.map_or((true, None), |set| (set.on, set.under_way));
            self.set = Some(Set { name, action, when, missed, on, looked, under_way });
        } else if let ScheduleEvent::ScheduleEnded { .. } = event {
            self.set = None;
        } else if let Some(set) = &mut self.set {
            set.remember(&event);
        }
    }
}

impl Set {
    fn remember(&mut self, event: &ScheduleEvent) {
        match event {
            // What passed while it rested was not missed: nobody wanted it.
            ScheduleEvent::ScheduleSwitched { on, at } => (self.on, self.looked) = (*on, self.looked.max(*at)),
            ScheduleEvent::ScheduleTriggered { due, .. } => {
                (self.looked, self.under_way) = (*due, Some((*due, self.action.clone())));
            }
            ScheduleEvent::ScheduleRan { .. } => self.under_way = None,
            ScheduleEvent::ScheduleMissed { last, .. } => self.looked = *last,
            ScheduleEvent::ScheduleSet { .. } | ScheduleEvent::ScheduleEnded { .. } => {}
        }
    }
}

/// The moments that passed between two looks.
struct Passed {
    first: Time,
    before_last: Option<Time>,
    last: Time,
    runs: u64,
    /// There are more: they are left to the next look.
    more: bool,
}

fn passed(when: &When, looked: Time, now: Time) -> Result<Option<Passed>, ScheduleRefusal> {
    let clock = Clock::of(when)?;
    let mut all: Option<Passed> = None;
    let mut from = looked;
    while let Some(due) = clock.next(from).filter(|due| *due <= now) {
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
    Ok(all)
}

/// What names the moments. Where clocks are put forward, a time of the day that is not there comes when they are; where they are
/// put back, one that is there twice comes at the first. What runs in each hour goes by the hours that pass: it leaves none out
/// and has each of them.
enum Clock {
    Once(Time),
    Cron { cron: Box<Cron>, zone: Zone, each_hour: bool },
}

impl Clock {
    fn of(when: &When) -> Result<Self, ScheduleRefusal> {
        match when {
            When::Once { at } => Ok(Self::Once(*at)),
            When::Cron { expression, zone } => {
                let each_hour = expression.split_whitespace().nth(1).is_some_and(|hour| hour.starts_with('*'));
                Ok(Self::Cron { cron: Box::new(read(expression)?), zone: *zone, each_hour })
            }
        }
    }

    /// The next moment after another one; absent: there is none.
    fn next(&self, after: Time) -> Option<Time> {
        match self {
            Self::Once(at) => Some(*at).filter(|at| *at > after),
            Self::Cron { cron, zone, each_hour } => {
                let due = next_of(cron, *zone, *each_hour, utc(after)?)?;
                let due = Time::from_micros(due.timestamp_micros()).ok()?;
                (1..=AHEAD_MAX_US).contains(&(due.micros() - after.micros())).then_some(due)
            }
        }
    }
}

/// The next moment after another one; absent: there is none.
pub fn next(when: &When, after: Time) -> Result<Option<Time>, ScheduleRefusal> {
    Clock::of(when).map(|clock| clock.next(after))
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

/// The moments to come, so many of them.
pub fn upcoming(when: &When, after: Time, count: NonZeroU32) -> Vec<Time> {
    let Ok(clock) = Clock::of(when) else { return Vec::new() };
    let ahead = |from: &Time| clock.next(*from);
    std::iter::successors(ahead(&after), ahead).take(count.get() as usize).collect()
}

/// Five fields, none of which is empty in part: of nothing there is never one, and that takes long to find out.
fn read(expression: &str) -> Result<Cron, ScheduleRefusal> {
    let bad = |why: &str| ScheduleRefusal::Expression(why.to_owned());
    if expression.len() > EXPRESSION_MAX {
        return Err(bad("it is too long"));
    }
    if expression.contains('@') || expression.split_whitespace().any(|field| field.split(',').any(str::is_empty)) {
        return Err(bad("a part of it is empty, or a word"));
    }
    let parser = CronParser::builder().seconds(croner::parser::Seconds::Disallowed).build();
    parser.parse(expression).map_err(|bad: CronError| ScheduleRefusal::Expression(bad.to_string()))
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

crate::aggregate!(Schedule, "schedule", ScheduleCommand, ScheduleEvent, ScheduleRefusal);

#[cfg(test)]
mod tests {
    use events::{BotId, Uuid};
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Time {
        format!("{text}Z").parse().unwrap()
    }

    fn cron(expression: &str, zone: &str) -> When {
        When::Cron { expression: expression.into(), zone: zone.parse().unwrap() }
    }

    fn start() -> Action {
        Action::Start { bot: BotId(Uuid::from_u128(2)) }
    }

    fn set(when: When, missed: Missed, since: &str) -> ScheduleEvent {
        let name = "weekdays".parse().unwrap();
        ScheduleEvent::ScheduleSet { name, action: start(), when, missed, at: at(since) }
    }

    fn of(given: impl IntoIterator<Item = ScheduleEvent>) -> Schedule {
        let mut schedule = Schedule::default();
        given.into_iter().for_each(|event| schedule.remember(event));
        schedule
    }

    fn look(schedule: &Schedule, now: &str) -> Vec<ScheduleEvent> {
        schedule.decide(ScheduleCommand::Look { at: at(now) }).unwrap()
    }

    fn days(when: &When, since: &str, count: u32) -> Vec<String> {
        let all = upcoming(when, at(since), NonZeroU32::new(count).unwrap());
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
        // Asked for after the first of two, the next one is not before.
        let weekly = days(&cron("30 2 * * 0", "Europe/Berlin"), "2026-10-25T01:15:00", 1);
        assert_eq!(weekly, ["2026-11-01T01:30"]);
        let daily = days(&cron("30 2 * * *", "Europe/Berlin"), "2026-10-25T01:15:00", 1);
        assert_eq!(daily, ["2026-10-26T01:30"]);
    }

    #[test]
    fn a_year_of_minutes_that_nobody_saw_is_told_in_parts() {
        let mut schedule = of([set(cron("* * * * *", "UTC"), Missed::RunOnce, "2025-11-26T00:00:00")]);
        let (mut told, mut looks) = (0, 0);
        while schedule.under_way().is_none() {
            for event in look(&schedule, "2026-11-26T00:00:00") {
                told += if let ScheduleEvent::ScheduleMissed { runs, .. } = &event { *runs } else { 1 };
                schedule.remember(event);
            }
            looks += 1;
        }
        assert_eq!((told, looks), (365 * 1_440, 53));
    }

    #[test]
    fn what_was_taken_up_and_left_is_not_carried_out_much_later_where_late_is_skipped_or_it_is_off() {
        let since = "2026-11-26T00:00:00";
        let due = at("2026-11-26T01:00:00");
        let taken = ScheduleEvent::ScheduleTriggered { due, at: due };
        let late = at("2026-11-26T09:00:00");
        for (missed, refused) in [(Missed::Skip, true), (Missed::RunOnce, false)] {
            let mut schedule = of([set(cron("0 1 * * *", "UTC"), missed, since), taken.clone()]);
            assert_eq!((schedule.too_late(due), schedule.too_late(late).is_some()), (None, refused));
            schedule.remember(ScheduleEvent::ScheduleSwitched { on: false, at: late });
            assert!(schedule.too_late(due).is_some());
        }
    }

    #[test]
    fn what_is_no_clock_is_told_so() {
        let refused = |when| {
            let name = "x".parse().unwrap();
            let command = ScheduleCommand::Set {
                name,
                action: start(),
                when,
                missed: Missed::Skip,
                at: at("2026-01-01T00:00:00"),
            };
            Schedule::default().decide(command).unwrap_err()
        };
        for bad in [
            ", * * * *",
            "1,,2 * * * *",
            "@hourly",
            &"1,".repeat(60),
            "",
            "* * * *",
            "61 * * * *",
            "* * * * * *",
            "every day",
            "0 0 0 * *",
        ] {
            let refusal = refused(cron(bad, "UTC"));
            assert!(matches!(refusal, ScheduleRefusal::Expression(_)), "{bad}: {refusal:?}");
        }
        assert_eq!(refused(cron("0 0 31 2 *", "UTC")), ScheduleRefusal::Never);
        assert_eq!(refused(When::Once { at: at("2025-12-31T23:59:59") }), ScheduleRefusal::Never);
    }

    #[test]
    fn a_run_is_taken_up_once_and_the_next_one_only_when_it_is_done() {
        let since = "2026-11-26T00:00:00";
        let mut schedule = of([set(cron("0 * * * *", "UTC"), Missed::RunOnce, since)]);
        assert_eq!(look(&schedule, "2026-11-26T00:59:59"), []);
        let (due, now) = (at("2026-11-26T01:00:00"), at("2026-11-26T01:00:01"));
        let triggered = ScheduleEvent::ScheduleTriggered { due, at: now };
        assert_eq!(look(&schedule, "2026-11-26T01:00:01"), std::slice::from_ref(&triggered));
        schedule.remember(triggered);
        assert_eq!(look(&schedule, "2026-11-26T02:00:01"), []);
        assert_eq!(schedule.under_way(), Some((&start(), due)));
        let ran = |due| ScheduleCommand::Ran { due, outcome: Outcome::Wanted { seq: Some(7) }, at: now };
        assert_eq!(schedule.decide(ran(now)), Err(ScheduleRefusal::NotTriggered));
        schedule.decide(ran(due)).unwrap().into_iter().for_each(|event| schedule.remember(event));
        assert_eq!(schedule.decide(ran(due)), Err(ScheduleRefusal::NotTriggered));
        assert_eq!(schedule.due(), Some(at("2026-11-26T02:00:00")));
    }

    #[test]
    fn what_was_missed_is_told_and_carried_out_once_or_not_at_all() {
        let (since, now) = ("2026-11-26T00:00:00", "2026-11-26T05:30:00");
        let missed = |last: &str, runs| ScheduleEvent::ScheduleMissed {
            due: at("2026-11-26T01:00:00"),
            last: at(last),
            runs,
            at: at(now),
        };
        let late = ScheduleEvent::ScheduleTriggered { due: at("2026-11-26T05:00:00"), at: at(now) };
        let hourly = || cron("0 * * * *", "UTC");
        let once = of([set(hourly(), Missed::RunOnce, since)]);
        assert_eq!(look(&once, now), [missed("2026-11-26T04:00:00", 4), late]);
        let mut skip = of([set(hourly(), Missed::Skip, since)]);
        assert_eq!(look(&skip, now), [missed("2026-11-26T05:00:00", 5)]);
        skip.remember(missed("2026-11-26T05:00:00", 5));
        assert_eq!(look(&skip, now), []);
        // One that is on time is carried out whatever was missed before it.
        let skip = of([set(hourly(), Missed::Skip, since)]);
        let on_time = "2026-11-26T05:00:30";
        let [told, taken] = &*look(&skip, on_time) else { panic!("two events") };
        assert!(matches!(told, ScheduleEvent::ScheduleMissed { runs: 4, .. }), "{told:?}");
        assert!(matches!(taken, ScheduleEvent::ScheduleTriggered { .. }), "{taken:?}");
    }

    #[test]
    fn what_passes_while_it_rests_is_not_missed_and_once_is_once() {
        let switched = |on, text| ScheduleEvent::ScheduleSwitched { on, at: at(text) };
        let hourly = set(cron("0 * * * *", "UTC"), Missed::RunOnce, "2026-11-26T00:00:00");
        let rests = of([hourly, switched(false, "2026-11-26T00:30:00")]);
        assert_eq!((look(&rests, "2026-11-26T05:30:00"), rests.due()), (vec![], None));
        let mut back = rests;
        back.remember(switched(true, "2026-11-26T05:30:00"));
        assert_eq!((look(&back, "2026-11-26T05:31:00"), back.due()), (vec![], Some(at("2026-11-26T06:00:00"))));
        let due = at("2026-11-26T01:00:00");
        let mut once = of([set(When::Once { at: due }, Missed::RunOnce, "2026-11-26T00:00:00")]);
        once.remember(ScheduleEvent::ScheduleTriggered { due, at: due });
        once.remember(ScheduleEvent::ScheduleRan { due, outcome: Outcome::Wanted { seq: None }, at: due });
        assert_eq!((look(&once, "2026-11-26T05:30:00"), once.due()), (vec![], None));
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

    proptest! {
        #[test]
        fn however_often_somebody_looks_each_moment_is_taken_up_or_missed_once(
            steps in prop::collection::vec(1_i64..7_200, 1..60),
            skip in any::<bool>(),
        ) {
            let missed = if skip { Missed::Skip } else { Missed::RunOnce };
            let when = cron("*/15 * * * *", "Europe/Berlin");
            let begin = at("2026-10-24T20:00:00");
            let mut schedule = of([set(when.clone(), missed, "2026-10-24T20:00:00")]);
            let (mut now, mut told) = (begin, 0_u64);
            for step in steps {
                now = now.plus_micros(step * 1_000_000);
                for event in schedule.decide(ScheduleCommand::Look { at: now }).unwrap() {
                    told += if let ScheduleEvent::ScheduleMissed { runs, .. } = &event { *runs } else { 1 };
                    schedule.remember(event);
                }
                if let Some((_, due)) = schedule.under_way() {
                    schedule.remember(ScheduleEvent::ScheduleRan { due, outcome: Outcome::Wanted { seq: None }, at: now });
                }
            }
            let all = passed(&when, begin, now).unwrap().map_or(0, |passed| passed.runs);
            prop_assert_eq!(told, all);
        }
    }
}
