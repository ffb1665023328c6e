//! Who may log in and who is asking: users, their passwords, and the tokens that prove them. Personal data stays in schema
//! `auth`; events tell only that somebody was added, and in which role.
//!
//! The way in: [`Doorman::log_in`] makes a [`User`] of an address and a password, [`Tokens::issue`] a token of the user,
//! and [`Tokens::verify`] a [`Caller`] of the token, which is all that the rest of the system believes.

mod caller;
mod claims;
mod email;
mod login;
mod password;
mod throttle;
mod tokens;
mod users;

pub use caller::{Admin, Caller, ClientUser};
pub use email::Email;
pub use login::{Doorman, LoginError, LoginRefusal};
pub use password::{PasswordRefusal, hash};
pub use tokens::{AccessToken, Proof, TokenRefusal, Tokens};
pub use users::{AddUser, AddUserError, Profile, User, add, bar};
