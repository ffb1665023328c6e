//! `report pnl`: the figures of every book and client at a moment, from the read models.

use std::{
    io::Write,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use events::{ClientId, Decimal, Time};
use projections::{
    pnl::{Missing, Report},
    worker::catch_up,
};
use sqlx::PgPool;
use store::{Login, read};

use crate::{progress::Progress, settings::Platform};

const DAY_US: i64 = 86_400_000_000;
/// How long a client may be in another worker's hands without going on.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// Profit and loss of every book, exact
    Pnl(PnlReport),
}

#[derive(Debug, Args)]
pub struct PnlReport {
    /// Event time in milliseconds since 1970, inclusive; late arrivals count. Now, if left out
    #[arg(long, allow_negative_numbers = true)]
    as_of: Option<i64>,
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// First fold what the read model has not reached yet
    #[arg(long)]
    catch_up: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Every figure, exact
    Json,
    /// For a person, rounded for showing
    Table,
}

impl ReportCommand {
    pub async fn run(self, platform: &Platform) -> anyhow::Result<ExitCode> {
        let Self::Pnl(report) = self;
        let as_of = moment(report.as_of)?;
        if report.catch_up {
            fold_rest(platform).await?;
        }
        let db = platform.pool(Login::AdminQuery);
        warn_if_behind(&db).await?;
        let (figures, missing) = pnl(&db, as_of).await?;
        match report.format {
            Format::Json => print(&serde_json::to_string_pretty(&figures)?)?,
            Format::Table => print(&table(&figures).to_string())?,
        }
        for client in &missing {
            eprintln!("warning: client {} is missing: {}", client.client, client.cause);
        }
        Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// A moment from the command line; one in the wrong unit would have years of empty days.
pub fn moment(ms: Option<i64>) -> anyhow::Result<Time> {
    let now = Time::now();
    let Some(ms) = ms else { return Ok(now) };
    let at = Time::from_millis(ms).context("--as-of is in milliseconds since 1970")?;
    ensure!(at <= now.plus_micros(DAY_US), "--as-of {at} lies more than a day ahead: is it in milliseconds?");
    Ok(at)
}

/// To standard output, which may be full or gone.
pub fn print(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}").context("could not write to standard output")
}

/// P&L of every client at a moment, and the clients whose figures could not be made.
pub async fn pnl(db: &PgPool, as_of: Time) -> anyhow::Result<(Report, Vec<Missing>)> {
    let mut connection = db.acquire().await.context("could not reach the database")?;
    Ok(projections::pnl::report(&mut connection, as_of).await?)
}

/// Folds what the P&L has not reached of today's heads, or waits for the worker that has a client in its hands.
async fn fold_rest(platform: &Platform) -> anyhow::Result<()> {
    let db = platform.pool(Login::Projector);
    let heads = read::heads_of_all(&db).await?;
    let mut progress = Progress::new("folding pnl", heads.iter().map(|(_, head)| head).sum());
    let mut worker = projections::named(&db, "pnl").context("there is a read model of P&L")?;
    let mut moved = Instant::now();
    loop {
        catch_up(&mut *worker, |events| {
            moved = Instant::now();
            progress.add(events);
        })
        .await?;
        if !is_behind(&db, &heads).await? {
            break;
        }
        ensure!(moved.elapsed() < PATIENCE, "another worker holds a client and does not go on: look at it, or stop it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    progress.end();
    Ok(())
}

async fn is_behind(db: &PgPool, heads: &[(ClientId, u64)]) -> anyhow::Result<bool> {
    for (client, head) in heads.iter().filter(|(client, _)| *client != ClientId::DESK) {
        let reach = projections::checkpoints::reach(db, "pnl", *client).await?;
        if reach.reached < *head && !reach.parked {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A figure that is not up to date says so.
async fn warn_if_behind(db: &PgPool) -> anyhow::Result<()> {
    for (client, head) in read::heads_of_all(db).await? {
        let reach = projections::checkpoints::reach(db, "pnl", client).await?;
        if client != ClientId::DESK && reach.reached < head {
            let why = match reach.parked {
                true => "it is parked, see `pipelabs parked list`",
                false => "run with --catch-up, or a projector",
            };
            eprintln!("warning: stale: P&L of client {client} has reached event {} of {head}: {why}", reach.reached);
        }
    }
    Ok(())
}

/// The report for a person: two decimals more than a price has would only be noise.
pub fn table(report: &Report) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_header([
        "client",
        "bot",
        "exchange",
        "pair",
        "fills",
        "position",
        "realised",
        "fees",
        "unrealised",
        "total net",
        "complete",
    ]);
    let shown = |figure: Option<Decimal>| figure.map_or("unknown".to_owned(), |figure| figure.rounded(4).to_string());
    for group in &report.groups {
        table.add_row([
            group.client.to_string(),
            group.bot.to_string(),
            format!("{} {}", group.exchange, group.market),
            group.pair.to_string(),
            group.fills.to_string(),
            group.position.to_string(),
            shown(Some(group.realized_gross)),
            shown(Some(group.fees_quote)),
            shown(group.unrealized),
            shown(group.total_net),
            group.complete.to_string(),
        ]);
    }
    for (client, totals) in &report.clients {
        let mut row = vec![String::new(); 11];
        row[0] = client.to_string();
        row[1] = "all, in USDT".to_owned();
        row[4] = totals.fills.to_string();
        row[9] = shown(totals.total_usdt);
        row[10] = totals.complete.to_string();
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
