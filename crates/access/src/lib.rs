//! Who may log in and who is asking: users, their passwords, their sessions, and the tokens that prove them. Personal data
//! stays in schema `auth`; events of the desk tell what happened, and nothing of who it is.
//!
//! The way in: [`Doorman::log_in`] makes a [`User`] of an address and a password, [`SecondFactors::redeem`] asks those who
//! have one for a code, [`Sessions::open`] makes a session of the user with its tokens, and [`Gate::admit`] a [`Caller`] of
//! a token, which is all that the rest of the system believes. What a caller may do stands in [`policy`], once. Whatever
//! changes goes through the [`Register`], which tells of it.
//!
//! Who there is at all: [`people`] are invited and decided about, [`grants`] let auditors read, [`programs`] have tokens,
//! and [`Looks`] tells who looked at which client.

mod caller;
mod claims;
mod email;
mod failures;
mod gate;
pub mod grants;
mod keys;
mod links;
mod login;
mod looks;
mod opaque;
mod password;
pub mod people;
pub mod policy;
pub mod programs;
mod reason;
mod refresh;
mod register;
mod revoked;
mod second_factor;
mod sessions;
mod throttle;
mod tickets;
mod tokens;
mod users;

pub use caller::{Caller, Reach, Scopes};
pub use email::Email;
pub use gate::{Gate, NotLetIn};
pub use keys::PublicKey;
pub use links::{Link, LinkError};
pub use login::{ChangeError, Doorman, LoginError, LoginRefusal};
pub use looks::{Look, Looked, Looks};
pub use password::{PasswordRefusal, hash};
pub use reason::Reason;
pub use refresh::{RefreshError, RefreshRefusal};
pub use register::{Register, Untold};
pub use second_factor::{FactorError, SecondFactors, Seed};
pub use sessions::{Listed, Opened, Session, Sessions, Whence};
pub use tickets::Ticket;
pub use tokens::{AccessToken, Proof, TokenRefusal, Tokens};
pub use users::{AddUser, AddUserError, Profile, User, add, bar, id_of};
