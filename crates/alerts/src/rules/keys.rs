//! A key to an exchange is opened much more often than it used to be.

use std::collections::BTreeMap;

use events::{
    Decimal, Event, Time,
    alert::{Labels, Severity},
    credential::CredentialEvent,
};
use serde::{Deserialize, Serialize};

use super::{Rule, number};
use crate::{
    engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading},
    exact::{minus, plus, times},
};

pub(crate) struct KeyAnomaly;

const HOUR_US: i64 = 3_600_000_000;
/// A day's worth of hours: each counts for one part in so many.
const HOURS: i64 = 24;
const PLACES: u32 = 9;

/// How often a credential was opened in this hour, and in the hours before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Habit {
    hour: Option<Time>,
    opened: u32,
    usual: Decimal,
}

impl Rule for KeyAnomaly {
    const KIND: Kind = Kind {
        name: "key_anomaly",
        version: 2,
        about: "a credential is opened many times as often within an hour as it used to be, or what lies in the vault is not its own",
        of: Of::Clients,
        names: Names::THING,
        parameters: &[
            number("ratio", "x", ["1", "5", "1000"], "how many times the usual is too often"),
            number("least", "openings/h", ["1", "20", "100000"], "what is never too often"),
        ],
        ends: Ends::ByHand,
        while_wanted: false,
        inhibited_by: None,
    };

    type Memory = BTreeMap<String, Habit>;

    fn hear(memory: &mut Self::Memory, hearing: &mut Hearing<'_>) {
        let Event::Credential(told) = &hearing.event.event else { return };
        let id = hearing.event.aggregate.id.clone();
        let labels = Labels::about(id.clone());
        if let CredentialEvent::CredentialRefused { misfit, .. } = told {
            let summary = format!("what lies in the vault for credential {id} is not its own: {misfit}");
            let reading = Reading::new(Condition::Above(Severity::Critical), summary);
            hearing.say(labels, reading.with("refused", Decimal::ONE, Some(Decimal::ZERO), "openings"));
        } else if let CredentialEvent::CredentialOpened { .. } = told {
            let habit = memory.entry(id.clone()).or_default();
            habit.open(hearing.at);
            let [ratio, least] = ["ratio", "least"].map(|name| hearing.parameter(&labels, name));
            let (opened, many) = (Decimal::from_int(habit.opened.into()), times(habit.usual, ratio).max(least));
            if opened > many {
                let summary = format!("credential {id} was opened {opened} times within an hour");
                let reading = Reading::new(Condition::Above(Severity::Critical), summary)
                    .with("opened", opened, Some(many), "openings/h")
                    .with("usual", habit.usual, None, "openings/h");
                hearing.say(labels, reading);
            }
        }
    }
}

impl Habit {
    fn open(&mut self, at: Time) {
        let hour = at.plus_micros(-at.micros().rem_euclid(HOUR_US));
        let before = *self.hour.get_or_insert(hour);
        let passed = (hour.micros() - before.micros()) / HOUR_US;
        if passed > 0 {
            self.fade(Decimal::from_int(self.opened.into()));
            (1..passed.min(24 * 30)).for_each(|_| self.fade(Decimal::ZERO));
            (self.hour, self.opened) = (Some(hour), 0);
        }
        self.opened = self.opened.saturating_add(1);
    }

    fn fade(&mut self, opened: Decimal) {
        let step = minus(opened, self.usual).divided_by(Decimal::from_int(HOURS)).unwrap_or_default();
        self.usual = plus(self.usual, step).rounded(PLACES).normalised();
    }
}
