//! Subscribers: one NATS account a client, one durable consumer a subscription, a credential that counts for a day.
//!
//! The edge records that somebody shall follow, and tells a credential; the relay makes NATS be so, at its own pace and
//! from the events alone. [`keys`] says who holds which key and what whoever has it can do.

pub mod bootstrap;
mod claims;
pub(crate) mod consumers;
pub(crate) mod issue;
mod jwt;
pub mod keys;
mod let_go;
pub(crate) mod provide;
mod registry;
mod wanted;
