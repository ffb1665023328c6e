//! `parked list|retry|skip`: read models that stopped at an event they could not fold. What a person decides is recorded
//! in the desk's stream, where every worker and every rebuild reads it.

use std::process::ExitCode;

use anyhow::ensure;
use clap::{Args, Subcommand};
use events::{Slug, Time, desk::DeskEvent};
use projections::checkpoints::{parked, parked_item, reach};
use store::{Cause, Login};

use crate::{client, report::print, settings::Platform};

#[derive(Debug, Subcommand)]
pub enum ParkedCommand {
    /// What waits for a decision
    List,
    /// Try the event again
    Retry(Item),
    /// Go on without the event, now and in every rebuild
    Skip(Skip),
}

#[derive(Debug, Args)]
pub struct Item {
    /// Which read model
    projection: String,
    #[arg(long)]
    client: Slug,
}

#[derive(Debug, Args)]
pub struct Skip {
    #[command(flatten)]
    item: Item,
    /// The event to leave out, as `parked list` tells it
    #[arg(long)]
    seq: u64,
    /// Why the figures are right without it
    #[arg(long)]
    reason: String,
}

impl ParkedCommand {
    pub async fn run(self, platform: &Platform) -> anyhow::Result<ExitCode> {
        match self {
            Self::List => {
                for item in parked(&platform.pool(Login::AdminQuery)).await? {
                    print(&serde_json::to_string(&item)?)?;
                }
            }
            Self::Retry(item) => decide(platform, item, None).await?,
            Self::Skip(skip) => decide(platform, skip.item, Some((skip.seq, skip.reason))).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn decide(platform: &Platform, item: Item, skip: Option<(u64, String)>) -> anyhow::Result<()> {
    let streams = platform.streams();
    let client = client::find(&streams, &item.client).await?;
    let db = platform.pool(Login::AdminQuery);
    ensure!(projections::named(&db, &item.projection).is_some(), "there is no read model {:?}", item.projection);
    let reach = reach(&db, &item.projection, client).await?;
    ensure!(reach.parked, "{} of {} is not parked: nothing to decide", item.projection, item.client);
    let (projection, at, waits_at) = (item.projection, Time::now(), reach.reached + 1);
    let aggregate = parked_item(&projection, client);
    let event = match skip {
        None => DeskEvent::ParkedRetried { projection, client, seq: waits_at, at },
        Some((seq, reason)) => {
            ensure!(seq == waits_at, "it is parked at event {waits_at}, not at {seq}: skip that one or none");
            ensure!(!reason.trim().is_empty(), "a skip needs a reason that an auditor can judge");
            DeskEvent::ParkedSkipped { projection, client, seq, reason, at }
        }
    };
    let receipt = streams.note(aggregate, event, None, &Cause::system("cli")).await?;
    print(&format!("recorded as event {} of the desk; the next projector acts on it", receipt.first))
}
