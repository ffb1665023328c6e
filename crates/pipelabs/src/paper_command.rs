//! `paper`: a Hummingbot that trades on paper, for trying the platform out.

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode};

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
    /// End when standard input does, too: whoever starts it and holds the other end is not outlived
    #[arg(long)]
    until_stdin_ends: bool,
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
        tokio::select! {
            told = until_told_to_stop() => drop(told?),
            () = stdin_ends(), if self.until_stdin_ends => {}
        }
        paper.stop().await;
        Ok(ExitCode::SUCCESS)
    }
}

async fn stdin_ends() {
    // What it says is nothing to us, and one that cannot be read says no more.
    let _ = tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await;
}
