//! Why something ends, as a request says it.

use serde::Deserialize;
use utoipa::ToSchema;

/// Why something ends: a silence, a channel, a schedule, an agreement, a credential, a subscription.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WhyOver {
    /// For the record, one line; 500 characters at most.
    pub reason: String,
}

impl Default for WhyOver {
    fn default() -> Self {
        Self { reason: "asked for".to_owned() }
    }
}
