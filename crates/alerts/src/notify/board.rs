//! What there is to tell, and by which channels: folded from a client's stream, without a clock.

use std::collections::{BTreeMap, BTreeSet};

use events::{
    AlertId, ChannelId, Event, Recorded, RuleName, SilenceId, Time, Uuid,
    account::AccountEvent,
    alert::{AlertEvent, Delivery, Feature, Labels, Notice, Scope, Severity, SilenceEvent},
    channel::{ChannelEvent, Kind, Settings},
};

/// What ended longer ago than this is no news to anybody.
const OLD_US: i64 = 7 * 86_400_000_000;
/// What something explained may end by itself for so long after that is over.
const GRACE_US: i64 = 60_000_000;

/// Everything of a client that people may have to hear of.
#[derive(Debug, Default)]
pub struct Board {
    pub(super) channels: BTreeMap<ChannelId, Channel>,
    /// How often one of this id was added, and which lead elsewhere, or tell again, since somebody asked.
    added: BTreeMap<ChannelId, u32>,
    mended: BTreeSet<ChannelId>,
    /// Those that go on, and those that nobody has heard the end of.
    pub(super) episodes: BTreeMap<(AlertId, u64), Episode>,
    pub(super) asked: Vec<Asked>,
    silences: BTreeMap<SilenceId, Silence>,
    /// Alerts of which nobody is to hear until then, whatever becomes of them, and which event said so.
    snoozed: BTreeMap<AlertId, (Time, u64)>,
    hummingbot: Hummingbot,
}

/// Whether the Hummingbot API answers: while it does not, that explains much else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Hummingbot {
    #[default]
    Answers,
    Lost,
    BackSince(Time),
}

/// A way to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    pub(super) kind: Kind,
    /// What it was told is noted under this. One that was removed and added again under its name tells other people, who have
    /// heard nothing.
    pub(super) told_as: ChannelId,
    pub(super) settings: Settings,
    /// It tells of whatever is so bad and began since, and of what still goes on.
    since: [Time; 3],
    disabled: bool,
}

/// One time that a rule was true of something, and what of it is news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Episode {
    pub rule: RuleName,
    pub labels: Labels,
    pub summary: String,
    pub features: Vec<Feature>,
    pub(super) severity: Severity,
    pub(super) news: Vec<News>,
    pub(super) fired_at: Time,
    pub(super) resolved_at: Option<Time>,
    /// Something else explained it when it fired.
    inhibited: bool,
    /// Somebody looks after it, so long.
    acknowledged: Option<Peace>,
    /// Things that were told of it by a channel for good, or for which that was given up.
    finished: BTreeMap<ChannelId, u32>,
}

/// What one event tells of an episode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    pub(super) notice: Notice,
    pub(super) severity: Severity,
    pub(super) seq: u64,
    pub(super) at: Time,
}

/// What somebody wants to be told by a channel, whatever fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub channel: ChannelId,
    /// The event that wants it.
    pub seq: u64,
    pub what: Question,
}

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    Test,
    /// How a time went; `at`: when somebody asked.
    Report {
        from: Time,
        to: Time,
        at: Time,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Peace {
    Until(Time),
    ToTheEnd,
}

#[derive(Debug, Clone)]
struct Silence {
    rule: Option<RuleName>,
    scope: Scope,
    from: Time,
    until: Time,
}

impl Board {
    /// Takes an event in.
    pub fn hear(&mut self, event: &Recorded) {
        if let Event::Alert(told) = &event.event {
            if let Ok(alert) = event.aggregate.id.parse() {
                self.hear_of_alert(alert, event.seq, told);
            }
        } else if let Event::Channel(told) = &event.event {
            if let Ok(channel) = event.aggregate.id.parse() {
                self.hear_of_channel(channel, event.seq, told);
            }
        } else if let Event::Silence(told) = &event.event {
            if let Ok(silence) = event.aggregate.id.parse() {
                self.hear_of_silence(silence, told);
            }
        } else if let Event::Account(told) = &event.event {
            match told {
                AccountEvent::HummingbotLost { .. } => self.hummingbot = Hummingbot::Lost,
                AccountEvent::HummingbotBack { at } => self.hummingbot = Hummingbot::BackSince(*at),
                AccountEvent::BalanceObserved { .. } => {}
            }
        }
    }

    fn hear_of_alert(&mut self, alert: AlertId, seq: u64, told: &AlertEvent) {
        let key = (alert, told.episode());
        if let AlertEvent::AlertSilenced { until, .. } = told {
            self.snoozed.insert(alert, (*until, seq));
        }
        if let Some(episode) = Episode::fired(told) {
            self.episodes.insert(key, episode);
        }
        if let Some(episode) = self.episodes.get_mut(&key) {
            episode.hear(seq, told);
        }
    }

    fn hear_of_channel(&mut self, id: ChannelId, seq: u64, told: &ChannelEvent) {
        match told {
            ChannelEvent::ChannelAdded { kind, settings, at, .. } => {
                let (kind, told_as, settings) = (*kind, self.another(id), settings.clone());
                self.channels.insert(id, Channel { kind, told_as, settings, since: [*at; 3], disabled: false });
            }
            ChannelEvent::ChannelRemoved { .. } => {
                self.channels.remove(&id);
                self.asked.retain(|asked| asked.channel != id);
            }
            ChannelEvent::ChannelTested { of, .. } | ChannelEvent::ChannelReported { of, .. } => {
                self.asked.retain(|asked| (asked.channel, asked.seq) != (id, *of));
            }
            ChannelEvent::ChannelTestRequested { .. } => {
                self.asked.push(Asked { channel: id, seq, what: Question::Test });
            }
            ChannelEvent::ChannelReportRequested { from, to, at } => {
                let what = Question::Report { from: *from, to: *to, at: *at };
                self.asked.push(Asked { channel: id, seq, what });
            }
            ChannelEvent::ChannelChanged { .. }
            | ChannelEvent::ChannelRenewed { .. }
            | ChannelEvent::ChannelDisabled { .. } => {
                let Some(channel) = self.channels.get_mut(&id) else { return };
                let told_before = channel.tells();
                channel.hear(told);
                // Nobody waits for a test of a channel that rests.
                if !channel.tells() {
                    self.asked.retain(|asked| asked.channel != id);
                } else if !told_before || matches!(told, ChannelEvent::ChannelRenewed { .. }) {
                    self.mended.insert(id);
                }
            }
        }
    }

    fn hear_of_silence(&mut self, id: SilenceId, told: &SilenceEvent) {
        match told {
            SilenceEvent::SilenceSet { rule, scope, until, at, .. } => {
                let silence = Silence { rule: rule.clone(), scope: scope.clone(), from: *at, until: *until };
                self.silences.insert(id, silence);
            }
            SilenceEvent::SilenceEnded { at, .. } => {
                self.silences.get_mut(&id).into_iter().for_each(|silence| silence.until = *at);
            }
        }
    }

    /// Under what is noted what a channel is told that is added now.
    fn another(&mut self, id: ChannelId) -> ChannelId {
        let times = self.added.entry(id).or_default();
        *times += 1;
        if *times == 1 {
            return id;
        }
        for episode in self.episodes.values_mut() {
            episode.finished.remove(&id);
        }
        ChannelId(Uuid::new_v5(&id.0, &times.to_be_bytes()))
    }

    /// The channels that lead elsewhere, or tell again, since this was asked last: what waits for them is tried at once.
    pub(super) fn mended(&mut self) -> BTreeSet<ChannelId> {
        std::mem::take(&mut self.mended)
    }

    /// Forgets what ended so long ago that nobody is told of it any more.
    pub(super) fn forget(&mut self, now: Time) {
        let old = now.plus_micros(-OLD_US);
        self.episodes.retain(|_, episode| episode.resolved_at.is_none_or(|at| at > old));
        self.silences.retain(|_, silence| silence.until > old);
        self.snoozed.retain(|_, (until, _)| *until > old);
    }

    /// The episodes that go on, or whose end somebody has not heard of.
    pub(super) fn episodes(&self) -> impl Iterator<Item = (AlertId, u64)> {
        self.episodes.keys().copied()
    }

    /// The first event of all that is still to be heard of.
    pub(super) fn news_from(&self) -> Option<u64> {
        let fired = self.episodes.values().filter_map(|episode| episode.news.first()).map(|news| news.seq);
        fired.chain(self.snoozed.values().map(|(_, seq)| *seq)).min()
    }

    /// Whether something else explains an episode, or did all the while that it lasted: nobody is called for it. What lasts on
    /// is given a minute to end by itself.
    pub(super) fn is_explained(&self, episode: &Episode, now: Time) -> bool {
        let may_be =
            episode.inhibited || crate::rule(episode.rule.as_str()).is_some_and(|kind| kind.inhibited_by.is_some());
        match self.hummingbot {
            Hummingbot::Answers => episode.inhibited,
            Hummingbot::Lost => may_be,
            Hummingbot::BackSince(back) => {
                let grace = back.plus_micros(GRACE_US);
                let ended = episode.inhibited && episode.resolved_at.is_some_and(|at| at <= grace);
                may_be && now < grace && episode.fired_at <= grace || ended
            }
        }
    }

    /// Whether nobody is to be called for this at that time.
    pub(super) fn is_silent(&self, alert: AlertId, episode: &Episode, at: Time) -> bool {
        let hushed = |silence: &Silence| {
            (silence.from..silence.until).contains(&at)
                && silence.rule.as_ref().is_none_or(|rule| *rule == episode.rule)
                && silence.scope.covers(&episode.labels)
        };
        let snoozed = self.snoozed.get(&alert).is_some_and(|(until, _)| *until > at);
        snoozed || episode.is_looked_after(at) || self.silences.values().any(hushed)
    }
}

impl Channel {
    /// Since when it tells of what is so bad.
    pub(super) fn since(&self, severity: Severity) -> Time {
        self.since[severity as usize]
    }

    pub(super) fn tells(&self) -> bool {
        self.settings.on && !self.disabled
    }

    fn hear(&mut self, told: &ChannelEvent) {
        match told {
            ChannelEvent::ChannelChanged { settings, at } => {
                // What nobody wanted to hear of when it was over is not told afterwards.
                let tells = self.tells();
                let unheard = |severity: &Severity| !tells || *severity < self.settings.severity;
                Severity::ALL.iter().filter(|severity| unheard(severity)).for_each(|severity| {
                    self.since[*severity as usize] = *at;
                });
                (self.settings, self.disabled) = (settings.clone(), false);
            }
            ChannelEvent::ChannelRenewed { at, .. } => {
                if self.disabled {
                    self.since = [*at; 3];
                }
                self.disabled = false;
            }
            ChannelEvent::ChannelDisabled { .. } => self.disabled = true,
            ChannelEvent::ChannelAdded { .. }
            | ChannelEvent::ChannelTestRequested { .. }
            | ChannelEvent::ChannelTested { .. }
            | ChannelEvent::ChannelReportRequested { .. }
            | ChannelEvent::ChannelReported { .. }
            | ChannelEvent::ChannelRemoved { .. } => {}
        }
    }
}

impl Episode {
    fn fired(told: &AlertEvent) -> Option<Self> {
        let AlertEvent::AlertFired { rule, labels, summary, severity, evidence, inhibited_by, evaluated_at, .. } = told
        else {
            return None;
        };
        Some(Self {
            rule: rule.clone(),
            labels: labels.clone(),
            summary: summary.clone(),
            features: evidence.features.clone(),
            severity: *severity,
            news: Vec::new(),
            fired_at: *evaluated_at,
            resolved_at: None,
            inhibited: inhibited_by.is_some(),
            acknowledged: None,
            finished: BTreeMap::new(),
        })
    }

    fn hear(&mut self, seq: u64, told: &AlertEvent) {
        let at = told.at();
        match told {
            AlertEvent::AlertFired { severity, .. } => self.tell(Notice::Fired, *severity, seq, at),
            AlertEvent::AlertEscalated { severity, evidence, .. } => {
                // Who looks after it has seen less.
                if *severity > self.severity {
                    self.acknowledged = None;
                }
                (self.severity, self.features) = (*severity, evidence.features.clone());
                self.tell(Notice::Escalated, *severity, seq, at);
            }
            AlertEvent::AlertResolved { .. } => {
                self.resolved_at = Some(at);
                self.tell(Notice::Resolved, self.severity, seq, at);
            }
            AlertEvent::AlertAcknowledged { until, .. } => {
                self.acknowledged = Some(until.map_or(Peace::ToTheEnd, Peace::Until));
            }
            AlertEvent::AlertNotified { channel, result: Delivery::Delivered | Delivery::GivenUp { .. }, .. } => {
                *self.finished.entry(*channel).or_default() += 1;
            }
            AlertEvent::AlertSilenced { .. } | AlertEvent::AlertNotified { result: Delivery::Failed { .. }, .. } => {}
        }
    }

    fn tell(&mut self, notice: Notice, severity: Severity, seq: u64, at: Time) {
        self.news.push(News { notice, severity, seq, at });
    }

    /// How many things were told of it by a channel for good.
    pub(super) fn finished(&self, channel: ChannelId) -> u32 {
        self.finished.get(&channel).copied().unwrap_or_default()
    }

    fn is_looked_after(&self, at: Time) -> bool {
        match self.acknowledged {
            Some(Peace::Until(until)) => until > at,
            Some(Peace::ToTheEnd) => true,
            None => false,
        }
    }
}
