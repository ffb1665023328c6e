//! Telling people: what is on the [`board`] and was not told yet goes into messages ([`plan`]), by channel and rule; each
//! stands in the outbox before it is sent for the first time, and the sender tries it until it was taken.
//!
//! That a message is the same each time, and that nothing goes into two, is what makes one id of it at the other side.

pub mod board;
mod circuit;
pub mod guard;
pub mod mail;
mod means;
pub(crate) mod outbox;
pub mod plan;
pub mod post;
mod report;
pub(crate) mod sender;
mod sending;
pub mod target;
mod teller;
mod text;

pub(crate) use circuit::Circuits;
pub use means::{Keys, Means, NotOpened, Opened};
pub(crate) use sender::{Sender, mails};
pub(crate) use sending::Sending;
pub(crate) use teller::{TellError, Teller};
