//! `client add|list`: the desk's clients.

use std::process::ExitCode;

use anyhow::Context;
use api::onboard;
use clap::{Args, Subcommand};
use events::{Asset, ClientId, Slug};
use store::{Cause, Login, Streams};

use crate::{report::print, settings::Platform};

#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Onboard a client; prints its id
    Add(Add),
    /// List the clients as the read model knows them
    List,
}

#[derive(Debug, Args)]
pub struct Add {
    /// Short name that never changes: a-z A-Z 0-9 . _ -
    #[arg(long)]
    slug: Slug,
    /// The name that people read; the slug if left out
    #[arg(long)]
    name: Option<String>,
    /// What totals are told in
    #[arg(long, default_value = "USDT")]
    reporting_currency: Asset,
}

impl ClientCommand {
    pub async fn run(self, platform: &Platform) -> anyhow::Result<ExitCode> {
        match self {
            Self::Add(add) => {
                let name = add.name.unwrap_or_else(|| add.slug.to_string());
                let cause = Cause::system("cli");
                let streams = platform.streams();
                let (client, receipt) = onboard(&streams, &add.slug, &name, &add.reporting_currency, &cause).await?;
                let new = receipt.is_some_and(|receipt| !receipt.repeated);
                eprintln!("{} {}", if new { "onboarded" } else { "was there already:" }, add.slug);
                print(&client.to_string())?;
            }
            Self::List => list(platform).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The client of a slug, or a sentence that says what to do.
pub async fn find(streams: &Streams, slug: &Slug) -> anyhow::Result<ClientId> {
    let found = streams.client_of(slug).await?;
    found.with_context(|| format!("there is no client {slug}: see `pipelabs client list`"))
}

async fn list(platform: &Platform) -> anyhow::Result<()> {
    let mut tx = platform.pool(Login::AdminQuery).begin().await?;
    projections::versions::use_live(&mut tx).await?;
    for client in projections::clients::every(&mut *tx).await? {
        print(&serde_json::to_string(&client)?)?;
    }
    Ok(())
}
