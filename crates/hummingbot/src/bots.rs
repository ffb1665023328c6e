//! Bots: deployed, started, stopped, archived, and what the server believes of them.

use std::collections::BTreeMap;

use events::{AccountName, Decimal, Time};
use serde::{Deserialize, Serialize};

use crate::{BotName, ConfigName, Fault, Hummingbot, Performance, Why, numbers, performance::OfController, times};

/// A bot that runs controllers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerDeployment {
    /// The server appends the second of the deployment. Two of one name within one second collide: make it the bot's id.
    pub instance: BotName,
    /// Whose credentials it trades with.
    pub account: AccountName,
    pub controllers: Vec<ConfigName>,
    /// The loss, in the quote asset, at which the whole bot stops itself.
    pub global_drawdown_max: Option<Decimal>,
    /// The same for each controller.
    pub controller_drawdown_max: Option<Decimal>,
    /// The server's default where there is none.
    pub image: Option<String>,
}

/// A bot that runs a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptDeployment {
    pub instance: BotName,
    pub account: AccountName,
    pub script: Option<ConfigName>,
    pub config: Option<ConfigName>,
    pub image: Option<String>,
}

/// How a bot that stands idle is started again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Start {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conf: Option<String>,
}

/// What the server believes of a bot. It is evidence, not truth: a bot that crashed keeps its last state, one that was told
/// to stop counts as stopped at once, and after a restart of the server all is guessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BotStatus {
    pub state: BotState,
    /// Whether the server heard of it lately.
    pub recently_active: bool,
    /// By the controller's id.
    pub performance: BTreeMap<String, Performance>,
    pub errors: Vec<LogLine>,
    pub log: Vec<LogLine>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BotState {
    Running,
    Stopped,
    /// A word that this client does not know.
    Other(String),
}

/// A line of a bot's log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LogLine {
    #[serde(rename = "timestamp", deserialize_with = "times::seconds")]
    pub at: Time,
    #[serde(rename = "level_name")]
    pub level: String,
    #[serde(rename = "logger_name", default)]
    pub logger: String,
    #[serde(rename = "msg")]
    pub text: String,
}

#[derive(Serialize)]
struct Controllers<'a> {
    instance_name: &'a BotName,
    credentials_profile: &'a AccountName,
    controllers_config: &'a [ConfigName],
    #[serde(skip_serializing_if = "Option::is_none")]
    max_global_drawdown_quote: Option<serde_json::Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_controller_drawdown_quote: Option<serde_json::Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a str>,
    headless: bool,
}

#[derive(Serialize)]
struct Script<'a> {
    instance_name: &'a BotName,
    credentials_profile: &'a AccountName,
    #[serde(skip_serializing_if = "Option::is_none")]
    script: Option<&'a ConfigName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script_config: Option<&'a ConfigName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a str>,
    headless: bool,
}

#[derive(Serialize)]
struct Starting<'a> {
    bot_name: &'a BotName,
    #[serde(skip_serializing_if = "Option::is_none")]
    script: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conf: Option<&'a str>,
}

#[derive(Serialize)]
struct Stopping<'a> {
    bot_name: &'a BotName,
    skip_order_cancellation: bool,
}

#[derive(Deserialize)]
struct Deployed {
    success: bool,
    #[serde(default)]
    unique_instance_name: Option<BotName>,
}

#[derive(Deserialize)]
struct Data<T> {
    data: T,
}

#[derive(Deserialize)]
struct StatusTold {
    status: String,
    #[serde(default)]
    performance: BTreeMap<String, OfController>,
    #[serde(default)]
    error_logs: Vec<LogLine>,
    #[serde(default)]
    general_logs: Vec<LogLine>,
    #[serde(default)]
    recently_active: bool,
}

/// A headless bot publishes none of its fills.
const HEADLESS: bool = false;
/// The server's own default leaves live orders on the exchange.
const LEAVE_ORDERS: bool = false;

impl Hummingbot {
    /// Deploys a bot with controllers and tells its own name.
    pub async fn deploy_controllers(&self, deployment: &ControllerDeployment) -> Result<BotName, Fault> {
        let ControllerDeployment { instance, account, controllers, image, .. } = deployment;
        let body = Controllers {
            instance_name: instance,
            credentials_profile: account,
            controllers_config: controllers,
            max_global_drawdown_quote: deployment.global_drawdown_max.map(numbers::json),
            max_controller_drawdown_quote: deployment.controller_drawdown_max.map(numbers::json),
            image: image.as_deref(),
            headless: HEADLESS,
        };
        let none = controllers.is_empty().then(|| "a bot without controllers does nothing".to_owned());
        self.deploy("deploy-v2-controllers", instance, account, none, &body).await
    }

    /// Deploys a bot with a script and tells its own name.
    pub async fn deploy_script(&self, deployment: &ScriptDeployment) -> Result<BotName, Fault> {
        let ScriptDeployment { instance, account, script, config, image } = deployment;
        let body = Script {
            instance_name: instance,
            credentials_profile: account,
            script: script.as_ref(),
            script_config: config.as_ref(),
            image: image.as_deref(),
            headless: HEADLESS,
        };
        self.deploy("deploy-v2-script", instance, account, None, &body).await
    }

    async fn deploy(
        &self,
        way: &str,
        instance: &BotName,
        account: &AccountName,
        refusal: Option<String>,
        body: &impl Serialize,
    ) -> Result<BotName, Fault> {
        let doing = format!("deploy bot {instance} for account {account}");
        let call = self.post(&["bot-orchestration", way], &doing).refuse(refusal).body(body);
        let told: Deployed = call.patience(self.patience.deploy).answer().await?;
        let named = told.unique_instance_name.filter(|_| told.success);
        named.ok_or_else(|| Fault::new(doing, Why::Unreadable("the answer names no bot".to_owned())))
    }

    /// Tells a bot to start. That it was told is all that the answer says.
    pub async fn start_bot(&self, bot: &BotName, start: &Start) -> Result<(), Fault> {
        let body = Starting { bot_name: bot, script: start.script.as_deref(), conf: start.conf.as_deref() };
        let call = self.post(&["bot-orchestration", "start-bot"], format!("start bot {bot}")).body(&body);
        call.patience(self.patience.deploy).done().await
    }

    /// Tells a bot to cancel its orders and stop. That it was told is all that the answer says.
    pub async fn stop_bot(&self, bot: &BotName) -> Result<(), Fault> {
        let body = Stopping { bot_name: bot, skip_order_cancellation: LEAVE_ORDERS };
        let call = self.post(&["bot-orchestration", "stop-bot"], format!("stop bot {bot}")).body(&body);
        call.patience(self.patience.deploy).done().await
    }

    /// Begins to stop a bot with its orders cancelled, archive its database and remove its container: 20 to 30 s.
    pub async fn stop_and_archive(&self, bot: &BotName) -> Result<(), Fault> {
        let doing = format!("stop and archive bot {bot}");
        let call = self.post(&["bot-orchestration", "stop-and-archive-bot", bot.as_str()], doing);
        call.query("skip_order_cancellation", LEAVE_ORDERS).patience(self.patience.deploy).done().await
    }

    /// What the server believes of a bot.
    pub async fn bot_status(&self, bot: &BotName) -> Result<BotStatus, Fault> {
        let doing = format!("read the status of bot {bot}");
        let told: Data<StatusTold> = self.get(&["bot-orchestration", bot.as_str(), "status"], doing).answer().await?;
        Ok(told.data.into())
    }

    /// The names of all bots that the server hears over MQTT, of every tenant: who asks takes his own alone.
    pub async fn heard_bots(&self) -> Result<Vec<BotName>, Fault> {
        #[derive(Deserialize)]
        struct Told {
            active_bots: Vec<String>,
        }
        let call = self.get(&["bot-orchestration", "mqtt"], "list the bots that are heard over MQTT");
        let told: Data<Told> = call.answer().await?;
        // A name that can be none of ours is somebody else's.
        Ok(told.data.active_bots.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// What the server believes of every bot that it heard of, of every tenant.
    pub async fn bot_statuses(&self) -> Result<BTreeMap<BotName, BotStatus>, Fault> {
        let call = self.get(&["bot-orchestration", "status"], "read the status of all bots");
        let told: Data<BTreeMap<BotName, StatusTold>> = call.answer().await?;
        Ok(told.data.into_iter().map(|(bot, told)| (bot, told.into())).collect())
    }
}

impl From<StatusTold> for BotStatus {
    fn from(told: StatusTold) -> Self {
        Self {
            state: match told.status.as_str() {
                "running" => BotState::Running,
                "stopped" => BotState::Stopped,
                _ => BotState::Other(told.status),
            },
            recently_active: told.recently_active,
            performance: told.performance.into_iter().map(|(id, told)| (id, told.performance)).collect(),
            errors: told.error_logs,
            log: told.general_logs,
        }
    }
}
