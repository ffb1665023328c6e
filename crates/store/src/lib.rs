//! The streams: one a client, gapless, hash-chained, appended to by one call and followed without ever skipping.
//!
//! A command's way through: [`Streams::execute`] loads the aggregate, asks it, and hands the events to the group
//! committer, which numbers and chains what all waiting commands decided and writes it with one round trip.

mod append;
mod client_store;
mod committer;
mod desk;
mod follow;
mod group;
mod heads;
mod leases;
mod logins;
mod migrate;
mod pending;
pub mod read;
mod rows;
mod snapshots;
mod streams;
mod tips;
mod waker;

pub use append::{Append, AppendError, Cause, Draft, Expected, Receipt};
pub use client_store::{ClientContext, ClientStore};
pub use committer::Committer;
pub use desk::DeskError;
pub use follow::Follower;
pub use heads::{HeadError, Signed, latest_signed, sign_head, sign_heads};
pub use leases::{Fence, Leases};
pub use logins::Login;
pub use migrate::{MigrateError, migrate};
pub use pending::BUILD;
pub use read::{Corrupt, ReadError};

pub use streams::{ExecuteError, Streams};
pub use waker::{CHECKPOINTS_MOVED, HEADS_MOVED, Waker, Wakes};
