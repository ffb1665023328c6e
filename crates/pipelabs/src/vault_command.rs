//! `vault check|rotate`: the keys that clients gave us, without showing one.

use std::process::ExitCode;

use clap::Subcommand;
use store::Cause;

use crate::{report::print, settings::Platform};

#[derive(Debug, Subcommand)]
pub enum VaultCommand {
    /// Try whether everything that is sealed opens and stands where it belongs
    Check,
    /// Wrap every client's data key by the newest key of ENCRYPTION_KEY; once it is done the older ones may go
    Rotate,
}

impl VaultCommand {
    pub async fn run(self, platform: &Platform) -> anyhow::Result<ExitCode> {
        let vault = platform.vault(platform.streams()).await?;
        let cause = Cause::system("cli");
        match self {
            Self::Check => {
                let checked = vault.check(&cause).await?;
                for (place, misfit) in &checked.unfit {
                    print(&format!("bad: {place}: {misfit}"))?;
                }
                for (client, channel) in &checked.unfit_targets {
                    print(&format!("bad: where channel {channel} of client {client} leads"))?;
                }
                let (fine, unfit) = (checked.fine, checked.unfit.len() + checked.unfit_targets.len());
                print(&format!("{fine} sets of values open and fit, {unfit} do not"))?;
                Ok(if unfit == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
            Self::Rotate => {
                let rotated = vault.rotate(&cause).await?;
                print(&format!("{} clients' data keys are wrapped anew by key {}", rotated.clients, rotated.to))?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}
