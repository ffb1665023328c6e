//! One episode of an alert, and the lines of its history: what each event makes of it.

use events::{
    Actor, AlertId, Event, Recorded, RuleName, Time, UserId,
    alert::{AlertEvent, Evidence, Labels, Severity, WhyResolved},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// One episode of an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AlertEpisode)]
pub struct Episode {
    /// Whose.
    pub client_id: Uuid,
    pub alert_id: AlertId,
    /// Which one of this alert: 1, 2, 3.
    pub episode: u64,
    pub rule: RuleName,
    /// The rule's own version.
    pub version: u32,
    /// The worst that it was.
    pub severity: Severity,
    /// What it is about.
    pub labels: Labels,
    pub state: State,
    /// In one sentence.
    pub summary: String,
    /// What was measured last, and the events that show it.
    pub evidence: Evidence,
    /// What else explains it; nobody was called for it then.
    pub inhibited_by: Option<RuleName>,
    pub fired_at: Time,
    /// The event that tells of it.
    pub fired_seq: u64,
    pub resolved_at: Option<Time>,
    pub why_resolved: Option<WhyResolved>,
    /// Who looks after it, since when, and until when; absent: nobody, or to its end.
    pub acknowledged_by: Option<UserId>,
    pub acknowledged_at: Option<Time>,
    pub acknowledged_until: Option<Time>,
    pub note: Option<String>,
    /// Nobody is called for it until then.
    pub silenced_until: Option<Time>,
    /// The last event that tells of it.
    pub seq: u64,
}

/// Whether an episode goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AlertState)]
pub enum State {
    Firing,
    Resolved,
}

/// One line of an episode's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AlertLine)]
pub struct Line {
    /// Whose.
    pub client_id: Uuid,
    pub alert_id: AlertId,
    pub episode: u64,
    /// The event that tells it.
    pub seq: u64,
    /// When it was so.
    pub at: Time,
    /// Who did it: `user:` and an id, or `system:` and a part of the platform.
    #[schema(value_type = Option<String>)]
    pub by: Option<Actor>,
    /// The event's name, `AlertFired` and so on, and what it says.
    pub what: String,
    #[schema(value_type = Object)]
    pub told: serde_json::Value,
}

impl Episode {
    /// What begins one; absent: this does not.
    pub(super) fn fired(event: &Recorded, alert_id: AlertId, told: &AlertEvent) -> Option<Self> {
        let AlertEvent::AlertFired {
            rule,
            version,
            severity,
            labels,
            episode,
            summary,
            evidence,
            inhibited_by,
            evaluated_at,
            ..
        } = told
        else {
            return None;
        };
        Some(Self {
            client_id: event.client.0,
            alert_id,
            episode: *episode,
            rule: rule.clone(),
            version: *version,
            severity: *severity,
            labels: labels.clone(),
            state: State::Firing,
            summary: summary.clone(),
            evidence: evidence.clone(),
            inhibited_by: inhibited_by.clone(),
            fired_at: *evaluated_at,
            fired_seq: event.seq,
            resolved_at: None,
            why_resolved: None,
            acknowledged_by: None,
            acknowledged_at: None,
            acknowledged_until: None,
            note: None,
            silenced_until: None,
            seq: event.seq,
        })
    }

    /// What has become of it.
    pub(super) fn hear(&mut self, event: &Recorded, told: &AlertEvent) {
        self.seq = event.seq;
        match told {
            AlertEvent::AlertFired { .. } | AlertEvent::AlertNotified { .. } => {}
            AlertEvent::AlertEscalated { severity, evidence, .. } => {
                // Whoever looks after what it was does not know of this yet.
                if *severity > self.severity {
                    (self.acknowledged_by, self.acknowledged_at, self.acknowledged_until) = (None, None, None);
                }
                (self.severity, self.evidence) = (*severity, evidence.clone());
            }
            AlertEvent::AlertResolved { why, evidence, evaluated_at, .. } => {
                (self.state, self.resolved_at, self.why_resolved) = (State::Resolved, Some(*evaluated_at), Some(*why));
                // An end that was not measured leaves what was measured last.
                self.evidence.seqs.clone_from(&evidence.seqs);
                if !evidence.features.is_empty() {
                    self.evidence.features.clone_from(&evidence.features);
                }
            }
            AlertEvent::AlertAcknowledged { until, note, at, .. } => {
                self.acknowledged_by = match event.actor {
                    Some(Actor::User(user)) => Some(user),
                    Some(Actor::System(_)) | None => None,
                };
                (self.acknowledged_at, self.acknowledged_until) = (Some(*at), *until);
                self.note = Some(note.clone());
            }
            AlertEvent::AlertSilenced { until, note, .. } => {
                (self.silenced_until, self.note) = (Some(*until), Some(note.clone()));
            }
        }
    }
}

impl Line {
    pub(super) fn of(event: &Recorded, alert_id: AlertId, told: &AlertEvent) -> Self {
        let what = told.name();
        let mut told = serde_json::to_value(&event.event).expect("an event has a JSON form");
        Self {
            client_id: event.client.0,
            alert_id,
            episode: told_episode(&event.event),
            seq: event.seq,
            at: event.event.at(),
            by: event.actor.clone(),
            what: what.to_owned(),
            told: told[what].take(),
        }
    }
}

fn told_episode(event: &Event) -> u64 {
    if let Event::Alert(told) = event { told.episode() } else { 0 }
}

impl State {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}
