//! An agent proposed what it may not.

use events::{
    Event,
    agent::AgentEvent,
    alert::{Labels, Severity},
};

use super::{Rule, Window, count, number};
use crate::engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading};

pub(crate) struct AgentActionDenied;

const WINDOW_US: i64 = 600_000_000;
const REMEMBERED_MAX: usize = 100;

impl Rule for AgentActionDenied {
    const KIND: Kind = Kind {
        name: "agent_action_denied",
        version: 1,
        about: "what an agent proposed was refused; critical when that comes often, or when it reached for another client",
        of: Of::Clients,
        names: Names::NOTHING,
        parameters: &[
            number("critical", "refusals", ["1", "3", "100"], "so many within ten minutes are critical"),
            number("lasts_s", "s", ["1", "900", "86400"], "how long it is shown"),
        ],
        ends: Ends::Passing,
        while_wanted: false,
        inhibited_by: None,
    };

    /// Which events told of refusals.
    type Memory = Window<u64>;

    fn hear(memory: &mut Self::Memory, hearing: &mut Hearing<'_>) {
        let Event::Agent(AgentEvent::PlanRejected { action, foreign, refusals, .. }) = &hearing.event.event else {
            return;
        };
        memory.push(hearing.at, hearing.event.seq, WINDOW_US, REMEMBERED_MAX);
        let labels = Labels::default();
        let (many, critical) = (count(memory.len()), hearing.parameter(&labels, "critical"));
        let bad = *foreign || many >= critical;
        let severity = if bad { Severity::Critical } else { Severity::Warning };
        let rules: Vec<&str> = refusals.iter().map(|refusal| refusal.rule.as_str()).collect();
        let summary = format!("the agent was refused {action}: {}", rules.join(", "));
        let seqs: Vec<u64> = memory.iter().map(|(_, seq)| *seq).collect();
        let reading = Reading::new(Condition::Above(severity), summary)
            .with("within_ten_minutes", many, Some(critical), "refusals")
            .by(seqs);
        hearing.say(labels, reading);
    }
}
