//! `make bench`: one table of what the platform does in a second, beside what plain means do on the same Postgres in the
//! same run. `benches [--quick] [NAME ...]`.

mod alerts;
mod append;
mod batches;
mod beside;
mod collect;
mod edge;
mod facts;
mod ground;
mod hot_client;
mod latency;
mod plain;
mod portfolio;
mod process;
mod rebuild;
mod table;

use std::process::ExitCode;

use ground::Ground;
use table::Row;

/// The benches by name.
const NAMES: [&str; 10] =
    ["append", "hot_client", "batches", "beside", "rebuild", "latency", "portfolio", "collect", "alerts", "edge"];

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Some benches measure processes: this binary again.
    match arguments.first().map(String::as_str) {
        Some(beside::CHILD) => {
            beside::be_child(&arguments[1..]).await;
            return ExitCode::SUCCESS;
        }
        Some(rebuild::CHILD) => {
            rebuild::be_child().await;
            return ExitCode::SUCCESS;
        }
        Some(portfolio::CHILD) => {
            portfolio::be_child(&arguments[1..]).await;
            return ExitCode::SUCCESS;
        }
        Some(_) | None => {}
    }
    let (flags, asked): (Vec<&str>, Vec<&str>) =
        arguments.iter().map(String::as_str).partition(|word| word.starts_with("--"));
    if flags.iter().any(|flag| *flag != "--quick") || asked.iter().any(|name| !NAMES.contains(name)) {
        eprintln!("usage: benches [--quick] [NAME ...], where a name is one of {}", NAMES.join(", "));
        return ExitCode::FAILURE;
    }
    let ground = Ground::start(!flags.is_empty());
    let mut rows = Vec::new();
    for name in NAMES.into_iter().filter(|name| asked.is_empty() || asked.contains(name)) {
        eprintln!("{name} ...");
        rows.extend(measure(name, &ground).await);
    }
    println!("\nPostgres: {}", ground.settings().await);
    table::print(&rows);
    ExitCode::SUCCESS
}

async fn measure(name: &str, ground: &Ground) -> Vec<Row> {
    match name {
        "append" => append::run(ground).await,
        "hot_client" => hot_client::run(ground).await,
        "batches" => batches::run(ground).await,
        "beside" => beside::run(ground).await,
        "rebuild" => rebuild::run(ground).await,
        "latency" => latency::run(ground).await,
        "portfolio" => portfolio::run(ground).await,
        "collect" => collect::run(ground).await,
        "alerts" => alerts::run(ground).await,
        "edge" => edge::run(ground).await,
        _ => unreachable!("{name} is no bench"),
    }
}
