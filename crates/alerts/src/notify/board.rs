//! What there is to tell, and by which channels: folded from a client's stream, without a clock.

use std::collections::BTreeMap;

use events::{
    AlertId, ChannelId, Event, Recorded, RuleName, SealedId, SilenceId, Slug, Time,
    alert::{AlertEvent, Feature, Labels, Notice, Scope, Severity, SilenceEvent},
    channel::{ChannelEvent, Kind, Settings},
};
use serde::{Deserialize, Serialize};

/// Everything of a client that people may have to hear of.
#[derive(Debug, Default)]
pub struct Board {
    pub(super) channels: BTreeMap<ChannelId, Channel>,
    /// Those that go on, and those that nobody has heard the end of.
    pub(super) episodes: BTreeMap<(AlertId, u64), Episode>,
    pub(super) asked: Vec<Asked>,
    silences: BTreeMap<SilenceId, Silence>,
}

/// A way to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    pub name: Slug,
    pub kind: Kind,
    pub sealed: SealedId,
    /// What it was before, and until when that counts too.
    pub before: Option<(SealedId, Time)>,
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
    /// Something else explains it.
    pub(super) inhibited: bool,
    /// Somebody looks after it, so long.
    acknowledged: Option<Peace>,
    /// Nobody is to be called for it before, whatever becomes of it.
    silenced_until: Option<Time>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    Test,
    Report { from: Time, to: Time },
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
        } else if let Event::Silence(told) = &event.event
            && let Ok(silence) = event.aggregate.id.parse()
        {
            self.hear_of_silence(silence, told);
        }
    }

    fn hear_of_alert(&mut self, alert: AlertId, seq: u64, told: &AlertEvent) {
        let key = (alert, told.episode());
        if let Some(episode) = Episode::fired(told) {
            self.episodes.insert(key, episode);
        }
        if let Some(episode) = self.episodes.get_mut(&key) {
            episode.hear(seq, told);
        }
    }

    fn hear_of_channel(&mut self, id: ChannelId, seq: u64, told: &ChannelEvent) {
        match told {
            ChannelEvent::ChannelAdded { name, kind, sealed, settings, at, .. } => {
                let (name, kind, sealed, since) = (name.clone(), *kind, *sealed, [*at; 3]);
                let settings = settings.clone();
                let channel = Channel { name, kind, sealed, before: None, settings, since, disabled: false };
                self.channels.insert(id, channel);
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
            ChannelEvent::ChannelReportRequested { from, to, .. } => {
                self.asked.push(Asked { channel: id, seq, what: Question::Report { from: *from, to: *to } });
            }
            ChannelEvent::ChannelChanged { .. }
            | ChannelEvent::ChannelRenewed { .. }
            | ChannelEvent::ChannelDisabled { .. } => {
                self.channels.get_mut(&id).into_iter().for_each(|channel| channel.hear(told));
                // Nobody waits for a test of a channel that rests.
                if self.channels.get(&id).is_some_and(|channel| !channel.tells()) {
                    self.asked.retain(|asked| asked.channel != id);
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

    /// A channel that there is.
    pub fn channel(&self, id: ChannelId) -> Option<&Channel> {
        self.channels.get(&id)
    }

    /// Whether nobody is to be called for this at that time.
    pub(super) fn is_silent(&self, episode: &Episode, at: Time) -> bool {
        let hushed = |silence: &Silence| {
            (silence.from..silence.until).contains(&at)
                && silence.rule.as_ref().is_none_or(|rule| *rule == episode.rule)
                && silence.scope.covers(&episode.labels)
        };
        episode.is_in_peace(at) || self.silences.values().any(hushed)
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
            ChannelEvent::ChannelRenewed { sealed, supersedes, both_until, at, .. } => {
                if self.disabled {
                    self.since = [*at; 3];
                }
                (self.sealed, self.before, self.disabled) = (*sealed, Some((*supersedes, *both_until)), false);
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
            silenced_until: None,
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
            AlertEvent::AlertSilenced { until, .. } => self.silenced_until = Some(*until),
            AlertEvent::AlertNotified { .. } => {}
        }
    }

    fn tell(&mut self, notice: Notice, severity: Severity, seq: u64, at: Time) {
        self.news.push(News { notice, severity, seq, at });
    }

    fn is_in_peace(&self, at: Time) -> bool {
        let looked_after = match self.acknowledged {
            Some(Peace::Until(until)) => until > at,
            Some(Peace::ToTheEnd) => true,
            None => false,
        };
        looked_after || self.silenced_until.is_some_and(|until| until > at)
    }
}
