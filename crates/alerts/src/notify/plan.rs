//! Which messages are due: what is on the board and was not told yet, gathered by channel and rule. Pure: the same board, the
//! same that was told and the same moment give the same messages.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Timelike};
use events::{
    AlertId, ChannelId, RuleName, Time,
    alert::{Feature, Labels, Notice, Severity},
    channel::QuietHours,
};
use serde::{Deserialize, Serialize};

use super::{
    board::{Board, Channel, Episode, News, Question},
    text,
};

const SECOND_US: i64 = 1_000_000;
/// Between two messages of one rule by one channel, unless something is critical.
const INTERVAL_US: i64 = 5 * 60 * SECOND_US;
/// After that it is told again that something goes on.
const REPEAT_US: i64 = 4 * 3_600 * SECOND_US;
const REPEAT_CRITICAL_US: i64 = 30 * 60 * SECOND_US;
/// No message is tried for longer: its retries take 75 hours, and a fifth more at most.
pub(super) const TRIED_US: i64 = 96 * 3_600 * SECOND_US;
/// What one message tells at most; what is more makes another one.
const ITEMS_MAX: usize = 50;
/// The rule that is not told by the channel that it is about.
const OF_CHANNELS: &str = "channel_failing";

/// One message to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub channel: ChannelId,
    /// Under what is noted that it was told this.
    pub told_as: ChannelId,
    pub said: Said,
}

/// What a message tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// News of one rule, the oldest first.
    Alerts { rule: RuleName, items: Vec<Item> },
    /// That the channel works.
    Test { of: u64 },
    /// How a time went. `at`: when somebody asked for it.
    Report {
        of: u64,
        from: Time,
        to: Time,
        #[serde(default = "long_ago")]
        at: Time,
        lines: Vec<(String, String)>,
    },
}

fn long_ago() -> Time {
    Time::EPOCH
}

/// One thing that a message tells of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub alert_id: AlertId,
    pub episode: u64,
    pub notice: Notice,
    pub severity: Severity,
    pub summary: String,
    pub labels: Labels,
    pub features: Vec<Feature>,
    /// Since when it is so, and the event that tells it.
    pub at: Time,
    pub seq: u64,
    /// Tells apart what is told of one episode.
    pub key: String,
}

/// What was put into messages already.
#[derive(Debug, Default)]
pub struct Told {
    said: BTreeSet<(ChannelId, AlertId, u64, String)>,
    last_of_rule: BTreeMap<(ChannelId, RuleName), Time>,
    last_of_episode: BTreeMap<(ChannelId, AlertId, u64), Last>,
}

/// What a channel was told of an episode last: when, how many things, and how many of them said that it goes on.
#[derive(Debug, Clone, Copy)]
struct Last {
    at: Time,
    things: u32,
    reminders: u32,
}

impl Told {
    /// Notes that something was.
    pub fn note(&mut self, channel: ChannelId, rule: &RuleName, alert: AlertId, episode: u64, key: String, at: Time) {
        let reminded = u32::from(key.starts_with("reminder"));
        self.said.insert((channel, alert, episode, key));
        let of_rule = self.last_of_rule.entry((channel, rule.clone())).or_insert(at);
        *of_rule = at.max(*of_rule);
        let nothing = Last { at, things: 0, reminders: 0 };
        let last = self.last_of_episode.entry((channel, alert, episode)).or_insert(nothing);
        *last = Last { at: at.max(last.at), things: last.things + 1, reminders: last.reminders + reminded };
    }

    /// The same of a message.
    pub fn note_all(&mut self, message: &Message, at: Time) {
        if let Said::Alerts { rule, items } = &message.said {
            for item in items {
                self.note(message.told_as, rule, item.alert_id, item.episode, item.key.clone(), at);
            }
        }
    }

    /// Forgets what was told of episodes that nobody has to hear of any more.
    pub fn forget(&mut self, board: &Board) {
        let goes_on = |alert: AlertId, episode: u64| board.episodes.contains_key(&(alert, episode));
        self.said.retain(|(_, alert, episode, _)| goes_on(*alert, *episode));
        self.last_of_episode.retain(|(_, alert, episode), _| goes_on(*alert, *episode));
    }

    fn knows(&self, channel: ChannelId, alert: AlertId, episode: u64, key: &str) -> bool {
        self.said.contains(&(channel, alert, episode, key.to_owned()))
    }
}

/// The messages that are due now; and forgets what nobody has to hear of any more.
pub fn due(board: &mut Board, told: &Told, now: Time) -> Vec<Message> {
    board.forget(now);
    let mut messages = Vec::new();
    let mut waiting = BTreeSet::new();
    for (id, channel) in board.channels.iter().filter(|(_, channel)| channel.tells()) {
        let one = One { board, told, id: *id, channel, now };
        waiting.extend(one.on_their_way());
        for (rule, items) in one.pending() {
            if one.is_due(&rule, &items) {
                let said = parts(items, channel).into_iter().map(|items| Said::Alerts { rule: rule.clone(), items });
                let told_as = channel.told_as;
                messages.extend(said.map(|said| Message { channel: *id, told_as, said }));
            } else {
                waiting.extend(items.into_iter().map(|item| (item.alert_id, item.episode)));
            }
        }
    }
    messages.extend(asked(board));
    board.episodes.retain(|key, episode| episode.resolved_at.is_none() || waiting.contains(key));
    messages
}

/// What somebody wants to be told, whatever is quiet. A channel that tells nothing leaves it unsaid.
fn asked(board: &mut Board) -> Vec<Message> {
    let asked = std::mem::take(&mut board.asked);
    let message = asked.into_iter().filter_map(|asked| {
        let told_as = board.channels.get(&asked.channel).filter(|channel| channel.tells())?.told_as;
        let said = match asked.what {
            Question::Test => Said::Test { of: asked.seq },
            Question::Report { from, to, at } => Said::Report { of: asked.seq, from, to, at, lines: Vec::new() },
        };
        Some(Message { channel: asked.channel, told_as, said })
    });
    message.collect()
}

/// As much as one message can tell by a channel: what a reader would not see is not told by it.
fn parts(items: Vec<Item>, channel: &Channel) -> Vec<Vec<Item>> {
    let (most, mut parts, mut length) = (text::longest(channel.kind), Vec::<Vec<Item>>::new(), 0);
    for item in items {
        let more = text::length(&item);
        match parts.last_mut().filter(|part| part.len() < ITEMS_MAX && length + more <= most) {
            Some(part) => {
                part.push(item);
                length += more;
            }
            None => {
                parts.push(vec![item]);
                length = more;
            }
        }
    }
    parts
}

/// One channel at one moment.
struct One<'a> {
    board: &'a Board,
    told: &'a Told,
    id: ChannelId,
    channel: &'a Channel,
    now: Time,
}

impl One<'_> {
    /// What it has not told yet, by rule.
    fn pending(&self) -> BTreeMap<RuleName, Vec<Item>> {
        let mut pending: BTreeMap<RuleName, Vec<Item>> = BTreeMap::new();
        for ((alert, number), episode) in &self.board.episodes {
            let items = self.of_episode(*alert, *number, episode);
            if !items.is_empty() {
                pending.entry(episode.rule.clone()).or_default().extend(items);
            }
        }
        pending.values_mut().for_each(|items| items.sort_by_key(|item| item.seq));
        pending
    }

    fn of_episode(&self, alert: AlertId, number: u64, episode: &Episode) -> Vec<Item> {
        let item = |news: &News, key: String| Item {
            alert_id: alert,
            episode: number,
            notice: news.notice,
            severity: news.severity,
            summary: episode.summary.clone(),
            labels: episode.labels.clone(),
            features: episode.features.clone(),
            at: news.at,
            seq: news.seq,
            key,
        };
        let known = self.told.last_of_episode.get(&(self.channel.told_as, alert, number));
        if !self.is_its(episode) && known.is_none() {
            return Vec::new();
        }
        let silent = self.board.is_silent(alert, episode, episode.resolved_at.unwrap_or(self.now));
        let mut items: Vec<Item> = Vec::new();
        for news in &episode.news {
            let key = key_of(news);
            let wanted = match news.notice {
                // Whoever was called hears how it ended, and not before he has heard that it began.
                Notice::Resolved => match known {
                    Some(last) => !self.is_on_its_way(episode, *last),
                    None => !items.is_empty(),
                },
                Notice::Fired | Notice::Escalated | Notice::Reminder => {
                    !silent && news.severity >= self.channel.settings.severity
                }
            };
            if wanted && !self.told.knows(self.channel.told_as, alert, number, &key) {
                items.push(item(news, key));
            }
        }
        let reminder = known.filter(|_| items.is_empty() && !silent).and_then(|known| self.reminder(episode, *known));
        items.extend(reminder.map(|(news, key)| item(&news, key)));
        items
    }

    /// Episodes that are over, and whose end is told when it was told that they began.
    fn on_their_way(&self) -> impl Iterator<Item = (AlertId, u64)> {
        self.board.episodes.iter().filter_map(|((alert, number), episode)| {
            let last = self.told.last_of_episode.get(&(self.channel.told_as, *alert, *number))?;
            (episode.resolved_at.is_some() && self.is_on_its_way(episode, *last)).then_some((*alert, *number))
        })
    }

    /// Whether something of an episode that was to be told is being tried still.
    fn is_on_its_way(&self, episode: &Episode, last: Last) -> bool {
        last.things > episode.finished(self.id) && self.now < last.at.plus_micros(TRIED_US)
    }

    /// Whether a channel tells of an episode at all.
    fn is_its(&self, episode: &Episode) -> bool {
        let of_itself = episode.rule.as_str() == OF_CHANNELS && episode.labels.about == Some(self.id.to_string());
        let goes_on = episode.resolved_at.is_none();
        !self.board.is_explained(episode, self.now)
            && !of_itself
            && (goes_on || episode.fired_at >= self.channel.since(episode.severity))
    }

    /// That something goes on, if it was not said for long enough.
    fn reminder(&self, episode: &Episode, last: Last) -> Option<(News, String)> {
        let news = episode.news.last().filter(|_| episode.resolved_at.is_none())?;
        if episode.severity < self.channel.settings.severity {
            return None;
        }
        let critical = episode.severity == Severity::Critical;
        let repeat = if critical { REPEAT_CRITICAL_US } else { REPEAT_US };
        let news = News { notice: Notice::Reminder, severity: episode.severity, ..news.clone() };
        let is_due = self.now >= last.at.plus_micros(repeat);
        is_due.then(|| (news, format!("reminder:{}", last.reminders + 1)))
    }

    /// Whether it is time to tell them.
    fn is_due(&self, rule: &RuleName, items: &[Item]) -> bool {
        let critical = items.iter().any(|item| item.severity == Severity::Critical);
        let settings = &self.channel.settings;
        if !critical && settings.quiet.as_ref().is_some_and(|quiet| is_quiet(quiet, self.now)) {
            return false;
        }
        let first = items.iter().map(|item| item.at).min().unwrap_or(self.now);
        let gathered = first.plus_micros(i64::from(settings.wait_s) * SECOND_US);
        let last = self.told.last_of_rule.get(&(self.channel.told_as, rule.clone())).filter(|_| !critical);
        // Whoever does not gather at all wants to hear each by itself.
        let last = last.filter(|_| settings.wait_s > 0);
        self.now >= last.map_or(gathered, |last| gathered.max(last.plus_micros(INTERVAL_US)))
    }
}

/// What tells this apart from all else that is told of the episode.
fn key_of(news: &News) -> String {
    match news.notice {
        Notice::Fired => "fired".to_owned(),
        Notice::Resolved => "resolved".to_owned(),
        Notice::Escalated => format!("escalated:{}", news.seq),
        Notice::Reminder => "reminder".to_owned(),
    }
}

/// Whether it is so early or late on the clock of that zone.
fn is_quiet(quiet: &QuietHours, now: Time) -> bool {
    let Some(utc) = DateTime::from_timestamp_micros(now.micros()) else { return false };
    let there = utc.with_timezone(&quiet.zone.0);
    let minute = there.hour() * 60 + there.minute();
    let (from, to) = (u32::from(quiet.from), u32::from(quiet.to));
    if from < to { (from..to).contains(&minute) } else { minute >= from || minute < to }
}

#[cfg(test)]
mod tests;
