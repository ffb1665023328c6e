//! Nothing has been heard of a bot that runs.

use std::collections::BTreeMap;

use events::{
    BotId, Decimal, Event, Time,
    alert::{Labels, Severity},
    bot::BotEvent,
};

use super::{Rule, keep, micros, number};
use crate::engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading};

pub(crate) struct HeartbeatLost;

impl Rule for HeartbeatLost {
    const KIND: Kind = Kind {
        name: "heartbeat_lost",
        version: 3,
        about: "a bot that runs gives no sign of life",
        of: Of::Clients,
        names: Names::BOT,
        parameters: &[
            number(
                "least_s",
                "s",
                ["30", "30", "86400"],
                "a shorter silence is none: three signs of life, and half a minute",
            ),
            number("critical_s", "s", ["30", "120", "86400"], "a silence that is critical").from("least_s"),
            // Longer than any silence: a bot that says one word a minute is not well.
            keep("45"),
        ],
        ends: Ends::WhenClear,
        while_wanted: true,
        inhibited_by: Some("hummingbot_down"),
    };

    /// The bots that are silent, and when each was heard of last.
    type Memory = BTreeMap<BotId, (Time, u64)>;

    fn hear(memory: &mut Self::Memory, hearing: &mut Hearing<'_>) {
        if hearing.is_configured() {
            return memory.iter().for_each(|(bot, silent)| say(*bot, *silent, hearing));
        }
        let Event::Bot(told) = &hearing.event.event else { return };
        let Ok(bot) = hearing.event.aggregate.id.parse::<BotId>() else { return };
        if let BotEvent::BotSilent { last_seen, .. } = told {
            let silent = (*last_seen, hearing.event.seq);
            memory.insert(bot, silent);
            say(bot, silent, hearing);
        } else if let BotEvent::BotSeenAlive { .. }
        | BotEvent::BotStopped { .. }
        | BotEvent::BotDeployRequested { .. } = told
        {
            memory.remove(&bot);
            let labels = Labels::bot(bot);
            let least = hearing.parameter(&labels, "least_s");
            hearing.say(labels, Reading::clear().with("silent", Decimal::ZERO, Some(least), "s"));
        }
    }
}

fn say(bot: BotId, (last_seen, seq): (Time, u64), hearing: &mut Hearing<'_>) {
    let labels = Labels::bot(bot);
    let [least, critical] = ["least_s", "critical_s"].map(|name| hearing.parameter(&labels, name));
    let silent = Decimal::new(i128::from(hearing.at.micros() - last_seen.micros()), 6);
    let summary = format!("{} has not been heard of since {last_seen}", hearing.world.name(bot));
    let so = |severity, silent, least| {
        Reading::new(Condition::Above(severity), summary.clone()).with("silent", silent, Some(least), "s").by([seq])
    };
    let reached = |step| last_seen.plus_micros(micros(step));
    let worse = so(Severity::Critical, critical, critical);
    let reading = if silent >= least {
        so(Severity::Warning, silent, least)
    } else {
        Reading::new(Condition::Between, "").by([seq]).then_shown(reached(least), so(Severity::Warning, least, least))
    };
    hearing.say(labels, reading.then_shown(reached(critical), worse));
}
