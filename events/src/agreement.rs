//! Agreements: what a market maker has promised a client of one bot, and whether each day kept it.

use serde::{Deserialize, Serialize};

use crate::{BotId, Decimal, Slug, Time};

/// One promise. All are of whole days (UTC), without the time that was declared to be left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = AgreementClause)]
pub enum Clause {
    /// Orders on both sides, for at least this share of the time; closer together than so many bps, where that is said. Where
    /// a size is said, too: with at least so much of the quote asset on each side within so many bps of the middle.
    TwoSided {
        least: Decimal,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        within_bps: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size_quote: Option<Decimal>,
    },
    /// The mean of both sides' shares of the time.
    Sides { least: Decimal },
    /// A mean spread, over the time that it had orders on both sides.
    Spread { most_bps: Decimal },
    /// On each side, a mean of so much within a distance of the middle, in the quote asset.
    Depth { within_bps: u32, least_quote: Decimal },
    /// A volume without what the client traded with itself, in the quote asset. The floor is of whole days: of one of which
    /// a part is left out, as large a part of it.
    Volume {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        least_quote: Option<Decimal>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        most_quote: Option<Decimal>,
    },
    /// A share of everybody's volume.
    VolumeShare {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        least: Option<Decimal>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        most: Option<Decimal>,
    },
}

/// Whether a day kept a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AgreementOutcome)]
pub enum Outcome {
    Met,
    Missed,
    /// All of the day was declared to be left out.
    Excused,
    /// What it is measured by is not known.
    Unknown,
}

/// What a day came to by one promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AgreementVerdict)]
pub struct Verdict {
    pub clause: Clause,
    pub outcome: Outcome,
    /// What was measured, one number over another; absent: nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Decimal>,
    pub numerator: Decimal,
    pub denominator: Decimal,
}

/// Facts of aggregate `agreement`, keyed by the agreement's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum AgreementEvent {
    /// This is promised of a bot from the next day on; said again, in place of what was promised before.
    AgreementSet { name: Slug, bot: BotId, clauses: Vec<Clause>, at: Time },
    /// This time counts for nothing: the exchange was down, or both sides had agreed on it.
    ExclusionDeclared { from: Time, to: Time, reason: String, at: Time },
    /// What a day came to, by all that was known up to event `as_of_seq`. A later one of the same day stands in its place.
    AgreementJudged { day: Time, verdicts: Vec<Verdict>, excluded_us: u64, as_of_seq: u64, at: Time },
    /// Nothing is promised any more.
    AgreementEnded { reason: String, at: Time },
}

impl AgreementEvent {
    /// When it happened.
    pub fn at(&self) -> Time {
        match self {
            Self::AgreementSet { at, .. }
            | Self::ExclusionDeclared { at, .. }
            | Self::AgreementJudged { at, .. }
            | Self::AgreementEnded { at, .. } => *at,
        }
    }
}
