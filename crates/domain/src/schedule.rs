//! A schedule's life: set, switched, triggered, over. What is due, and what was missed, is decided here from its timetable
//! alone; whoever looks at a clock says only what time it is.

use events::{
    Slug, Time, Zone,
    schedule::{Action, Missed, Outcome, ScheduleEvent, When},
};
use serde::{Deserialize, Serialize};

use crate::{
    line::{LINE_MAX, is_line},
    timetable::{BadExpression, Passed, Timetable},
};

/// A run that is taken up within this long after its time was not missed.
pub const PUNCTUAL_US: i64 = 60_000_000;

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

/// Between two reports of one schedule, and how many of them are looked at: more than a day has hours.
const REPORT_EVERY_US: i64 = 3_600_000_000;
const REPORTS_LOOKED_AT: usize = 50;

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleRefusal {
    #[error("there is no such schedule")]
    NotThere,
    #[error("there is a schedule of this name already: change it, or end it first")]
    AlreadyThere,
    #[error("it is so already")]
    AlreadySo,
    #[error(transparent)]
    Expression(#[from] BadExpression),
    #[error("when: its time never comes, or has passed")]
    Never,
    #[error("when: a report comes once an hour at most")]
    TooOften,
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
                possible(&action, &when, at)?;
                Ok(vec![ScheduleEvent::ScheduleSet { name, action, when, missed, at }])
            }
            ScheduleCommand::Change { action, when, missed, at } => {
                let name = self.set()?.name.clone();
                possible(&action, &when, at)?;
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
        let Some(Passed { first, before_last, last, runs, more }) = Timetable::of(&set.when)?.passed(set.looked, at)
        else {
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

    /// The run that whoever looks at it now would take up, or has taken up and not carried out yet; absent: none.
    pub fn latest(&self, now: Time) -> Option<Time> {
        let set = self.set.as_ref()?;
        let under_way = set.under_way.as_ref().map(|(due, _)| *due);
        let passed = || Timetable::of(&set.when).ok()?.passed(set.looked, now).map(|passed| passed.last);
        under_way.or_else(|| passed().filter(|_| set.on))
    }

    /// What it does; absent: it is over.
    pub fn action(&self) -> Option<&Action> {
        self.set.as_ref().map(|set| &set.action)
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
        Timetable::of(&set.when).ok()?.next(set.looked)
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

/// It comes, and calls nobody to the reports of one time again and again.
fn possible(action: &Action, when: &When, at: Time) -> Result<(), ScheduleRefusal> {
    let timetable = Timetable::of(when)?;
    let first = timetable.next(at).ok_or(ScheduleRefusal::Never)?;
    let Action::Report { .. } = action else { return Ok(()) };
    let runs = std::iter::successors(Some(first), |run| timetable.next(*run)).take(REPORTS_LOOKED_AT);
    let runs: Vec<Time> = runs.collect();
    let near = runs.windows(2).filter(|two| two[1].micros() - two[0].micros() < REPORT_EVERY_US).count();
    // Where clocks are put forward, two may come near to each other once.
    if near > 1 { Err(ScheduleRefusal::TooOften) } else { Ok(()) }
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

crate::aggregate!(Schedule, "schedule", ScheduleCommand, ScheduleEvent, ScheduleRefusal);

#[cfg(test)]
mod tests {
    use events::{BotId, ChannelId, Uuid, schedule::Period};
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
            "0 0 31 2 *",
            // There is none in any year, which takes long to find out by looking.
            "0 0 31 2,4,6,9,11 *",
        ] {
            let refusal = refused(cron(bad, "UTC"));
            assert!(matches!(refusal, ScheduleRefusal::Expression(_)), "{bad}: {refusal:?}");
        }
        assert_eq!(refused(When::Once { at: at("2025-12-31T23:59:59") }), ScheduleRefusal::Never);
    }

    #[test]
    fn reports_come_once_an_hour_at_most() {
        let set = |expression: &str| {
            let (channel, period) = (ChannelId(Uuid::from_u128(3)), Period::Day);
            let command = ScheduleCommand::Set {
                name: "daily".parse().unwrap(),
                action: Action::Report { channel, period },
                when: cron(expression, "Europe/Berlin"),
                missed: Missed::Skip,
                at: at("2026-03-20T00:00:00"),
            };
            Schedule::default().decide(command).map(|events| events.len())
        };
        for often in ["* * * * *", "*/30 * * * *", "0,59 8 * * *", "0 8 * * *,"] {
            assert!(set(often).is_err(), "{often}");
        }
        assert_eq!(set("0,30 8 * * *"), Err(ScheduleRefusal::TooOften));
        for fine in ["0 * * * *", "30 8 * * 1-5", "0 0 1 * *", "0 0 29 2 *", "30 1,2 * * *"] {
            assert_eq!(set(fine), Ok(1), "{fine}");
        }
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
            let all = Timetable::of(&when).unwrap().passed(begin, now).map_or(0, |passed| passed.runs);
            prop_assert_eq!(told, all);
        }
    }
}
