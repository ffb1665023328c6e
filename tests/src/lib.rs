//! The harness: a private Postgres and NATS for a whole test run, a fresh database for each test, and the real binary.

mod attack;
pub mod canaries;
mod database;
mod differences;
mod forgetful;
mod free_port;
mod line;
mod mailbox;
mod nats;
mod on_nats;
mod outside;
mod own_nats;
mod own_redis;
mod people;
mod receiver;
mod served;
mod world;

pub use attack::{Attack, connect_from};
pub use database::{Database, ENCRYPTION_KEY, NEWER_ENCRYPTION_KEY, SECRET, SIGNING_KEY};
pub use differences::differences;
pub use forgetful::Forgetful;
pub use free_port::free_port;
pub use line::Line;
pub use mailbox::{Mail, Mailbox};
pub use nats::Nats;
pub use on_nats::{arrived, differences_on_nats};
pub use outside::Outside;
pub use own_nats::OwnNats;
pub use own_redis::OwnRedis;
pub use people::{PASSWORD, Person, SignedIn, token, token_made_at};
pub use receiver::{Posted, Receiver};
pub use served::{Answer, Heard, Listener, Served, caller};
pub use world::{Servers, binary, shared_data, stop_with_the_process, target};
