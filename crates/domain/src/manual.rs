//! A manual order's life: asked for, about to be sent, sent; refused; or nobody knows. It is sent once or not at all.
//!
//! Only orders that rest are offered. Of an order that takes at once the Hummingbot API loses the fills that come within
//! 10 ms of its acceptance, so a market order is refused. A limit order may be priced anywhere here; whether it would
//! cross the book is looked at when it is about to be sent.

use events::{
    Amount, BotId, Decimal, OrderId, Price, Time,
    bot::Venue,
    ledger::Side,
    manual::{HowEnded, ManualOrderEvent, RestingType, Verdict},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The longest reason, in characters.
const REASON_MAX: usize = 500;
/// As many digits as a JSON float carries without loss: the order is found again by its price and amount.
const DIGITS_MAX: u32 = 15;

/// How somebody asks for an order to be put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AskedType {
    Limit,
    LimitMaker,
    Market,
}

/// What can be wanted of a manual order, and what the operator tells of it.
#[derive(Debug, Clone)]
pub enum ManualCommand {
    Request {
        bot: BotId,
        venue: Option<Venue>,
        side: Side,
        order_type: AskedType,
        price: Option<Price>,
        amount: Amount,
        at: Time,
    },
    RequestCancel {
        at: Time,
    },
    /// Somebody knows what became of it.
    Resolve {
        verdict: Verdict,
        order: Option<OrderId>,
        reason: String,
        at: Time,
    },
    Did {
        deed: ManualDeed,
        at: Time,
    },
}

/// What the operator did or saw.
#[derive(Debug, Clone)]
pub enum ManualDeed {
    /// The order is about to be sent: whoever could tell this, and only he, sends it.
    Start,
    Submitted {
        order: OrderId,
    },
    Refused {
        reason: String,
    },
    Unknown {
        reason: String,
    },
    /// It came to light after it was given up.
    Found {
        order: OrderId,
    },
    CancelFailed {
        reason: String,
    },
    FillsMissing {
        filled: Decimal,
        reason: String,
    },
    FillsExplained {
        filled: Decimal,
    },
    Ended {
        ended: HowEnded,
        filled: Decimal,
    },
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManualTask {
    Place,
    /// It may have been sent since then: find it, never send it again.
    Find {
        since: Time,
    },
    Cancel {
        order: OrderId,
    },
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManualRefusal {
    #[error("there is no such order")]
    NotRequested,
    #[error("the order was asked for already")]
    AlreadyRequested,
    #[error("the bot has no venue to trade on: give its config one")]
    NoVenue,
    #[error(
        "market orders are not offered: fills that come within 10 ms of acceptance get lost on their way to the ledger; use limit_maker"
    )]
    Market,
    #[error("a limit order has a price")]
    NoPrice,
    #[error("{what} must be above zero and have at most {DIGITS_MAX} significant digits, got {got}")]
    Number { what: &'static str, got: Decimal },
    #[error("the order was sent before, or is over")]
    NotWaiting,
    #[error("nobody is about to send the order")]
    NotStarted,
    #[error("the order is not with the exchange")]
    NotSubmitted,
    #[error("the order is over: there is nothing to cancel")]
    Over,
    #[error("it is to be cancelled already")]
    AlreadyCancelling,
    #[error("nobody asked for it to be cancelled")]
    NotAskedToCancel,
    #[error("what becomes of the order is known, or is still being found out: there is nothing to decide")]
    NothingToDecide,
    #[error("the order was with the exchange: decide whether it was cancelled or filled there")]
    WasPlaced,
    #[error("say under which order_id the exchange filled it, so that its fills can be told from others")]
    NoOrder,
    #[error("a reason is one line of 1 to {REASON_MAX} characters: say what the exchange shows")]
    Reason,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    #[default]
    Absent,
    Requested,
    Started,
    Submitted,
    Refused,
    Unknown,
    Ended,
}

/// The order as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    pub bot: BotId,
    pub venue: Venue,
    pub side: Side,
    pub order_type: RestingType,
    pub price: Price,
    pub amount: Amount,
    pub at: Time,
}

/// What a decision about a manual order must know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManualOrder {
    phase: Phase,
    wanted: Option<Wanted>,
    started: Option<Time>,
    order: Option<OrderId>,
    cancelling: bool,
    ended: Option<HowEnded>,
    /// What its fills had told of when it was seen that some are missing.
    missing: Option<Decimal>,
    /// Somebody decided that nothing is missing.
    settled: bool,
}

impl ManualOrder {
    /// Decides a command.
    pub fn decide(&self, command: ManualCommand) -> Result<Vec<ManualOrderEvent>, ManualRefusal> {
        match command {
            ManualCommand::Request { bot, venue, side, order_type, price, amount, at } => {
                if self.phase != Phase::Absent {
                    return Err(ManualRefusal::AlreadyRequested);
                }
                let order_type = resting(order_type)?;
                let venue = venue.ok_or(ManualRefusal::NoVenue)?;
                let price = price.ok_or(ManualRefusal::NoPrice)?;
                possible("price", price.0)?;
                possible("amount", amount.0)?;
                Ok(vec![ManualOrderEvent::ManualOrderRequested { bot, venue, side, order_type, price, amount, at }])
            }
            ManualCommand::RequestCancel { at } => self.cancel(at),
            ManualCommand::Resolve { verdict, order, reason, at } => {
                let order = self.resolve(verdict, order, &reason)?;
                Ok(vec![ManualOrderEvent::ManualOrderResolved { verdict, order, reason, at }])
            }
            ManualCommand::Did { deed, at } => self.did(deed, at),
        }
    }

    fn cancel(&self, at: Time) -> Result<Vec<ManualOrderEvent>, ManualRefusal> {
        let asked = ManualOrderEvent::ManualCancelRequested { at };
        match self.phase {
            Phase::Absent => Err(ManualRefusal::NotRequested),
            Phase::Refused | Phase::Unknown | Phase::Ended => Err(ManualRefusal::Over),
            Phase::Started | Phase::Submitted if self.cancelling => Err(ManualRefusal::AlreadyCancelling),
            Phase::Started | Phase::Submitted => Ok(vec![asked]),
            // Nothing went out yet, and after this nothing will.
            Phase::Requested => Ok(vec![
                asked,
                ManualOrderEvent::ManualCancelDone { at },
                ManualOrderEvent::ManualOrderRefused { reason: "cancelled before it was sent".to_owned(), at },
            ]),
        }
    }

    /// Whether there is something to decide, and of which order of the exchange it is decided.
    fn resolve(
        &self,
        verdict: Verdict,
        order: Option<OrderId>,
        reason: &str,
    ) -> Result<Option<OrderId>, ManualRefusal> {
        if reason.trim().is_empty() || reason.chars().count() > REASON_MAX || reason.contains(char::is_control) {
            return Err(ManualRefusal::Reason);
        }
        match (self.phase, verdict) {
            (Phase::Absent, _) => Err(ManualRefusal::NotRequested),
            (Phase::Unknown, Verdict::Filled) if order.is_none() => Err(ManualRefusal::NoOrder),
            (Phase::Unknown, Verdict::Filled | Verdict::Cancelled) => Ok(order),
            (Phase::Unknown, Verdict::NotPlaced) => Ok(None),
            (Phase::Ended, _) if self.missing.is_none() || self.settled => Err(ManualRefusal::NothingToDecide),
            (Phase::Ended, Verdict::NotPlaced) => Err(ManualRefusal::WasPlaced),
            (Phase::Ended, Verdict::Filled) if self.ended == Some(HowEnded::Filled) => {
                Err(ManualRefusal::NothingToDecide)
            }
            (Phase::Ended, Verdict::Cancelled | Verdict::Filled) => Ok(self.order.clone()),
            (Phase::Requested | Phase::Started | Phase::Submitted | Phase::Refused, _) => {
                Err(ManualRefusal::NothingToDecide)
            }
        }
    }

    fn did(&self, deed: ManualDeed, at: Time) -> Result<Vec<ManualOrderEvent>, ManualRefusal> {
        match deed {
            ManualDeed::Start => {
                self.is(Phase::Requested, ManualRefusal::NotWaiting)?;
                Ok(vec![ManualOrderEvent::ManualOrderStarted { at }])
            }
            ManualDeed::Submitted { order } => {
                self.is(Phase::Started, ManualRefusal::NotStarted)?;
                Ok(vec![ManualOrderEvent::ManualOrderSubmitted { order, at }])
            }
            ManualDeed::Refused { reason } => match self.phase {
                Phase::Requested | Phase::Started => {
                    Ok(self.over(ManualOrderEvent::ManualOrderRefused { reason: readable(&reason), at }))
                }
                Phase::Absent | Phase::Submitted | Phase::Refused | Phase::Unknown | Phase::Ended => {
                    Err(ManualRefusal::NotStarted)
                }
            },
            ManualDeed::Unknown { reason } => {
                self.is(Phase::Started, ManualRefusal::NotStarted)?;
                Ok(self.over(ManualOrderEvent::ManualOrderUnknown { reason: readable(&reason), at }))
            }
            ManualDeed::Found { order } => {
                self.is(Phase::Unknown, ManualRefusal::NotStarted)?;
                Ok(vec![ManualOrderEvent::ManualOrderFound { order, at }])
            }
            ManualDeed::CancelFailed { reason } => match self.cancelling {
                true => Ok(vec![ManualOrderEvent::ManualCancelFailed { reason: readable(&reason), at }]),
                false => Err(ManualRefusal::NotAskedToCancel),
            },
            ManualDeed::FillsMissing { filled, reason } => {
                self.is(Phase::Submitted, ManualRefusal::NotSubmitted)?;
                let missing = ManualOrderEvent::ManualFillsMissing { filled, reason: readable(&reason), at };
                Ok(self.missing.is_none().then_some(missing).into_iter().collect())
            }
            ManualDeed::FillsExplained { filled } => {
                let explained = ManualOrderEvent::ManualFillsExplained { filled, at };
                Ok(self.missing.map(|_| explained).into_iter().collect())
            }
            ManualDeed::Ended { ended, filled } => {
                self.is(Phase::Submitted, ManualRefusal::NotSubmitted)?;
                let end = ManualOrderEvent::ManualOrderEnded { ended, filled, at };
                let as_wanted = self.cancelling && ended == HowEnded::Cancelled;
                Ok(if as_wanted { vec![ManualOrderEvent::ManualCancelDone { at }, end] } else { self.over(end) })
            }
        }
    }

    /// Its end, and that it was not cancelled if somebody wanted that.
    fn over(&self, end: ManualOrderEvent) -> Vec<ManualOrderEvent> {
        let at = end.at();
        let reason = "the order came to another end first".to_owned();
        let failed = self.cancelling.then_some(ManualOrderEvent::ManualCancelFailed { reason, at });
        failed.into_iter().chain([end]).collect()
    }

    fn is(&self, phase: Phase, otherwise: ManualRefusal) -> Result<(), ManualRefusal> {
        if self.phase == phase { Ok(()) } else { Err(otherwise) }
    }

    /// What is to be done next.
    pub fn task(&self) -> Option<ManualTask> {
        match self.phase {
            Phase::Requested => Some(ManualTask::Place),
            Phase::Started => self.started.map(|since| ManualTask::Find { since }),
            Phase::Submitted if self.cancelling => self.order.clone().map(|order| ManualTask::Cancel { order }),
            Phase::Absent | Phase::Submitted | Phase::Refused | Phase::Unknown | Phase::Ended => None,
        }
    }

    /// What was asked for.
    pub fn wanted(&self) -> Option<&Wanted> {
        self.wanted.as_ref()
    }

    /// When it was about to be sent.
    pub fn started(&self) -> Option<Time> {
        self.started
    }

    /// Under which id the Hummingbot API took it.
    pub fn order(&self) -> Option<&OrderId> {
        self.order.as_ref()
    }

    /// Whether it may still be filled, as far as we know.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Submitted
    }

    /// Whether it may have been sent and nobody has found out yet.
    pub fn is_under_way(&self) -> bool {
        self.phase == Phase::Started
    }

    /// Whether nobody knows if it was taken.
    pub fn is_unknown(&self) -> bool {
        self.phase == Phase::Unknown
    }

    /// Whether somebody decided that none of its fills is missing.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// How it ended.
    pub fn ended(&self) -> Option<HowEnded> {
        self.ended
    }

    /// What its fills had told of when it was seen that some are missing; absent: none are, as far as we know.
    pub fn missing(&self) -> Option<Decimal> {
        self.missing
    }

    /// Whether this other order must come to something first: an order is found again by what it is for, so that of two
    /// that are the same only one may be under way; and of two that would meet, the one asked for first goes first.
    pub fn goes_before(&self, other: &Self) -> bool {
        let (Some(own), Some(others)) = (&self.wanted, &other.wanted) else { return false };
        let waits = matches!(self.phase, Phase::Requested | Phase::Started);
        waits && own.venue == others.venue && (self.is_under_way() || own.at < others.at)
    }

    /// Takes in what happened.
    pub fn remember(&mut self, event: ManualOrderEvent) {
        match event {
            ManualOrderEvent::ManualOrderRequested { bot, venue, side, order_type, price, amount, at } => {
                self.phase = Phase::Requested;
                self.wanted = Some(Wanted { bot, venue, side, order_type, price, amount, at });
            }
            ManualOrderEvent::ManualOrderStarted { at } => {
                (self.phase, self.started) = (Phase::Started, Some(at));
            }
            ManualOrderEvent::ManualOrderSubmitted { order, .. } | ManualOrderEvent::ManualOrderFound { order, .. } => {
                (self.phase, self.order) = (Phase::Submitted, Some(order));
            }
            ManualOrderEvent::ManualOrderRefused { .. } => self.phase = Phase::Refused,
            ManualOrderEvent::ManualOrderUnknown { .. } => self.phase = Phase::Unknown,
            ManualOrderEvent::ManualOrderResolved { verdict, order, .. } => {
                self.order = order;
                match verdict {
                    Verdict::NotPlaced => self.phase = Phase::Refused,
                    Verdict::Cancelled => {
                        (self.phase, self.ended, self.settled) = (Phase::Ended, Some(HowEnded::Cancelled), true);
                    }
                    // Its fills are looked for in the ledger, and missing until they are there.
                    Verdict::Filled => {
                        (self.phase, self.ended) = (Phase::Ended, Some(HowEnded::Filled));
                        self.missing.get_or_insert(Decimal::ZERO);
                    }
                }
            }
            ManualOrderEvent::ManualCancelRequested { .. } => self.cancelling = true,
            ManualOrderEvent::ManualCancelDone { .. } | ManualOrderEvent::ManualCancelFailed { .. } => {
                self.cancelling = false;
            }
            ManualOrderEvent::ManualFillsMissing { filled, .. } => self.missing = Some(filled),
            ManualOrderEvent::ManualFillsExplained { .. } => self.missing = None,
            ManualOrderEvent::ManualOrderEnded { ended, .. } => {
                (self.phase, self.ended) = (Phase::Ended, Some(ended));
            }
        }
    }
}

fn resting(asked: AskedType) -> Result<RestingType, ManualRefusal> {
    match asked {
        AskedType::Limit => Ok(RestingType::Limit),
        AskedType::LimitMaker => Ok(RestingType::LimitMaker),
        AskedType::Market => Err(ManualRefusal::Market),
    }
}

fn possible(what: &'static str, got: Decimal) -> Result<(), ManualRefusal> {
    let fine = got.is_positive() && got.significant_digits() <= DIGITS_MAX;
    if fine { Ok(()) } else { Err(ManualRefusal::Number { what, got }) }
}

/// One line that fits into an event, whatever the exchange wrote.
fn readable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_MAX).collect()
}

crate::aggregate!(ManualOrder, "manual", ManualCommand, ManualOrderEvent, ManualRefusal);

#[cfg(test)]
mod tests;
