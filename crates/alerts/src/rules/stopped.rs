//! A bot stopped and nobody had asked for that.

use std::collections::BTreeMap;

use events::{
    BotId, Decimal, Event, Time,
    alert::{Labels, Severity},
    bot::{BotEvent, ReportedState},
};

use super::{Rule, number, seconds};
use crate::engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading};

pub(crate) struct BotStoppedUnexpectedly;

impl Rule for BotStoppedUnexpectedly {
    const KIND: Kind = Kind {
        name: "bot_stopped_unexpectedly",
        version: 2,
        about: "a bot stopped, or is said to have stopped, and nobody asked for it just before",
        of: Of::Clients,
        names: Names::BOT,
        parameters: &[number("asked_s", "s", ["0", "60", "3600"], "how long before it may have been asked for")],
        ends: Ends::WhenClear,
        while_wanted: false,
        inhibited_by: None,
    };

    /// When each bot was asked to stop last, and whether its deployment goes on.
    type Memory = BTreeMap<BotId, Option<Time>>;

    fn hear(memory: &mut Self::Memory, hearing: &mut Hearing<'_>) {
        let Event::Bot(told) = &hearing.event.event else { return };
        let Ok(bot) = hearing.event.aggregate.id.parse::<BotId>() else { return };
        let labels = Labels::bot(bot);
        let (gone, well) = match told {
            BotEvent::BotDeployRequested { .. } => (false, memory.insert(bot, None).is_some()),
            BotEvent::BotStopRequested { at, .. } | BotEvent::BotLimitBroken { at, .. } => {
                memory.insert(bot, Some(*at));
                (false, true)
            }
            BotEvent::BotStopped { .. } => (true, false),
            BotEvent::BotStateReported { state: ReportedState::Stopped | ReportedState::NotFound, .. } => {
                (hearing.world.bots.get(&bot).is_some_and(|bot| bot.runs_since.is_some()), false)
            }
            BotEvent::BotStateReported { state: ReportedState::Running, .. } | BotEvent::BotDeployed { .. } => {
                (false, true)
            }
            BotEvent::BotStateReported { state: ReportedState::Failing, .. }
            | BotEvent::BotCreated { .. }
            | BotEvent::BotConfigChanged { .. }
            | BotEvent::BotConfigApplied { .. }
            | BotEvent::BotConfigNotApplied { .. }
            | BotEvent::BotDeployStarted { .. }
            | BotEvent::BotDeployFailed { .. }
            | BotEvent::BotStopFailed { .. }
            | BotEvent::BotSeenAlive { .. }
            | BotEvent::BotSilent { .. }
            | BotEvent::BotArchived { .. }
            | BotEvent::BotStrayFound { .. }
            | BotEvent::BotStrayStopped { .. }
            | BotEvent::BotGapOpened { .. }
            | BotEvent::BotGapHealed { .. }
            | BotEvent::BotLimitNeared { .. }
            | BotEvent::BotLogged { .. }
            | BotEvent::BotFiguresReported { .. } => (false, false),
        };
        let before = seconds(hearing.parameter(&labels, "asked_s"));
        let asked = memory.get(&bot).copied().flatten();
        let expected =
            asked.is_some_and(|asked| !hearing.world.is_wanted(bot) || hearing.at.micros() - asked.micros() <= before);
        if gone && !expected {
            let summary = format!("{} stopped, and nobody asked for that", hearing.world.name(bot));
            let reading = Reading::new(Condition::Above(Severity::Critical), summary);
            let since = asked.map(|asked| Decimal::new(i128::from(hearing.at.micros() - asked.micros()), 6));
            let reading = match since {
                Some(since) => reading.with("asked", since, Some(Decimal::new(before.into(), 6)), "s ago"),
                None => reading.with("asked", Decimal::ZERO, None, "times"),
            };
            hearing.say(labels, reading);
        } else if well {
            hearing.say(labels, Reading::clear());
        }
    }
}
