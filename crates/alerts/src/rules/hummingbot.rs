//! The Hummingbot API does not answer.

use events::{
    Event,
    alert::{Labels, Severity},
    desk::DeskEvent,
};

use super::{Rule, keep};
use crate::engine::{Condition, Ends, Hearing, Kind, Of, Reading};

pub(crate) struct HummingbotDown;

impl Rule for HummingbotDown {
    const KIND: Kind = Kind {
        name: "hummingbot_down",
        version: 1,
        about: "the Hummingbot API, through which every bot is run, does not answer",
        of: Of::Desk,
        parameters: &[keep("0")],
        ends: Ends::WhenClear,
        while_wanted: false,
        inhibited_by: None,
    };

    type Memory = ();

    fn hear(_: &mut (), hearing: &mut Hearing<'_>) {
        let Event::Desk(told) = &hearing.event.event else { return };
        if let DeskEvent::HummingbotLost { since, reason, .. } = told {
            let summary = format!("the Hummingbot API has not answered since {since}: {reason}");
            hearing.say(Labels::default(), Reading::new(Condition::Above(Severity::Critical), summary));
        } else if let DeskEvent::HummingbotBack { .. } = told {
            hearing.say(Labels::default(), Reading::clear());
        }
    }
}
