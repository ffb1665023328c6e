//! Who may log in and who is asking: users, their passwords, their sessions, and the tokens that prove them. Personal data
//! stays in schema `auth`; events of the desk tell what happened, and nothing of who it is.
//!
//! The way in: [`Doorman::log_in`] makes a [`User`] of an address and a password, [`Sessions::open`] a session of the user
//! with its tokens, and [`Gate::admit`] a [`Caller`] of a token, which is all that the rest of the system believes. What a
//! caller may do stands in [`policy`], once. Whatever changes goes through the [`Register`], which tells of it.

mod caller;
mod claims;
mod email;
mod gate;
mod keys;
mod login;
mod opaque;
mod password;
pub mod policy;
mod refresh;
mod register;
mod revoked;
mod sessions;
mod throttle;
mod tokens;
mod users;

pub use caller::{Caller, Reach, Scopes};
pub use email::Email;
pub use gate::{Gate, NotLetIn};
pub use keys::PublicKey;
pub use login::{Doorman, LoginError, LoginRefusal};
pub use password::{PasswordRefusal, hash};
pub use refresh::{RefreshError, RefreshRefusal};
pub use register::{Register, Untold};
pub use sessions::{Listed, Opened, Session, Sessions, Whence};
pub use tokens::{AccessToken, Proof, TokenRefusal, Tokens};
pub use users::{AddUser, AddUserError, Profile, User, add, bar};
