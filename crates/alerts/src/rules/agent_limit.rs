//! An agent has cost nearly what it may cost on a day.

use events::{
    Event,
    agent::AgentEvent,
    alert::{Labels, Severity},
};

use super::{Rule, number};
use crate::{
    engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading},
    exact::percent,
};

pub(crate) struct AgentLimitNear;

impl Rule for AgentLimitNear {
    const KIND: Kind = Kind {
        name: "agent_limit_near",
        version: 1,
        about: "an agent has cost most of what it may cost on a day (UTC)",
        of: Of::Clients,
        names: Names::NOTHING,
        parameters: &[number("share", "%", ["1", "80", "100"], "a larger part of the limit is near")],
        ends: Ends::WhenClear,
        while_wanted: false,
        inhibited_by: None,
    };

    type Memory = ();

    fn hear(_: &mut (), hearing: &mut Hearing<'_>) {
        let Event::Agent(AgentEvent::BudgetCharged { spent_today, allowed_a_day, .. }) = &hearing.event.event else {
            return;
        };
        let Some(used) = allowed_a_day.and_then(|allowed| percent(*spent_today, allowed)) else { return };
        let labels = Labels::default();
        let share = hearing.parameter(&labels, "share");
        let now = if used > share { Condition::Above(Severity::Warning) } else { Condition::Between };
        let summary = format!("the agent has cost {} % of what it may today", used.rounded(1));
        let reading = Reading::new(now, summary)
            .with("used", used, Some(share), "%")
            .with("spent", *spent_today, *allowed_a_day, "USD")
            .then(hearing.at.next_midnight(), Condition::Clear);
        hearing.say(labels, reading);
    }
}
