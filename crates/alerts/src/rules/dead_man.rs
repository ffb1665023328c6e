//! Nobody evaluated alerts for a while. Another part of the platform saw it, and told it when it was so.

use events::{
    Event,
    alert::{Labels, Severity},
    desk::DeskEvent,
};

use super::{Rule, keep};
use crate::engine::{Condition, Ends, Hearing, Kind, Of, Reading};

pub(crate) struct DeadMan;

impl Rule for DeadMan {
    const KIND: Kind = Kind {
        name: "dead_man",
        version: 1,
        about: "nobody evaluates alerts",
        of: Of::Desk,
        parameters: &[keep("20")],
        ends: Ends::WhenClear,
        while_wanted: false,
        inhibited_by: None,
    };

    type Memory = ();

    fn hear(_: &mut (), hearing: &mut Hearing<'_>) {
        let Event::Desk(told) = &hearing.event.event else { return };
        if let DeskEvent::AlertsSilent { since, .. } = told {
            let summary = format!("nobody has evaluated alerts since {since}");
            hearing.say(Labels::default(), Reading::new(Condition::Above(Severity::Critical), summary));
        } else if let DeskEvent::AlertsBack { .. } = told {
            hearing.say(Labels::default(), Reading::clear());
        }
    }
}
