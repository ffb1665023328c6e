//! Everything end to end: real Postgres, real NATS, the real binary.

mod append;
mod audit;
mod chaos;
mod demo;
mod design;
mod facts;
mod figures;
mod follow;
mod import;
mod kill;
mod login;
mod migrations;
mod oracle;
mod people;
mod readme;
mod relay;
mod stack;
mod walls;
mod worker;
