//! Something that was to be done by the clock was not.

use events::{
    Decimal, Event,
    alert::{Labels, Severity},
    schedule::{Outcome, ScheduleEvent},
};

use super::{Rule, number};
use crate::engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading};

pub(crate) struct ScheduledRunFailed;

impl Rule for ScheduledRunFailed {
    const KIND: Kind = Kind {
        name: "scheduled_run_failed",
        version: 1,
        about: "a run of a schedule was missed, or what it wanted was refused",
        of: Of::Clients,
        names: Names::THING,
        parameters: &[number("lasts_s", "s", ["1", "900", "86400"], "how long it is shown")],
        ends: Ends::Passing,
        while_wanted: false,
        inhibited_by: None,
    };

    type Memory = ();

    fn hear(_: &mut (), hearing: &mut Hearing<'_>) {
        let Event::Schedule(told) = &hearing.event.event else { return };
        let labels = Labels::about(hearing.event.aggregate.id.clone());
        let (summary, what, runs) = match told {
            ScheduleEvent::ScheduleMissed { due, runs, .. } => {
                (format!("{runs} runs were missed, the first at {due}"), "missed", *runs)
            }
            ScheduleEvent::ScheduleRan { due, outcome: Outcome::Refused { reason }, .. } => {
                (format!("the run of {due} was refused: {reason}"), "refused", 1)
            }
            ScheduleEvent::ScheduleRan { outcome: Outcome::Wanted { .. }, .. }
            | ScheduleEvent::ScheduleSet { .. }
            | ScheduleEvent::ScheduleSwitched { .. }
            | ScheduleEvent::ScheduleTriggered { .. }
            | ScheduleEvent::ScheduleEnded { .. } => return,
        };
        let runs = Decimal::from_int(i64::try_from(runs).unwrap_or(i64::MAX));
        let reading = Reading::new(Condition::Above(Severity::Warning), summary);
        hearing.say(labels, reading.with(what, runs, Some(Decimal::ZERO), "runs"));
    }
}
