//! What the relay tells of itself in figures. No figure is per client: there may be thousands.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use metrics::{counter, describe_counter, describe_gauge, gauge};

/// Whether a relay is connected to NATS. Clones are of the same one.
#[derive(Debug, Clone, Default)]
pub struct Connected(Arc<AtomicBool>);

const CONNECTED: &str = "relay_connected";
const PUBLISHED: &str = "relay_published_total";
const OVERTAKEN: &str = "relay_overtaken_total";
const FAILED: &str = "relay_failed_total";
const LAG: &str = "relay_lag_events_max";
const DIVERGED: &str = "relay_diverged_clients";
const ACCOUNTS: &str = "relay_accounts_told_total";
const UNSERVED: &str = "relay_accounts_failed_total";

pub(crate) fn describe() {
    describe_gauge!(CONNECTED, "1 while the relay is connected to NATS");
    describe_counter!(PUBLISHED, "Events that this relay stored on NATS");
    describe_counter!(OVERTAKEN, "Windows of which another relay, or a loss, had moved the end");
    describe_counter!(FAILED, "Turns of a client that a fault of NATS or Postgres ended");
    describe_gauge!(LAG, "Events by which the client that is furthest behind is behind");
    describe_counter!(ACCOUNTS, "Accounts that NATS had to be told of, because it had none or another one");
    describe_counter!(UNSERVED, "Looks after a client's subscriptions that a fault of NATS or Postgres ended");
    describe_gauge!(DIVERGED, "Clients whose copy on NATS holds something else than their stream");
}

impl Connected {
    pub fn now(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn tell(&self, connected: bool) {
        self.0.store(connected, Ordering::Relaxed);
        gauge!(CONNECTED).set(if connected { 1.0 } else { 0.0 });
    }
}

pub(crate) fn published(events: u64) {
    counter!(PUBLISHED).increment(events);
}

pub(crate) fn overtaken() {
    counter!(OVERTAKEN).increment(1);
}

pub(crate) fn failed() {
    counter!(FAILED).increment(1);
}

pub(crate) fn account() {
    counter!(ACCOUNTS).increment(1);
}

pub(crate) fn account_failed() {
    counter!(UNSERVED).increment(1);
}

pub(crate) fn lag(events_max: u64, diverged: usize) {
    gauge!(LAG).set(events_max as f64);
    gauge!(DIVERGED).set(diverged as f64);
}
