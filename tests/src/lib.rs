//! The harness: a private Postgres and NATS for a whole test run, a fresh database for each test, and the real binary.

mod database;
mod differences;
mod world;

pub use database::{Database, SECRET, SIGNING_KEY};
pub use differences::differences;
pub use world::{Servers, shared_data, stop_with_the_process, target};
