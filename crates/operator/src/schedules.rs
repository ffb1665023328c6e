//! Schedules: when a clock names a moment its run is taken up, which is an event; then what it is for is wanted, as if
//! somebody had asked for it; then it is told what came of that.
//!
//! However many look at the clock and whoever dies in between, a run is taken up once, because its schedule decides so, and
//! wanted once, because the wish has a key of the run's own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
    time::Duration,
};

use cqrs_es::Aggregate;
use domain::{
    bot::{Bot, BotCommand, BotRefusal},
    channel::{Channel, ChannelCommand},
    schedule::{Schedule, ScheduleCommand},
    timetable::period_before,
};
use events::{
    BotId, Event, ScheduleId, Time, Zone,
    schedule::{Action, Outcome as Came, ScheduleEvent},
};
use store::ExecuteError;

use crate::mandate::{HandError, Mandate, Outcome};

/// How often it is looked whether a bot that is to start has stopped by now.
const STOPPING_PAUSE: Duration = Duration::from_secs(1);

/// A schedule, and when there is something to do for it: read off its clock when it changes, and not at each look.
#[derive(Debug, Default)]
pub(crate) struct Clocked {
    schedule: Schedule,
    /// Absent until somebody asks.
    due: OnceLock<Option<Time>>,
}

impl Clocked {
    pub fn remember(&mut self, told: ScheduleEvent) {
        self.schedule.remember(told);
        self.due.take();
    }

    pub fn is_due(&self, now: Time) -> bool {
        let under_way = || self.schedule.under_way().map(|(_, due)| due);
        let due = self.due.get_or_init(|| under_way().or_else(|| self.schedule.due()));
        due.is_some_and(|due| due <= now)
    }
}

/// A schedule that has something to do, and whether a later one stops the same bot by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Next {
    pub id: ScheduleId,
    pub overtaken: bool,
}

/// Which of them have something to do now: of those that are about one bot, the one whose run comes first. What was to start
/// and to stop while nobody was there is done in that order.
pub(crate) fn next(all: &BTreeMap<ScheduleId, Clocked>, now: Time) -> Vec<Next> {
    let due = all.iter().filter(|(_, clocked)| clocked.is_due(now));
    let mut due: Vec<(Option<Time>, ScheduleId, Option<&Action>)> =
        due.map(|(id, clocked)| (clocked.schedule.latest(now), *id, clocked.schedule.action())).collect();
    due.sort_by_key(|(at, id, _)| (*at, *id));
    let stops = |bot: BotId, after: usize| {
        due[after + 1..].iter().any(|(.., action)| matches!(action, Some(Action::Stop { bot: of }) if *of == bot))
    };
    let mut bots = BTreeSet::new();
    let first = due.iter().enumerate().filter_map(|(place, (_, id, action))| {
        let bot = action.and_then(Action::bot);
        let is_first = bot.is_none_or(|bot| bots.insert(bot));
        is_first.then(|| Next { id: *id, overtaken: bot.is_some_and(|bot| stops(bot, place)) })
    });
    first.collect()
}

/// Takes up what is due, and carries out what was taken up.
pub(crate) async fn carry_out(mandate: &Mandate, Next { id, overtaken }: Next) -> Result<Outcome, HandError> {
    tell(mandate, id, ScheduleCommand::Look { at: Time::now() }).await?;
    let (schedule, _) = mandate.means.streams.load::<Schedule>(mandate.client, &id.to_string()).await?;
    let Some((action, due)) = schedule.under_way() else { return Ok(Outcome::Done) };
    let key = format!("schedule:{id}:{}", due.micros());
    // What was wanted before somebody died is wanted.
    let wanted = mandate.means.streams.stored(mandate.client, Some(&key)).await?.is_some();
    let mut too_late = schedule.too_late(Time::now()).filter(|_| !wanted);
    if let (Action::Start { bot }, None, false) = (action, too_late, wanted)
        && mandate.bot(*bot).await?.is_stopping()
    {
        // What waits until the bot has stopped would start it after the stop that comes next.
        if !overtaken {
            return Ok(Outcome::Later(STOPPING_PAUSE));
        }
        too_late = Some("the bot was still stopping when the next stop was due");
    }
    let outcome = match too_late {
        Some(why) => Came::Refused { reason: why.to_owned() },
        None => carry_out_one(mandate, action.clone(), (schedule.zone(), due), key).await?,
    };
    // Somebody stopped it just now: it is not wanted as it was asked for.
    if let (Action::Start { bot }, Came::Wanted { seq: None }, false) = (action, &outcome, overtaken)
        && mandate.bot(*bot).await?.is_stopping()
    {
        return Ok(Outcome::Later(STOPPING_PAUSE));
    }
    tell(mandate, id, ScheduleCommand::Ran { due, outcome, at: Time::now() }).await?;
    Ok(Outcome::Done)
}

async fn carry_out_one(
    mandate: &Mandate,
    action: Action,
    (zone, due): (Zone, Time),
    key: String,
) -> Result<Came, HandError> {
    match action {
        Action::Start { bot } => want_of_bot(mandate, bot, BotCommand::Deploy { at: Time::now() }, key).await,
        Action::Stop { bot } => {
            let command = BotCommand::Stop { reason: "a schedule wants it".to_owned(), at: Time::now() };
            want_of_bot(mandate, bot, command, key).await
        }
        Action::Configure { bot, change } => {
            let command = BotCommand::ChangeConfig { change: *change, at: Time::now() };
            want_of_bot(mandate, bot, command, key).await
        }
        Action::Report { channel, period } => match report(period, zone, due) {
            Some(command) => want::<Channel>(mandate, channel.to_string(), command, key, |_| false).await,
            None => Ok(Came::Refused { reason: "there is no such period".to_owned() }),
        },
    }
}

fn report(period: events::schedule::Period, zone: Zone, due: Time) -> Option<ChannelCommand> {
    let (from, to) = period_before(period, zone, due)?;
    Some(ChannelCommand::Report { from, to, at: Time::now() })
}

/// The same of a bot, which may be as it is wanted already: by hand, or because a limit stopped it.
async fn want_of_bot(mandate: &Mandate, bot: BotId, command: BotCommand, key: String) -> Result<Came, HandError> {
    let is_so = |refusal: &BotRefusal| {
        matches!(refusal, BotRefusal::AlreadyWanted | BotRefusal::NotWanted | BotRefusal::SameConfig)
    };
    want::<Bot>(mandate, bot.to_string(), command, key, is_so).await
}

/// Wants something once, under the run's own key. What may not be so is an outcome, and so is what is so already; what went
/// wrong is tried again.
async fn want<A>(
    mandate: &Mandate,
    id: String,
    command: A::Command,
    key: String,
    is_so: impl Fn(&A::Error) -> bool,
) -> Result<Came, HandError>
where
    A: Aggregate<Services = ()>,
    A::Command: Clone + Send,
    A::Event: Into<Event>,
    ExecuteError<A::Error>: Into<HandError>,
{
    match mandate.means.streams.execute::<A>(mandate.client, &id, command, Some(key), &mandate.cause()).await {
        Ok(receipt) => Ok(Came::Wanted { seq: receipt.map(|receipt| receipt.last) }),
        Err(ExecuteError::Refused(refusal)) if is_so(&refusal) => Ok(Came::Wanted { seq: None }),
        Err(ExecuteError::Refused(refusal)) => Ok(Came::Refused { reason: refusal.to_string() }),
        Err(fault) => Err(fault.into()),
    }
}

/// Another may have told it meanwhile.
async fn tell(mandate: &Mandate, id: ScheduleId, command: ScheduleCommand) -> Result<(), HandError> {
    let streams = &mandate.means.streams;
    match streams.execute::<Schedule>(mandate.client, &id.to_string(), command, None, &mandate.cause()).await {
        Ok(_) | Err(ExecuteError::Refused(_)) => Ok(()),
        Err(fault) => Err(fault.into()),
    }
}

#[cfg(test)]
mod tests {
    use events::{
        Uuid,
        schedule::{Missed, When},
    };

    use super::*;

    fn at(text: &str) -> Time {
        format!("2026-11-{text}:00Z").parse().unwrap()
    }

    fn daily(action: Action, hour: u32, since: &str) -> Clocked {
        let when = When::Cron { expression: format!("0 {hour} * * *"), zone: "UTC".parse().unwrap() };
        let (name, missed) = ("daily".parse().unwrap(), Missed::RunOnce);
        let mut clocked = Clocked::default();
        clocked.remember(ScheduleEvent::ScheduleSet { name, action, when, missed, at: at(since) });
        clocked
    }

    #[test]
    fn what_was_to_start_and_to_stop_while_nobody_was_there_is_done_in_that_order() {
        let bot = BotId(Uuid::from_u128(1));
        let [start, stop, other] = [3, 2, 1].map(|n| ScheduleId(Uuid::from_u128(n)));
        // Set in the afternoon: the first stop that was missed came before the first start.
        let mut all = BTreeMap::from([
            (start, daily(Action::Start { bot }, 8, "24T12:00")),
            (stop, daily(Action::Stop { bot }, 18, "24T12:00")),
            (other, daily(Action::Stop { bot: BotId(Uuid::from_u128(2)) }, 18, "24T12:00")),
        ]);
        let next = |all: &_, now| next(all, now).iter().map(|next| (next.id, next.overtaken)).collect::<Vec<_>>();
        assert_eq!(next(&all, at("24T17:00")), []);
        // The stop comes after the start: one that had to wait would start what has just been stopped.
        assert_eq!(next(&all, at("26T19:00")), [(start, true), (other, false)]);
        let due = at("26T08:00");
        let started = all.get_mut(&start).unwrap();
        started.remember(ScheduleEvent::ScheduleTriggered { due, at: at("26T19:00") });
        assert_eq!(next(&all, at("26T19:00")), [(start, true), (other, false)], "it is under way");
        let ran = ScheduleEvent::ScheduleRan { due, outcome: Came::Wanted { seq: None }, at: at("26T19:00") };
        all.get_mut(&start).unwrap().remember(ran);
        assert_eq!(next(&all, at("26T19:00")), [(other, false), (stop, false)]);
    }
}
