//! `paper`: a Hummingbot that trades on paper, for trying the platform out.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Args;

use crate::{report::print, serve::until_told_to_stop};

#[derive(Debug, Args)]
pub struct PaperCommand {
    /// Where its API listens; only what runs on this machine reaches the default
    #[arg(long, default_value = "127.0.0.1:8000")]
    http: SocketAddr,
    /// Where the broker of its bots listens
    #[arg(long, default_value = "127.0.0.1:1883")]
    mqtt: SocketAddr,
    /// A JSON file with everything else that can be chosen: markets and their tapes, balances, pace, seed, faults
    #[arg(long)]
    settings: Option<PathBuf>,
}

impl PaperCommand {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let settings = match &self.settings {
            Some(path) => {
                let text = std::fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
                serde_json::from_slice(&text)
                    .with_context(|| format!("{} does not read as settings", path.display()))?
            }
            None => paper::Settings::default(),
        };
        let paper = paper::Paper::start(paper::Settings { http: self.http, mqtt: self.mqtt, ..settings }).await?;
        print(&format!("ready: http://{} mqtt://{}", paper.http, paper.mqtt))?;
        until_told_to_stop().await?;
        paper.stop().await;
        Ok(ExitCode::SUCCESS)
    }
}
