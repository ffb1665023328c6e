//! A time during which nobody is called for some alerts: set with a reason, and over by itself or before.

use events::{
    RuleName, Time,
    alert::{Scope, SilenceEvent},
};
use serde::{Deserialize, Serialize};

use crate::alert::PEACE_MAX_US;

/// The longest reason, in characters.
const REASON_MAX: usize = 500;

/// What can be wanted of a silence.
#[derive(Debug, Clone)]
pub enum SilenceCommand {
    Set { rule: Option<RuleName>, scope: Scope, until: Time, reason: String, at: Time },
    End { reason: String, at: Time },
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SilenceRefusal {
    #[error("there is no such silence")]
    NotThere,
    #[error("there is one of this id already")]
    AlreadyThere,
    #[error("it is over already: set another one")]
    Over,
    #[error("say until when, in the future and within 30 days")]
    Until,
    #[error("a reason is one line of 1 to {REASON_MAX} characters")]
    Reason,
}

/// What a decision about a silence must know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    until: Option<Time>,
}

impl Silence {
    /// Decides a command.
    pub fn decide(&self, command: SilenceCommand) -> Result<Vec<SilenceEvent>, SilenceRefusal> {
        match (command, self.until) {
            (SilenceCommand::Set { .. }, Some(_)) => Err(SilenceRefusal::AlreadyThere),
            (SilenceCommand::Set { rule, scope, until, reason, at }, None) => {
                if !(1..=PEACE_MAX_US).contains(&(until.micros() - at.micros())) {
                    return Err(SilenceRefusal::Until);
                }
                Ok(vec![SilenceEvent::SilenceSet { rule, scope, until, reason: readable(reason)?, at }])
            }
            (SilenceCommand::End { .. }, None) => Err(SilenceRefusal::NotThere),
            (SilenceCommand::End { at, .. }, Some(until)) if until <= at => Err(SilenceRefusal::Over),
            (SilenceCommand::End { reason, at }, Some(_)) => {
                Ok(vec![SilenceEvent::SilenceEnded { reason: readable(reason)?, at }])
            }
        }
    }

    /// Takes in what happened.
    pub fn remember(&mut self, event: SilenceEvent) {
        self.until = Some(match event {
            SilenceEvent::SilenceSet { until, .. } => until,
            SilenceEvent::SilenceEnded { at, .. } => at,
        });
    }
}

fn readable(reason: String) -> Result<String, SilenceRefusal> {
    let fine = (1..=REASON_MAX).contains(&reason.trim().chars().count()) && !reason.contains(char::is_control);
    if fine { Ok(reason) } else { Err(SilenceRefusal::Reason) }
}

crate::aggregate!(Silence, "silence", SilenceCommand, SilenceEvent, SilenceRefusal);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time::EPOCH.plus_micros(seconds * 1_000_000)
    }

    fn set(until: i64) -> SilenceCommand {
        let (rule, scope, reason) = (None, Scope::default(), "maintenance".to_owned());
        SilenceCommand::Set { rule, scope, until: at(until), reason, at: at(0) }
    }

    fn end(seconds: i64) -> SilenceCommand {
        SilenceCommand::End { reason: "done".into(), at: at(seconds) }
    }

    fn decided(given: &[SilenceCommand], when: SilenceCommand) -> Result<usize, SilenceRefusal> {
        let mut silence = Silence::default();
        for command in given {
            silence.decide(command.clone()).unwrap().into_iter().for_each(|event| silence.remember(event));
        }
        silence.decide(when).map(|events| events.len())
    }

    #[test]
    fn it_is_set_once_for_a_time_and_ends_once() {
        assert_eq!(decided(&[], set(60)), Ok(1));
        assert_eq!(decided(&[], set(0)), Err(SilenceRefusal::Until));
        assert_eq!(decided(&[], set(31 * 86_400)), Err(SilenceRefusal::Until));
        assert_eq!(decided(&[set(60)], set(90)), Err(SilenceRefusal::AlreadyThere));
        assert_eq!(decided(&[], end(1)), Err(SilenceRefusal::NotThere));
        assert_eq!(decided(&[set(60)], end(59)), Ok(1));
        assert_eq!(decided(&[set(60)], end(60)), Err(SilenceRefusal::Over));
        assert_eq!(decided(&[set(60), end(5)], end(6)), Err(SilenceRefusal::Over));
        let empty =
            SilenceCommand::Set { rule: None, scope: Scope::default(), until: at(9), reason: " ".into(), at: at(0) };
        assert_eq!(decided(&[], empty), Err(SilenceRefusal::Reason));
    }
}
