//! The desk's hands: they carry out what was decided, and collect what happened.
//!
//! One process acts for a client at a time, under a lease whose token is refused once another has taken it. Whoever acts
//! next goes on from what stands in the stream: each deed is noted before it is done, looked for before it is done again,
//! and confirmed by what Hummingbot or the bot itself shows.

mod archive;
mod beginnings;
mod carry_out;
mod caught_up;
mod collect;
mod config;
mod connect;
mod deploy;
mod evidence;
mod facts;
mod figures;
mod hand;
mod keep;
mod lives;
mod mandate;
mod manual;
mod observe;
mod operator;
mod probe;
pub mod quarantine;
mod quotes;
mod reconcile;
pub mod risk;
mod schedules;
mod sights;
mod stop;
mod strays;
mod switchboard;

pub use operator::{Foundation, Operator, Settings};
