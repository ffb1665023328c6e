//! Nobody evaluated alerts for a while. Another part of the platform saw it, and told it when it was so.

use events::{
    Decimal, Event,
    alert::{Labels, Severity},
    desk::DeskEvent,
};

use super::{Rule, keep};
use crate::engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading};

pub(crate) struct DeadMan;

impl Rule for DeadMan {
    const KIND: Kind = Kind {
        name: "dead_man",
        version: 3,
        about: "nobody evaluates alerts, or not those of every client",
        of: Of::Desk,
        names: Names::NOTHING,
        // Longer than the silence that is told: one beat between two of them is no life.
        parameters: &[keep("45")],
        ends: Ends::WhenClear,
        while_wanted: false,
        inhibited_by: None,
    };

    type Memory = ();

    fn hear(_: &mut (), hearing: &mut Hearing<'_>) {
        let Event::Desk(told) = &hearing.event.event else { return };
        if let DeskEvent::AlertsSilent { since, at } = told {
            let summary = format!("nobody has evaluated some client's alerts since {since}");
            let silent = Decimal::new(i128::from(at.micros() - since.micros()), 6);
            let reading = Reading::new(Condition::Above(Severity::Critical), summary);
            hearing.say(Labels::default(), reading.with("silent", silent, Some(Decimal::from_int(30)), "s"));
        } else if let DeskEvent::AlertsBack { .. } = told {
            hearing.say(Labels::default(), Reading::clear());
        }
    }
}
