//! Who may log in: users and their passwords. Personal data stays in schema `auth`; events tell only that somebody was
//! added, and in which role.

mod password;
mod users;

pub use password::{PasswordRefusal, hash};
pub use users::{AddUser, AddUserError, Email, add};
