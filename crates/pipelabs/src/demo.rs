//! `demo`: the whole way on one screen. A real tape's fills go in, events stand in two clients' streams, workers fold
//! them, figures come out, and one client's history is exported, verified and recomputed from the file alone.

mod tape;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use ed25519_dalek::SigningKey;
use events::{Decimal, Money, Time, export};
use projections::{
    checkpoints, clients,
    pnl::{Recomputed, Report},
    portfolio, versions,
    worker::catch_up,
};
use sqlx::{ConnectOptions, Connection, Executor, postgres::PgConnectOptions};
use store::{Login, read};

use crate::{audit, import::import, progress::Progress, report, serve, settings::Platform, stack::Stack};

/// The demo's own database; what it held before is thrown away.
const DATABASE: &str = "demo";

#[derive(Debug, Args)]
pub struct Demo {
    /// Where the private Postgres and NATS have their files
    #[arg(long, default_value = ".pipelabs")]
    dir: PathBuf,
}

impl Demo {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let stack = Stack::at(&self.dir);
        let ran_before = stack.status().both_run();
        let outcome = tokio::select! {
            outcome = show(&stack) => outcome,
            told = serve::until_told_to_stop() => told.and_then(|()| bail!("stopped by you")),
        };
        // What was running before goes on; what the demo started does not outlive it.
        if !ran_before {
            tokio::task::spawn_blocking(move || stack.down(&mut |text| step(text))).await??;
        }
        outcome.map(|()| ExitCode::SUCCESS)
    }
}

fn step(text: &str) {
    println!("  {text}");
}

async fn show(stack: &Stack) -> anyhow::Result<()> {
    println!("1. a private Postgres and NATS under {}", stack.dir.display());
    let platform = start(stack).await?;
    println!("2. fills of a real tape go into the streams of two clients");
    let files = tape::unpack()?;
    let count = import(&platform, files.path()).await?;
    step(&count.to_string());
    ensure!(count.refused == 0 && count.duplicates == 0, "the demo's own data was not taken as new");
    println!("3. workers fold the streams into read models");
    fold(&platform).await?;
    println!("4. profit and loss at the end of the tape, and what is held");
    let as_of = Time::from_millis(tape::AS_OF_MS)?;
    let (figures, missing) = report::pnl(&platform.pool(Login::AdminQuery), as_of).await?;
    ensure!(missing.is_empty(), "figures are missing: {missing:?}");
    println!("{}", report::table(&figures));
    println!("{}", holdings(&platform).await?);
    println!("5. an auditor verifies one client's history and recomputes it, offline");
    let recomputed = prove(&platform, files.path(), as_of).await?;
    agree(&figures, &recomputed)?;
    println!("\nall totals agree: read models, the recomputed export, and an independent program");
    Ok(())
}

async fn start(stack: &Stack) -> anyhow::Result<Platform> {
    let own = stack.clone();
    let running = tokio::task::spawn_blocking(move || own.up(&mut |text| step(text))).await??;
    let secrets = stack.env()?;
    let value = |name: &str| secrets.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
    let seed = hex::decode(value("AUDIT_SIGNING_KEY").context("the stack has no signing key")?)?;
    let seed: [u8; 32] = seed.try_into().ok().context("the stack's signing key is no Ed25519 seed")?;
    let owner = PgConnectOptions::from_str(&running.database_url)?;
    let mut db = owner.connect().await?;
    db.execute(format!("drop database if exists {DATABASE} with (force)").as_str()).await?;
    db.execute(format!("create database {DATABASE}").as_str()).await?;
    db.close().await?;
    let secret = value("SECRET_KEY").context("the stack has no secret")?.into();
    let platform = Platform::new(owner.database(DATABASE), secret, Some(SigningKey::from_bytes(&seed)));
    serve::migrate(&platform).await?;
    step("migrated");
    Ok(platform)
}

async fn fold(platform: &Platform) -> anyhow::Result<()> {
    let db = platform.pool(Login::Projector);
    let heads: u64 = read::heads_of_all(&db).await?.iter().map(|(_, head)| head).sum();
    for mut model in projections::all(&db) {
        let mut progress = Progress::new(&format!("folding {}", model.name()), heads);
        let parked = catch_up(&mut *model, |events| progress.add(events)).await?;
        progress.end();
        ensure!(parked.is_empty(), "{} could not fold its events: {parked:?}", model.name());
    }
    step(&format!("{heads} events, folded into {} read models", projections::all(&db).len()));
    Ok(())
}

/// What each client holds, and what that is worth beside what was put in.
async fn holdings(platform: &Platform) -> anyhow::Result<Table> {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_header(["client", "exchange", "asset", "amount", "worth in USDT"]);
    let shown = |money: &Option<Money>| {
        money.as_ref().map_or("unknown".to_owned(), |money| money.amount.rounded(2).to_string())
    };
    let mut tx = platform.pool(Login::AdminQuery).begin().await?;
    versions::use_live(&mut tx).await?;
    for client in clients::every(&mut *tx).await? {
        let summary = portfolio::summary(&mut tx, events::ClientId(client.client_id)).await?;
        for holding in &summary.holdings {
            table.add_row([
                client.slug.to_string(),
                format!("{} {}", holding.place.exchange, holding.place.market),
                holding.place.asset.to_string(),
                holding.amount.to_string(),
                shown(&holding.worth),
            ]);
        }
        for (what, figure) in
            [("equity", summary.equity), ("put in, less taken out", summary.net_flows), ("gained", summary.pnl)]
        {
            table.add_row([client.slug.to_string(), String::new(), String::new(), what.to_owned(), shown(&figure)]);
        }
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    Ok(table)
}

/// Exports the first client's history, verifies it with the desk's public key, and recomputes its figures from it.
async fn prove(platform: &Platform, folder: &Path, as_of: Time) -> anyhow::Result<Report> {
    let slug = tape::CLIENT.parse()?;
    let file = folder.join("export.jsonl");
    let head = audit::export(platform, &slug, std::fs::File::create(&file).map(std::io::BufWriter::new)?).await?;
    let key = platform.signing_key.as_ref().context("the stack has a signing key")?.verifying_key();
    let expected = export::Expected { key: Some(key), head: None };
    let mut recomputed = Recomputed::default();
    let reader = std::io::BufReader::new(std::fs::File::open(&file)?);
    let verified = export::verify(reader, &expected, |event| recomputed.read(&event))?;
    step(&format!(
        "{} events of {slug}, head {}:{:.16}…, signed",
        verified.events, head.head.seq, head.head.chain_hash
    ));
    let reach = checkpoints::reach(&platform.pool(Login::AdminQuery), "pnl", head.head.client_id).await?;
    ensure!(reach.reached == verified.events, "the read models have read {} of {}", reach.reached, verified.events);
    Ok(recomputed.report(as_of)?)
}

fn agree(figures: &Report, recomputed: &Report) -> anyhow::Result<()> {
    let told = serde_json::to_value(figures)?;
    let offline = serde_json::to_value(recomputed)?;
    ensure!(told["clients"][tape::CLIENT] == offline["clients"][tape::CLIENT], "the export tells other totals");
    for (client, totals) in &figures.clients {
        let expected = tape::expected(client.as_str())?;
        let exact = totals.total_usdt.context("the total is unknown")?.minus(expected.total_usdt)?.abs();
        ensure!(
            exact <= Decimal::new(1, 12),
            "{client} came to {:?}, expected {}",
            totals.total_usdt,
            expected.total_usdt
        );
        ensure!(totals.fills == expected.fills, "{client} has {} fills, expected {}", totals.fills, expected.fills);
    }
    Ok(())
}
