//! A hand's rounds: what is looked at again and again, whether anybody speaks or not. Silence, the bots' own memories, the
//! server's opinion, the market, limits, orders by hand.

use std::{collections::BTreeSet, time::Duration};

use domain::{
    bot::{Bot, Sight},
    manual::ManualOrder,
};
use events::{
    BotId, Time,
    bot::{Limits, Venue},
};
use hummingbot::BotName;
use tokio::time::Instant;
use tracing::warn;

use super::{
    Ended, Hand, PAUSE,
    memories::{Memory, Question},
    unless_passing,
};
use crate::{
    beginnings, evidence,
    facts::Owner,
    mandate::{HandError, Mandate},
    manual, observe, reconcile, risk, strays,
};

/// Balances and volumes are looked at so many times less often than books.
const ALL_EVERY: u32 = 12;
/// After a fill its book is looked at so many times sooner: what the trade was worth shows in where the middle goes.
const AFTER_FILLS: u32 = 5;

impl Hand {
    /// The bots that run, and their instances.
    pub(super) fn listening_to(&self) -> impl Iterator<Item = (BotId, BotName)> {
        self.bots.iter().filter_map(|(id, bot)| Some((*id, bot.instance()?.parse().ok()?)))
    }

    /// What is looked at again and again: silence, histories, the server's opinion, the market.
    pub(super) async fn look_around(&mut self) -> Result<(), HandError> {
        let running: Vec<(BotId, BotName)> = self.listening_to().collect();
        let settings = &self.mandate.means.settings;
        let (silence, told_to) = (settings.silence, Time::now().plus_micros(-micros(settings.overdue)));
        let seen = self.sights.look(&running, self.hears, silence);
        self.tell(seen).await?;
        self.begin_to_listen(&running);
        let quoted = self.sights.record_quotes(&self.mandate, told_to).await;
        unless_passing(quoted)?;
        self.ask_histories(&running);
        self.ask_server(running);
        self.sweep();
        self.look_at_market();
        self.watch_limits();
        self.watch_manual();
        Ok(())
    }

    /// A bot's quotes begin with the orders that rest already, and its day with what was told of it.
    fn begin_to_listen(&mut self, running: &[(BotId, BotName)]) {
        if Instant::now() < self.begin_at {
            return;
        }
        for id in self.sights.unknown(running) {
            let venue = self.bots[&id].config().and_then(|config| config.venue.clone());
            let (Some(venue), mandate, since) = (venue, self.mandate.clone(), Time::now()) else { continue };
            self.work.spawn(async move {
                let known = beginnings::of(&mandate, id, &venue, since).await;
                Ended::Began(id, venue, since, known)
            });
        }
    }

    fn ask_histories(&mut self, running: &[(BotId, BotName)]) {
        let now = Instant::now();
        for (id, instance) in running {
            let waits = !self.hears || self.asking.contains(id) || self.ask_at.get(id).is_some_and(|due| *due > now);
            let owner = self.bots[id].clone();
            let owner = Owner::of(*id, &owner, instance.as_str(), self.mandate.account());
            let (Some(owner), false) = (owner, waits) else { continue };
            self.asking.insert(*id);
            let asked = self.memories.question(*id, instance.as_str(), self.started(*id), Time::now());
            let (mandate, id, instance) = (self.mandate.clone(), *id, instance.clone());
            self.work.spawn(async move {
                let history = History { owner, instance, asked };
                Ended::Reconciled(id, history.ask(&mandate).await)
            });
        }
    }

    fn started(&self, id: BotId) -> Time {
        self.bots[&id].started().map_or_else(Time::now, |started| started.at)
    }

    pub(super) async fn reconciled(&mut self, id: BotId, found: Result<Compared, HandError>) -> Result<(), HandError> {
        self.asking.remove(&id);
        match found {
            Ok(Compared { instance, since, until, new: fills, memory }) => {
                if let Some(remembered) = memory.fills {
                    self.sights.remembers(id, &instance, remembered, until);
                }
                self.ask_at.insert(id, Instant::now() + self.mandate.means.settings.reconcile_every);
                let is_open = self.mandate.bot(id).await?.gap_since().is_some();
                if fills > 0 && !is_open {
                    let reason = format!("{fills} fills did not reach us at once");
                    unless_passing(self.mandate.saw(id, Sight::Gap { since, reason }).await)?;
                }
                // A bot's own memory knows nothing of what was placed by hand for it.
                let lacks = |order: &ManualOrder| {
                    order.missing().is_some() && order.wanted().is_some_and(|wanted| wanted.bot == id)
                };
                if (fills > 0 || is_open) && !self.manual.values().any(lacks) {
                    unless_passing(self.mandate.saw(id, Sight::GapHealed { until, fills }).await)?;
                }
                self.memories.learn(id, memory);
            }
            Err(HandError::Overtaken) => return Err(HandError::Overtaken),
            Err(fault) => {
                warn!(bot.id = %id, error = &fault as &dyn std::error::Error, "the history of bot {id} could not be compared, trying again");
                self.memories.unanswered(id);
                self.ask_at.insert(id, Instant::now() + PAUSE * 4);
            }
        }
        Ok(())
    }

    fn ask_server(&mut self, running: Vec<(BotId, BotName)>) {
        if Instant::now() < self.report_at {
            return;
        }
        self.report_at = Instant::now() + self.mandate.means.settings.report_every;
        let mandate = self.mandate.clone();
        self.work.spawn(async move { Ended::Reported(report(&mandate, running).await) });
    }

    /// Looks for instances that landed late.
    fn sweep(&mut self) {
        if self.bots.is_empty() || self.sweep_at.is_none_or(|due| due > Instant::now()) {
            return;
        }
        self.sweep_at = None;
        let (mandate, bots) = (self.mandate.clone(), self.bots.clone());
        self.work.spawn(async move { Ended::Swept(strays::look(&mandate, &bots).await) });
    }

    /// Holds limits against what was counted, as often as there is time for it: what was told already is told once.
    fn watch_limits(&mut self) {
        let limited =
            |bot: &Bot| bot.is_wanted() && bot.config().is_some_and(|config| config.limits != Limits::default());
        if self.watching || !self.bots.values().any(limited) {
            return;
        }
        self.watching = true;
        let mandate = self.mandate.clone();
        self.work.spawn(async move {
            let (means, cause) = (&mandate.means, mandate.cause());
            Ended::Watched(risk::watch(mandate.client, &means.query, &means.streams, &cause, Time::now()).await)
        });
    }

    fn watch_manual(&mut self) {
        let patience = self.mandate.means.settings.deploy_max;
        let needed = self.manual.values().any(|order| manual::is_watched(order, patience));
        if !needed || Instant::now() < self.watch_at {
            return;
        }
        let Some(mut memory) = self.watch.take() else { return };
        self.watch_at = Instant::now() + self.mandate.means.settings.observe_every;
        let (mandate, all) = (self.mandate.clone(), self.manual.clone());
        self.work.spawn(async move {
            let told = manual::look(&mandate, &all, &mut memory).await;
            Ended::Followed(memory, told)
        });
    }

    /// Looks at the market sooner than it would.
    pub(super) fn look_soon(&mut self) {
        self.look_at = self.look_at.min(Instant::now() + self.mandate.means.settings.observe_every / AFTER_FILLS);
    }

    fn look_at_market(&mut self) {
        let configs = || self.bots.values().filter(|bot| bot.instance().is_some()).filter_map(Bot::config);
        let venues: BTreeSet<Venue> = configs().filter_map(|config| config.venue.clone()).collect();
        let shared = configs().filter(|config| config.limits.participation_cap.is_some());
        let promised = self.shares.values().filter_map(|bot| self.bots.get(bot)?.config());
        let shared: BTreeSet<Venue> = shared.chain(promised).filter_map(|config| config.venue.clone()).collect();
        if Instant::now() < self.look_at || venues.is_empty() && shared.is_empty() {
            return;
        }
        let (now, every) = (Instant::now(), self.mandate.means.settings.observe_every);
        self.look_at = now + every;
        let all = now >= self.look_at_all;
        if all {
            self.look_at_all = now + every * ALL_EVERY;
        }
        let mandate = self.mandate.clone();
        let (venues, shared): (Vec<_>, Vec<_>) = (venues.into_iter().collect(), shared.into_iter().collect());
        self.work.spawn(async move { Ended::Looked(observe::look(&mandate, &venues, &shared, all).await) });
    }
}

/// A question to a bot about its fills.
struct History {
    owner: Owner,
    instance: BotName,
    asked: Question,
}

/// What a bot's own memory came to, held against what is recorded.
pub(super) struct Compared {
    instance: BotName,
    /// From when on fills may have been missing, and up to when none is now.
    since: Time,
    until: Time,
    new: u64,
    memory: Memory,
}

impl History {
    async fn ask(self, mandate: &Mandate) -> Result<Compared, HandError> {
        let Self { owner, instance, asked } = self;
        let turn = mandate.means.histories.acquire().await;
        let (now, since) = (Time::now(), asked.since);
        let until = now.plus_micros(-micros(mandate.means.settings.grace));
        let mut trades = mandate.means.bots.history(&instance, asked.back(now)).await?;
        drop(turn);
        trades.retain(|trade| trade.at <= until);
        let memory = asked.answered(&trades, until);
        let new = reconcile::with(mandate, &mandate.gate, &owner, instance.as_str(), trades, "history").await?;
        Ok(Compared { instance, since, until, new, memory })
    }
}

async fn report(mandate: &Mandate, running: Vec<(BotId, BotName)>) -> Result<(), HandError> {
    for (id, instance) in running {
        let status = mandate.means.hummingbot.bot_status(&instance).await;
        if let Some(state) = evidence::reported(&status) {
            mandate.saw(id, Sight::Reported(state)).await?;
        }
    }
    Ok(())
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
