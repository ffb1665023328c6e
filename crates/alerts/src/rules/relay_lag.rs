//! NATS is behind the streams.

use super::{Rule, keep, lag, number, wait, wait_critical};
use crate::engine::{Ends, Hearing, Kind, Names, Of};

pub(crate) struct RelayLag;

impl Rule for RelayLag {
    const KIND: Kind = Kind {
        name: "relay_lag",
        version: 1,
        about: "what is published on NATS is far behind the streams: subscribers hear late",
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
        lag::say(hearing, "relay", "the relay");
    }
}
