//! Exchange keys: the only place where one is bare.
//!
//! Each client has a data key, wrapped by the newest key of `ENCRYPTION_KEY` (the [`KeyRing`]); its credentials are sealed
//! under the data key, together with all that they belong to, because a Fernet token itself can be moved to any row. So
//! another ring rewraps one small row a client, and destroying a data key shreds what was sealed under it.
//!
//! The way in is [`Vault::put`], the only way out [`Vault::open`], which records the opening in the client's stream
//! before anything is readable. Where a client's messages go is sealed in the same way, and opened for each of them.

mod canary;
mod check;
mod data_key;
mod kept;
mod open;
mod place;
mod ring;
mod rotate;
mod secrets;
mod target;
mod token;
mod vault;
mod wrapped;

pub use canary::BootError;
pub use check::{CheckError, Checked};
pub use kept::Doubtful;
pub use open::{OpenError, Opened};
pub use place::Place;
pub use ring::{BadRing, KekId, KeyRing};
pub use rotate::{RotateError, Rotated};
pub use secrets::Secrets;
pub use target::{KeptTarget, OpenedTarget, TARGET_BYTES_MAX, TargetError};
pub use token::Unopened;
pub use vault::{Kept, Vault, VaultError};
