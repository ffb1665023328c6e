//! The server's record of deployments. A crashed bot stays deployed in it for ever.

use events::{AccountName, Time};
use serde::Deserialize;

use crate::{BotName, Fault, Hummingbot, Why, times};

/// How many runs are fetched at once.
const PAGE: usize = 100;

/// One deployment of a bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BotRun {
    pub id: i64,
    pub bot: BotName,
    pub account: AccountName,
    pub strategy: String,
    pub config: Option<String>,
    pub image: Option<String>,
    pub deployment: DeploymentStatus,
    pub run: RunStatus,
    pub deployed_at: Time,
    /// When the server told it to stop, which is not when it stopped.
    pub stopped_at: Option<Time>,
    pub error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeploymentStatus {
    Deployed,
    Failed,
    Archived,
    Other(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunStatus {
    Created,
    Running,
    Stopped,
    Error,
    Other(String),
}

#[derive(Deserialize)]
struct Told {
    id: i64,
    bot_name: BotName,
    account_name: AccountName,
    strategy_name: String,
    #[serde(default)]
    config_name: Option<String>,
    #[serde(default)]
    image_version: Option<String>,
    deployment_status: String,
    run_status: String,
    #[serde(deserialize_with = "times::iso")]
    deployed_at: Time,
    #[serde(default, deserialize_with = "times::iso_maybe")]
    stopped_at: Option<Time>,
    #[serde(default)]
    error_message: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    data: Vec<Told>,
}

impl Hummingbot {
    /// All runs of an account's bots, newest first.
    pub async fn bot_runs(&self, account: &AccountName) -> Result<Vec<BotRun>, Fault> {
        self.runs(account, None).await
    }

    /// Those of them that were neither put away nor came to nothing, newest first.
    pub async fn deployed_runs(&self, account: &AccountName) -> Result<Vec<BotRun>, Fault> {
        self.runs(account, Some("DEPLOYED")).await
    }

    async fn runs(&self, account: &AccountName, deployment: Option<&str>) -> Result<Vec<BotRun>, Fault> {
        let mut runs: Vec<BotRun> = Vec::new();
        let doing = format!("read the bot runs of account {account}");
        for offset in (0..).step_by(PAGE) {
            let call = self.get(&["bot-orchestration", "bot-runs"], &doing).query("account_name", account);
            let call = deployment.into_iter().fold(call, |call, status| call.query("deployment_status", status));
            let page: Page = call.query("limit", PAGE).query("offset", offset).answer().await?;
            let last = page.data.len() < PAGE;
            runs.extend(page.data.into_iter().map(BotRun::from));
            if last {
                break;
            }
        }
        if let Some(other) = runs.iter().find(|run| run.account != *account) {
            return Err(Fault::new(doing, Why::OtherAccount(other.account.clone())));
        }
        // A run that began between two pages moved the others along: one was then seen twice.
        runs.sort_by_key(|run| -run.id);
        runs.dedup_by_key(|run| run.id);
        Ok(runs)
    }
}

impl From<Told> for BotRun {
    fn from(told: Told) -> Self {
        Self {
            id: told.id,
            bot: told.bot_name,
            account: told.account_name,
            strategy: told.strategy_name,
            config: told.config_name,
            image: told.image_version,
            deployment: match told.deployment_status.as_str() {
                "DEPLOYED" => DeploymentStatus::Deployed,
                "FAILED" => DeploymentStatus::Failed,
                "ARCHIVED" => DeploymentStatus::Archived,
                _ => DeploymentStatus::Other(told.deployment_status),
            },
            run: match told.run_status.as_str() {
                "CREATED" => RunStatus::Created,
                "RUNNING" => RunStatus::Running,
                "STOPPED" => RunStatus::Stopped,
                "ERROR" => RunStatus::Error,
                _ => RunStatus::Other(told.run_status),
            },
            deployed_at: told.deployed_at,
            stopped_at: told.stopped_at,
            error: told.error_message,
        }
    }
}
