//! The one binary's settings, wiring and commands. `main` only parses and exits.

mod audit;
mod client;
mod demo;
mod edge_settings;
mod import;
mod nats_command;
pub mod nats_keys;
mod notify_settings;
mod paper_command;
mod parked;
mod progress;
mod rebuild;
mod report;
mod serve;
mod settings;
pub mod stack;
mod stack_command;
mod user;
mod vault_command;

use std::{io::IsTerminal, process::ExitCode};

use clap::{Parser, Subcommand};
use settings::{Needs, Platform, Settings};

/// Event-sourced back office for market making.
#[derive(Debug, Parser)]
#[command(name = "pipelabs", version, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the platform's parts until told to stop
    Serve(serve::Serve),
    /// Bring the database up to date: logins, migrations, read models
    Migrate,
    /// Run a private Postgres and NATS for development and tests
    Stack(stack_command::StackCommand),
    /// A NATS with an account for each client: its keys, and a subscriber to try it with
    #[command(subcommand)]
    Nats(nats_command::NatsCommand),
    /// A Hummingbot that trades on paper, over the real one's HTTP and MQTT
    Paper(paper_command::PaperCommand),
    /// Show the whole way: market makers on paper exchanges that play a real tape, P&L out, every total verified
    Demo(demo::Demo),
    /// The desk's clients
    #[command(subcommand)]
    Client(client::ClientCommand),
    /// People who may log in
    #[command(subcommand)]
    User(user::UserCommand),
    /// Record fills, rates, funding and transfers from files
    Import(import::Import),
    /// Figures of all clients
    #[command(subcommand)]
    Report(report::ReportCommand),
    /// Fill a read model anew beside the live one, compare, and put it in its place
    Rebuild(rebuild::Rebuild),
    /// Read models that wait for a person
    #[command(subcommand)]
    Parked(parked::ParkedCommand),
    /// Print the description of the HTTP API, OpenAPI 3.1
    Openapi,
    /// Print the description of what is told on NATS, AsyncAPI 3.0
    Asyncapi,
    /// The keys that clients gave us: whether all open, and under which key of ENCRYPTION_KEY
    #[command(subcommand)]
    Vault(vault_command::VaultCommand),
    /// Prove a client's history, or recompute its figures, from an export alone
    #[command(subcommand)]
    Audit(audit::AuditCommand),
}

/// Runs a command to its end.
pub fn run(cli: Cli) -> ExitCode {
    log_to_stderr();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads can be started");
    let outcome = runtime.block_on(carry_out(cli));
    // A blocked reader of standard input must not keep the process.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| {
        eprintln!("pipelabs: {error:#}");
        ExitCode::from(2)
    })
}

async fn carry_out(cli: Cli) -> anyhow::Result<ExitCode> {
    let settings = cli.settings;
    match cli.command {
        Command::Serve(serve) => {
            let (platform, edge) = settings.platform_and_edge(serve.needs(), &serve.edge)?;
            platform.check().await?;
            serve.run(&platform, edge).await
        }
        Command::Migrate => serve::migrate(&settings.platform()?).await.map(|()| ExitCode::SUCCESS),
        Command::Stack(stack) => stack.run(),
        Command::Nats(nats) => nats.run().await,
        Command::Paper(paper) => paper.run().await,
        Command::Demo(demo) => demo.run().await,
        Command::Client(client) => client.run(&reached(&settings).await?).await,
        Command::User(user) => user.run(&reached(&settings).await?).await,
        Command::Import(import) => import.run(&reached(&settings).await?).await,
        Command::Report(report) => report.run(&reached(&settings).await?).await,
        Command::Rebuild(rebuild) => rebuild.run(&reached(&settings).await?).await,
        Command::Parked(parked) => parked.run(&reached(&settings).await?).await,
        Command::Openapi => report::print(&api::openapi()).map(|()| ExitCode::SUCCESS),
        Command::Asyncapi => report::print(&api::asyncapi()).map(|()| ExitCode::SUCCESS),
        Command::Vault(vault) => {
            let platform = settings.platform_with(Needs { vault: true, ..Needs::default() })?;
            platform.check().await?;
            vault.run(&platform).await
        }
        Command::Audit(audit) => audit.run(&settings).await,
    }
}

/// The platform, whose database answers.
async fn reached(settings: &Settings) -> anyhow::Result<Platform> {
    let platform = settings.platform()?;
    platform.check().await?;
    Ok(platform)
}

fn log_to_stderr() {
    // Whoever connects to NATS tells in its own words what came of that.
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| "warn,pipelabs=info,rumqttd=off,async_nats::connector=off".into());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() { lines.compact().init() } else { lines.json().init() }
}
