//! Read models are behind the streams.

use events::{
    Decimal, Event,
    alert::{Labels, Severity},
    desk::DeskEvent,
};

use super::{Rule, keep, number, wait, wait_critical};
use crate::engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading};

pub(crate) struct ProjectionLag;

impl Rule for ProjectionLag {
    const KIND: Kind = Kind {
        name: "projection_lag",
        version: 1,
        about: "a read model is far behind the streams: dashboards say that they are stale",
        of: Of::Desk,
        names: Names::THING,
        parameters: &[
            number("events", "events", ["1", "500", "1000000"], "so many events behind is too far"),
            number("age_s", "s", ["1", "5", "3600"], "so long behind is too far"),
            number("clear_events", "events", ["0", "50", "1000000"], "fewer than this are well").up_to("events"),
            number("clear_age_s", "s", ["0", "2", "3600"], "less than this is well").up_to("age_s"),
            wait("10"),
            wait_critical("60"),
            keep("0"),
        ],
        ends: Ends::WhenClear,
        while_wanted: false,
        inhibited_by: None,
    };

    type Memory = ();

    fn hear(_: &mut (), hearing: &mut Hearing<'_>) {
        say(hearing, "projection:", "read model");
    }
}

/// Says how far parts are behind whose names begin so.
pub(super) fn say(hearing: &mut Hearing<'_>, of: &str, what: &str) {
    let Event::Desk(DeskEvent::LagObserved { part, events, age_us, .. }) = &hearing.event.event else { return };
    let Some(name) = part.strip_prefix(of) else { return };
    let labels = Labels::about(part.clone());
    let behind = Decimal::from_int(i64::try_from(*events).unwrap_or(i64::MAX));
    let age = Decimal::new((*age_us).into(), 6);
    let [many, long, few, short] =
        ["events", "age_s", "clear_events", "clear_age_s"].map(|name| hearing.parameter(&labels, name));
    let now = if behind > many || age > long {
        Condition::Above(Severity::Critical)
    } else if behind < few && age < short {
        Condition::Clear
    } else {
        Condition::Between
    };
    let summary = format!("{what} {name} is {behind} events and {} s behind", age.rounded(1));
    let reading = Reading::new(now, summary.replace("  ", " ")).with("behind", behind, Some(many), "events").with(
        "age",
        age,
        Some(long),
        "s",
    );
    hearing.say(labels, reading);
}
