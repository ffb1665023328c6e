//! Everything end to end: real Postgres, real NATS, the real binary.

mod append;
mod audit;
mod design;
mod edge;
mod edge_commands;
mod edge_figures;
mod edge_fresh;
mod edge_input;
mod edge_live;
mod edge_pages;
mod edge_process;
mod edge_walls;
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
