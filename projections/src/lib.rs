//! The read models: what dashboards, reports and auditors see, folded from events alone.
//!
//! Each file owns one model: its tables, its fold, its queries. [`all`] lists them; [`worker`] keeps them up to date, and
//! [`versions`] rebuilds one beside the live one. Throw any of them away, replay, and every row comes back the same.

pub mod bots;
pub mod checkpoints;
pub mod clients;
pub mod fills;
pub mod orders;
pub mod overview;
pub mod pnl;
pub mod portfolio;
pub mod projection;
pub mod rates;
pub mod rows;
pub mod versions;
pub mod worker;

use projection::ReadModel;
use sqlx::PgPool;
use worker::Worker;

/// A fresh worker of every read model, over connections of login `projector`.
pub fn all(db: &PgPool) -> Vec<Box<dyn ReadModel>> {
    vec![
        Worker::<pnl::Pnl>::boxed(db),
        Worker::<portfolio::Portfolio>::boxed(db),
        Worker::<fills::Fills>::boxed(db),
        Worker::<orders::Orders>::boxed(db),
        Worker::<bots::Bots>::boxed(db),
        Worker::<clients::Clients>::boxed(db),
        Worker::<overview::Overview>::boxed(db),
    ]
}
