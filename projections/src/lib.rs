//! The read models: what dashboards, reports and auditors see, folded from events alone.
//!
//! Each file owns one model: its tables, its fold, its queries. [`all`] lists them; [`worker`] keeps them up to date, and
//! [`versions`] rebuilds one beside the live one. Throw any of them away, replay, and every row comes back the same.

pub mod agreements;
pub mod alert_settings;
pub mod alerts;
pub mod bots;
pub mod by_hand;
pub mod channels;
pub mod checkpoints;
pub mod clients;
pub mod configs;
pub mod credentials;
pub mod desk;
pub mod doings;
pub mod fills;
pub mod logs;
pub mod only;
pub mod orders;
pub mod overview;
pub mod pnl;
pub mod portfolio;
pub mod projection;
pub mod rates;
mod recent;
pub mod reconciliation;
pub mod risk;
pub mod rows;
pub mod schedules;
pub mod subscriptions;
#[cfg(test)]
mod told;
pub mod trading;
pub mod uptime;
pub mod versions;
pub mod worker;

use projection::ReadModel;
use recent::Recent;
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use worker::Worker;

/// Connections that count tries, of all read models together.
const COUNTING_MAX: u32 = 2;

/// A fresh worker of every read model, over connections of login `projector`.
pub fn all(db: &PgPool) -> Vec<Box<dyn ReadModel>> {
    let same = PgConnectOptions::clone(&db.connect_options());
    let counting = PgPoolOptions::new().max_connections(COUNTING_MAX).connect_lazy_with(same);
    let recent = Recent::default();
    vec![
        Worker::<pnl::Pnl>::boxed(db, &counting, &recent),
        Worker::<portfolio::Portfolio>::boxed(db, &counting, &recent),
        Worker::<fills::Fills>::boxed(db, &counting, &recent),
        Worker::<orders::Orders>::boxed(db, &counting, &recent),
        Worker::<by_hand::OrdersByHand>::boxed(db, &counting, &recent),
        Worker::<bots::Bots>::boxed(db, &counting, &recent),
        Worker::<clients::Clients>::boxed(db, &counting, &recent),
        Worker::<credentials::Credentials>::boxed(db, &counting, &recent),
        Worker::<overview::Overview>::boxed(db, &counting, &recent),
        Worker::<configs::Configs>::boxed(db, &counting, &recent),
        Worker::<doings::Doings>::boxed(db, &counting, &recent),
        Worker::<logs::Logs>::boxed(db, &counting, &recent),
        Worker::<uptime::Uptime>::boxed(db, &counting, &recent),
        Worker::<reconciliation::Reconciliations>::boxed(db, &counting, &recent),
        Worker::<risk::Risk>::boxed(db, &counting, &recent),
        Worker::<subscriptions::Subscriptions>::boxed(db, &counting, &recent),
        Worker::<alerts::Alerts>::boxed(db, &counting, &recent),
        Worker::<alert_settings::AlertSettings>::boxed(db, &counting, &recent),
        Worker::<channels::Channels>::boxed(db, &counting, &recent),
        Worker::<schedules::Schedules>::boxed(db, &counting, &recent),
        Worker::<trading::Trading>::boxed(db, &counting, &recent),
        Worker::<agreements::Agreements>::boxed(db, &counting, &recent),
    ]
}

/// A fresh worker of the read model of this name; absent if there is none.
pub fn named(db: &PgPool, name: &str) -> Option<Box<dyn ReadModel>> {
    all(db).into_iter().find(|model| model.name() == name)
}
