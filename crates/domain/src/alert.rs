//! What people decide about an alert: to look after it, or to be left in peace for a while. That it fires and that it is over
//! is told by the engine, and decides nothing here but what there is to decide about.

use events::{
    RuleName, Time,
    alert::{AlertEvent, Severity},
};
use serde::{Deserialize, Serialize};

/// The longest note, in characters.
const NOTE_MAX: usize = 500;
/// Nobody is left in peace for longer than this without looking again.
pub const PEACE_MAX_US: i64 = 30 * 24 * 3_600 * 1_000_000;

/// What can be wanted of an alert.
#[derive(Debug, Clone)]
pub enum AlertCommand {
    /// Somebody looks after it, to the end of the episode if not told until when.
    Acknowledge { until: Option<Time>, note: String, at: Time },
    /// Nobody is to be called for it until then.
    Silence { until: Time, note: String, at: Time },
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlertRefusal {
    #[error("there is no such alert")]
    NotThere,
    #[error("its episode has ended: there is nothing to look after")]
    Over,
    #[error("say until when, in the future and within 30 days")]
    Until,
    #[error("a note is one line of at most {NOTE_MAX} characters")]
    Note,
}

/// What a decision about an alert must know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    fired: Option<Fired>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Fired {
    rule: RuleName,
    severity: Severity,
    episode: u64,
    over: bool,
}

impl Alert {
    /// Decides a command.
    pub fn decide(&self, command: AlertCommand) -> Result<Vec<AlertEvent>, AlertRefusal> {
        let Fired { rule, severity, episode, over } = self.fired.clone().ok_or(AlertRefusal::NotThere)?;
        match command {
            AlertCommand::Acknowledge { until, note, at } => {
                if over {
                    return Err(AlertRefusal::Over);
                }
                let until = until.map(|until| lasting(until, at)).transpose()?;
                Ok(vec![AlertEvent::AlertAcknowledged { rule, severity, episode, until, note: readable(note)?, at }])
            }
            AlertCommand::Silence { until, note, at } => {
                let until = lasting(until, at)?;
                Ok(vec![AlertEvent::AlertSilenced { rule, severity, episode, until, note: readable(note)?, at }])
            }
        }
    }

    /// Takes in what happened.
    pub fn remember(&mut self, event: AlertEvent) {
        match event {
            AlertEvent::AlertFired { rule, severity, episode, .. } => {
                self.fired = Some(Fired { rule, severity, episode, over: false });
            }
            AlertEvent::AlertEscalated { severity, .. } => {
                self.fired.iter_mut().for_each(|fired| fired.severity = severity);
            }
            AlertEvent::AlertResolved { .. } => self.fired.iter_mut().for_each(|fired| fired.over = true),
            AlertEvent::AlertAcknowledged { .. }
            | AlertEvent::AlertSilenced { .. }
            | AlertEvent::AlertNotified { .. } => {}
        }
    }
}

fn lasting(until: Time, at: Time) -> Result<Time, AlertRefusal> {
    let lasts = until.micros() - at.micros();
    if (1..=PEACE_MAX_US).contains(&lasts) { Ok(until) } else { Err(AlertRefusal::Until) }
}

fn readable(note: String) -> Result<String, AlertRefusal> {
    let fine = note.chars().count() <= NOTE_MAX && !note.contains(char::is_control);
    if fine { Ok(note) } else { Err(AlertRefusal::Note) }
}

crate::aggregate!(Alert, "alert", AlertCommand, AlertEvent, AlertRefusal);

#[cfg(test)]
mod tests {
    use events::alert::{Evidence, Labels, WhyEscalated, WhyResolved};

    use super::*;

    fn at(seconds: i64) -> Time {
        Time::EPOCH.plus_micros(seconds * 1_000_000)
    }

    fn rule() -> RuleName {
        "spread_wide".parse().unwrap()
    }

    fn fired(episode: u64) -> AlertEvent {
        AlertEvent::AlertFired {
            rule: rule(),
            version: 1,
            severity: Severity::Warning,
            labels: Labels::default(),
            episode,
            summary: "wide".into(),
            evidence: Evidence::default(),
            inhibited_by: None,
            as_of_seq: 1,
            evaluated_at: at(0),
        }
    }

    fn escalated() -> AlertEvent {
        let (severity, why, evidence) = (Severity::Critical, WhyEscalated::Worse, Evidence::default());
        AlertEvent::AlertEscalated {
            rule: rule(),
            version: 1,
            severity,
            episode: 1,
            why,
            evidence,
            as_of_seq: 1,
            evaluated_at: at(1),
        }
    }

    fn resolved(episode: u64) -> AlertEvent {
        let (severity, why, evidence) = (Severity::Warning, WhyResolved::Cleared, Evidence::default());
        AlertEvent::AlertResolved {
            rule: rule(),
            version: 1,
            severity,
            episode,
            why,
            evidence,
            as_of_seq: 2,
            evaluated_at: at(2),
        }
    }

    fn check(given: impl IntoIterator<Item = AlertEvent>, when: AlertCommand, then: Result<AlertEvent, AlertRefusal>) {
        let mut alert = Alert::default();
        given.into_iter().for_each(|event| alert.remember(event));
        assert_eq!(alert.decide(when), then.map(|event| vec![event]));
    }

    fn acknowledge(until: Option<Time>) -> AlertCommand {
        AlertCommand::Acknowledge { until, note: "on it".into(), at: at(10) }
    }

    fn acknowledged(severity: Severity, episode: u64, until: Option<Time>) -> AlertEvent {
        AlertEvent::AlertAcknowledged { rule: rule(), severity, episode, until, note: "on it".into(), at: at(10) }
    }

    #[test]
    fn an_episode_that_goes_on_is_looked_after_as_bad_as_it_is() {
        check([], acknowledge(None), Err(AlertRefusal::NotThere));
        check([fired(1)], acknowledge(None), Ok(acknowledged(Severity::Warning, 1, None)));
        check(
            [fired(1), escalated()],
            acknowledge(Some(at(60))),
            Ok(acknowledged(Severity::Critical, 1, Some(at(60)))),
        );
        check([fired(1), resolved(1)], acknowledge(None), Err(AlertRefusal::Over));
        check([fired(1), resolved(1), fired(2)], acknowledge(None), Ok(acknowledged(Severity::Warning, 2, None)));
    }

    #[test]
    fn peace_ends_in_the_future_and_an_alert_that_is_over_can_be_silenced_too() {
        let silence = |until| AlertCommand::Silence { until, note: "known".into(), at: at(10) };
        for until in [at(10), at(0), at(11 + PEACE_MAX_US / 1_000_000)] {
            check([fired(1)], silence(until), Err(AlertRefusal::Until));
            check([fired(1)], acknowledge(Some(until)), Err(AlertRefusal::Until));
        }
        let silenced = AlertEvent::AlertSilenced {
            rule: rule(),
            severity: Severity::Warning,
            episode: 1,
            until: at(70),
            note: "known".into(),
            at: at(10),
        };
        check([fired(1), resolved(1)], silence(at(70)), Ok(silenced));
        let note = AlertCommand::Acknowledge { until: None, note: "two\nlines".into(), at: at(10) };
        check([fired(1)], note, Err(AlertRefusal::Note));
    }
}
