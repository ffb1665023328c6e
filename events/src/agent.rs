//! What a client's AI agent did, as far as others have to know of it.

use serde::{Deserialize, Serialize};

use crate::{Decimal, Time, Uuid};

/// One rule that a plan does not keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRefusal {
    pub rule: String,
    /// What the rule allows, and what the plan asks for, as a person reads it.
    pub limit: String,
    pub value: String,
}

/// Facts of aggregate `agent`, keyed by the conversation's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum AgentEvent {
    /// The validator refused what the agent proposed; nothing was done. `foreign`: it reached for what is another client's.
    PlanRejected { plan: Uuid, action: String, refusals: Vec<PlanRefusal>, foreign: bool, at: Time },
    /// A request to the model was paid for. Money is in US dollars; the day is the UTC day of `at`.
    BudgetCharged {
        model: String,
        input_tokens: u64,
        output_tokens: u64,
        cost: Decimal,
        /// What the client's agent has cost that day, this request included.
        spent_today: Decimal,
        /// What it may cost a day; absent: nobody set a limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        allowed_a_day: Option<Decimal>,
        /// The provider's own id of the request.
        request: String,
        at: Time,
    },
}

impl AgentEvent {
    /// When it happened.
    pub fn at(&self) -> Time {
        match self {
            Self::PlanRejected { at, .. } | Self::BudgetCharged { at, .. } => *at,
        }
    }
}
