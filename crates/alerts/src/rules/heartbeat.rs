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
        version: 2,
        about: "a bot that runs gives no sign of life",
        of: Of::Clients,
        parameters: &[
            number(
                "least_s",
                "s",
                ["30", "30", "86400"],
                "a shorter silence is none: three signs of life, and half a minute",
            ),
            number("critical_s", "s", ["30", "120", "86400"], "a silence that is critical").from("least_s"),
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
            let [least, critical] = ["least_s", "critical_s"].map(|name| hearing.parameter(&labels, name));
            let silent = Decimal::new(i128::from(hearing.at.micros() - last_seen.micros()), 6);
            let summary = format!("{} has not been heard of since {last_seen}", hearing.world.name(bot));
            let so = |severity, silent, least| {
                Reading::new(Condition::Above(severity), summary.clone()).with("silent", silent, Some(least), "s")
            };
            let reached = |step| last_seen.plus_micros(seconds(step));
            let worse = so(Severity::Critical, critical, critical);
            let reading = if silent >= least {
                so(Severity::Warning, silent, least)
            } else {
                Reading::new(Condition::Between, "").then_shown(reached(least), so(Severity::Warning, least, least))
            };
            hearing.say(labels, reading.then_shown(reached(critical), worse));
        } else if let BotEvent::BotSeenAlive { .. } | BotEvent::BotStopped { .. } = told {
            hearing.say(labels, Reading::clear());
        }
    }
}
