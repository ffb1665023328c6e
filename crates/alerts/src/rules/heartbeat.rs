//! Nothing has been heard of a bot that runs.

use events::{
    BotId, Decimal, Event,
    alert::{Labels, Severity},
    bot::BotEvent,
};

use super::{Rule, keep, number, seconds};
use crate::engine::{Condition, Ends, Hearing, Kind, Of, Reading};

pub(crate) struct HeartbeatLost;

impl Rule for HeartbeatLost {
    const KIND: Kind = Kind {
        name: "heartbeat_lost",
        version: 1,
        about: "a bot that runs gives no sign of life",
        of: Of::Clients,
        parameters: &[
            number("critical_s", "s", ["30", "120", "86400"], "a silence that is critical"),
            keep("20"),
        ],
        ends: Ends::WhenClear,
        while_wanted: true,
        inhibited_by: Some("hummingbot_down"),
    };

    type Memory = ();

    fn hear(_: &mut (), hearing: &mut Hearing<'_>) {
        let Event::Bot(told) = &hearing.event.event else { return };
        let Ok(bot) = hearing.event.aggregate.id.parse::<BotId>() else { return };
        let labels = Labels::bot(bot);
        if let BotEvent::BotSilent { last_seen, .. } = told {
            let critical = last_seen.plus_micros(seconds(hearing.parameter(&labels, "critical_s")));
            let silent = Decimal::new(i128::from(hearing.at.micros() - last_seen.micros()), 6);
            let summary = format!("{} has not been heard of since {last_seen}", hearing.world.name(bot));
            let reading = Reading::new(Condition::Above(Severity::Warning), summary)
                .with("silent", silent, None, "s")
                .then(critical, Condition::Above(Severity::Critical));
            hearing.say(labels, reading);
        } else if let BotEvent::BotSeenAlive { .. } | BotEvent::BotStopped { .. } = told {
            hearing.say(labels, Reading::clear());
        }
    }
}
