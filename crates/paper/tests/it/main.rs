//! The paper server from outside: over HTTP and MQTT, as its callers reach it.

mod defects;
mod exchange;
mod faults;
mod harness;
mod mqtt;
mod recorded;
mod shapes;
