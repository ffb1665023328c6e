//! Alerts: rules over recorded events, a deterministic engine that makes episodes of what they read, and what is told of them.
//!
//! One event's way: [`watch`] follows every stream and hands each event to its client's [`engine::Engine`], whose
//! transitions are appended to the same stream; the relay publishes them like every other event. [`replay`] does the same
//! over what is recorded, and proves that nothing else could have come of it.
//!
//! Beside that, whoever evaluates a client's alerts tells people of them ([`notify`]) and judges what was promised to it, and
//! whoever evaluates the desk's own watches how far read models and NATS are behind.

pub mod engine;
mod exact;
mod judge;
mod kept;
mod lag;
pub mod notify;
pub mod replay;
mod rules;
pub mod watch;

pub use engine::{Engine, Kind, Transition};

/// Every rule there is.
pub fn rules() -> &'static [&'static Kind] {
    rules::ALL
}

/// The rule of this name; absent: there is none.
pub fn rule(name: &str) -> Option<&'static Kind> {
    rules::ALL.iter().copied().find(|kind| kind.name == name)
}
