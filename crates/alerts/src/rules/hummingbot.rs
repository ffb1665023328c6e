//! The Hummingbot API does not answer.

use events::{
    Decimal, Event,
    alert::{Labels, Severity},
    desk::DeskEvent,
};

use super::{Rule, keep};
use crate::engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading};

pub(crate) struct HummingbotDown;

impl Rule for HummingbotDown {
    const KIND: Kind = Kind {
        name: "hummingbot_down",
        version: 2,
        about: "the Hummingbot API, through which every bot is run, does not answer",
        of: Of::Desk,
        names: Names::NOTHING,
        parameters: &[keep("0")],
        ends: Ends::WhenClear,
        while_wanted: false,
        inhibited_by: None,
    };

    type Memory = ();

    fn hear(_: &mut (), hearing: &mut Hearing<'_>) {
        let Event::Desk(told) = &hearing.event.event else { return };
        if let DeskEvent::HummingbotLost { since, reason, at } = told {
            let summary = format!("the Hummingbot API has not answered since {since}: {reason}");
            let unanswered = Decimal::new(i128::from(at.micros() - since.micros()), 6);
            let reading = Reading::new(Condition::Above(Severity::Critical), summary);
            hearing.say(Labels::default(), reading.with("unanswered", unanswered, None, "s"));
        } else if let DeskEvent::HummingbotBack { .. } = told {
            hearing.say(Labels::default(), Reading::clear());
        }
    }
}
