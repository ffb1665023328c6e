//! Somebody tries to get in who may be somebody else.

use events::{
    Decimal, Event,
    alert::{Labels, Severity},
    desk::DeskEvent,
};

use super::{Rule, number};
use crate::engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading};

pub(crate) struct AuthAnomaly;

impl Rule for AuthAnomaly {
    const KIND: Kind = Kind {
        name: "auth_anomaly",
        version: 2,
        about: "a refresh token came a second time, or many logins of one user failed within ten minutes",
        of: Of::Desk,
        names: Names::THING,
        parameters: &[number("failures", "logins", ["1", "10", "1000"], "so many failed logins are too many")],
        ends: Ends::ByHand,
        while_wanted: false,
        inhibited_by: None,
    };

    type Memory = ();

    fn hear(_: &mut (), hearing: &mut Hearing<'_>) {
        let Event::Desk(told) = &hearing.event.event else { return };
        if let DeskEvent::RefreshReused { user, .. } = told {
            let summary = format!("a refresh token of user {user} is in two hands");
            let reading = Reading::new(Condition::Above(Severity::Critical), summary);
            let (twice, once) = (Decimal::from_int(2), Decimal::ONE);
            hearing.say(Labels::about(user.to_string()), reading.with("used", twice, Some(once), "times"));
        } else if let DeskEvent::LoginsFailed { user, failures, .. } = told {
            let labels = Labels::about(user.to_string());
            let (failed, many) = (Decimal::from_int((*failures).into()), hearing.parameter(&labels, "failures"));
            if failed >= many {
                let summary = format!("{failures} logins of user {user} failed one after the other");
                let reading = Reading::new(Condition::Above(Severity::Warning), summary).with(
                    "failures",
                    failed,
                    Some(many),
                    "logins",
                );
                hearing.say(labels, reading);
            }
        }
    }
}
