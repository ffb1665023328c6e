//! A bot stopped and nobody had asked for that.

use std::collections::BTreeMap;

use events::{
    BotId, Decimal, Event, Time,
    alert::{Labels, Severity},
    bot::{BotEvent, ReportedState},
};

use super::{Rule, micros, number};
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

    /// When each bot was asked to stop last; absent: it was asked to run since.
    type Memory = BTreeMap<BotId, Option<Time>>;

    fn hear(memory: &mut Self::Memory, hearing: &mut Hearing<'_>) {
        let Event::Bot(told) = &hearing.event.event else { return };
        let Ok(bot) = hearing.event.aggregate.id.parse::<BotId>() else { return };
        if let BotEvent::BotDeployRequested { .. } = told {
            memory.insert(bot, None);
        } else if let BotEvent::BotStopRequested { at, .. } | BotEvent::BotLimitBroken { at, .. } = told {
            memory.insert(bot, Some(*at));
        }
        let asked = memory.get(&bot).copied().flatten();
        let runs = hearing.world.bots.get(&bot).is_some_and(|bot| bot.runs_since.is_some());
        match life(told, runs) {
            Some(Life::Ended) => ended(bot, asked, hearing),
            Some(Life::GoesOn) => hearing.say(Labels::bot(bot), Reading::clear()),
            None => {}
        }
    }
}

/// What an event says of a bot's life.
enum Life {
    Ended,
    GoesOn,
}

fn life(told: &BotEvent, runs: bool) -> Option<Life> {
    match told {
        BotEvent::BotStopped { .. } => Some(Life::Ended),
        BotEvent::BotStateReported { state: ReportedState::Stopped | ReportedState::NotFound, .. } => {
            runs.then_some(Life::Ended)
        }
        // What somebody asks for is no surprise.
        BotEvent::BotDeployRequested { .. }
        | BotEvent::BotStopRequested { .. }
        | BotEvent::BotLimitBroken { .. }
        | BotEvent::BotStateReported { state: ReportedState::Running, .. }
        | BotEvent::BotDeployed { .. } => Some(Life::GoesOn),
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
        | BotEvent::BotFiguresReported { .. } => None,
    }
}

/// Tells that a bot stopped, unless somebody asked for it: however long ago, if nobody wants it any more.
fn ended(bot: BotId, asked: Option<Time>, hearing: &mut Hearing<'_>) {
    let labels = Labels::bot(bot);
    let before = micros(hearing.parameter(&labels, "asked_s"));
    let ago_us = asked.map(|asked| hearing.at.micros() - asked.micros());
    if ago_us.is_some_and(|ago_us| !hearing.world.is_wanted(bot) || ago_us <= before) {
        return;
    }
    let summary = format!("{} stopped, and nobody asked for that", hearing.world.name(bot));
    let reading = Reading::new(Condition::Above(Severity::Critical), summary);
    let seconds = |us: i64| Decimal::new(us.into(), 6);
    let reading = match ago_us {
        Some(ago_us) => reading.with("asked", seconds(ago_us), Some(seconds(before)), "s ago"),
        None => reading.with("asked", Decimal::ZERO, None, "times"),
    };
    hearing.say(labels, reading);
}
